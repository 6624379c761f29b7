"""The .pt2 file: the same bytes each time, nothing of this machine, an example that is made up."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from torchkiln.deploy import to_pt2
from torchkiln.deploy.graph import Graph


def test_the_file_loads_and_holds_nothing_of_ours(graph: Graph, traced: ExportedProgram, tmp_path: Path) -> None:
    to_pt2.write(traced, tmp_path / "a.pt2")
    to_pt2.write(traced, tmp_path / "b.pt2")
    content = (tmp_path / "a.pt2").read_bytes()
    assert content == (tmp_path / "b.pt2").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        everything = b"".join(packed.read(name) for name in packed.namelist())
    assert str(Path(__file__).parents[3]).encode() not in everything
    case = graph.cases()[2]
    found = torch.export.load(tmp_path / "a.pt2").module()(*(torch.from_numpy(case[s.name]) for s in graph.inputs))
    torch.testing.assert_close(found[0], torch.from_numpy(graph.run(case)["output"]))
