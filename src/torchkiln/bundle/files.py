"""Whether the files of a bundle are those that were written, and nothing beside them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath

from torchkiln.bundle import external
from torchkiln.bundle.manifest import MANIFEST, UNLISTED, WITHOUT_TORCH, Manifest, parse, stored
from torchkiln.errors import BundleError

MOST_FILES = 1000
_NAME = re.compile(r"[^\x00-\x1f\\/:]{1,255}")


def check(folder: Path) -> Manifest:
    """The manifest, once every file is known to be as it says.

    Raises:
        BundleError: Names the first file that differs, is missing, is too many, or is no plain file.
    """
    there = listed(folder)
    if MANIFEST not in there:
        raise BundleError(f"{folder} is no bundle: it holds no {MANIFEST}")
    manifest = parse((folder / MANIFEST).read_bytes(), folder / MANIFEST)
    for name in manifest.files:
        check_name(name, folder / MANIFEST)
    if missing := sorted(set(manifest.files) - set(there)):
        raise BundleError(f"{folder / missing[0]} is missing, which the manifest names; {_MEND}")
    if extra := sorted(set(there) - set(manifest.files) - UNLISTED):
        raise BundleError(f"{folder / extra[0]} is not in the manifest; remove it, or {_MEND}")
    for kind, model in manifest.models.items():
        if model.file not in manifest.files:
            raise BundleError(f"{folder / MANIFEST} names no file {model.file!r}, which is to be its model {kind!r}")
    _compare(folder, manifest)
    graphs = {model.file for form, model in manifest.models.items() if form in WITHOUT_TORCH}
    for name in sorted(graphs | {name for name in manifest.files if name.endswith(".onnx")}):
        _check_external(folder, name, manifest)
    return manifest


_MEND = "export the run again, or copy the bundle anew"


def listed(folder: Path) -> list[str]:
    """Names of all files below a folder, `a/b` for those in folders of it.

    Raises:
        BundleError: It does not exist, or something in it is a link, a device, or too much.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder} {'is no bundle' if folder.exists() else 'does not exist'}")
    found: list[str] = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(mode):
                    found.append(Path(entry.path).relative_to(folder).as_posix())
                else:
                    kind = "a link" if stat.S_ISLNK(mode) else "no plain file (a device, pipe or socket)"
                    raise BundleError(f"{entry.path} is {kind}; a bundle holds plain files alone")
                if len(found) + len(waiting) > MOST_FILES:
                    raise BundleError(f"{folder} holds more than {MOST_FILES:,} files; no bundle does")
    return sorted(found)


def check_name(name: str, where: Path) -> None:
    """Whether a name stays inside the bundle.

    Raises:
        BundleError: It is absolute, climbs out, or is none that all systems take.
    """
    parts = PurePosixPath(name).parts
    plain = all(part not in ("..", ".") and _NAME.fullmatch(part) for part in parts)
    if not parts or not plain or "/".join(parts) != name:
        raise BundleError(f"{where}: {name!r} is no name of a file inside a bundle")


def _check_external(folder: Path, name: str, manifest: Manifest) -> None:
    """Weights outside of an ONNX file may lie beside it, and be files of the bundle; nowhere else."""
    for location in external.locations(folder / name):
        check_name(location, folder / name)
        if "/" in location or (PurePosixPath(name).parent / location).as_posix() not in manifest.files:
            raise BundleError(
                f"{folder / name} keeps weights in {location!r}, which is no file beside it in the bundle"
            )


def _compare(folder: Path, manifest: Manifest) -> None:
    """Sizes first, since they cost nothing; a file that lies there under two names is read once."""
    for name, expected in sorted(manifest.files.items()):
        if (size := (folder / name).stat().st_size) != expected.size:
            raise BundleError(f"{folder / name} has {size:,} bytes and the manifest says {expected.size:,}; {_MEND}")
    known: dict[tuple[int, int], str] = {}
    for name, expected in sorted(manifest.files.items()):
        about = (folder / name).stat()
        place = (about.st_dev, about.st_ino)
        if place not in known:
            known[place] = stored(folder / name).sha256
        if known[place] != expected.sha256:
            raise BundleError(f"{folder / name} was changed: its digest is not that of the manifest; {_MEND}")
