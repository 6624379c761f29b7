"""A net as one module, from the codec's arrays to the prediction."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from torchkiln.codec.base import BATCH, ArraySpec, Axis
from torchkiln.deploy import graph as graphs
from torchkiln.deploy.graph import Graph, example
from torchkiln.errors import ExportError


def test_the_net_itself_stays_as_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2)).to(memory_format=torch.channels_last)
    net.train()
    made = graphs.of_module(net, [ArraySpec("x", "float32", (BATCH, 3, 5, 5))], False, "tensor", None)
    weight = next(made.module.parameters())
    assert weight.is_contiguous() and not weight.requires_grad and not made.module.training
    assert net.training and next(net.parameters()).requires_grad
    assert next(net.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_a_task_gives_predictions_and_an_empty_input_is_none(graph: Graph) -> None:
    class Codec:
        def specs(self) -> list[ArraySpec]:
            return [ArraySpec("numeric", "float32", (BATCH, 2)), ArraySpec("categorical", "int64", (BATCH, 0))]

    def forward(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        assert batch["categorical"].shape == (len(batch["numeric"]), 0)
        found: Tensor = net(batch["numeric"])
        return found

    task = SimpleNamespace(
        codec=SimpleNamespace(inputs=Codec()),
        prediction_kind="number",
        forward=forward,
        predict=lambda out: 10 + out[:, 0],
    )
    made = graphs.of_task(task, nn.Linear(2, 1))  # type: ignore[arg-type]
    assert [spec.name for spec in made.inputs] == ["numeric"] and made.outputs == ["value"]
    assert made.output_specs() == [{"name": "value", "dtype": "float32", "shape": [None]}]
    assert made.run({"numeric": np.zeros((3, 2), np.float32)})["value"].shape == (3,)
    assert graph.output_specs() == [{"name": "output", "dtype": "float32", "shape": [None, 2]}]


def test_examples_keep_to_the_form_and_pad_behind() -> None:
    specs = [
        ArraySpec("ids", "int32", (BATCH, Axis("length")), below=5, pad=7),
        ArraySpec("x", "float32", (BATCH, Axis("length"))),
    ]
    made = example(specs, 3, {"length": 6})
    assert made["ids"].shape == made["x"].shape == (3, 6) and made["ids"].dtype == np.int32
    assert (made["ids"][0, 3:] == 7).all() and (made["ids"][1:] < 5).all() and (made["x"][0, 3:] == 0).all()
    assert not np.array_equal(made["x"], example(specs, 3, {"length": 6}, seed=1)["x"])
    np.testing.assert_array_equal(made["x"], example(specs, 3, {"length": 6})["x"])


def test_cases_are_of_several_sizes_and_no_longer_than_the_net_takes(graph: Graph) -> None:
    shapes = [case["cat"].shape for case in graph.cases()]
    assert [n for n, _ in shapes] == [1, 2, 7, 64] and {n for _, n in shapes} == {1, 5, 32}
    short = Graph(graph.module, [ArraySpec("cat", "int64", (BATCH, Axis("length", 3)), below=9)], [], "tensor")
    assert max(case["cat"].shape[1] for case in short.cases()) == 3


def test_outputs_have_the_names_of_a_dict_or_numbers() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"boxes": x, "scores": x[:, 0]}

    specs = [ArraySpec("x", "float32", (BATCH, 2))]
    made = graphs.of_module(Two(), specs, True, "tensor", None)
    assert made.outputs == ["boxes", "scores"]
    found = list(made.run({"x": np.ones((3, 2), np.float32)}).values())
    assert graphs.joined(found).shape == (3, 3) and graphs.joined(found[:1]) is found[0]
    with pytest.raises(ExportError, match="its forward gives a int; let it give a tensor"):
        graphs.tensors((torch.zeros(1), 3))


def test_a_detection_net_is_told_what_it_is() -> None:
    net = nn.Sequential(torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None))
    with pytest.raises(ExportError, match=r"a detection net of torchvision .* one picture at a time"):
        graphs.of_module(net, [ArraySpec("x", "float32", (BATCH, 3, 64, 64))], False, "tensor", None)
