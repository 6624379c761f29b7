from __future__ import annotations

import torch
from torch import nn

from torchkiln.checks.guard import graph


def test_a_walk_ends_at_the_leaves() -> None:
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    walked = graph.walk(net(x).sum(), ("Sum",))
    assert set(walked.leaves) == {id(p) for p in net.parameters()}
    assert walked.whole and len(walked.found) == 1 and walked.nodes >= 3
    assert not graph.walk(net(x).sum(), most=1).whole
    leaf = torch.ones(1, requires_grad=True)
    assert list(graph.walk(leaf).leaves) == [id(leaf)]


def test_what_made_the_values_stands_before_what_arranges_them() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    assert graph.before(x.softmax(1).reshape(3, 4).squeeze()[0]).name().startswith("SoftmaxBackward")
    assert graph.before(x) is None


def test_shapes_on_the_way() -> None:
    x = torch.randn(4, 1, requires_grad=True)
    names = {node.name(): graph.shape(node) for node in graph.chain((x - torch.zeros(4)).pow(2).mean())}
    assert names["SubBackward0"] == (4, 4) and names["MeanBackward0"] == ()
