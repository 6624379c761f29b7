"""The proof of a bundle again, on another machine, from the rows that it carries, without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln import randomness
from torchkiln.bundle import proof
from torchkiln.bundle.manifest import WITHOUT_TORCH, ModelFile
from torchkiln.bundle.read import Bundle, load
from torchkiln.bundle.session import Session
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.errors import BundleError

RECORDS, REFERENCE = "proof/records.jsonl", "proof/reference.npy"
SIZES = (1, 2, 7, 64)
SECONDS = 50.0
"""Of computing, so that the whole ends within a minute; a slow net then answers fewer of the rows."""


def check(path: str | Path, *, require_signature: Path | None = None, seconds: float = SECONDS) -> dict[str, Any]:
    """Hold every file that runs without torch to its gate again, beside the trained net's own answers.

    Args:
        path: The bundle.
        require_signature: As for `load`.
        seconds: Most time to compute.

    Returns:
        `bundle`; `ok`, whether each file that could be checked holds; `rows` in the proof; `files`, each with
        `form`, `file`, `verdict` (`proven`, `unproven`, `void`, `not checked`), `why`, `rows` answered,
        `max_abs`, `over_std` and `agreement`.

    Raises:
        BundleError: The bundle cannot be read, holds no proof, or nothing that runs without torch.
    """
    first = _first(path, require_signature)
    arrays, reference = _material(first)
    forms = [form for form in WITHOUT_TORCH if form in first.manifest.models]
    rows = []
    end = time.monotonic() + seconds
    for i, form in enumerate(forms):
        model = first.manifest.models[form]
        session = first.session if model is first.session.model else _session(first, model)
        share = (end - time.monotonic()) / (len(forms) - i)
        rows.append(
            {
                "form": form,
                "file": model.file,
                **_held(first, session, form, arrays, _own(first, form, reference), share),
            }
        )
    for form, model in first.manifest.models.items():
        if form not in forms:
            rows.append({"form": form, "file": model.file, "verdict": "not checked", "why": ["it runs in torch alone"]})
    ok = all(row["verdict"] == "proven" for row in rows if row["form"] in forms)
    return {"bundle": str(path), "ok": ok, "rows": len(reference), "files": rows}


def _first(path: str | Path, require_signature: Path | None) -> Bundle:
    """The bundle with any model that runs here, proven or not: that is the question."""
    for form in WITHOUT_TORCH:
        try:
            return load(path, require_signature=require_signature, allow_unproven=True, model=form)
        except BundleError as error:
            if f"has no model {form!r}" not in str(error):
                raise
    raise BundleError(f"{path} has no model that runs without torch, so nothing can be checked here")


def _session(bundle: Bundle, model: ModelFile) -> Session:
    return Session(bundle.path / model.file, bundle.manifest, model, bundle.session.threads)


def _material(bundle: Bundle) -> tuple[Arrays, Array]:
    """The proof's records through the bundle's own codec, and what the trained net said of them."""
    for name in (RECORDS, REFERENCE):
        if name not in bundle.manifest.files:
            raise BundleError(f"{bundle.path / name} is missing: the bundle was made without rows to prove it by")
    try:
        lines = (bundle.path / RECORDS).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        reference = np.load(bundle.path / REFERENCE, allow_pickle=False)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{bundle.path / 'proof'} cannot be read ({error})") from error
    if len(records) != len(reference):
        raise BundleError(f"{bundle.path / 'proof'} holds {len(records):,} records and {len(reference):,} answers")
    return bundle.encode(records), reference


def _own(bundle: Bundle, form: str, reference: Array) -> Array:
    """What a file is held beside: its own answers where the export wrote them, else those of the trained net."""
    name = f"proof/{form}.npy"
    if name not in bundle.manifest.files:
        return reference
    try:
        found: Array = np.load(bundle.path / name, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{bundle.path / name} cannot be read ({error})") from error
    if found.shape != reference.shape:
        raise BundleError(f"{bundle.path / name} holds answers of another shape than {REFERENCE}")
    return found


def _held(
    bundle: Bundle, session: Session, form: str, arrays: Arrays, reference: Array, seconds: float
) -> dict[str, Any]:
    """One file beside the reference, in the largest batches first, then a few rows in the others."""
    kept, answers = _answers(session, arrays, len(reference), seconds)
    found = proof.compare(reference[kept], answers, classes=bundle.manifest.prediction_kind == "classes")
    faults = proof.GATES[form].faults(found)
    verdict = "unproven" if faults else "void" if found.void else "proven"
    why = faults or [found.void] * bool(found.void)
    apart = {"max_abs": found.max_abs, "over_std": found.over_std, "agreement": found.agreement}
    return {"verdict": verdict, "why": why, "rows": len(kept), **apart}


def _answers(session: Session, arrays: Arrays, rows: int, seconds: float) -> tuple[npt.NDArray[np.int64], Array]:
    """Answers at each of `SIZES` for rows in a fixed random order, as many as the time allows.

    A row is given to one size alone: each size has a part of the rows, the largest the most.
    """
    order = randomness.permutation(0, "proof", 0, rows)
    end = time.monotonic() + seconds
    done: list[npt.NDArray[np.int64]] = []
    answers: list[Array] = []
    at = 0
    for size in _sizes(rows):
        if done and time.monotonic() > end:
            break
        indices = np.sort(order[at : at + size])
        at += size
        found = session.compute({name: _rows(array, indices) for name, array in arrays.items()}, size)
        done.append(indices)
        answers.append(found[session.outputs[0].name])
    return np.concatenate(done), np.concatenate(answers)


def _sizes(rows: int) -> list[int]:
    """Batch sizes that add up to the rows: four of each small size first, then the largest."""
    sizes: list[int] = []
    for size in SIZES[:-1]:
        sizes += [size] * min(4, max(0, rows - sum(sizes)) // size)
    while sum(sizes) < rows:
        sizes.append(min(SIZES[-1], rows - sum(sizes)))
    return sizes


def _rows(array: Array | Ragged, indices: npt.NDArray[np.int64]) -> Array | Ragged:
    if not isinstance(array, Ragged):
        return array[indices]
    parts = [array.values[array.offsets[i] : array.offsets[i + 1]] for i in indices]
    offsets = np.concatenate([[0], np.cumsum(array.lengths[indices])]).astype(np.int64)
    return Ragged(np.concatenate(parts), offsets, array.pad)


def lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `check` found, as lines for a terminal."""
    out = [("bold", f"{'file':24}{'rows':>8}  {'max abs':>9}  {'/ std':>9}  {'agree':>7}  verdict")]
    for row in found["files"]:
        figures = (
            f"{row['max_abs']:9.2g}  {row['over_std']:9.2g}  {row['agreement']:7.4f}" if "rows" in row else " " * 29
        )
        style = {"proven": "green", "not checked": "dim"}.get(row["verdict"], "red")
        why = f": {'; '.join(row['why'])}" if row["why"] else ""
        out.append((style, f"{row['file']:24}{row.get('rows', 0):>8,}  {figures}  {row['verdict']}{why}"))
    return out
