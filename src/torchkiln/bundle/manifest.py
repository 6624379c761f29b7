"""What a bundle says of itself: its tensors, its models, and every file with size and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from torchkiln.errors import BundleError

FORMAT = 1
MANIFEST, SIGNATURE, BENCH = "manifest.json", "signature.json", "bench.json"
UNLISTED = frozenset({MANIFEST, SIGNATURE, BENCH})
"""Files that the manifest does not name: itself, what is signed after it, and what a machine measured later."""
WITHOUT_TORCH = ("onnx", "int8")
"""Forms of a model that ONNX Runtime runs."""
_MOST_BYTES = 4 << 20


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named array that goes into the model or comes out.

    Args:
        name: As in the batch, and in requests.
        dtype: As NumPy names it.
        shape: None is any size; the first is the batch.
        pad: What fills up shorter samples, where sizes differ.
    """

    name: str
    dtype: str
    shape: list[int | None]
    pad: int | float | None = None


class ModelFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One form of the model.

    Args:
        file: Its name in the bundle.
        proven: Whether it was shown to answer as the trained model does.
        inputs, outputs: Our tensor names to those inside the file.
        machine: Where it must run, for code that was compiled: `cpu` and `torch`.
    """

    file: str
    proven: bool
    inputs: dict[str, str]
    outputs: dict[str, str]
    machine: dict[str, str] | None = None


class Stored(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The content of manifest.json.

    Args:
        prediction_kind: What the model gives: probabilities of classes, a number, or plain tensors.
        models: By form: `onnx`, `int8`, `pt2`, `aoti`, `torchscript`.
        serve: The form that answers unless another is asked for; None where none runs without torch.
        files: Every file by its name, but for those in `UNLISTED`.
    """

    format: int
    name: str
    run_id: str
    task: str
    prediction_kind: Literal["classes", "number", "tensor"]
    inputs: list[Tensor]
    outputs: list[Tensor]
    models: dict[str, ModelFile]
    serve: str | None
    versions: dict[str, str]
    licences: dict[str, Any]
    files: dict[str, Stored]


def make(parts: Mapping[str, Any], files: Mapping[str, Stored]) -> bytes:
    """The bytes of manifest.json, the same for the same content.

    Args:
        parts: Everything but `format` and `files`.
        files: As `stored` gives them.
    """
    made = msgspec.convert({**parts, "format": FORMAT, "files": msgspec.to_builtins(files)}, Manifest)
    return msgspec.json.format(msgspec.json.encode(made, order="deterministic"), indent=1) + b"\n"


def parse(content: bytes, where: Path) -> Manifest:
    """The manifest in these bytes.

    Raises:
        BundleError: They are no manifest, or one of a format that is not read here.
    """
    if len(content) > _MOST_BYTES:
        raise BundleError(f"{where} has {len(content):,} bytes; no manifest has more than {_MOST_BYTES:,}")
    try:
        found = msgspec.json.decode(content)
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise BundleError(
                f"{where} is of format {version!r} and this torchkiln reads format {FORMAT}; export the run again, "
                "or install the torchkiln that wrote it"
            )
        return msgspec.convert(found, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where} is no manifest of a bundle ({error}); export the run again") from error


def stored(file: Path) -> Stored:
    """Size and digest of a file as it lies there."""
    with file.open("rb") as content:
        return Stored(file.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())
