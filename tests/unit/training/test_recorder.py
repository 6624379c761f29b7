"""What is kept while a run trains: the best weights, and a word where a loss is no number."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torchkiln.errors import RunFailed
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.training.recorder import Recorder, last_step


class Scene:
    """A recorder, and epochs it is told of."""

    def __init__(self, folder: Path, higher_is_better: bool = True) -> None:
        self.run = RunDirectory.create(folder / "run")
        self.weight = torch.zeros(1)
        self.recorder = Recorder(self.run, Progress(), lambda: {"w": self.weight}, monitor="val_accuracy",
                                 higher_is_better=higher_is_better, samples=10)  # fmt: skip
        self.epochs = 0

    def epoch(self, *, inside: bool = False, **metrics: float) -> None:
        """One validation at an epoch's end, or inside of it."""
        self.epochs += 1
        self.weight.fill_(self.epochs)
        trainer: Any = SimpleNamespace(
            global_step=10 * self.epochs, current_epoch=self.epochs - 1, optimizers=[],
            is_last_batch=not inside, early_stopping_callbacks=[SimpleNamespace(monitor="val_auroc")],
            lr_scheduler_configs=[], callback_metrics={k: torch.tensor(v) for k, v in metrics.items()},
        )  # fmt: skip
        module: Any = None
        self.recorder.on_validation_end(trainer, module)
        if not inside:
            self.recorder.on_train_epoch_end(trainer, module)

    def best(self) -> tuple[int, float]:
        taken = self.recorder.take_best()
        assert taken is not None
        return taken[0], float(taken[1].tensors["w"])


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
    assert scene.best() == (step, step / 10)
    assert [r["epoch"] for r in scene.run.rows("metrics")] == ["0", "1", "2"]


def test_a_loss_that_is_no_number_ends_the_run_with_a_row_that_shows_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with pytest.raises(RunFailed, match=r"val_loss is not finite in epoch 0: lower optimizer.lr"):
        scene.epoch(val_accuracy=0.5, val_loss=float("nan"))
    assert scene.run.rows("metrics")[0]["val_loss"] == "nan"


def test_a_metric_that_was_never_logged_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"logged no 'val_accuracy'; it logged val_loss"):
        Scene(tmp_path).epoch(val_loss=0.5)


def test_a_metric_that_early_stopping_follows_must_be_a_number(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"val_auroc is not a number in epoch 0, and early stopping"):
        Scene(tmp_path).epoch(val_accuracy=0.5, val_auroc=float("nan"))


def test_a_validation_inside_an_epoch_has_a_row_and_may_be_the_best(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.epoch(inside=True, val_accuracy=0.9)
    scene.epoch(val_accuracy=0.5)
    assert [r["val_accuracy"] for r in scene.run.rows("metrics")] == ["0.8999999761581421", "0.5"]
    assert scene.best() == (10, 1.0)
    assert scene.recorder.take_best() is None, "taken once"
    assert last_step(scene.run) == 20


def test_rows_of_steps_wait_in_memory_and_are_whole_when_something_ends(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.recorder._every, scene.recorder._step, scene.recorder._shown = 2, 0, float("inf")
    for step in range(1, 6):
        group = {"lr": 0.1 * step}
        trainer: Any = SimpleNamespace(
            global_step=step, current_epoch=0, optimizers=[SimpleNamespace(param_groups=[group])]
        )
        module: Any = None
        scene.recorder.on_train_batch_end(trainer, module, {"loss": torch.tensor(0.5 * step)}, None, step - 1)
    assert scene.run.rows("steps") == []
    scene.recorder.write_steps()
    scene.recorder.write_steps()
    rows = [(row["step"], row["train_loss"], row["lr"]) for row in scene.run.rows("steps")]
    assert rows == [("2", "1.0", "0.2"), ("4", "2.0", "0.4")]


def test_a_column_that_comes_late_is_empty_in_the_rows_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.epoch(val_accuracy=0.5)
    scene.epoch(val_accuracy=0.75, val_f1=0.25)
    scene.epoch(val_accuracy=0.5)
    assert [r["val_f1"] for r in scene.run.rows("metrics")] == ["", "0.25", ""]
    assert scene.recorder.state()["rows"] == 3
    assert scene.recorder.state()["columns"] == ["epoch", "step", "val_accuracy", "val_f1"]
