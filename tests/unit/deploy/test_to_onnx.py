"""ONNX files: names that ONNX Runtime takes, one opset, nothing of this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from torch.export import ExportedProgram

from torchkiln.deploy import to_onnx
from torchkiln.deploy.graph import Graph

Written = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def written(graph: Graph, traced: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> Written:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return file, to_onnx.write(traced, graph, file)


def test_a_file_that_runtime_takes_at_every_size(graph: Graph, written: Written) -> None:
    file, names = written
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == [names["cat"], names["numeric"]]
    assert [i.shape for i in session.get_inputs()] == [["batch", "length"], ["batch", 3]]
    for case in graph.cases():
        (found,) = session.run([names["output"]], {names[n]: a for n, a in case.items()})
        np.testing.assert_allclose(found, graph.run(case)["output"], atol=1e-5)


def test_the_file_is_one_and_says_nothing_of_its_maker(written: Written) -> None:
    file, _ = written
    model = onnx.load(file, load_external_data=False)
    assert next((o.domain, o.version) for o in model.opset_import) == ("", to_onnx.OPSET)
    assert [p.name for p in file.parent.iterdir()] == ["model.onnx"]
    parts = [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]
    assert not any(part.metadata_props or part.doc_string for part in parts) and not model.graph.value_info
    assert str(Path(__file__).parents[3]).encode() not in file.read_bytes()


def test_the_same_program_gives_the_same_bytes(
    graph: Graph, traced: ExportedProgram, written: Written, tmp_path: Path
) -> None:
    to_onnx.write(traced, graph, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == written[0].read_bytes()


def test_large_weights_lie_beside_the_file(
    graph: Graph, traced: ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "LARGEST", 10)
    monkeypatch.setattr(to_onnx, "_BESIDE", 100)
    to_onnx.write(traced, graph, tmp_path / "model.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])


def test_a_name_that_stands_in_the_graph_gets_another() -> None:
    def value(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name)

    class Parts(SimpleNamespace):
        def all_nodes(self) -> list[SimpleNamespace]:
            return self.nodes  # type: ignore[no-any-return]

    ends = [value("a"), value("b")]
    inner = Parts(inputs=[value("cat_")], initializers={}, nodes=[])
    node = SimpleNamespace(outputs=[value("cat"), ends[1]], attributes={"then": SimpleNamespace(value=inner)})
    made = Parts(inputs=ends[:1], outputs=ends[1:], initializers={}, nodes=[node])
    assert to_onnx.rename(made, ["cat"], ["output"]) == {"cat": "cat__", "output": "output"}
    assert [v.name for v in ends] == ["cat__", "output"]
