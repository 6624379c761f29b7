"""What people do to a run between its lives, and what files from strangers hold: refused in one sentence, or said.

The number in a name is that of the catalogue of faults. What the recipe's own reader refuses, and wrong data, stand in
tests/e2e/test_bad_input.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.cli import main
from torchkiln.errors import DataError, ModelError, RunError
from torchkiln.models import images
from torchkiln.recipe import load as recipes
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.training import state_files

SETTINGS = ["data.target=y", "model.name=mlp", "train.epochs=2", "train.threads=1", "train.precision=32",
            "data.workers=0"]  # fmt: skip
SECRETS = {name: f"very-secret-{name.lower()}" for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")}


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Kiln = Callable[..., Said]


@pytest.fixture
def kiln(capsys: pytest.CaptureFixture[str]) -> Kiln:
    def run(*words: str | Path) -> Said:
        code = main([str(w) for w in words])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run on it, made while secrets lay in the environment."""
    folder = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    pl.DataFrame({"x": x, "z": rng.normal(size=200), "y": np.where(x > 0, "up", "down")}).write_csv(folder / "t.csv")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        assert main(["fit", str(folder / "t.csv"), *SETTINGS, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The same as if it had been stopped before its test, with data of its own."""
    shutil.copytree(finished / "run", tmp_path / "run")
    shutil.copy(finished / "t.csv", tmp_path / "t.csv")
    edit(tmp_path / "run" / "recipe.yaml", str(finished), str(tmp_path))
    (tmp_path / "run" / "stages.json").unlink()
    return tmp_path / "run"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def refused(said: Said, *words: str) -> None:
    assert said.code == 2, said
    assert said.err.count("error: ") == 1 and "Traceback" not in said.err
    message = said.err[said.err.index("error: ") :]
    assert message.count("\n") == 1, message
    assert [word for word in words if word not in message] == [], message


def not_bitwise(run: Path) -> list[str]:
    found: list[str] = RunDirectory(run).read_json("environment.json")["not_bitwise"]
    return found


def warned(run: Path, reason: str) -> bool:
    """Whether the run says for good why its bits are not promised: in its log and in its report."""
    events = [e for e in RunDirectory(run).events() if e["text"] == f"not bitwise: {reason}"]
    return [e["level"] for e in events] == ["warn"] and reason in (run / "report.html").read_text()


# 25, 26, 31: other data


def test_fault_25_data_that_was_moved_is_the_same_data(run: Path, kiln: Kiln) -> None:
    said = kiln("fit", "--resume", run)
    assert said.code == 0, said.err
    assert not_bitwise(run) == []


def test_fault_26_data_that_changed_is_refused_by_its_file_or_accepted_in_writing(run: Path, kiln: Kiln) -> None:
    data = run.parent / "t.csv"
    data.write_text(data.read_text() + "0.5,0.5,up\n")
    refused(kiln("fit", "--resume", run), "t.csv is another", "--accept-data-change", "recipe.yaml")
    said = kiln("fit", "--resume", run, "--accept-data-change")
    assert said.code == 0, said.err
    assert "not bitwise: the data was changed and accepted: t.csv is another" in said.err
    (reason,) = not_bitwise(run)
    assert warned(run, reason)


def pictures(folder: Path) -> Path:
    noise = random.Random(0)
    for label in ("dark", "light"):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            picture = Image.frombytes("RGB", (8, 8), noise.randbytes(192)).point(
                lambda v, d=label == "dark": v // 2 if d else v
            )
            picture.save(folder / label / f"{i:02}.png")
    return folder


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda data: shutil.copy(data / "dark" / "00.png", data / "dark" / "00b.png"), "dark/00b.png is new"),
    "removed": (lambda data: (data / "light" / "07.png").unlink(), "light/07.png is no longer there"),
    "changed": (
        lambda data: shutil.copy(data / "dark" / "03.png", data / "light" / "03.png"),
        "light/03.png is another",
    ),
}


@pytest.mark.slow
def test_fault_26_the_first_picture_that_differs_is_named(tmp_path: Path, kiln: Kiln) -> None:
    data = pictures(tmp_path / "pictures")
    quick = ["train.epochs=1", "train.threads=1", "train.precision=32", "data.workers=0", "train.channels_last=false"]
    assert kiln("fit", data, *quick, "--out", tmp_path / "run").code == 0
    (tmp_path / "run" / "stages.json").unlink()
    kept = shutil.copytree(data, tmp_path / "kept")
    for change, said in CHANGES.values():
        change(data)
        refused(kiln("fit", "--resume", tmp_path / "run"), said, "--accept-data-change")
        shutil.rmtree(data)
        shutil.copytree(kept, data)


def own(n: int) -> list[TensorDataset]:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    train = TensorDataset(x, (x[:, 0] > 0).long())
    return [train, TensorDataset(x[:20], (x[:20, 0] > 0).long()), TensorDataset(x[20:40], (x[20:40, 0] > 0).long())]


def test_fault_31_a_dataset_of_another_length_is_refused_or_accepted_in_writing(tmp_path: Path) -> None:
    settings = {"train.epochs": 2, "train.threads": 1, "train.precision": "32", "data.workers": 0}
    path = tmp_path / "run"
    torchkiln.fit(model=nn.Linear(4, 2), loss="cross_entropy", data=own(50), out=path, overrides=settings)
    (path / "stages.json").unlink()
    again: dict[str, Any] = {"model": nn.Linear(4, 2), "loss": "cross_entropy", "data": own(51), "resume": path}
    with pytest.raises(DataError, match="the train dataset had 50 samples and has 51"):
        torchkiln.fit(**again)
    torchkiln.fit(**again, accept_data_change=True)
    (reason,) = not_bitwise(path)
    assert warned(path, reason)


# 37, 38, 39: other settings, another machine, another recipe


def test_fault_37_threads_are_those_of_the_run_and_flags_are_said(
    run: Path, finished: Path, kiln: Kiln, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert kiln("fit", "--resume", run).code == 0
    finally:
        torch.set_num_threads(before)
    assert not_bitwise(run) == []
    assert (run / "test.json").read_bytes() == (finished / "run" / "test.json").read_bytes()
    (run / "stages.json").unlink()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert "not bitwise: NVIDIA_TF32_OVERRIDE was unset and is 1" in kiln("fit", "--resume", run).err
    assert warned(run, "NVIDIA_TF32_OVERRIDE was unset and is 1")


@pytest.mark.parametrize(("part", "name", "called"), [("versions", "torch", "torch"), ("versions", "python", "python"),
                                                      ("cpu", "model", "the CPU")])  # fmt: skip
def test_fault_38_another_version_or_processor_goes_on_and_is_said(
    part: str, name: str, called: str, run: Path, kiln: Kiln
) -> None:
    known = json.loads((run / "environment.json").read_text())
    now, known[part][name] = known[part][name], "of old"
    (run / "environment.json").write_text(json.dumps(known))
    said = kiln("fit", "--resume", run)
    assert said.code == 0 and f"not bitwise: {called} was of old and is {now}" in said.err
    assert warned(run, f"{called} was of old and is {now}")
    assert json.loads((run / "environment.json").read_text())[part][name] == now


def test_fault_39_an_edited_recipe_is_refused_by_its_key_and_makes_a_new_run(run: Path, kiln: Kiln) -> None:
    recipe = recipes.load(run / "recipe.yaml")
    edit(run / "recipe.yaml", f"lr: {recipe.optimizer.lr}", "lr: 0.0123")
    said = kiln("fit", "--resume", run)
    refused(said, f"optimizer.lr was {recipe.optimizer.lr} when this run began and is 0.0123", "put it back")
    advice = said.err.rpartition("torchkiln ")[2].split()
    assert advice == ["fit", str(run / "recipe.yaml"), "optimizer.lr=0.0123"]
    assert kiln(*advice, "--out", run.parent / "new").code == 0


def test_fault_49_another_number_of_processes_is_refused(run: Path, kiln: Kiln) -> None:
    refused(kiln("fit", "--resume", run, "train.devices=2"), "train.devices", "trains on 1", "on 2", "elastic")
    refused(kiln("fit", "--resume", run, "train.devices=2", "seed=3"), "takes nothing else but train.devices")


# 53, 54, 58, 62: refused before anything is done


def test_fault_53_54_58_what_cannot_be_meant_is_refused(run: Path, kiln: Kiln, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    data = run.parent / "t.csv"
    refused(kiln("fit", data, "train.epoch=3", "--out", tmp_path / "new"), "train.epoch", "epochs")
    refused(kiln("fit", data, "train.epochs=many", "--out", tmp_path / "new"), "train.epochs", "many")
    refused(kiln("fit", data, "--out", run), "holds a run already", "--resume")
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    for text in ("task: !!python/object/apply:os.system ['touch evil']", "task: !!python/name:os.system",
                 "!!python/object/new:os.system {args: ['touch evil']}", "task: !own x"):  # fmt: skip
        (tmp_path / "r.yaml").write_text(text + "\ndata: t.csv\n" * text.startswith("task"))
        refused(kiln("fit", tmp_path / "r.yaml"), "r.yaml")
        (run / "recipe.yaml").write_text(text)
        refused(kiln("fit", "--resume", run), "recipe.yaml")
    assert not Path("evil").exists()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody can write to."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "read_only"
    place.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 1, b"size=1m") != 0:  # MS_RDONLY
        pytest.skip(f"no file system can be mounted here ({os.strerror(ctypes.get_errno())})")
    yield place
    assert libc.umount2(os.fsencode(place), 2) == 0


def test_fault_62_a_place_that_cannot_be_written_is_refused_before_the_data_is_read(
    read_only: Path, kiln: Kiln, run: Path
) -> None:
    said = kiln("fit", run.parent / "t.csv", *SETTINGS, "--out", read_only / "run")
    refused(said, str(read_only / "run"), "cannot be written", "--out")
    assert "data" not in said.err.partition("error:")[0], "work was done first"


# 55, 56, 59: files from strangers


class Evil:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("evil",))


def planted(run: Path, content: bytes, name: str = "weights.safetensors", prefix: str = "step") -> Path:
    """Put a file into the newest checkpoint, with a manifest that agrees."""
    newest = checkpoints.newest(run / "checkpoints", prefix)
    assert newest is not None
    target = newest / name
    others = {p.name: p.read_bytes() for p in newest.iterdir() if p.name != checkpoints.MANIFEST}
    shutil.rmtree(newest)

    def fill(folder: Path) -> None:
        for each, was in {**others, name: content}.items():
            (folder / each).write_bytes(was)

    checkpoints.write(newest.parent, newest.name, fill)
    return target


def test_fault_55_a_pickle_is_refused_and_not_run(
    run: Path, kiln: Kiln, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Evil()))
    assert Path("evil").is_dir(), "the bait does not work"
    Path("evil").rmdir()
    for name in ("weights.safetensors", "state.safetensors"):
        planted(run, pickle.dumps(Evil()), name)
        refused(kiln("fit", "--resume", run), name, "cannot be read")
    torch.save({"net": Evil()}, tmp_path / "w.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Evil()))
    for weights in ("w.pth", "old.pth"):
        with pytest.raises(ModelError, match=rf"{weights} is no file of weights that can be read safely"):
            images._read_tensors(tmp_path / weights)
    assert not Path("evil").exists()


def header(said: Any, data: bytes = b"") -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


MALFORMED = {
    "empty": b"",
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "header of 200 MB that is not there": struct.pack("<Q", 200 << 20) + b"{",
    "no JSON": header(b"{" * 50),
    "deep JSON": header(b'{"a":' * 20_000),
    "cut": header({"a": tensor(0, 400, [100])}, b"x" * 100),
    "trailing bytes": header({"a": tensor(0, 4, [1])}, b"x" * 400),
    "overlap": header({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, b"x" * 12),
    "beyond the end": header({"a": tensor(1 << 40, (1 << 40) + 4, [1])}, b"xxxx"),
    "shape of another size": header({"a": tensor(0, 4, [1 << 40])}, b"xxxx"),
    "shape that overflows": header({"a": tensor(0, 4, [1 << 62, 1 << 62])}, b"xxxx"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_fault_56_malformed_weights_are_refused(name: str, run: Path, kiln: Kiln, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(MALFORMED[name])
    with pytest.raises(ModelError, match=r"w\.safetensors is no file of weights"):
        images._read_tensors(tmp_path / "w.safetensors")
    planted(run, MALFORMED[name])
    refused(kiln("fit", "--resume", run), "weights.safetensors", "cannot be read")


def test_fault_56_bytes_changed_at_random_are_damage_wherever_they_are(run: Path) -> None:
    """With a manifest that agrees each is read without harm, or refused in a sentence; without, always refused."""
    draw = random.Random(0)
    newest = checkpoints.newest(run / "checkpoints", "step")
    assert newest is not None
    good = (newest / "weights.safetensors").read_bytes()
    read = 0
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            bad[draw.randrange(400)] = draw.randrange(256)
        (newest / "weights.safetensors").write_bytes(bad)
        assert checkpoints.is_whole(newest) == (bytes(bad) == good)
        with contextlib.suppress(RunError):
            state_files.load_tensors(newest / "weights.safetensors")
            read += 1
    assert read < 200


def test_fault_56_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "good.pth")
    assert images._read_tensors(tmp_path / "good.pth")["a"].tolist() == [0, 0, 0]
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in good.infolist():
            packed.writestr(entry.filename, b"\0" * (64 << 20) if "data/" in entry.filename else good.read(entry))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"bomb\.pth is packed and would take [\d,]+ bytes"):
        images._read_tensors(bomb)


@pytest.mark.parametrize("prefix", ["step", "best"])
def test_fault_59_the_state_of_another_model_is_refused_by_its_keys(
    prefix: str, run: Path, kiln: Kiln, tmp_path: Path
) -> None:
    newest = checkpoints.newest(run / "checkpoints", prefix)
    assert newest is not None
    held = state_files.load_tensors(newest / "weights.safetensors")
    name = next(n for n in held if n.endswith("weight"))
    held[name] = torch.zeros(3, 5)
    save_file(held, tmp_path / "other")
    planted(run, (tmp_path / "other").read_bytes(), prefix=prefix)
    refused(kiln("fit", "--resume", run), "another model", name, "[3, 5]")
    del held[name]
    save_file(held, tmp_path / "other")
    planted(run, (tmp_path / "other").read_bytes(), prefix=prefix)
    refused(kiln("fit", "--resume", run), "another model", name)


# 60: secrets


def test_fault_60_no_file_of_a_run_holds_a_secret_of_the_environment(
    finished: Path, kiln: Kiln, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [p for p in (finished / "run").rglob("*") if p.is_file()]
    assert len(files) > 15
    assert [p for p in files if b"very-secret" in p.read_bytes()] == []
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for words in (["test", finished / "run"], ["fit", finished / "gone.csv"], ["--debug", "fit", finished / "gone.csv"],
                  ["verify", finished / "run", "--json"]):  # fmt: skip
        said = kiln(*words)
        assert "very-secret" not in said.out + said.err
