import torch
from torch import nn
from torch.nn import functional as F

from torchkiln.training.operations import Machine, Operation, Operations, cost_of_watching, median_work, work

MACHINE = Machine(flops=100e9, bandwidth=10e9, launch=2e-6)


def made(function: object) -> list[Operation]:
    with Operations() as seen:
        function()  # type: ignore[operator]
    return seen.made


def test_products_convolutions_and_attention_are_counted_forward_and_backward() -> None:
    linear, conv = nn.Linear(20, 30, bias=False), nn.Conv2d(3, 8, 3, bias=False)
    x, image = torch.randn(5, 20, requires_grad=True), torch.randn(2, 3, 10, 10, requires_grad=True)
    assert sum(o.flops for o in made(lambda: linear(x).sum().backward())) == 3 * 2 * 5 * 20 * 30
    assert sum(o.flops for o in made(lambda: conv(image).sum().backward())) == 3 * 2 * 2 * 8 * 8 * 8 * 3 * 9
    q, k, v = (torch.randn(1, 2, 16, 8, requires_grad=True) for _ in range(3))
    one = 2 * 2 * 16 * 16 * 8  # a product; two forward, and in the backward five, since the scores are made anew
    assert sum(o.flops for o in made(lambda: F.scaled_dot_product_attention(q, k, v))) == 2 * one
    assert sum(o.flops for o in made(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())) == 7 * one


def test_bytes_are_those_that_go_in_and_come_out() -> None:
    a, table = torch.zeros(1000), torch.zeros(5000, 4)
    (add,) = made(lambda: a + a)
    assert add.bytes == 3 * 4000
    assert [o.bytes for o in made(lambda: a.view(10, 100).t())] == [0, 0]
    which = torch.tensor([3, 4])
    (row,) = made(lambda: F.embedding(which, table))
    assert row.name == "embedding" and row.bytes == 2 * 2 * 4 * 4, "a table is not read whole"
    spread = torch.zeros(1, 1).expand(1000, 1000)
    assert made(lambda: spread + 0.0)[0].bytes == 4 + 4_000_000


def test_the_optimizer_is_seen() -> None:
    net = nn.Linear(100, 100)
    net.weight.grad, net.bias.grad = torch.ones_like(net.weight), torch.ones_like(net.bias)
    seen = made(torch.optim.AdamW(net.parameters(), fused=True).step)
    step = next(o for o in seen if "adamw" in o.name)
    assert step.bytes >= 4 * 4 * (10_000 + 100), "parameter, gradient and two moments"


def test_work_is_told_from_launching() -> None:
    product = Operation("mm", 1.1e-3, flops=100_000_000, bytes=1_000_000)  # 1 ms of arithmetic at best
    copy = Operation("add", 2.1e-3, flops=0, bytes=10_000_000)  # 1 ms at best, and took twice as long
    small = [Operation("add_", 1.0e-4, flops=0, bytes=12)] * 1000
    found = work([product, copy, *small], 2, MACHINE, watching=1e-4)
    assert abs(found.compute - 0.5e-3) < 1e-9 and abs(found.memory - 1e-3) < 1e-5
    assert found.count == 501 and found.flops == 50_000_000


def test_a_step_that_met_a_neighbour_is_not_taken() -> None:
    steps = [[Operation("add", seconds, flops=0, bytes=10_000_000)] for seconds in (2e-3, 9e-3, 2.1e-3)]
    assert median_work(steps, 1, MACHINE, watching=0).memory == 2.1e-3


def test_on_a_gpu_only_the_best_counts() -> None:
    product = Operation("mm", 5e-6, flops=100_000_000, bytes=1_000_000)
    assert work([product], 1, MACHINE, watching=float("inf")).compute == 1e-3


def test_watching_costs_little() -> None:
    assert 0 < cost_of_watching() < 1e-3
