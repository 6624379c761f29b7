"""What each thing that a step is spared would cost: our fit of the small MLP with one of them put back at a time.

    python benchmarks/speed_parts.py FOLDER

All in one process, in turns; before and behind the clocked steps of each epoch the raw loop takes some, and what
counts is the difference of their processor time, so that a busy machine meets both alike. Run by speed_steps.py.
"""

from __future__ import annotations

import contextlib
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import lightning.pytorch as L
import torch
from lightning.pytorch.profilers import PassThroughProfiler
from speed_peers import CASES, RATE, Case, Clock, Enough, Work, as_raw, bare, work
from torch import nn
from torch.utils.data import DataLoader

from torchkiln.data import loader, own
from torchkiln.training import fit, module, settings, spared

ROUNDS = 2


class BesideRaw(Clock):
    """Clocks the steps between two stretches of a raw loop; `found` is what a step takes more, in microseconds."""

    def __init__(self, case: Case, beside: Work) -> None:
        super().__init__(case)
        self.net = copy.deepcopy(beside.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), RATE, fused=True)
        self.inputs, self.targets = beside.train.tensors
        self.raw: list[float] = []
        self.whole: list[float] = []

    def step(self) -> None:
        place = self.count % self.case.batches
        self.count += 1
        if place == self.case.skipped:
            self.before, self.begun = self._raw(), time.process_time()
        elif place == self.case.batches - 1:
            seconds = time.process_time() - self.begun
            self.whole.append(1e6 * seconds / (self.case.batches - 1 - self.case.skipped))
            self.raw.append((self.before + self._raw()) / 2)
            if len(self.whole) == self.case.epochs + 1:
                raise Enough

    def _raw(self, steps: int = 60) -> float:
        """Microseconds of a raw step; as Lightning's variable would slow it down too, it is taken away meanwhile."""
        criterion = nn.CrossEntropyLoss()
        with spared.no_driver_search():
            begun = time.process_time()
            for index in torch.randperm(len(self.inputs)).split(self.case.batch)[:steps]:
                loss = criterion(self.net(self.inputs[index]), self.targets[index])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            return 1e6 * (time.process_time() - begun) / steps

    def found(self) -> dict[str, float]:
        more = [w - r for w, r in zip(self.whole[1:], self.raw[1:], strict=True)]
        return {"raw": statistics.median(self.raw[1:]), "more": statistics.median(more)}


@contextlib.contextmanager
def without_signature() -> Iterator[None]:
    step = cast(Any, module.KilnModule.training_step)
    kept = vars(step).pop("__signature__")
    try:
        yield
    finally:
        step.__signature__ = kept


def put_back() -> Mapping[str, Any]:
    """What is spared, by name, each as a context in which it is not."""
    kiln, theirs = module.KilnModule, L.LightningModule
    return {
        "nothing": contextlib.nullcontext(),
        "a TensorDataset is read by whole batches": patch.object(own, "_tensors", lambda dataset: None),
        "the driver's library is not searched (Adam, no GPU)": patch.object(settings, "no_driver_search",
                                                                           contextlib.nullcontext),
        "no generator for each profiled name": patch.object(spared, "NoProfiler", PassThroughProfiler),
        "plain attributes are set plainly": patch.object(kiln, "__setattr__", nn.Module.__setattr__),
        "the stage and the module are at hand": patch.object(fit, "LeanTrainer", L.Trainer),
        "the signature of the step is at hand": without_signature(),
        "batches without the DataLoader's detours": patch.object(loader.BatchLoader, "__iter__", DataLoader.__iter__),
        "a batch on the CPU stays as it is": patch.object(kiln, "transfer_batch_to_device",
                                                          theirs.transfer_batch_to_device),
        "gradients are set to None directly": patch.object(kiln, "optimizer_zero_grad", theirs.optimizer_zero_grad),
        "losses are read every 50 steps": patch.object(module, "READ_EVERY", 1),
    }  # fmt: skip


def measured(system: Any, folder: Path) -> dict[str, float]:
    case = CASES["mlp"]
    given = work(case, folder)
    clock = BesideRaw(case, given)
    begin = module.KilnModule.on_train_batch_start
    with redirect_stdout(sys.stderr), suppress(Enough):
        system(Work(case, given.net, given.train, given.val, clock, folder))
    module.KilnModule.on_train_batch_start = begin  # type: ignore[method-assign]
    return clock.found()


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for name, context in {"Lightning bare": None, **put_back()}.items():
            with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place, context or contextlib.nullcontext():
                found.setdefault(name, []).append(measured(as_raw if context else bare, Path(place)))
    medians = {name: statistics.median(run["more"] for run in runs) for name, runs in found.items()}
    raw = statistics.median(run["raw"] for runs in found.values() for run in runs)
    print(json.dumps({"raw": raw, "more": medians}))


if __name__ == "__main__":
    main()
