"""The archive holds the bundle, TorchServe's manifest and the handler, and the same bytes each time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import bundles

from torchkiln import bundle
from torchkiln.bundle import mar


def test_the_archive_is_whole(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    file = mar.pack(path, tmp_path / "a.mar", "a model")
    assert mar.pack(path, tmp_path / "again.mar", "a model").read_bytes() == file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "out")
    about = json.loads((tmp_path / "out" / "MAR-INF" / "MANIFEST.json").read_text())
    assert about["model"]["modelName"] == "a_model"
    assert "def handle(" in (tmp_path / "out" / about["model"]["handler"]).read_text()
    assert bundle.load(tmp_path / "out" / "bundle").predict(bundles.RECORD)
