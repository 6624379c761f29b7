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
