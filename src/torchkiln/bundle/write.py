"""Bundles written: whole under their name, or not at all; the same content gives the same bytes."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torchkiln.bundle import files, signing
from torchkiln.bundle.manifest import MANIFEST, SIGNATURE, UNLISTED, make, stored
from torchkiln.errors import BundleError

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


class Draft:
    """A bundle in the making, beside the place where it will be: files go into `path`, then `finish`.

    A context manager: what was not finished is removed.

    Args:
        folder: The bundle's final name.
        overwrite: Replace a bundle that is there; it stays until the new one is whole.

    Raises:
        BundleError: Something is there and `overwrite` is false, or it is no bundle.
    """

    def __init__(self, folder: str | Path, *, overwrite: bool = False) -> None:
        self.folder = Path(folder).resolve() if Path(folder).is_symlink() else Path(folder)
        self.path = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        if self.folder.exists() and not overwrite:
            raise BundleError(f"{self.folder} exists; replace it with --overwrite, or choose another with --out")
        if self.folder.exists() and not (self.folder / MANIFEST).is_file():
            raise BundleError(f"{self.folder} is no bundle, so it is not replaced; choose another with --out")
        try:
            _sweep(self.folder)
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
        except OSError as error:
            raise BundleError(
                f"{self.folder} cannot be written ({error.strerror}); choose another with --out"
            ) from error

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def finish(self, parts: Mapping[str, Any], *, sign_key: Path | None = None) -> Path:
        """Write the manifest, flush everything to the disk, and give the bundle its name.

        Args:
            parts: Of the manifest, all but `format` and `files`.
            sign_key: An Ed25519 key in a PEM file, to sign the manifest with.

        Returns:
            The bundle's folder.

        Raises:
            BundleError: The disk refuses, or the key is none.
        """
        try:
            names = [name for name in files.listed(self.path) if name not in UNLISTED]
            content = make(parts, {name: stored(self.path / name) for name in names})
            (self.path / MANIFEST).write_bytes(content)
            if sign_key is not None:
                (self.path / SIGNATURE).write_bytes(signing.sign(content, sign_key))
            for name in files.listed(self.path):
                _flush(self.path / name)
            _flush(self.path)
            _replace(self.path, self.folder)
            _flush(self.folder.parent)
        except OSError as error:
            raise BundleError(f"{self.folder} cannot be written ({error.strerror or error}); what was there before "
                              "stays") from error  # fmt: skip
        return self.folder


def pack(folder: Path, file: Path) -> Path:
    """A bundle as one zip, the same bytes for the same bundle; what is there is replaced once it is whole."""
    return zipped({name: folder / name for name in files.listed(folder)}, file)


def zipped(entries: Mapping[str, Path | bytes], file: Path) -> Path:
    """A zip of files and bytes by name, sorted, stored and without dates, so that it goes by its content alone."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in sorted(entries.items()):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.external_attr, entry.create_system = 0o100644 << 16, 3
                with archive.open(entry, "w", force_zip64=True) as target:
                    if isinstance(content, bytes):
                        target.write(content)
                    else:
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, target, 1 << 20)
        _flush(temporary)
        os.replace(temporary, file)
    except OSError as error:
        raise BundleError(f"{file} cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _replace(new: Path, final: Path) -> None:
    """Give `new` the name `final` in one step; what bore it is then under the name of `new`."""
    if not final.exists():
        os.rename(new, final)
    elif not _exchanged(new, final):  # then there is an instant in which neither bears the name
        old = final.with_name(f"{new.name}.old")
        os.rename(final, old)
        os.rename(new, final)
        os.rename(old, new)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the system could let two folders change names; not all systems and disks can."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(swap(_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()), _EXCHANGE) == 0)


def _sweep(folder: Path) -> None:
    """Remove the drafts of the same bundle whose process is gone."""
    for rest in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        pid = rest.name.removeprefix(f".{folder.name}.").removesuffix(".old")
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(rest, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
