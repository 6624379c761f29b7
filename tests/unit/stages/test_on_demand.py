"""torchmetrics in pieces: Lightning gets what it needs, and whoever asks for more gets it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchkiln.errors import MissingExtra, RunFailed
from torchkiln.stages import on_demand

PROBE = """
import json, sys
from torchkiln.stages import on_demand
{before}
on_demand.torchmetrics_in_pieces()
import lightning.pytorch as L, torch, torchmetrics
early = 'torchmetrics.functional' in sys.modules
accuracy = torchmetrics.Accuracy(task="binary")
print(json.dumps({{"early": early, "right": float(accuracy(torch.ones(3), torch.ones(3, dtype=torch.int))),
                  "same": isinstance(accuracy, L.core.module.Metric), "version": torchmetrics.__version__,
                  "kind": type(torchmetrics).__name__}}))
"""


def found(before: str = "") -> dict[str, object]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROBE.format(before=before)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
def test_the_rest_comes_when_it_is_asked_for() -> None:
    answer = found()
    assert not answer["early"], "importing Lightning loaded every metric"
    assert (answer["right"], answer["same"], answer["kind"]) == (1.0, True, "module")


@pytest.mark.slow
def test_a_version_that_does_not_come_apart_is_loaded_whole() -> None:
    answer = found("on_demand.PIECES = {}")
    assert answer["early"]
    assert (answer["right"], answer["same"]) == (1.0, True)


def test_what_is_loaded_already_is_left_alone() -> None:
    import torchmetrics

    from torchkiln.stages.on_demand import torchmetrics_in_pieces

    torchmetrics_in_pieces()
    assert sys.modules["torchmetrics"] is torchmetrics


@pytest.mark.parametrize("on", [True, False])
def test_imports_leave_the_collector_as_it_was(on: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        on_demand.load_training()
        assert gc.isenabled() is on
    finally:
        (gc.enable if was else gc.disable)()


def test_a_missing_part_is_answered_with_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"torchkiln\[text\]"), on_demand.training_extra():
        raise ModuleNotFoundError("x", name="transformers.models")
    with pytest.raises(ModuleNotFoundError, match="x"), on_demand.training_extra():
        raise ModuleNotFoundError("x", name="my_own_module")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: custom\n")
    for run, onward in ((tmp_path, "torchkiln fit --resume"), (tmp_path / "none", "start again")):
        with (
            pytest.raises(RunFailed, match=f"the disk is full at /a/b; make room, then: {onward}"),
            on_demand.full_disk(run),
        ):
            raise OSError(28, "No space left on device", "/a/b")
    with pytest.raises(PermissionError), on_demand.full_disk(tmp_path):
        raise PermissionError(13, "denied")
