"""What disks do to a run, each brought about: nothing that was said to be saved is lost, and the run can go on.

The number in a name is that of the catalogue of faults. Where a fault is refused or mended by the files' own code,
its further cases stand in tests/unit/runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.errors import RunError, RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.runs.verify import verify

SETTINGS = {"train.epochs": 4, "train.plan_seconds": 0,
            "train.batch_size": 8, "train.threads": 1, "train.precision": "32", "data.workers": 0,
            "train.checkpoint_every": 3, "train.monitor": "loss"}  # fmt: skip
STEPS = 24
"""Of the whole run: six a epoch."""
Act = Callable[[int], None]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSES", (0.0, 0.0))


class Net(nn.Sequential):
    """A net that calls `act` with the number of each training step, from 0, as it begins.

    Copies, which the plan makes its trials with, do not.
    """

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        self.act: Act | None = None
        self.step = 0

    def __deepcopy__(self, memo: Any) -> Net:
        copied = Net()
        copied.load_state_dict(self.state_dict())
        return copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled() and self.act is not None:
            self.act(self.step)
            self.step += 1
        out: torch.Tensor = super().forward(x)
        return out


def data() -> list[TensorDataset]:
    found = []
    for n, seed in ((45, 0), (21, 1), (20, 2)):
        x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
        found.append(TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long()))
    return found


def net(act: Act | None = None) -> Net:
    torch.manual_seed(0)
    made = Net()
    made.act = act
    return made


def fit(path: Path, act: Act | None = None, **more: Any) -> torchkiln.Run:
    settings = {} if "resume" in more else {"out": path, "overrides": SETTINGS}
    return torchkiln.fit(model=net(act), loss="cross_entropy", data=data(), **{**settings, **more})


def resume(path: Path, **more: Any) -> torchkiln.Run:
    return fit(path, resume=path, **more)


def at(step: int, do: Callable[[], object]) -> Act:
    """Do it once, when that step begins."""

    def act(now: int) -> None:
        if now == step:
            do()

    return act


def stop() -> None:
    raise RuntimeError("stopped by the test")


def stopped(path: Path, step: int = 14) -> RunDirectory:
    """A run that ended early and can go on."""
    with pytest.raises(RunFailed, match="stopped by the test"):
        fit(path, at(step, stop))
    return RunDirectory.open(path)


def ending(path: Path) -> dict[str, Any]:
    """What an interruption must not change: weights last and best, the table of epochs, the scores."""
    folder = path / "checkpoints"
    files = {}
    for prefix in ("step", "best"):
        newest = checkpoints.newest(folder, prefix)
        assert newest is not None
        files[newest.name] = (newest / "weights.safetensors").read_bytes()
    return {**files, "metrics": (path / "metrics.csv").read_bytes(), "test": (path / "test.json").read_bytes()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How a run ends that nothing happened to."""
    path = tmp_path_factory.mktemp("whole") / "run"
    fit(path)
    return ending(path)


def checkpoint_steps(path: Path) -> list[int]:
    return checkpoints.steps(path / "checkpoints", "step")


def nothing_left_over(path: Path) -> bool:
    return not list(path.rglob(".tmp-*"))


def texts(path: Path) -> str:
    return "\n".join(e["text"] for e in RunDirectory(path).events())


# 13 to 17: the disk says no


class Refusing:
    """Lets `os.fsync` of files below `folder` fail, so often, from when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, number: int, times: int) -> None:
        self.on, self.refused = False, 0
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if self.on and self.refused < times and str(folder) in os.readlink(f"/proc/self/fd/{descriptor}"):
                self.refused += 1
                raise OSError(number, os.strerror(number))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    def start(self) -> None:
        self.on = True


ERRORS = {
    "13_full": 28,
    "15_quota": 122,
    "15_too_large": 27,
    "16_read_only": 30,
    "16_no_permission": 13,
    "17_broken": 5,
}


@pytest.mark.parametrize("name", ERRORS)
def test_fault_13_15_16_17_a_disk_that_refuses_ends_the_run_with_words_and_it_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    path = tmp_path / "run"
    disk = Refusing(monkeypatch, path / "checkpoints", ERRORS[name], times=3)
    with pytest.raises(RunFailed, match=rf"could not be written.*torchkiln fit --resume {path}") as failed:
        fit(path, at(7, disk.start))
    assert disk.refused == 3
    assert "\n" not in str(failed.value)
    kept = checkpoint_steps(path)
    assert kept and max(kept) <= 9 and verify(RunDirectory(path))["ok"]
    assert nothing_left_over(path)
    assert (path / "metrics.csv").read_text().count("\n") >= 2, "a finished epoch's row is lost"
    resume(path)
    assert ending(path) == whole


def test_fault_17_a_disk_that_refuses_twice_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    path = tmp_path / "run"
    disk = Refusing(monkeypatch, path / "checkpoints", 5, times=2)
    fit(path, at(7, disk.start))
    assert disk.refused == 2 and ending(path) == whole


LIMITED = """
import resource, sys
sys.argv = ["test", *sys.argv[1:]]
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import test_disk_in_process as disk
path = Path(sys.argv[2])
def shrink():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
try:
    disk.fit(path, disk.at(7, shrink))
except disk.RunFailed as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.slow
def test_fault_15_a_limit_on_file_sizes_is_told_and_does_not_kill(tmp_path: Path, whole: dict[str, Any]) -> None:
    """The system's answer to a write beyond the limit is a signal that ends a process which does not ignore it."""
    copied = tmp_path / "test_disk_in_process.py"
    shutil.copy(__file__, copied)
    path = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", LIMITED, copied, path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "could not be written" in done.stdout and f"torchkiln fit --resume {path}" in done.stdout
    assert verify(RunDirectory(path))["ok"] and nothing_left_over(path)
    resume(path)
    assert ending(path) == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "small"
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip(f"no file system can be mounted here ({os.strerror(ctypes.get_errno())})")
    yield place
    detach = 2  # MNT_DETACH: now, whoever still has a file of it open
    assert libc.umount2(os.fsencode(place), detach) == 0


@pytest.mark.slow
def test_fault_13_14_a_full_file_system(small_disk: Path, whole: dict[str, Any]) -> None:
    path, filler = small_disk / "run", small_disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    if not file.write(b"x" * 4096):
                        return
                except OSError:
                    return

    with pytest.raises(RunFailed, match="--resume"):
        fit(path, at(7, fill))
    assert verify(RunDirectory(path))["ok"] and nothing_left_over(path)
    rows = (path / "metrics.csv").read_bytes()
    assert rows.endswith(b"\n") and whole["metrics"].startswith(rows), "a row is torn or lost"
    filler.unlink()
    resume(path)
    assert ending(path) == whole


def test_fault_14_a_row_is_whole_or_absent(tmp_path: Path) -> None:
    """A limit in the middle of a row: what was written of it is taken back."""
    run = RunDirectory.create(tmp_path / "run")
    run.append_row("metrics", {"epoch": 0, "loss": 0.5})
    before = (run.path / "metrics.csv").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large|No space left"):
            run.append_row("metrics", {"epoch": 1, "loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (run.path / "metrics.csv").read_bytes() == before


def test_fault_14_a_device_without_room(tmp_path: Path) -> None:
    """`/dev/full` answers every write so; opening it needs no rights."""
    run = RunDirectory.create(tmp_path / "run")
    (run.path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        run.append_row("metrics", {"epoch": 0})


# 18, 19: what was written is damaged afterwards

FILES = ("weights.safetensors", "state.safetensors", "state.json", "MANIFEST.json")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # of a tensor, which every reader would take for good
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "18_flipped": flip,
    "19_cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "19_empty": lambda file: os.truncate(file, 0),
    "19_gone": Path.unlink,
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended early, to be copied."""
    path = tmp_path_factory.mktemp("interrupted") / "run"
    stopped(path)
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_fault_18_19_damage_is_found_and_named_and_the_one_before_is_taken(
    damage: str, name: str, tmp_path: Path, interrupted: Path, whole: dict[str, Any]
) -> None:
    path = shutil.copytree(interrupted, tmp_path / "run")
    kept = checkpoint_steps(path)
    assert len(kept) == 2
    DAMAGE[damage](checkpoints.named(path / "checkpoints", "step", kept[-1]) / name)
    found = verify(RunDirectory(path))
    assert found["ok"] and found["resume_from"] == kept[0]
    (fault,) = [c["fault"] for c in found["checkpoints"] if c["fault"]]
    # a manifest that still reads may say something false of any file
    assert (name in fault or name == "MANIFEST.json") and f"step-{kept[-1]:08d}" in fault
    if name == "weights.safetensors":  # the rest go the same way, and each resume takes a second
        resume(path)
        assert ending(path) == whole


def test_fault_18_19_the_fault_is_said_in_the_run(tmp_path: Path, interrupted: Path) -> None:
    path = shutil.copytree(interrupted, tmp_path / "run")
    older, newer = checkpoint_steps(path)
    flip(checkpoints.named(path / "checkpoints", "step", newer) / "state.safetensors")
    resume(path)
    assert f"step-{newer:08d}/state.safetensors is missing or differs from its digest" in texts(path)
    assert f"going on from step-{older:08d}" in texts(path)


def test_fault_18_damaged_best_weights_are_never_tested_in_silence(
    tmp_path: Path, interrupted: Path, whole: dict[str, Any]
) -> None:
    """In these runs the first epoch is the best, so no state is left from before it."""
    path = shutil.copytree(interrupted, tmp_path / "run")
    (best,) = (path / "checkpoints").glob("best-*")
    flip(best / "weights.safetensors")
    found = verify(RunDirectory(path))
    assert found["ok"] and found["best"] is None and best.name in found["checkpoints"][0]["lacks"]
    run = resume(path)
    (reason,) = run.directory.read_json("environment.json")["not_bitwise"]
    assert "the best weights, of epoch 0, were damaged" in reason
    assert run.scores["best_epoch"] >= 2 and verify(run.directory)["complete"]
    steps = [n for n in whole if n.startswith("step")]
    assert [ending(path)[n] for n in steps] == [whole[n] for n in steps], "the last weights are the same"


def test_fault_18_best_weights_that_are_damaged_after_the_end_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    more = {**SETTINGS, "train.checkpoint_every": 1, "train.epochs": 1}
    run = fit(path, overrides=more)
    before = ending(path)
    (best,) = (path / "checkpoints").glob("best-*")
    flip(best / "weights.safetensors")
    with pytest.raises(RunError, match=f"{best.name}/weights"):
        torchkiln.training.fit.load_best(net(), run.directory)  # type: ignore[attr-defined]
    resume(path)
    assert ending(path) == before
    assert run.directory.read_json("environment.json")["not_bitwise"] == []


# 20 to 22


def remove(path: Path) -> None:
    """Gone at once, also while a checkpoint is being written there, whose three tries follow without a pause here."""
    gone = path.with_name(f"{path.name}-gone")
    path.rename(gone)
    while gone.exists():
        shutil.rmtree(gone, ignore_errors=True)


def test_fault_20_a_checkpoint_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(path, at(4, lambda: remove(path / "checkpoints")))
    assert verify(RunDirectory(path))["ok"] and (path / "test.json").is_file()


def test_fault_20_a_run_directory_that_is_removed_is_made_again_and_said(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run = fit(path, at(4, lambda: remove(path)))
    assert verify(run.directory)["ok"] and run.scores["metrics"]
    assert "the run directory was removed while the run went on" in texts(path)
    assert (path / "recipe.yaml").is_file() and (path / "begun.json").is_file()
    assert [row["epoch"] for row in run.directory.rows("metrics")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("what", ["run", "run/checkpoints"])
def test_fault_20_best_weights_that_were_removed_are_missed_in_writing(what: str, tmp_path: Path) -> None:
    """In these runs the first epoch is the best; when the third is over, its weights are gone."""
    path = tmp_path / "run"
    run = fit(path, at(14, lambda: remove(tmp_path / what)))
    (reason,) = run.directory.read_json("environment.json")["not_bitwise"]
    assert "the best weights, of epoch 0, were removed while it ran" in reason
    assert run.scores["best_epoch"] >= 2 and verify(run.directory)["complete"]


def test_fault_20_best_weights_that_are_gone_at_the_very_end(tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "run"
    run = fit(path)
    (path / "stages.json").unlink()
    for best in (path / "checkpoints").glob("best-*"):
        shutil.rmtree(best)
    assert resume(path).scores["best_epoch"] == 3
    assert verify(run.directory)["complete"] and len(run.directory.read_json("environment.json")["not_bitwise"]) == 1
    assert ending(path)["step-00000024"] == whole["step-00000024"]


def test_fault_21_leftovers_of_a_killed_save_are_swept(tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "run"
    run = stopped(path)
    half = run.path / "checkpoints" / ".tmp-step-00000015-99999999"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half a file")
    resume(path)
    assert nothing_left_over(path) and ending(path) == whole


def test_fault_22_a_clock_that_jumped_back_misleads_nobody(tmp_path: Path, whole: dict[str, Any]) -> None:
    path = tmp_path / "run"
    stopped(path)
    older, newer = (checkpoints.named(path / "checkpoints", "step", s) for s in checkpoint_steps(path))
    for place in (newer, *newer.iterdir()):
        os.utime(place, (0, 0))
    assert checkpoints.newest(path / "checkpoints", "step") == newer
    assert verify(RunDirectory(path))["resume_from"] == int(newer.name[-8:]) > int(older.name[-8:])
    resume(path)
    assert ending(path) == whole


# 24, 25, 56, 57: a run directory from elsewhere


@pytest.mark.parametrize("what", ["24_checkpoint", "24_file", "24_table", "57_parent", "57_absolute", "56_huge"])
def test_fault_24_56_57_what_no_run_of_ours_holds_is_refused(what: str, tmp_path: Path, interrupted: Path) -> None:
    path = shutil.copytree(interrupted, tmp_path / "run")
    elsewhere = shutil.copytree(interrupted, tmp_path / "elsewhere")
    newest = checkpoints.newest(path / "checkpoints", "step")
    assert newest is not None
    manifest = newest / checkpoints.MANIFEST
    entry = {"size": 1, "sha256": "0" * 64}
    match what[3:]:
        case "checkpoint":
            shutil.rmtree(newest)
            newest.symlink_to(elsewhere / "checkpoints" / newest.name)
        case "file":
            (newest / "weights.safetensors").unlink()
            (newest / "weights.safetensors").symlink_to(elsewhere / "checkpoints" / newest.name / "weights.safetensors")
        case "table":
            (path / "metrics.csv").unlink()
            (path / "metrics.csv").symlink_to(elsewhere / "metrics.csv")
        case "parent":
            manifest.write_text(json.dumps({"files": {"../../recipe.yaml": entry}}))
        case "absolute":
            manifest.write_text(json.dumps({"files": {"/etc/passwd": entry}}))
        case "huge":
            manifest.write_text(json.dumps({"files": {f"{i}": entry for i in range(10_001)}}))
    before = {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match=r"metrics\.csv" if what == "24_table" else newest.name) as refused:
        resume(path)
    assert "\n" not in str(refused.value)
    assert {p: p.read_bytes() for p in elsewhere.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_fault_25_a_run_that_was_moved_or_copied_goes_on(
    how: Callable[..., object], tmp_path: Path, whole: dict[str, Any]
) -> None:
    stopped(tmp_path / "here")
    for file in (tmp_path / "here").rglob("*"):
        assert not file.is_file() or str(tmp_path / "here").encode() not in file.read_bytes(), file
    how(tmp_path / "here", tmp_path / "there")
    resume(tmp_path / "there")
    assert ending(tmp_path / "there") == whole


# Killed processes: 8, 10, 11

CHILD = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import test_disk_in_process as disk
    path, where = Path(sys.argv[2]), sys.argv[3]
    def kill(*_, **__):
        os.kill(os.getpid(), 9)
    def wait():
        print("training", flush=True)
        sys.stdin.read()
    """
)


def child(tmp_path: Path, path: Path, code: str, where: str = "") -> subprocess.Popen[str]:
    shutil.copy(__file__, tmp_path / "test_disk_in_process.py")
    return subprocess.Popen([sys.executable, "-c", CHILD + textwrap.dedent(code), tmp_path, path, where], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def written_and_pruned(checkpoints: Path) -> bool:
    """Whether the save of step 12 has come to its end, with all that it takes away."""
    names = os.listdir(checkpoints)
    steps, best = ([n for n in names if n.startswith(kind)] for kind in ("step-", "best-"))
    return sorted(steps) == ["step-00000009", "step-00000012"] and len(best) <= 2 and len(steps + best) == len(names)


@pytest.mark.slow
def test_fault_8_11_a_second_process_is_refused_and_a_dead_one_is_followed(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    path = tmp_path / "run"
    first = child(tmp_path, path, "disk.fit(path, disk.at(14, wait))")
    assert first.stdout is not None and first.stdout.readline() == "training\n", first.communicate()
    while not written_and_pruned(path / "checkpoints"):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)  # the checkpoint is written beside the training
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    try:
        for refused in (lambda: resume(path), lambda: fit(path), lambda: fit(path, overwrite=True)):
            with pytest.raises(RunError, match=rf"{path} is being trained by process {first.pid} on "):
                refused()
        assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    finally:
        first.kill()
        first.communicate()
    resume(path)
    assert ending(path) == whole
    assert f"process {first.pid} on " in texts(path) and "taken over" in texts(path)
    assert not (path / ".lock").exists()


FINISHING = """
from torchkiln.runs.directory import RunDirectory
finish = RunDirectory.finish
RunDirectory.finish = lambda run, stage: kill() if stage == where else finish(run, stage)
"""
BETWEEN = {
    "after the fit": ("from torchkiln.stages import from_parts; from_parts._test_task = kill", ["test", "report"]),
    "test": (FINISHING, ["test", "report"]),
    "after the test": ("from torchkiln.report import page; page.write = kill", ["report"]),
    "report": (FINISHING, ["report"]),
}
"""Where a process is killed, how it is made to be, and the stages that are then missing."""


@pytest.mark.slow
@pytest.mark.parametrize("where", BETWEEN)
def test_fault_10_killed_between_the_stages_only_what_is_missing_is_done(
    where: str, tmp_path: Path, whole: dict[str, Any]
) -> None:
    path = tmp_path / "run"
    patch, missing = BETWEEN[where]
    killed = child(tmp_path, path, f"{patch}\ndisk.fit(path)", where)
    out, errors = killed.communicate(timeout=300)
    assert killed.returncode == -9, out + errors
    told: list[str] = []

    class Stages(Progress):
        def stage(self, name: str, text: str) -> None:
            told.append(name)

    resume(path, progress=Stages())
    assert told == missing
    assert ending(path) == whole and (path / "report.html").is_file()
    told.clear()
    resume(path, progress=Stages())
    assert told == []
