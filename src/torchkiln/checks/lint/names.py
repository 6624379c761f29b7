"""The names of torch and its neighbours that rules and values are told by."""

from __future__ import annotations

import re

FALLBACK = {
    "torch": "torch",
    "nn": "torch.nn",
    "F": "torch.nn.functional",
    "optim": "torch.optim",
    "np": "numpy",
    "pl": "lightning.pytorch",
    "DataLoader": "torch.utils.data.DataLoader",
    "DDP": "torch.nn.parallel.DistributedDataParallel",
    "autocast": "torch.autocast",
    "GradScaler": "torch.amp.GradScaler",
    "Variable": "torch.autograd.Variable",
}
"""What usual names stand for in a fragment that does not import them."""

CANONICAL = (
    ("torch.cuda.amp.grad_scaler.", "torch.cuda.amp."),
    ("torch.cuda.amp.autocast_mode.", "torch.cuda.amp."),
    ("torch.autograd.variable.Variable", "torch.autograd.Variable"),
    ("torch.utils.data.distributed.DistributedSampler", "torch.utils.data.DistributedSampler"),
    ("torch.utils.data.dataloader.DataLoader", "torch.utils.data.DataLoader"),
    ("torch.utils.data.dataset.", "torch.utils.data."),
    ("torch.nn.utils.clip_grad.", "torch.nn.utils."),
    ("torch.nn.parallel.distributed.DistributedDataParallel", "torch.nn.parallel.DistributedDataParallel"),
    ("torch.nn.parallel.data_parallel.DataParallel", "torch.nn.DataParallel"),
    ("torch.nn.parallel.DataParallel", "torch.nn.DataParallel"),
    ("torch.nn.parameter.Parameter", "torch.nn.Parameter"),
    ("torch.nn.modules.loss.", "torch.nn."),
    ("torch.nn.modules.module.Module", "torch.nn.Module"),
    ("torch.nn.modules.", "torch.nn."),
    ("torch.special.", "torch."),
    ("torch.nn.functional.softmax", "torch.softmax"),
    ("torch.nn.functional.log_softmax", "torch.log_softmax"),
    ("torch.nn.functional.sigmoid", "torch.sigmoid"),
    ("torch.special.expit", "torch.sigmoid"),
    ("torch.autograd.no_grad", "torch.no_grad"),
    ("torch.autograd.grad_mode.", "torch."),
    ("torch.autograd.set_grad_enabled", "torch.set_grad_enabled"),
    ("torch.autograd.inference_mode", "torch.inference_mode"),
    ("pytorch_lightning", "lightning.pytorch"),
)

NO_GRAD = {"torch.no_grad", "torch.inference_mode"}
AUTOCAST = {"torch.autocast", "torch.cuda.amp.autocast", "torch.amp.autocast", "torch.cpu.amp.autocast"}
SCALERS = {"torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.cpu.amp.GradScaler", "torch.GradScaler"}
CLIPS = {"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_value_", "torch.nn.utils.clip_grad_norm"}
LOADER = "torch.utils.data.DataLoader"
SAMPLER = "torch.utils.data.DistributedSampler"
PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
MODULE = "torch.nn.Module"
LIGHTNING_MODULES = {
    "lightning.pytorch.LightningModule",
    "lightning.LightningModule",
    "lightning.pytorch.core.LightningModule",
    "lightning.pytorch.core.lightning.LightningModule",
    "lightning.pytorch.core.module.LightningModule",
}
MODULES = {MODULE, *LIGHTNING_MODULES, "transformers.PreTrainedModel", "torch.nn.Sequential", "torch.jit.ScriptModule"}
DATASETS = {
    "torch.utils.data.Dataset",
    "torch.utils.data.IterableDataset",
    "torchvision.datasets.VisionDataset",
    "torchvision.datasets.ImageFolder",
    "torchvision.datasets.DatasetFolder",
}
WRAPPERS = {
    "torch.nn.DataParallel",
    "torch.nn.parallel.DistributedDataParallel",
    "torch.distributed.fsdp.FullyShardedDataParallel",
    "torch.distributed.fsdp.fully_shard",
    "torch.distributed._composable.fsdp.fully_shard",
    "torch.distributed.tensor.parallel.parallelize_module",
    "torch.compile",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "peft.get_peft_model",
}
FACTORIES = {
    f"torch.{name}"
    for name in ("zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "eye", "linspace",
                 "logspace", "tensor")
}  # fmt: skip
FOREIGN_ROOTS = (
    "accelerate", "deepspeed", "colossalai", "horovod", "lightning.fabric", "lightning.Fabric", "skorch",
    "composer", "apex", "oneflow", "torch_xla", "poptorch", "megatron", "fairscale", "ignite", "opacus",
)  # fmt: skip
"""Libraries that own steps, gradients or wrapped models: what goes through them is not judged."""

METHODS_OF_SELF = {
    "to", "cuda", "cpu", "train", "eval", "half", "float", "double", "bfloat16", "requires_grad_", "to_empty",
    "share_memory", "type", "compile",
}  # fmt: skip
"""Methods of a module that return it."""

PARAMETERLESS = re.compile(
    r"^torch\.nn\.(?!PReLU)(.*Loss|.*ReLU\d?|ELU|SELU|CELU|GELU|SiLU|Mish|Sigmoid|Tanh|Softmax.*|LogSoftmax|LogSigmoid|Softplus|"
    r"Softsign|Hardtanh|Hardswish|Hardsigmoid|.*shrink|Threshold|GLU|Identity|.*Dropout.*|.*Pool.*|.*Pad\d?d?|Flatten|"
    r"Unflatten|Upsample.*|Pixel.*|CosineSimilarity|PairwiseDistance|Fold|Unfold|ModuleList|ModuleDict|Parameter.+)$"
)
"""Modules that hold nothing to train."""

CONTAINERS = {"torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.ParameterList", "torch.nn.ParameterDict"}

OPTIMIZER_NAME = re.compile(
    r"(^|_)opt(s|im|imizer|imizers|imiser)?(_|$|\d)|optimi[sz]er|(^|_)optim(_|$)", re.IGNORECASE
)
SCHEDULER_NAME = re.compile(r"sched|lr_decay$|^lrs$", re.IGNORECASE)
SCALER_NAME = re.compile(r"(^|_)(grad_?)?scaler$", re.IGNORECASE)
MODEL_NAME = re.compile(
    r"(^|_)(model|net|network|classifier|generator|discriminator|critic|actor|encoder|decoder|autoencoder|vae|gan|cnn|"
    r"mlp|resnet|unet|student|net_?[dg]|policy|policy_net|backbone|module|gpt|transformer|bert|lstm|rnn)\d?$",
    re.IGNORECASE,
)
ACT_NAME = re.compile(
    r"^_?(build|get|create|make|load|save|train|test|eval|evaluate|init|setup|set|wrap|freeze|unfreeze|compile|export|"
    r"prepare|count|print|run|fit|define|construct|update|reset|validate|of|from|convert|is|has|log|plot|show|"
    r"instantiate|select|choose|register|add|check|build_and|new|copy|parse|use)_",
    re.IGNORECASE,
)
"""What something does, and so the name of a function, though it ends as a model's name does."""
LOSS_FUNCTION_NAME = re.compile(
    r"(^|_)(criterion|criteria|loss_?(fn|func|function|f)|crit|objective)(_|\d|$)|(^|_)(ce|bce|mse|nll)_?loss$",
    re.IGNORECASE,
)
LOSS_NAME = re.compile(r"loss|^l$|cost|^err|_err", re.IGNORECASE)
HELD_OUT_NAME = re.compile(r"(^|_|\.)(val|valid|validation|test|eval|evaluation|dev|holdout|held_out)(_|\.|s?$|ing)|"
                           r"(^|_|\.)(val|valid|test|eval|dev)(loader|ds|set|data|dl|iter|generator)|(^|\.)(vl|va)$",
                           re.IGNORECASE)  # fmt: skip
TRAIN_NAME = re.compile(r"(^|_|\.)(train|training|trn|tr)(_|\.|$|er_?l)|(^|_|\.)(train|training|trn)"
                        r"(loader|ds|set|data|dl|iter|dataloader|dataset|generator)", re.IGNORECASE)  # fmt: skip
LOSS_FUNCTIONS = {"cross_entropy", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
"""Of `torch.nn.functional`, those whose names do not end in `loss`."""
LOADER_NAME = re.compile(
    r"loader|^(tl|vl|te|va|tr)$|(^|_)(dl|batches|iterator|dataiter)(_|$)|(^|_)dataset$|"
    r"(^|_)(train|val|valid|test)(_?data|_?set|_?ds|_?iter)?(_batches)?$",
    re.IGNORECASE,
)
TARGET_NAME = re.compile(
    r"target|label|^y$|^ys$|_y$|^y_|^yb$|^gt|ground|^tgt|truth|actual|^t$|mask|weight", re.IGNORECASE
)


def canonical(name: str) -> str:
    """One spelling for what has several."""
    for old, new in CANONICAL:
        if name.startswith(old):
            name = new + name[len(old) :]
    if name.startswith("torch.distributed.fsdp.fully_sharded_data_parallel."):
        name = "torch.distributed.fsdp." + name.rpartition(".")[2]
    return name


def is_functional_loss(full: str) -> bool:
    """Whether a full name is that of a loss in `torch.nn.functional`."""
    return full.startswith("torch.nn.functional.") and ("loss" in full or full[20:] in LOSS_FUNCTIONS)
