"""The worst mistakes, each with what the net was given."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from torchkiln.codec.base import InputCodec, TargetCodec
from torchkiln.codec.image import ImageCodec, picture
from torchkiln.codec.target import Labels
from torchkiln.errors import DataError
from torchkiln.tasks import _metrics
from torchkiln.tasks._base import Array

MOST = 24
_PIXELS, _CHARACTERS, _CELL = 160, 600, 200


def worst(
    frame: pl.DataFrame,
    target: Array,
    prediction: Array,
    inputs: InputCodec | None,
    codec: TargetCodec,
    text: str | None,
) -> list[dict[str, Any]]:
    """Up to 24 rows: those of the highest loss among the wrongly classed, or of the largest errors.

    Args:
        frame: Raw rows, with `key`.
        target: Class indices [n] or numbers [n].
        prediction: Probabilities [n, classes] or numbers [n], all finite.
        text: The column of texts, if that is what the data is.
    """
    labels = codec.classes if isinstance(codec, Labels) else None
    if labels is None:
        error = prediction.astype(np.float64) - target.astype(np.float64)
        loss, wrong = np.abs(error), error != 0
    else:
        best = prediction.argmax(axis=1)
        loss, wrong = _metrics.log_losses(target, prediction), best != target
    rows = np.argsort(-np.where(wrong, loss, -1.0), kind="stable")[: min(MOST, int(wrong.sum()))]
    shown = _shown(frame[rows], inputs, codec, text)
    found = []
    for row, what, key in zip(rows.tolist(), shown, frame["key"][rows], strict=True):
        said: dict[str, Any] = {"key": str(key)}
        if labels is None:
            said |= {
                "target": float(target[row]),
                "prediction": float(prediction[row]),
                "error": float(error[row]),
            }
        else:
            confidence = float(prediction[row, best[row]])
            said |= {"target": labels[target[row]], "prediction": labels[best[row]], "confidence": confidence}
        found.append({**said, "loss": float(loss[row]), **what})
    return found


def _shown(
    frame: pl.DataFrame, inputs: InputCodec | None, codec: TargetCodec, text: str | None
) -> list[dict[str, Any]]:
    """For each row the picture, the text or the cells, as the net's owner knows them."""
    if isinstance(inputs, ImageCodec):
        raws, names = inputs.raw(frame)
        return [{"image": _thumbnail(raw, name)} for raw, name in zip(raws, names, strict=True)]
    if text is not None:
        return [{"text": _cut(str(value or ""), _CHARACTERS)} for value in frame[text]]
    if inputs is None:  # the person's own data, of which nothing can be shown
        return [{} for _ in range(len(frame))]
    columns = [c for c in frame.columns if c not in ("key", "split", codec.column)]
    return [{"row": {name: _cell(value) for name, value in row.items()}} for row in frame.select(columns).to_dicts()]


def _thumbnail(raw: str | bytes | None, name: str) -> str | None:
    """A JPEG of at most 160 pixels a side as a data URI; None where the file has gone since."""
    try:
        image = picture(raw, name, at_least=_PIXELS)
    except DataError:
        return None
    image.thumbnail((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(held.getvalue()).decode()


def _cell(value: Any) -> Any:
    """A cell as JSON."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return _cut(str(value), _CELL)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
