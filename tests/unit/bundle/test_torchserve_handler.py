"""The handler answers as the bundle does, whatever form a request's body has."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bundles
import pytest

from torchkiln import bundle
from torchkiln.bundle import torchserve_handler


@pytest.mark.parametrize(
    ("make", "bodies", "record"),
    [
        (bundles.table, [bundles.RECORD, json.dumps(bundles.RECORD).encode()], bundles.RECORD),
        (bundles.text, [b"a good film", b'"a good film"', {"text": "a good film"}], {"text": "a good film"}),
        (bundles.pictures, [bytearray(bundles.png())], {"image": bundles.png()}),
    ],
)
def test_a_body_is_a_record(
    make: Any, bodies: list[Any], record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve_handler, "_loaded", None)
    expected = bundle.load(make(tmp_path / "bundle")).predict([record] * len(bodies))
    context = SimpleNamespace(system_properties={"model_dir": str(tmp_path)})
    assert torchserve_handler.handle(None, context) is None
    assert torchserve_handler.handle([{"body": body} for body in bodies], context) == expected
    assert torchserve_handler.handle([{"data": body} for body in bodies], context) == expected
