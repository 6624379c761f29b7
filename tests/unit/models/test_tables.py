"""Nets for tables: shapes, what they are asked with, and export."""

from __future__ import annotations

import pytest
import torch

from torchkiln.errors import ModelError
from torchkiln.models import tables
from torchkiln.models.tables import Layout

LAYOUT = Layout([[-1.0, 0.0, 1.0], [-2.0, -1.0, 0.0, 0.5, 3.0]], 1, [4, 100])
NAMES = list(tables.NETS)


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    numeric = torch.randn(rows, 3, generator=made)
    codes = [torch.randint(0, n, (rows,), generator=made) for n in LAYOUT.cardinalities]
    return numeric, torch.stack(codes, dim=1)


def built(name: str, classes: int | None = 3, layout: Layout = LAYOUT, **args: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return tables.build(name, args, layout, classes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [None, 2, 5])
def test_shapes(name: str, classes: int | None) -> None:
    output = built(name, classes)(*inputs(7))
    members = (16,) if name == "tabm" else ()
    assert output.shape == (7, *members, *([classes] if classes else []))
    assert output.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", [Layout([], 0, [3, 4]), Layout([[0.0, 1.0]], 0, []), Layout([], 1, [])])
def test_inputs_of_one_kind_only(name: str, layout: Layout) -> None:
    numeric = torch.rand(5, len(layout.edges) + layout.indicators)
    categorical = torch.zeros(5, len(layout.cardinalities), dtype=torch.long)
    assert built(name, 2, layout)(numeric, categorical).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_gives_what_it_gives_among_others(name: str) -> None:
    net = built(name).eval()
    numeric, categorical = inputs(9)
    with torch.no_grad():
        torch.testing.assert_close(net(numeric[4:5], categorical[4:5]), net(numeric, categorical)[4:5])


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_a_small_task_is_learnt(name: str) -> None:
    net = built(name, None, dropout=0.0)
    numeric, categorical = inputs(96)
    target = numeric[:, 0].abs() + (categorical[:, 0] == 2)  # bends, and a category
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        output = net(numeric, categorical)
        loss = (output - (target[:, None] if output.ndim == 2 else target)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert idle == []
    assert losses[-1] < 0.15 * float(target.var())


@pytest.mark.parametrize("name", NAMES)
def test_exports_with_a_free_batch_size(name: str) -> None:
    net = built(name).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(net, inputs(4), dynamic_shapes=({0: batch}, {0: batch}))
    with torch.no_grad():
        for rows in (1, 33):
            torch.testing.assert_close(program.module()(*inputs(rows)), net(*inputs(rows)))


def test_members_differ_and_share_a_rows_dropout() -> None:
    net = built("tabm", dropout=0.5)
    assert isinstance(net, tables.TabM)
    output = net(*inputs(4))
    assert (output[:, 0] - output[:, 1]).abs().max() > 1e-3
    dropped = net._drop(torch.ones(4, net.k, net.width)) == 0
    assert dropped.any()
    assert (dropped == dropped[:, :1]).all()
    assert not (dropped == dropped[:1]).all()
    assert (net.eval()._drop(torch.ones(2, net.k, net.width)) == 1).all()


def test_the_members_first_layers_are_one_layer_over_scaled_inputs() -> None:
    net = built("tabm", blocks=1).eval()
    assert isinstance(net, tables.TabM)
    numeric, categorical = inputs(5)
    x = net.inputs(numeric, categorical)
    hidden = torch.relu(net.first(x[:, None] * net.scale))
    expected = torch.einsum("bkh,khc->bkc", hidden, net.head_weight) + net.head_bias.transpose(0, 1)
    torch.testing.assert_close(net(numeric, categorical), expected)


def test_a_category_never_seen_adds_nothing() -> None:
    net = built("tabm")
    assert isinstance(net, tables.TabM)
    x = net.inputs(torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.long))
    assert (x[0, 2 * 16 + 1 :] == 0).all()


def test_piecewise_linear_bends_at_its_bounds_only() -> None:
    embed = tables._PiecewiseLinear([[-1.0, 0.0, 2.0], [0.0, 1.0]], 1)
    with torch.no_grad():
        embed.weight.zero_()
        embed.bias.zero_()
        embed.bends.copy_(torch.tensor([[[1.0], [10.0]], [[5.0], [7.0]]]))
    x = torch.tensor([-1.0, -0.5, 0.0, 1.0, 2.0, 9.0, -9.0])
    got = embed(torch.stack([x, x], dim=1))[:, 0, 0]
    # One more width of the outer bins at most, on both sides.
    torch.testing.assert_close(got, torch.tensor([0.0, 0.5, 1.0, 6.0, 11.0, 21.0, -1.0]))
    assert embed(torch.tensor([[0.0, 0.5]]))[0, 1, 0] == 2.5  # the bin that the second has not is empty


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("tabn", {}, r"model\.name: unknown net for tables 'tabn': did you mean 'tabm'"),
        ("tabm", {"widht": 3}, r"model\.args: tabm does not take 'widht': did you mean 'width'"),
        ("ft_transformer", {"width": 65}, r"width 65 is no multiple of heads 8"),
        ("mlp", {"width": "wide"}, r"mlp cannot be built from"),
    ],
)
def test_what_cannot_be_built_says_so(name: str, args: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tables.build(name, args, LAYOUT, 2)
