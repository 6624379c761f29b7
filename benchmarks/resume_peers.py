"""One small training in four systems, killed at every step and resumed: run by resume.py, once a system and case.

    python benchmarks/resume_peers.py SYSTEM CASE FOLDER

Imports once, then forks a process for each life of a run: a first life is killed by SIGKILL before its k-th training
batch, a second one resumes in the same folder to the end, and what they leave is compared with an uninterrupted run.
Each system is used as its own documentation says, seeded, with a checkpoint after every step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

SEED, EPOCHS, BATCH, BATCHES = 0, 3, 8, 10


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        what: In words.
        validate_every: Batches between two validations.
        accumulate: Batches a step.
        workers: Processes that read samples.
        noise: Random augmentation of a training sample.
        plateau: The rate follows the validation loss, which also may stop the run; else it falls each epoch.
    """

    what: str
    validate_every: int = BATCHES
    accumulate: int = 1
    workers: int = 0
    noise: float = 0.0
    plateau: bool = False


CASES = {
    "validation": Case("validation every 4 of 10 batches, plateau, early stopping", validate_every=4, plateau=True),
    "accumulation": Case("10 batches in windows of 3, 3, 3 and 1", accumulate=3),
    "workers": Case("2 workers, random augmentation", workers=2, noise=0.3),
}


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Points of three classes, some with a wrong label; with `noise` each is moved at random when it is read."""

    def __init__(self, size: int, seed: int, noise: float = 0.0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 8, generator=random)
        self.y = (self.x[:, :3] + 0.8 * torch.randn(size, 3, generator=random)).argmax(1)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = self.x[index]
        return x + self.noise * torch.randn(8) if self.noise else x, self.y[index]


def datasets(case: Case) -> tuple[Points, Points]:
    return Points(BATCH * BATCHES, 1, case.noise), Points(40, 2)


def net() -> nn.Module:
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))


class Killer:
    """Counts training batches, and kills its own process before the `at`-th."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def batch(self) -> None:
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def digest(weights: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


# The systems: each goes on in `folder` if it was there before, and gives what a run ends with


def lightning(case: Case, folder: Path, killer: Killer, stateful: bool = False) -> dict[str, Any]:
    """Lightning with its ModelCheckpoint; `stateful`: and torchdata's loader, whose state Lightning saves."""
    import lightning.pytorch as L
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from torch.utils.data.distributed import DistributedSampler

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def loss(self, batch: Any) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            killer.batch()
            loss = self.loss(batch)
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=0.02)
            if case.plateau:
                scheduler: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=0)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    class Table(L.Callback):
        """A row a validation and an epoch; one that is written again takes the place of the first."""

        def row(self, trainer: L.Trainer, what: str, names: tuple[str, ...]) -> None:
            values = {name: float(trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics}
            with (folder / "table.jsonl").open("a") as out:
                key = f"{what} {trainer.current_epoch} {trainer.global_step}"
                out.write(json.dumps([key, values | {"lr": rate(trainer)}]) + "\n")

        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.row(trainer, "validation", ("val_loss",))

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.row(trainer, "epoch", ("train_loss", "val_loss"))

    def rate(trainer: L.Trainer) -> float:
        return float(trainer.optimizers[0].param_groups[0]["lr"])

    L.seed_everything(SEED, workers=True)
    train, val = datasets(case)
    if stateful:
        from torchdata.stateful_dataloader import StatefulDataLoader

        batches: Any = StatefulDataLoader(train, BATCH, shuffle=True, num_workers=case.workers)
    else:
        order = DistributedSampler(train, num_replicas=1, rank=0, seed=SEED)  # an order by (seed, epoch)
        batches = DataLoader(train, BATCH, sampler=order, num_workers=case.workers)
    save = ModelCheckpoint(folder / "checkpoints", every_n_train_steps=1, save_last=True)
    stop = [EarlyStopping("val_loss", patience=6)] if case.plateau else []
    trainer = L.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", accumulate_grad_batches=case.accumulate, logger=False,
        val_check_interval=case.validate_every, callbacks=[*stop, Table(), save], num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    module = Module()
    trainer.fit(module, batches, DataLoader(val, 20), ckpt_path="last")
    rows = dict(json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines())
    return {"weights": digest(module.net.state_dict()), "table": rows, "rate": rate(trainer)}


def stateful(case: Case, folder: Path, killer: Killer) -> dict[str, Any]:
    return lightning(case, folder, killer, stateful=True)


def hugging_face(case: Case, folder: Path, killer: Killer) -> dict[str, Any]:
    """The Trainer of transformers; its table is the log that it keeps in its own state."""
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
    from transformers.trainer_utils import get_last_checkpoint

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Killed(Trainer):
        def training_step(self, *args: Any, **more: Any) -> Tensor:
            killer.batch()
            return super().training_step(*args, **more)

    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=20, gradient_accumulation_steps=case.accumulate, learning_rate=0.02, seed=SEED,
        data_seed=SEED, use_cpu=True, save_strategy="steps", save_steps=1, save_total_limit=2,
        logging_strategy="epoch", dataloader_num_workers=case.workers, report_to=[], disable_tqdm=True,
        eval_strategy="epoch" if case.validate_every == BATCHES else "steps", eval_steps=case.validate_every,
        metric_for_best_model="eval_loss", greater_is_better=False, restore_callback_states_from_checkpoint=True,
        lr_scheduler_type="reduce_lr_on_plateau" if case.plateau else "linear",
        lr_scheduler_kwargs={"factor": 0.3, "patience": 0} if case.plateau else {}, label_names=["labels"],
    )  # fmt: skip
    train, val = datasets(case)
    model = Model()
    trainer = Killed(
        model, arguments, train_dataset=train, eval_dataset=val,
        data_collator=lambda rows: dict(zip(("x", "labels"), map(torch.stack, zip(*rows, strict=True)), strict=True)),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=6)] if case.plateau else [],
    )  # fmt: skip
    there = (folder / "checkpoints").is_dir() and get_last_checkpoint(str(folder / "checkpoints"))
    trainer.train(resume_from_checkpoint=True if there else None)
    # the last row sums the life up, not the run: it is no row of the table
    rows = [{k: v for k, v in row.items() if "runtime" not in k and "per_second" not in k}
            for row in trainer.state.log_history if "train_runtime" not in row]  # fmt: skip
    rate = trainer.optimizer.param_groups[0]["lr"]
    return {"weights": digest(model.net.state_dict()), "table": rows, "rate": float(rate)}


def ours(case: Case, folder: Path, killer: Killer) -> dict[str, Any]:
    import torchkiln
    from torchkiln.training.module import KilnModule
    from torchkiln.training.state_files import load_tensors

    step = KilnModule.training_step

    def killed(self: KilnModule, batch: Any, batch_idx: int) -> Tensor:
        killer.batch()
        return step(self, batch, batch_idx)

    KilnModule.training_step = killed  # type: ignore[method-assign]
    train, val = datasets(case)
    settings = {"seed": SEED, "loss.name": "cross_entropy", "optimizer.lr": 0.02, "train.epochs": EPOCHS,
                "train.batch_size": BATCH, "train.accumulate": case.accumulate, "train.checkpoint_every": 1,
                "train.validate_every": case.validate_every / BATCHES, "train.threads": 1, "train.precision": 32,
                "train.device": "cpu", "data.workers": case.workers, "train.monitor": "loss"}  # fmt: skip
    if case.plateau:
        settings |= {"scheduler": {"name": "plateau", "gamma": 0.3, "patience": 0}, "train.early_stopping.patience": 6}
    run = folder / "run"
    begun = (run / "recipe.yaml").exists()
    where: dict[str, Any] = {"resume": run} if begun else {"overrides": settings, "out": run}
    torchkiln.fit(model=net(), data=(train, val, val), **where)
    last = sorted((run / "checkpoints").glob("step-*"))[-1]
    best = sorted((run / "checkpoints").glob("best-*"))[-1]
    weights = [digest(load_tensors(folder / "weights.safetensors")) for folder in (last, best)]
    table = (run / "metrics.csv").read_text()
    return {"weights": weights, "table": table, "rate": table.splitlines()[-1].rpartition(",")[2]}


SYSTEMS: dict[str, Callable[[Case, Path, Killer], dict[str, Any]]] = {
    "lightning": lightning, "stateful": stateful, "hugging_face": hugging_face, "ours": ours,
}  # fmt: skip
IMPORTS = {
    "lightning": ["lightning.pytorch"],
    "stateful": ["lightning.pytorch", "torchdata.stateful_dataloader"],
    "hugging_face": ["transformers.trainer", "transformers.trainer_callback", "accelerate"],
    "ours": [
        "torchkiln.stages.from_parts",
        "torchkiln.stages.from_recipe",
        "torchkiln.report.page",
        "sklearn.ensemble",
    ],
}
"""What a system's life needs, imported once before any is forked."""


# The fork server


def live(system: str, case: Case, folder: Path, kill_at: int | None = None) -> dict[str, Any] | None:
    """One life in a process of its own; None if it was killed or failed (its words are then in folder/failed)."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with (folder / "words").open("a") as words, redirect_stdout(words), redirect_stderr(words):
                killer = Killer(kill_at)
                found = SYSTEMS[system](case, folder, killer)
            result.write_text(json.dumps({**found, "batches": killer.count}))
            code = 0
        except BaseException:
            (folder / "failed").write_text(traceback.format_exc())
        os._exit(code)
    os.waitpid(child, 0)
    return json.loads(result.read_text()) if result.exists() else None


def kills(system: str, case: Case, folder: Path) -> Iterator[dict[str, Any]]:
    """Kill at each training batch once, resume, and compare."""
    whole = live(system, case, folder / "whole")
    if whole is None:
        raise SystemExit(f"{system}: the uninterrupted run failed\n{(folder / 'whole' / 'failed').read_text()}")
    again = live(system, case, folder / "again")
    if again != whole:
        raise SystemExit(f"{system}: two uninterrupted runs differ, so there is nothing to compare with")
    for at in range(whole["batches"]):
        place = folder / f"kill-{at}"
        assert live(system, case, place, kill_at=at) is None, "the first life was to be killed"
        failed = (place / "failed").exists()
        found = None if failed else live(system, case, place)
        same = {what: found is not None and found[what] == whole[what] for what in ("weights", "table", "rate")}
        words = (place / "failed").read_text().strip().splitlines()[-1] if (place / "failed").exists() else None
        yield {"at": at, **same, "equal": all(same.values()), "failed": words}
        shutil.rmtree(place)


def main() -> None:
    system, case, folder = sys.argv[1], CASES[sys.argv[2]], Path(sys.argv[3])
    torch.set_num_threads(1)
    for name in IMPORTS[system]:
        import_module(name)
    print(json.dumps(list(kills(system, case, folder))))


if __name__ == "__main__":
    main()
