"""Bundles written: whole under their name, or not at all; the same content gives the same bytes."""

from __future__ import annotations

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
        self.folder = Path(folder)
        self.path = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        if self.folder.exists() and not overwrite:
            raise BundleError(f"{self.folder} exists; replace it with --overwrite, or choose another with --out")
        if self.folder.exists() and not (self.folder / MANIFEST).is_file():
            raise BundleError(f"{self.folder} is no bundle, so it is not replaced; choose another with --out")
        try:
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
        """
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
        return self.folder


def pack(folder: Path, file: Path) -> Path:
    """A bundle as one zip, the same bytes for the same bundle; what is there is replaced once it is whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in files.listed(folder):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.external_attr, entry.create_system = 0o100644 << 16, 3
                with (folder / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        _flush(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _replace(new: Path, final: Path) -> None:
    """Give `new` the name `final`; what bears it now is kept until then."""
    if not final.exists():
        os.rename(new, final)
        return
    old = final.with_name(f"{new.name}.old")
    os.rename(final, old)
    try:
        os.rename(new, final)
    except OSError:
        os.rename(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
