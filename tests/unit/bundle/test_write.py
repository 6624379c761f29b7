"""A bundle is whole under its name or not there; the same content gives the same bytes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import bundles
import pytest

from torchkiln import bundle
from torchkiln.bundle import write
from torchkiln.bundle.write import Draft, pack
from torchkiln.errors import BundleError


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_writes_and_two_zips_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = bundles.table(tmp_path / "one"), bundles.table(tmp_path / "two")
    assert content(one) == content(two)
    assert pack(one, tmp_path / "one.zip").read_bytes() == pack(two, tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert {e.date_time for e in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)} and names == sorted(names)


def test_what_is_there_is_kept_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    before = content(path)
    with pytest.raises(BundleError, match="--overwrite"):
        Draft(path)
    with Draft(path, overwrite=True) as draft:
        (draft.path / "half").write_bytes(b"x")
    assert content(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    bundles.text(path, overwrite=True)
    assert bundle.load(path).predict("good")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").touch()
    with pytest.raises(BundleError, match="is no bundle"):
        Draft(tmp_path / "work", overwrite=True)


def test_a_link_to_a_bundle_stays_one(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    (tmp_path / "current").symlink_to("b")
    bundles.text(tmp_path / "current", overwrite=True)
    assert (tmp_path / "current").is_symlink() and bundle.load(path).predict("good")


def test_what_the_disk_refuses_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundles.table(tmp_path / "b")
    before = content(path)

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write, "_flush", full)
    for call in (lambda: bundles.text(path, overwrite=True), lambda: pack(path, tmp_path / "b.zip")):
        with pytest.raises(BundleError, match=r"cannot be written \(No space left on device"):
            call()
    assert content(path) == before and [p.name for p in tmp_path.iterdir()] == ["b"]


def test_without_exchange_the_folders_change_names_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_exchanged", lambda one, other: False)
    path = bundles.table(tmp_path / "b")
    bundles.text(path, overwrite=True)
    assert bundle.load(path).predict("good") and [p.name for p in tmp_path.iterdir()] == ["b"]


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from torchkiln.bundle import files, write

folder, new = Path(sys.argv[1]), Path(sys.argv[2])
parts = json.loads((new / "manifest.json").read_text())
del parts["format"], parts["files"]

def replace(limit):
    seen = 0
    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename != write.__file__:
            return None
        seen += event == "line"
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    with write.Draft(folder, overwrite=True) as draft:
        for name in parts_files:
            shutil.copyfile(new / name, draft.path / name)
        draft.finish(parts)
    sys.settrace(None)

parts_files = [n for n in files.listed(new) if n != "manifest.json"]
digests, died, limit = [], True, 0
while died:
    limit += 1
    child = os.fork()
    if not child:
        replace(limit)
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
    found = files.check(folder)
    digests.append(found.prediction_kind)
print(json.dumps({"kinds": digests, "left": sorted(p.name for p in folder.parent.iterdir())}))
"""


def test_killed_at_any_line_the_old_or_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    old = bundles.table(tmp_path / "there" / "b")
    new = bundles.tensors(tmp_path / "new")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(old), str(new)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kinds"][0] == "classes" and found["kinds"][-1] == "tensor" and len(found["kinds"]) > 50
    assert sorted(found["kinds"]) == found["kinds"]  # once the new one is there, it stays
    assert found["left"] == ["b"]  # each draft clears up behind those that died
