"""TorchScript, for those who load it already."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from torchkiln.deploy import fresh, to_torchscript
from torchkiln.deploy.graph import Graph


def test_the_file_answers_at_other_sizes_and_names_no_line_of_ours(graph: Graph, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # its own warnings do not reach the person
        to_torchscript.write(graph, tmp_path / "m.pt")
        opened = fresh.opened("torchscript", tmp_path / "m.pt")
    assert str(Path(__file__).parents[3]).encode() not in (tmp_path / "m.pt").read_bytes()
    for case in graph.cases():
        (found,) = opened({n: case[n] for n in ("cat", "numeric")})
        torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(graph.run(case)["output"]))
