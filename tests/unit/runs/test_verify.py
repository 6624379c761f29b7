"""What of a run is whole, said before it is needed."""

from pathlib import Path

import pytest

from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.verify import lines, verify


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "run")
    made.write_text("recipe.yaml", "task: x\n")
    for step in (10, 20):
        for prefix in (checkpoints.STEP, checkpoints.BEST):
            checkpoints.write(made.path / "checkpoints", f"{prefix}-{step:08d}", fill)
    return made


def fill(path: Path) -> None:
    (path / "weights.safetensors").write_bytes(b"weights")


def spoil(run: RunDirectory, name: str) -> None:
    (run.path / "checkpoints" / name / "weights.safetensors").write_bytes(b"weightS")


def test_a_whole_run_goes_on_from_its_newest_state(run: RunDirectory) -> None:
    found = verify(run)
    assert found["ok"] and (found["resume_from"], found["best"]) == (20, 20)
    said = lines(found)
    assert len(said) == 5 and said[0].startswith("step-00000010  whole, 2 files, ")
    assert said[-1].endswith(f"torchkiln fit --resume {run.path} goes on from step 20; the best weights are those of "
                             "step 20")  # fmt: skip


def test_damage_is_named_and_the_one_before_is_taken(run: RunDirectory) -> None:
    spoil(run, "step-00000020")
    found = verify(run)
    assert found["ok"] and found["resume_from"] == 10
    assert [c["name"] for c in found["checkpoints"] if c["fault"]] == ["step-00000020"]
    assert "damaged: " in lines(found)[1] and "step-00000020/weights.safetensors" in lines(found)[1]
    spoil(run, "step-00000010")
    found = verify(run)
    assert not found["ok"] and found["resume_from"] is None and "nothing to go on from" in found["text"]


def test_a_run_that_ended_needs_its_own_best_weights(run: RunDirectory) -> None:
    run.write_json("best.json", {"step": 20})
    run.finish("fit")
    assert verify(run)["ok"] and "training is complete" in verify(run)["text"]
    spoil(run, "best-00000020")
    found = verify(run)
    assert not found["ok"] and found["best"] is None and "no best weights are whole" in found["text"]


def test_a_run_before_its_first_checkpoint_begins_at_the_beginning(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "new")
    found = verify(run)
    assert found["ok"] and (found["resume_from"], found["best"]) == (0, None)
