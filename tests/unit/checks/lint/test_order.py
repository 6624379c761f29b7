from __future__ import annotations

from torchkiln.checks.lint.order import evaluations, innermost_common, loops_of, regions, together
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import View

TEXT = """
for epoch in range(3):
    for x, y in train_loader:
        if first:
            opt_a.step()
        else:
            opt_b.step()
        loss.backward()
    for x, y in val_loader:
        model(x)
"""


def test_the_iteration_is_the_innermost_loop_with_both() -> None:
    (trace,) = View([Source("a.py", TEXT, "a")]).traces
    (region,) = regions(trace)
    assert region.repeats and [e.kind for e in region.events] == ["step", "step", "backward"]
    a, b, back = region.events
    assert not together(a, b) and together(a, back)
    assert innermost_common(a, back) is region.loop


def test_loops_over_held_out_data() -> None:
    (trace,) = View([Source("a.py", TEXT, "a")]).traces
    ((loop, calls),) = evaluations(trace)
    assert len(calls) == 1 and loop in loops_of(trace) and loop.node.lineno == 9
