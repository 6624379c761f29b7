"""The page to try the models on: a file each of HTML, style and script, kept in memory; it works offline."""

from __future__ import annotations

from pathlib import Path

from torchkiln.serving.refusal import Refusal

_FOLDER = Path(__file__).with_name("site")
_KINDS = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_read: dict[str, bytes] = {}


def asset(name: str) -> tuple[bytes, str]:
    """Content and media type of one of the page's files.

    Raises:
        Refusal: 404 where it has no such file.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise Refusal(404, "the page has no such file")
    if name not in _read:
        _read[name] = (_FOLDER / name).read_bytes()
    return _read[name], kind
