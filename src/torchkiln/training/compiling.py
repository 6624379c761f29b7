"""`torch.compile`: the net beside its compiled self, and what compiling came to."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

COMPILE_SECONDS = 4.0, 0.25
"""What compiling is presumed to take before it was tried: at least, and for each layer. A ResNet-18 (60 layers)
took 14 to 20 s on two cores."""


def compiled(net: nn.Module, mode: bool | str, any_length: bool = False) -> nn.Module:
    """A compiled view of the net, for its training step alone: it shares the weights, whose names stay the net's.

    Whether shapes are symbols is said. Left alone, the first batch of another shape would turn them into
    symbols, and the bits of a step would depend on the shapes that this process has seen before.

    Args:
        net: Stays as it is, for validation and test.
        mode: As `train.compile`; not false.
        any_length: Batches come in many shapes, so that a graph for each would never end.
    """
    made: Any = torch.compile(net, dynamic=any_length, mode="default" if mode is True else str(mode))
    return made  # type: ignore[no-any-return]


def presumed_seconds(net: nn.Module) -> float:
    """How long compiling is presumed to take."""
    least, layer = COMPILE_SECONDS
    return least + layer * sum(not list(m.children()) for m in net.modules())


class Compilations:
    """Graphs, graph breaks and recompilations from its making on."""

    def __init__(self) -> None:
        _utils().clear_compilation_metrics()

    def counted(self) -> dict[str, Any]:
        """`graphs`, `graph_breaks`, `recompiles`, and the reason of the first recompilation as `because`."""
        made = [m for m in _utils().get_compilation_metrics() if getattr(m, "co_name", None)]
        reasons = [str(m.recompile_reason) for m in made if getattr(m, "recompile_reason", None)]
        # Behind a break, what is left of a function is compiled as one of this name.
        breaks = {str(m.co_name) for m in made if str(m.co_name).startswith("torch_dynamo_resume_in")}
        found = {"graphs": len(made), "graph_breaks": len(breaks), "recompiles": len(reasons)}
        return {**found, "because": reasons[0].splitlines()[0]} if reasons else found


def forget() -> None:
    """Drop all that was compiled, so that no later graph depends on what was tried before."""
    torch.compiler.reset()


def _utils() -> Any:
    from torch._dynamo import utils  # the figures have no public name

    return utils
