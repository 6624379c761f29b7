"""A bundle read: checked first, then asked for predictions, from raw records on."""

from __future__ import annotations

import hashlib
import json
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchkiln.bundle import archive, files, records, signing
from torchkiln.bundle.manifest import MANIFEST, WITHOUT_TORCH, Manifest
from torchkiln.bundle.session import BATCH, Session
from torchkiln.codec.base import Array, Arrays, Codec
from torchkiln.errors import BundleError


class Bundle:
    """A model that answers raw records.

    Args:
        path: Its folder.
        manifest: Checked against the files.
        schema: The content of schema.json.
        codec: The very one of training; None for a person's own net that takes plain tensors.
        session: The model.
        digest: SHA-256 of the manifest, which names this very bundle.
    """

    def __init__(
        self, path: Path, manifest: Manifest, schema: dict[str, Any], codec: Codec | None, session: Session, digest: str
    ) -> None:
        self.path, self.manifest, self.schema, self.codec = path, manifest, schema, codec
        self.session, self.digest = session, digest
        self._reader = records.Reader(codec, manifest, schema)

    def predict(self, given: Any, batch_size: int = BATCH) -> list[dict[str, Any]]:
        """An answer for each record.

        Args:
            given: A record or several, a polars or pandas frame, paths of pictures, or texts.
            batch_size: Records that the model sees at once.

        Raises:
            InputError: Names the record and the field.
        """
        return self.decode(self.session.compute(self._reader.arrays(given), batch_size))

    def encode(self, given: Sequence[Mapping[str, Any]]) -> Arrays:
        """The arrays of records as they come from JSON.

        Raises:
            InputError: Names the record and the field: `records[3].age: ...`.
        """
        return self._reader.encode(given)

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one batch of arrays."""
        return self.session.run(arrays)

    def compute(self, arrays: Arrays, batch_size: int = BATCH) -> dict[str, Array]:
        """Outputs by name for any number of rows, sequences of different lengths included."""
        return self.session.compute(arrays, batch_size)

    def decode(self, outputs: Mapping[str, Array]) -> list[dict[str, Any]]:
        """Outputs in the person's words, one answer a row."""
        kind = self.manifest.prediction_kind
        if kind == "tensor":
            names = list(outputs)
            rows = zip(*(outputs[name].tolist() for name in names), strict=True)
            return [dict(zip(names, row, strict=True)) for row in rows]
        values = outputs[self.manifest.outputs[0].name]
        if kind == "number":
            return [{"prediction": value} for value in values.tolist()]
        classes = self.schema["classes"]
        best = values.argmax(axis=1)
        sure = values[np.arange(len(best)), best]
        return [
            {"prediction": classes[i], "confidence": c, "probabilities": dict(zip(classes, row, strict=True))}
            for i, c, row in zip(best.tolist(), sure.tolist(), values.tolist(), strict=True)
        ]


def load(
    path: str | Path, *, require_signature: Path | None = None, allow_unproven: bool = False,
    model: str | None = None, threads: int | None = None,
) -> Bundle:  # fmt: skip
    """A bundle, once all of its files are known to be those that were written.

    Args:
        path: Its folder, or its zip.
        require_signature: A public key in a PEM file; the bundle must be signed with its private one.
        allow_unproven: Take a model that was not shown to answer as the trained one does.
        model: Which one answers, `onnx` or `int8`; None takes the one that the export chose.
        threads: Of one call; None goes by what this process may use.

    Raises:
        BundleError: Names the file that is missing, too many, changed, unsigned or unproven.
    """
    given = Path(path)
    if not given.is_file():
        return _loaded(given, require_signature, allow_unproven, model, threads)
    folder = archive.unpack(given)
    try:
        made = _loaded(folder, require_signature, allow_unproven, model, threads)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, BundleError):
            raise BundleError(str(error).replace(str(folder), str(given))) from error
        raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


def _loaded(
    folder: Path, require_signature: Path | None, allow_unproven: bool, model: str | None, threads: int | None
) -> Bundle:
    files.listed(folder)  # no link is followed, not even to the manifest
    signing.check(folder, require_signature)
    manifest = files.check(folder)
    form = model or manifest.serve
    if form not in WITHOUT_TORCH or form not in manifest.models:
        has = ", ".join(name for name in manifest.models if name in WITHOUT_TORCH) or "none"
        raise BundleError(f"{folder} has no model {form!r} that runs without torch; it has {has}")
    chosen = manifest.models[form]
    if not chosen.proven and not allow_unproven:
        raise BundleError(
            f"{folder / chosen.file} is unproven: parity.json says how it differs from the trained model; "
            "--allow-unproven takes it all the same"
        )
    session = Session(folder / chosen.file, manifest, chosen, threads)
    schema = _read_json(folder / "schema.json")
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return Bundle(folder, manifest, schema, _codec(folder), session, digest)


def _codec(folder: Path) -> Codec | None:
    if not (folder / "codec.json").is_file():
        return None
    try:
        return Codec.from_state(_read_json(folder / "codec.json"), folder)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BundleError(
            f"{folder / 'codec.json'} cannot be read ({type(error).__name__}: {error}); it is of another version"
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{file} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise BundleError(f"{file} holds no JSON object")
    return found
