"""Archives that torch wrote, made anew without what tells of the machine that wrote them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


def repacked(content: bytes, without: Sequence[str]) -> bytes:
    """The archive with its entries in order, and without those whose names end so."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(n for n in old.namelist() if not n.endswith(tuple(without))):
            new.writestr(zipfile.ZipInfo(name, _DATE), old.read(name))
    return out.getvalue()
