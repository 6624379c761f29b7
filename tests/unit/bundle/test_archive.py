"""A zip is unpacked only where nothing in it can reach out or swell."""

from __future__ import annotations

import io
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import bundles
import pytest

from torchkiln import bundle
from torchkiln.bundle import archive
from torchkiln.bundle.write import pack
from torchkiln.errors import BundleError


def link(target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("more")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    target.writestr(entry, "/etc/hostname")


def device(target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("more")
    entry.create_system, entry.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
    target.writestr(entry, "")


def twice(target: zipfile.ZipFile) -> None:
    with warnings.catch_warnings(action="ignore"):
        target.writestr("model.onnx", b"x")


def encrypted(target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("more")
    target.writestr(entry, b"x")
    entry.flag_bits |= 1


FAULTS: dict[str, tuple[Callable[[zipfile.ZipFile], object], str]] = {
    "a link": (link, "'more' is a link"),
    "a device": (device, "'more' is no plain file"),
    "a name that climbs": (lambda z: z.writestr("../more", b"x"), "'../more' is no name"),
    "an absolute name": (lambda z: z.writestr("/tmp/more", b"x"), "'/tmp/more' is no name"),
    "a bomb": (lambda z: z.writestr("more", bytes(1 << 20), zipfile.ZIP_DEFLATED), "'more' would swell"),
    "many files": (lambda z: [z.writestr(f"f{i}", b"") for i in range(1000)], "no bundle holds more than 1,000"),
    "a secret": (encrypted, "'more' is encrypted"),
    "a name twice": (twice, "'model.onnx' stands in it twice"),
    "a file too many": (lambda z: z.writestr("more", b"x"), "more is not in the manifest"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_bundle_never_holds_is_refused(fault: str, tmp_path: Path) -> None:
    change, sentence = FAULTS[fault]
    file = pack(bundles.table(tmp_path / "b"), tmp_path / "b.zip")
    with zipfile.ZipFile(file, "a") as target:
        change(target)
    with pytest.raises(BundleError, match=sentence) as error:
        bundle.load(file)
    assert str(file) in str(error.value)
    assert {p.name for p in tmp_path.iterdir()} == {"b", "b.zip"}


def test_a_zip_answers_as_its_folder_and_leaves_nothing(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    made = bundle.load(pack(path, tmp_path / "b.zip"))
    assert made.predict(bundles.RECORD) == bundle.load(path).predict(bundles.RECORD)
    unpacked = made.path
    assert unpacked.is_dir()
    del made
    assert not unpacked.exists()


def test_what_is_no_zip_or_is_cut_short_is_refused(tmp_path: Path) -> None:
    file = pack(bundles.table(tmp_path / "b"), tmp_path / "b.zip")
    content = file.read_bytes()
    for damaged in (b"", b"not a zip", content[: len(content) // 2], content.replace(b"Ulm", b"Olm", 1)):
        file.write_bytes(damaged)
        with pytest.raises(BundleError, match=r"b\.zip is no zip that can be unpacked"):
            archive.unpack(file)


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("a", b"x" * 1000)
        for i in range(3):  # the same bytes under further names
            again = zipfile.ZipInfo(f"b{i}")
            again.CRC, again.compress_size, again.file_size = target.filelist[0].CRC, 1000, 1000
            again.header_offset = 0
            target.filelist.append(again)
            target.NameToInfo[again.filename] = again
    (tmp_path / "b.zip").write_bytes(out.getvalue())
    with pytest.raises(BundleError, match="share their bytes"):
        archive.unpack(tmp_path / "b.zip")
