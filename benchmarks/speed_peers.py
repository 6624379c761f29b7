"""One training in several systems, clocked from step to step: run by speed_steps.py, once a system and case.

    python benchmarks/speed_peers.py SYSTEM CASE FOLDER

Each system is used as its own documentation says, on the same net, batch size, rate and rows, with a validation and a
checkpoint each epoch. Clocked is from the beginning of one training step to that of a later one of the same epoch, so
that validation, checkpoints and the first epochs are left out on all sides.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

SEED, RATE = 0, 1e-3


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        make: The net and the inputs of so many samples; targets are classes.
        classes: How many.
        batch: Samples a step.
        batches: Steps an epoch.
        epochs: How many are clocked, behind one that is not.
        skipped: Steps at the beginning of each epoch that are not clocked.
    """

    make: Callable[[int], tuple[nn.Module, Tensor]]
    classes: int
    batch: int
    batches: int
    epochs: int
    skipped: int = 1


class Transformer(nn.Module):
    """Four encoder layers 256 wide over tokens [batch, length], the mean of the last one to two classes."""

    def __init__(self, tokens: int = 8000, length: int = 128) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, 256), nn.Parameter(0.02 * torch.randn(length, 256))
        layer = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.1, activation="gelu", batch_first=True,
                                           norm_first=True)  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.layers(self.tokens(x) + self.places).mean(1))
        return made


def mlp(samples: int) -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    return net, torch.randn(samples, 20)


def resnet(samples: int) -> tuple[nn.Module, Tensor]:
    from torchvision.models import resnet18

    return resnet18(num_classes=10), torch.randn(samples, 3, 64, 64)


def transformer(samples: int) -> tuple[nn.Module, Tensor]:
    return Transformer(), torch.randint(0, 8000, (samples, 128))


CASES = {
    "mlp": Case(mlp, 2, 256, 200, 10, skipped=20),
    "resnet": Case(resnet, 10, 32, 12, 2),
    "transformer": Case(transformer, 2, 16, 12, 2),
}
RUN_EPOCHS = 200
"""Epochs that the run is said to have where a plan is to weigh what pays; it is ended when enough are clocked."""


class Enough(BaseException):
    """All that was to be clocked is; caught by no system's own recovery."""


class Clock:
    """Told of the beginning of each training step."""

    def __init__(self, case: Case) -> None:
        self.case, self.count = case, 0
        self.begun = time.perf_counter()
        self.ahead = 0.0
        """Seconds before the first step: reading, planning, compiling."""
        self._marks: list[tuple[float, float]] = []

    def step(self) -> None:
        place = self.count % self.case.batches
        if self.count == 0:
            self.ahead = time.perf_counter() - self.begun
        self.count += 1
        if place in (self.case.skipped, self.case.batches - 1):
            self._marks.append((time.perf_counter(), time.process_time()))
            if len(self._marks) == 2 * (self.case.epochs + 1):
                raise Enough

    def on(self, net: nn.Module) -> nn.Module:
        """The net, whose forward passes in training are the steps."""
        net.register_forward_pre_hook(lambda module, given: self.step() if module.training else None)
        return net

    def found(self) -> dict[str, float]:
        """Milliseconds a step by the wall and by the processor, medians over the epochs, and what went ahead."""
        steps = self.case.batches - 1 - self.case.skipped
        pairs = list(zip(self._marks[2::2], self._marks[3::2], strict=True))
        wall, cpu = (statistics.median(1000 * (b[i] - a[i]) / steps for a, b in pairs) for i in (0, 1))
        return {"ms": wall, "cpu_ms": cpu, "ahead_s": self.ahead}


@dataclass(frozen=True)
class Work:
    """A net, rows to train on and to validate on, and who is to be told of the steps."""

    case: Case
    net: nn.Module
    train: TensorDataset
    val: TensorDataset
    clock: Clock
    folder: Path

    @property
    def epochs(self) -> int:
        return self.case.epochs + 1


def work(case: Case, folder: Path) -> Work:
    torch.manual_seed(SEED)
    samples, few = case.batch * case.batches, 2 * case.batch
    net, inputs = case.make(samples + few)
    targets = torch.randint(0, case.classes, (samples + few,))
    train, val = (TensorDataset(inputs[part], targets[part]) for part in (slice(samples), slice(samples, None)))
    return Work(case, net, train, val, Clock(case), folder)


# The systems


def raw(w: Work) -> None:
    """A loop of PyTorch that takes its batches by index; no validation, no checkpoint, no word."""
    optimizer = torch.optim.AdamW(w.net.parameters(), RATE, fused=True)
    criterion = nn.CrossEntropyLoss()
    inputs, targets = w.train.tensors
    for _ in range(w.epochs):
        for index in torch.randperm(len(inputs)).split(w.case.batch):
            w.clock.step()
            loss = criterion(w.net(inputs[index]), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def ours(w: Work, **settings: Any) -> None:
    """All defaults but what all systems are given, and the settings."""
    import torchkiln
    from torchkiln.report.terminal import display
    from torchkiln.training.module import KilnModule

    begin = KilnModule.on_train_batch_start

    def clocked(self: KilnModule, batch: Any, batch_idx: int) -> None:
        w.clock.step()
        begin(self, batch, batch_idx)

    KilnModule.on_train_batch_start = clocked  # type: ignore[method-assign]
    overrides = {"train.batch_size": w.case.batch, "optimizer.lr": RATE, "train.device": "cpu", **settings}
    with display() as progress:
        torchkiln.fit(model=w.net, loss="cross_entropy", data=(w.train, w.val, w.val), overrides=overrides,
                      out=w.folder / "run", progress=progress)  # fmt: skip


def as_raw(w: Work) -> None:
    """Ours with the raw loop's settings, unguarded."""
    ours(w, **{"train.threads": 1, "train.precision": 32, "train.channels_last": False, "train.compile": False,
               "data.workers": 0, "train.epochs": w.epochs, "train.guard": False})  # fmt: skip


def planned(w: Work) -> None:
    ours(w, **{"train.epochs": RUN_EPOCHS})


def lightning(w: Work, bare: bool = False) -> None:
    """Lightning with DataLoader, log and bar; `bare`: without any of them, nor its checkpoints, batches by index."""
    import lightning.pytorch as L

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = w.net

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            w.clock.step()
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            if not bare:
                self.log("train_loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]), prog_bar=True)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), RATE, fused=bare)

    more: dict[str, Any] = {}
    batches: Any = DataLoader(w.train, w.case.batch, shuffle=True)
    if bare:
        more = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
                "enable_model_summary": False, "num_sanity_val_steps": 0}  # fmt: skip
        batches = ByIndex(w.train, w.case.batch)
    trainer = L.Trainer(max_epochs=w.epochs, accelerator="cpu", default_root_dir=w.folder, **more)
    trainer.fit(Module(), batches, DataLoader(w.val, 2 * w.case.batch))


class ByIndex:
    """Shuffled batches of tensors, each taken at once."""

    def __init__(self, data: TensorDataset, batch: int) -> None:
        self.data, self.batch = data, batch

    def __len__(self) -> int:
        return len(self.data) // self.batch

    def __iter__(self) -> Any:
        return (self.data[index] for index in torch.randperm(len(self.data)).split(self.batch))


def bare(w: Work) -> None:
    lightning(w, bare=True)


def hugging_face(w: Work) -> None:
    """The Trainer of transformers with the model's own loss, as its guide to custom models has it."""
    from transformers import Trainer, TrainingArguments

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = w.net

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Rows(Dataset[dict[str, Tensor]]):
        def __init__(self, data: TensorDataset) -> None:
            self.data = data

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            x, y = self.data[index]
            return {"x": x, "labels": y}

    arguments = TrainingArguments(
        output_dir=str(w.folder), num_train_epochs=w.epochs, per_device_train_batch_size=w.case.batch,
        per_device_eval_batch_size=2 * w.case.batch, learning_rate=RATE, use_cpu=True, eval_strategy="epoch",
        save_strategy="epoch", report_to=[], label_names=["labels"], seed=SEED,
    )  # fmt: skip
    Trainer(w.clock.on(Model()), arguments, train_dataset=Rows(w.train), eval_dataset=Rows(w.val)).train()


def fastai(w: Work) -> None:
    """A Learner on DataLoaders of its own; in this process, where its 2 workers would be slower."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy

    batches = DataLoaders.from_dsets(w.train, w.val, bs=w.case.batch, num_workers=0, device=torch.device("cpu"))
    net = w.clock.on(w.net)
    Learner(batches, net, loss_func=nn.CrossEntropyLoss(), metrics=accuracy, path=w.folder).fit(w.epochs, RATE)


def keras(w: Work) -> None:
    """Compile and fit on arrays, with accuracy; the net is Keras's own of the same shape."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as k

    class Told(k.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            w.clock.step()

    net = k.Sequential([k.layers.Input((20,)), k.layers.Dense(128, "relu"), k.layers.Dense(128, "relu"),
                        k.layers.Dense(2)])  # fmt: skip
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=k.optimizers.AdamW(RATE), loss=loss, metrics=["accuracy"])
    (x, y), val = ([t.numpy() for t in part.tensors] for part in (w.train, w.val))
    save = k.callbacks.ModelCheckpoint(str(w.folder / "best.keras"), save_best_only=True)
    net.fit(x, y, batch_size=w.case.batch, epochs=w.epochs, validation_data=tuple(val), callbacks=[save, Told()])


SYSTEMS: dict[str, Callable[[Work], None]] = {
    f.__name__: f for f in (raw, as_raw, planned, lightning, bare, hugging_face, fastai, keras)
}


def main() -> None:
    system, case, folder = SYSTEMS[sys.argv[1]], CASES[sys.argv[2]], Path(sys.argv[3])
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    w = work(case, folder)
    with redirect_stdout(sys.stderr), suppress(Enough):
        system(w)
    print(json.dumps({**w.clock.found(), "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
