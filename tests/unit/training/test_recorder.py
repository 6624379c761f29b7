"""What is kept while a run trains: the best weights, and a word where a loss is no number."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torchkiln.errors import RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training import state_files
from torchkiln.training.recorder import Recorder


class Scene:
    """A recorder, and epochs it is told of."""

    def __init__(self, folder: Path, higher_is_better: bool = True) -> None:
        self.run = RunDirectory.create(folder / "run")
        self.weight = torch.zeros(1)
        self.recorder = Recorder(self.run, Progress(), lambda: {"w": self.weight}, monitor="val_accuracy",
                                 higher_is_better=higher_is_better, samples=10)  # fmt: skip
        self.epochs = 0

    def epoch(self, **metrics: float) -> None:
        self.epochs += 1
        self.weight.fill_(self.epochs)
        trainer: Any = SimpleNamespace(
            global_step=10 * self.epochs, current_epoch=self.epochs - 1, optimizers=[],
            callback_metrics={k: torch.tensor(v) for k, v in metrics.items()},
        )  # fmt: skip
        module: Any = None
        self.recorder.on_validation_end(trainer, module)
        self.recorder.on_train_epoch_end(trainer, module)

    def best(self) -> tuple[str, float]:
        self.recorder.write_best()
        folder = checkpoints.newest(self.run.path / "checkpoints", "best")
        assert folder is not None
        return folder.name, float(state_files.load_tensors(folder / "weights.safetensors")["w"])


@pytest.mark.parametrize(("higher", "values", "step"), [
    (True, [0.5, 0.8, 0.6], 20), (False, [0.5, 0.8, 0.6], 10), (True, [0.5, 0.5, 0.5], 10),
    (True, [float("nan"), 0.1, float("nan")], 20),
])  # fmt: skip
def test_the_best_is_the_first_best_finite_one_in_its_direction(
    tmp_path: Path, higher: bool, values: list[float], step: int
) -> None:
    scene = Scene(tmp_path, higher)
    for value in values:
        scene.epoch(val_accuracy=value)
    assert scene.best() == (f"best-{step:08d}", step / 10)
    assert [r["epoch"] for r in scene.run.rows("metrics")] == ["0", "1", "2"]


def test_a_loss_that_is_no_number_ends_the_run_with_a_row_that_shows_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with pytest.raises(RunFailed, match=r"val_loss is not finite in epoch 0: lower optimizer.lr"):
        scene.epoch(val_accuracy=0.5, val_loss=float("nan"))
    assert scene.run.rows("metrics")[0]["val_loss"] == "nan"


def test_a_metric_that_was_never_logged_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"logged no 'val_accuracy'; it logged val_loss"):
        Scene(tmp_path).epoch(val_loss=0.5)
