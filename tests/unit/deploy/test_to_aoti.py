"""Packages of AOTInductor."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from torch.export import ExportedProgram

from torchkiln.deploy import files, to_aoti
from torchkiln.deploy.graph import Graph
from torchkiln.errors import ExportError


def test_without_a_compiler_nothing_is_begun(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ExportError, match=r"there is no compiler here: install g\+\+"):
        files.write(graph, ["onnx", "aoti"], tmp_path, lambda form: pytest.fail("it was begun"))


@pytest.mark.slow
def test_the_package_runs_elsewhere_and_is_the_same_twice(
    graph: Graph, traced: ExportedProgram, tmp_path: Path
) -> None:
    (one,) = files.write(graph, ["aoti"], tmp_path, lambda form: None)
    assert one.machine is not None and set(one.machine) == {"system", "cpu", "instructions", "torch"}
    (tmp_path / "again").mkdir()
    to_aoti.write(traced, tmp_path / "again" / one.file)
    assert (tmp_path / "again" / one.file).read_bytes() == (tmp_path / one.file).read_bytes()
    with zipfile.ZipFile(tmp_path / one.file) as packed:
        assert not any(name.endswith(".cpp") for name in packed.namelist())
