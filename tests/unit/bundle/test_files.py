"""Files of a bundle are refused by name where they are not what was written."""

from __future__ import annotations

import os
from pathlib import Path

import bundles
import pytest

from torchkiln.bundle import files
from torchkiln.errors import BundleError


def test_a_missing_and_an_extra_file_are_named(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    (path / "codec.json").rename(path / "code.json")
    with pytest.raises(BundleError, match=r"codec\.json is missing"):
        files.check(path)
    (path / "codec.json").write_bytes((path / "code.json").read_bytes())
    with pytest.raises(BundleError, match=r"code\.json is not in the manifest"):
        files.check(path)


def test_links_and_pipes_are_refused(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    (path / "more").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="more is a link"):
        files.check(path)
    (path / "more").unlink()
    os.mkfifo(path / "more")
    with pytest.raises(BundleError, match="more is no plain file"):
        files.check(path)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "a//b", "./a", "", "a\\b", "C:x", "a\n"])
def test_names_that_leave_the_bundle_are_refused(name: str) -> None:
    with pytest.raises(BundleError, match="no name of a file inside"):
        files.check_name(name, Path("manifest.json"))


def test_a_file_of_another_size_is_told_by_it(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    with (path / "schema.json").open("ab") as out:
        out.write(b" ")
    with pytest.raises(BundleError, match=r"schema\.json has [\d,]+ bytes and the manifest says"):
        files.check(path)


def test_more_files_than_any_bundle_has_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    for i in range(files.MOST_FILES):
        (path / f"f{i}").touch()
    with pytest.raises(BundleError, match="holds more than 1,000 files"):
        files.check(path)


def test_a_model_that_is_no_file_of_the_bundle_is_told(tmp_path: Path) -> None:
    models = {"onnx": {"file": "manifest.json", "proven": True, "inputs": {}, "outputs": {}}}
    path = bundles.table(tmp_path / "b", parts={"models": models})
    with pytest.raises(BundleError, match=r"names no file 'manifest\.json', which is to be its model 'onnx'"):
        files.check(path)


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, sentence in (("empty", r"is no bundle: it holds no manifest\.json"), ("none", "does not exist")):
        with pytest.raises(BundleError, match=sentence):
            files.check(tmp_path / name)
