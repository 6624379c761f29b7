"""How soon something happens: the help, and the first training step on a folder of pictures. See speed.py.

    python benchmarks/speed_start.py SYSTEM DATA

As a program it is what a person would otherwise write for that folder, and ends at its first training step. All get
the same PNG files of scikit-learn's digits, written by examples/digits.py, and two threads.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROUNDS = 5
PACKAGES = ("accelerate==1.15.0", "fastai==2.8.12", "pandas==3.1.1", "transformers>=5.0")  # as for speed_scores.py
PEERS = {"lightning": "Lightning", "hugging_face": "HF Trainer"}
HELP_SECONDS = 0.3


def start(folder: Path, env: Path) -> list[Any]:
    """`import torchkiln`, `torchkiln --help`, and the first step beside others'."""
    from figures import HERE, Figure, in_turns, median, peers_python, run

    data, python = folder / "digits", peers_python(env, "scores", PACKAGES)
    run([sys.executable, HERE.parent / "examples" / "digits.py", data])
    both = os.cpu_count()
    programs = {
        "import torchkiln": lambda: run([sys.executable, "-c", "import torchkiln"]),
        "torchkiln --help": lambda: run([sys.executable, "-m", "torchkiln", "--help"]),
        # nothing decoded or measured before; and the variable that the command line sets
        "ours": lambda: run([sys.executable, __file__, "ours", data], threads=both, GOMP_SPINCOUNT=1000,
                            TORCHKILN_CACHE=tempfile.mkdtemp(dir=folder)),
        **{name: lambda name=name: run([python, __file__, name, data], threads=both) for name in PEERS},  # type: ignore[misc]
    }  # fmt: skip
    found = in_turns(programs, ROUNDS)

    def words(name: str) -> str:
        return f"{median(found[name], 'wall'):.2f} s (CPU {median(found[name], 'cpu'):.2f})"

    figures = [
        Figure("start", f"`{name}`", words(name), f"< {HELP_SECONDS} s", "", median(found[name], "wall") < HELP_SECONDS)
        for name in ("import torchkiln", "torchkiln --help")
    ]
    what = "`torchkiln fit` on 1,797 digits, from the start of the process to the first step"
    for name, called in PEERS.items():
        sooner = median(found["ours"], "wall") < median(found[name], "wall")
        figures.append(Figure("start", what, words("ours"), "sooner", f"{called} {words(name)}", sooner))
    return figures


# The programs


def ours(data: Path) -> None:
    """The command line, data checks, plan and all, ended where the first batch goes into the net."""

    # put in the way of the step before anything is imported, so that no import is moved by the measurement
    class Ending:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "torchkiln.training.jobs":
                sys.meta_path.remove(self)  # type: ignore[arg-type]
                from torchkiln.training.module import KilnModule

                KilnModule.training_step = stop  # type: ignore[method-assign]

    def stop(*_: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        leave()

    folder = tempfile.mkdtemp()
    sys.meta_path.insert(0, Ending())  # type: ignore[arg-type]
    from torchkiln.cli import main

    main(["fit", str(data), "--out", f"{folder}/run"])
    raise SystemExit("there was no training step")


def leave() -> None:
    os._exit(0)


def pictures(data: Path, size: int = 32) -> tuple[Any, Any]:
    """Train and val of a folder that has no splits, as any tutorial does it."""
    import torch
    from torch.utils.data import random_split
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    scaled = v2.Compose([v2.Resize((size, size)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return tuple(random_split(ImageFolder(str(data), scaled), [0.85, 0.15]))  # type: ignore[return-value]


def lightning(data: Path) -> None:
    import lightning as L
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision.models import resnet18

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet18(num_classes=10)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            leave()
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    train, val = pictures(data)
    trainer = L.Trainer(max_epochs=1, default_root_dir=data.parent / "lightning")
    trainer.fit(Module(), DataLoader(train, 64, shuffle=True), DataLoader(val, 64))


def hugging_face(data: Path) -> None:
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

    class Ended(Trainer):
        def training_step(self, *args: Any, **more: Any) -> Any:
            leave()
            return super().training_step(*args, **more)

    def collate(rows: list[Any]) -> dict[str, Any]:
        return {"pixel_values": torch.stack([r[0] for r in rows]), "labels": torch.tensor([r[1] for r in rows])}

    train, val = pictures(data)
    net = ResNetForImageClassification(
        ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], num_labels=10)
    )
    arguments = TrainingArguments(str(data.parent / "hugging_face"), use_cpu=True, report_to=[], eval_strategy="epoch")
    Ended(net, arguments, data_collator=collate, train_dataset=train, eval_dataset=val).train()


if __name__ == "__main__":
    {"ours": ours, "lightning": lightning, "hugging_face": hugging_face}[sys.argv[1]](Path(sys.argv[2]))
    raise SystemExit("the first step was not reached")
