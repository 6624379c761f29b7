"""The key or word that a person probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from torchkiln.recipe.wanted import at, keys, known_paths, words
from torchkiln.registry import nearest

_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "seed": ("random_state", "random_seed", "manual_seed"),
    "task": ("problem", "problem_type", "task_type", "task_name"),
    "data": ("dataset", "datamodule", "data_module"),
    "data.path": ("data_path", "data_dir", "data_root", "root", "folder", "file", "csv", "source"),
    "data.train": ("train_path", "train_file", "train_data", "training"),
    "data.val": ("valid", "validation", "dev", "val_path", "val_file", "validation_data"),
    "data.test": ("test_path", "test_file", "test_data"),
    "data.target": ("label", "labels", "label_column", "target_column", "y", "output", "output_features"),
    "data.text": ("text_column", "sentence"),
    "data.image": ("image_column", "image_path"),
    "data.columns": ("features", "input_features", "column_types", "dtypes"),
    "data.unlabelled": ("unlabeled", "dropna", "missing_labels"),
    "data.split": ("splits", "cv"),
    "data.split.val": ("val_size", "val_split", "valid_size", "validation_split", "val_fraction"),
    "data.split.test": ("test_size", "test_split", "test_fraction"),
    "data.split.by": ("stratify", "split_type", "strategy"),
    "data.split.column": ("group", "group_column", "time_column", "date_column"),
    "data.image_size": ("img_size", "imgsz", "resolution", "resize", "input_size", "size"),
    "data.augment": ("aug", "augmentation", "augmentations", "transform", "transforms"),
    "data.max_tokens": ("max_len", "max_length", "max_seq_length", "max_seq_len", "sequence_length"),
    "data.workers": ("num_workers", "n_workers", "dataloader_workers"),
    "data.prefetch": ("prefetch_factor", "dataloader_prefetch_factor"),
    "data.pin": ("pin_memory", "dataloader_pin_memory"),
    "model.name": ("architecture", "arch", "network", "net", "model_name", "backbone", "type"),
    "model.args": ("kwargs", "params", "arguments", "hparams", "hidden_size", "dropout", "layers"),
    "model.class_path": ("_target_", "target_class", "import_path"),
    "model.pretrained": ("weights", "checkpoint", "pretrained_weights", "from_pretrained"),
    "model.freeze": ("frozen", "freeze_backbone", "trainable"),
    "model.checkpoint_gradients": ("gradient_checkpointing", "activation_checkpointing"),
    "loss": ("criterion", "loss_fn", "loss_function", "objective"),
    "loss.label_smoothing": ("smoothing",),
    "loss.class_weights": ("class_weight", "weight", "balanced"),
    "optimizer": ("optim", "optimiser", "solver"),
    "optimizer.lr": ("learning_rate", "learningrate", "base_lr", "init_lr", "max_lr", "step_size"),
    "optimizer.weight_decay": ("wd", "l2", "decay", "regularization"),
    "optimizer.groups": ("param_groups", "parameter_groups"),
    "scheduler": ("lr_scheduler", "sched", "schedule", "lr_schedule"),
    "scheduler.warmup": ("warmup_steps", "warmup_ratio", "warmup_epochs", "warm_up", "num_warmup_steps"),
    "scheduler.final": ("eta_min", "min_lr", "final_lr"),
    "train": ("trainer", "fit", "training_args"),
    "train.epochs": ("n_epochs", "max_epochs", "num_epochs", "num_train_epochs", "nb_epochs", "iterations"),
    "train.steps": ("max_steps", "n_steps", "num_steps", "total_steps"),
    "train.max_time": ("time_limit", "time_limit_s", "budget", "timeout"),
    "train.batch_size": ("batch", "batchsize", "bs", "mini_batch_size", "per_device_train_batch_size"),
    "train.accumulate": ("grad_accum", "accumulate_grad_batches", "gradient_accumulation_steps"),
    "train.clip": ("clipping", "clip_grad"),
    "train.clip.norm": ("gradient_clip_val", "max_grad_norm", "clip_norm", "grad_clip", "gradient_clip"),
    "train.precision": ("fp16", "bf16", "amp", "mixed_precision", "dtype"),
    "train.compile": ("torch_compile", "jit"),
    "train.ema": ("ema_decay", "model_ema", "averaging"),
    "train.early_stopping": ("early_stop", "earlystopping"),
    "train.monitor": ("metric", "metrics", "eval_metric", "validation_metric"),
    "train.validate_every": ("check_val_every_n_epoch", "eval_every", "val_interval"),
    "train.validate_batches": ("val_check_interval", "eval_steps", "evaluation_interval"),
    "train.limit_batches": ("limit_train_batches", "steps_per_epoch", "max_batches"),
    "train.swa": ("stochastic_weight_averaging", "swa_start"),
    "train.keep_every": ("save_top_k", "save_total_limit", "every_n_train_steps"),
    "train.not_finite": ("on_nan", "skip_nan", "detect_nan", "terminate_on_nan"),
    "train.device": ("accelerator", "gpu", "cuda", "use_gpu"),
    "train.devices": ("gpus", "num_gpus", "world_size", "num_devices"),
    "train.threads": ("num_threads", "n_jobs", "cpus"),
    "train.checkpoint_every": ("save_every", "save_steps", "checkpoint_interval"),
}
"""Our keys, and what others call them."""

_OTHER_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "loss.name": {
        "cross_entropy": ("ce", "crossentropyloss", "categorical_crossentropy", "softmax", "focal"),
        "bce_with_logits": ("bce", "bcewithlogitsloss", "binary_crossentropy", "binary_cross_entropy"),
        "nll": ("nllloss",),
        "mse": ("l2", "mseloss", "mean_squared_error", "rmse"),
        "l1": ("mae", "l1loss", "mean_absolute_error"),
        "smooth_l1": ("huber", "smoothl1loss", "huberloss"),
    },
    "optimizer.name": {"sgd": ("momentum", "nesterov"), "adamw": ("radam", "nadam", "lamb", "adamw_torch")},
    "scheduler.name": {
        "constant": ("off", "no", "none", "false", "null"),
        "one_cycle": ("onecycle", "onecyclelr", "1cycle"),
        "cosine": ("cosineannealing", "cosineannealinglr", "cosine_annealing"),
        "plateau": ("reducelronplateau", "reduce_on_plateau"),
        "step": ("steplr", "multistep"),
    },
    "train.precision": {
        "32": ("fp32", "float32", "32-true", "full"),
        "16": ("fp16", "float16", "half", "16-mixed"),
        "bf16": ("bfloat16", "bf16-mixed"),
    },
    "train.device": {"cuda": ("gpu", "nvidia", "cuda:0"), "mps": ("metal", "apple")},
    "data.split.by": {
        "stratified": ("stratify", "class"),
        "group": ("grouped",),
        "time": ("date", "temporal"),
    },
    "data.store": {
        "device": ("gpu", "cuda", "vram"),
        "memory": ("ram",),
        "cache": ("disk", "memmap"),
        "stream": ("lazy",),
    },
}
"""By key: the words we know, and what others call them."""


def key_meant(path: Sequence[str | int]) -> str | None:
    """The known key that an unknown one probably means, as a dotted path; a bare name if it is beside it.

    Looked for among the section's own keys first, then by what others call it, then by the same or a like
    name in other sections.
    """
    *section, last = path
    name, own = _folded(str(last)), keys(at(section))
    where = ".".join(map(str, section))
    elsewhere = _by_last_name()
    close = _closest(name, own, 0.8)
    if close:
        return close
    known = elsewhere.get(name) or _closest_value(name, elsewhere, 0.8)
    if not known:
        return _closest(name, own, 0.65)
    inside = [k for k in known if k.rpartition(".")[0] == where]
    return inside[0].rpartition(".")[2] if inside else " or ".join(known[:2])


def word_meant(path: Sequence[str | int], value: str) -> str | None:
    """The accepted word that a refused one probably means."""
    accepted, name = words(at(path)), _folded(value)
    for word, others in _OTHER_WORDS.get(".".join(map(str, path)), {}).items():
        if name in others:
            return word
    return nearest(value, [w for w in accepted if w is not None]) if accepted else None


def _by_last_name() -> dict[str, list[str]]:
    """Full paths by the last part of known keys, and by what others call them."""
    found: dict[str, list[str]] = {}
    for path in known_paths():
        found.setdefault(path.rpartition(".")[2], []).append(path)
    for path, others in _OTHER_NAMES.items():
        for other in others:
            found.setdefault(other, []).insert(0, path)
    return found


def _closest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return match[0] if match else None


def _closest_value(name: str, known: dict[str, list[str]], cutoff: float) -> list[str] | None:
    match = _closest(name, known, cutoff)
    return known[match] if match else None


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").strip()
