"""Checkpoints are whole or absent, and damage is found."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from torchkiln.errors import RunError
from torchkiln.runs import checkpoints


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSES", (0.0, 0.0))


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


class Disk:
    """Fills a checkpoint, after refusing a number of times."""

    def __init__(self, refusals: int, error: Exception) -> None:
        self.refusals, self.error, self.tries = refusals, error, 0

    def __call__(self, path: Path) -> None:
        self.tries += 1
        (path / "weights.safetensors").write_bytes(b"weights")
        if self.tries <= self.refusals:
            raise self.error


SafetensorError = type("SafetensorError", (Exception,), {"__module__": "safetensors_rust"})


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), OSError(errno.EROFS, "read-only"),
     SafetensorError("I/O error: No space left on device (os error 28)")],
)  # fmt: skip
def test_what_the_disk_refuses_is_tried_three_times(tmp_path: Path, error: Exception) -> None:
    disk = Disk(2, error)
    (tmp_path / ".tmp-step-00000001-99999999").mkdir()
    assert checkpoints.is_whole(checkpoints.write(tmp_path, "step-00000002", disk))
    assert disk.tries == 3 and [p.name for p in tmp_path.iterdir()] == ["step-00000002"]
    lasting = Disk(3, error)
    with pytest.raises(checkpoints.NotWritten) as failed:
        checkpoints.write(tmp_path, "step-00000003", lasting)
    assert lasting.tries == 3 and checkpoints.steps(tmp_path, "step") == [2]
    assert (failed.value.folder, failed.value.needed) == (tmp_path / "step-00000003", 7)
    assert failed.value.errno == getattr(error, "errno", errno.ENOSPC)


def test_the_bytes_needed_are_those_the_writer_knows_of(tmp_path: Path) -> None:
    with pytest.raises(checkpoints.NotWritten) as failed:
        checkpoints.write(tmp_path, "step-00000001", Disk(3, OSError(28, "full")), size=123)
    assert failed.value.needed == 123


def test_an_error_of_the_writer_itself_is_not_tried_again(tmp_path: Path) -> None:
    wrong = Disk(3, ValueError("no such tensor"))
    with pytest.raises(ValueError, match="no such tensor"):
        checkpoints.write(tmp_path, "step-00000001", wrong)
    assert wrong.tries == 1 and list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_during_the_write_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    tries = []

    def fill(path: Path) -> None:
        tries.append(path)
        if len(tries) == 1:
            shutil.rmtree(folder)
        (path / "weights.safetensors").write_bytes(b"weights")

    assert checkpoints.is_whole(checkpoints.write(folder, "step-00000001", fill))


def test_some_are_kept_for_good_and_those_that_others_need(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        checkpoints.write(tmp_path, f"best-{step:08d}", filling(b"best"))  # type: ignore[arg-type]
        checkpoints.write(tmp_path, f"step-{step:08d}", filling(b"state"), needs=[f"best-{step:08d}"])  # type: ignore[arg-type]
    checkpoints.keep_newest(tmp_path, "step", 2, spare=lambda step: step % 2 == 0)
    assert checkpoints.steps(tmp_path, "step") == [2, 4, 5]
    checkpoints.keep_newest(tmp_path, "best", 1)
    assert checkpoints.steps(tmp_path, "best") == [2, 4, 5]


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_by(tmp_path: Path) -> None:
    """Going on from it would end with the best weights lost; an older one finds them again."""
    for step in (1, 2):
        checkpoints.write(tmp_path, f"best-{step:08d}", filling(b"best"))  # type: ignore[arg-type]
        checkpoints.write(tmp_path, f"step-{step:08d}", filling(b"state"), needs=[f"best-{step:08d}"])  # type: ignore[arg-type]
    (tmp_path / "best-00000002" / "weights.safetensors").write_bytes(b"beSt")
    told: list[str] = []
    assert checkpoints.newest(tmp_path, "step", told.append) == tmp_path / "step-00000001"
    assert len(told) == 1 and "best-00000002/weights.safetensors" in told[0]
    with pytest.raises(checkpoints.Damaged, match="step-00000002 needs best-00000002, and "):
        checkpoints.verify(tmp_path / "step-00000002")
    (tmp_path / "best-00000001" / "weights.safetensors").unlink()
    assert checkpoints.newest(tmp_path, "step") == tmp_path / "step-00000002"  # none is better


def manifest(path: Path, **changed: object) -> None:
    file = path / checkpoints.MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


ENTRY = {"size": 1, "sha256": "0"}


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"files": {"../x": ENTRY}}, r"names '\.\./x'"),
        ({"files": {"/etc/passwd": ENTRY}}, "names '/etc/passwd'"),
        ({"files": {"..": ENTRY}}, r"names '\.\.'"),
        ({"files": {"": ENTRY}}, "names ''"),
        ({"needs": ["../other/step-00000001"]}, "names '../other"),
        ({"needs": [3]}, "names '3'"),
        ({"files": {f"f{i}": ENTRY for i in range(10_001)}}, "names 10,001 files"),
        ({"more": "x" * 1_000_000}, "larger than 1,000,000 bytes"),
    ],
)
def test_a_manifest_that_is_none_of_ours_is_refused(tmp_path: Path, planted: dict[str, object], said: str) -> None:
    path = write(tmp_path, 1)
    write(tmp_path, 0)
    manifest(path, **planted)
    for check in (lambda: checkpoints.verify(path), lambda: checkpoints.newest(tmp_path, "step")):
        with pytest.raises(RunError, match=said) as refused:
            check()
        assert not isinstance(refused.value, checkpoints.Damaged)


@pytest.mark.parametrize("text", ["{", "[]", "null", "{}", '{"files": {}}', '{"files": {"a": 1}}', '{"files": ["a"]}',
                                  '{"files": {"a": {"size": "7", "sha256": "0"}}}', "[" * 100_000])  # fmt: skip
def test_a_manifest_of_another_shape_is_damage(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, 1)
    (path / checkpoints.MANIFEST).write_text(text)
    with pytest.raises(checkpoints.Damaged, match="MANIFEST"):
        checkpoints.verify(path)


def test_a_file_that_the_manifest_does_not_name_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    (path / ".DS_Store").write_text("as some file managers leave it")
    checkpoints.verify(path)
    (path / "state.json").write_text("{}")
    with pytest.raises(checkpoints.Damaged, match=r"state\.json is not named in MANIFEST"):
        checkpoints.verify(path)


@pytest.mark.parametrize("what", ["folder", "file", "manifest"])
def test_links_are_refused_and_never_written_through(tmp_path: Path, what: str) -> None:
    elsewhere = write(tmp_path / "elsewhere", 1)
    path = tmp_path / "step-00000001"
    if what == "folder":
        path.symlink_to(elsewhere)
    else:
        write(tmp_path, 1)
        name = "weights.safetensors" if what == "file" else checkpoints.MANIFEST
        (path / name).unlink()
        (path / name).symlink_to(elsewhere / name)
    with pytest.raises(RunError, match="is a link"):
        checkpoints.newest(tmp_path, "step")
    assert write(tmp_path, 1, b"new") == path and not path.is_symlink()
    assert (path / "weights.safetensors").read_bytes() == b"new"
    assert (elsewhere / "weights.safetensors").read_bytes() == b"weights"


def test_names_that_only_look_like_steps_are_none(tmp_path: Path) -> None:
    write(tmp_path, 1)
    for name in ("step-2", "step-0000000\u00b2", "step-00000003-old", "step-"):
        os.mkdir(tmp_path / name)
    assert checkpoints.steps(tmp_path, "step") == [1]


def test_nothing_is_pruned_where_the_folder_is_taken_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(folder: Path) -> set[str]:
        raise FileNotFoundError(folder)

    monkeypatch.setattr(checkpoints, "_needed", gone)
    checkpoints.keep_newest(tmp_path, "step", 2)
