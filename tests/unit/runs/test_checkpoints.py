"""Checkpoints are whole or absent, and damage is found."""

from pathlib import Path

import pytest

from torchkiln.errors import RunError
from torchkiln.runs import checkpoints


def filling(content: bytes) -> object:
    return lambda path: (path / "weights.safetensors").write_bytes(content)


def write(folder: Path, step: int, content: bytes = b"weights") -> Path:
    return checkpoints.write(folder, f"step-{step:08d}", filling(content))  # type: ignore[arg-type]


def test_the_newest_is_told_by_its_step(tmp_path: Path) -> None:
    for step in (20, 3, 100):
        write(tmp_path, step)
    newest = checkpoints.newest(tmp_path, "step")
    assert newest is not None and newest.name == "step-00000100"
    assert checkpoints.steps(tmp_path, "step") == [3, 20, 100]
    checkpoints.keep_newest(tmp_path, "step", 2)
    assert checkpoints.steps(tmp_path, "step") == [20, 100]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_damage_of_any_kind_is_found_and_the_one_before_taken(tmp_path: Path, damage: str) -> None:
    older, newer = write(tmp_path, 1), write(tmp_path, 2)
    file = newer / "weights.safetensors"
    match damage:
        case "flip":
            file.write_bytes(b"weighte")
        case "cut":
            file.write_bytes(b"wei")
        case "remove":
            file.unlink()
        case "manifest":
            (newer / checkpoints.MANIFEST).write_text("{")
    with pytest.raises(RunError, match=r"weights\.safetensors|MANIFEST"):
        checkpoints.verify(newer)
    assert checkpoints.newest(tmp_path, "step") == older


def test_a_write_that_fails_leaves_nothing_and_harms_nothing(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def fail(path: Path) -> None:
        (path / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkpoints.write(tmp_path, "step-00000002", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_step_replayed_keeps_the_whole_one_and_mends_a_broken_one(tmp_path: Path) -> None:
    write(tmp_path, 1, b"first")
    assert (write(tmp_path, 1, b"again") / "weights.safetensors").read_bytes() == b"first"
    (tmp_path / "step-00000001" / "weights.safetensors").write_bytes(b"broken")
    assert (write(tmp_path, 1, b"again") / "weights.safetensors").read_bytes() == b"again"


def test_a_sweep_takes_what_a_kill_left_and_later_steps(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    (tmp_path / ".tmp-step-00000004-77").mkdir()
    checkpoints.sweep(tmp_path, "step", after=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
