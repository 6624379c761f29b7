"""What the graph behind a loss tells: where it ends, what stands before a tensor, and the shapes on the way.

Shapes are those of the tensor that an operation made, outermost dimension first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MOST_NODES = 50_000
"""Beyond these a graph is not read to its end: the rest is unknown."""
PASSING = ("View", "Unsafe", "Squeeze", "Unsqueeze", "Reshape", "Select", "Slice", "Index", "ToCopy", "T", "Transpose",
           "Permute", "Clone", "Alias", "Expand", "Clamp", "Flatten", "Contiguous")  # fmt: skip
"""Beginnings of the names of operations that leave the values what they are."""


@dataclass
class Walk:
    """What was met on the way from a loss to its leaves.

    Args:
        leaves: Tensors that gradients end at, by id.
        nodes: How many operations.
        whole: Whether all of them were seen.
        found: The operations that were asked for.
    """

    leaves: dict[int, Tensor] = field(default_factory=dict)
    nodes: int = 0
    whole: bool = True
    found: list[Any] = field(default_factory=list)


def walk(root: Tensor, wanted: tuple[str, ...] = (), most: int = MOST_NODES) -> Walk:
    """Read the graph behind a tensor, breadth first.

    Args:
        root: Such as the loss.
        wanted: Beginnings of the names of operations to hand back.
        most: Operations to read.
    """
    seen = Walk()
    if root.grad_fn is None:
        if root.requires_grad:
            seen.leaves[id(root)] = root
        return seen
    todo, known = [root.grad_fn], {root.grad_fn}
    for node in todo:
        seen.nodes += 1
        if seen.nodes > most:
            seen.whole = False
            break
        if wanted and node.name().startswith(wanted):
            seen.found.append(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            seen.leaves[id(leaf)] = leaf
        for below, _ in node.next_functions:
            if below is not None and below not in known:
                known.add(below)
                todo.append(below)
    return seen


def before(tensor: Tensor) -> Any:
    """The operation that gave a tensor its values, past those that only arrange them; None at a leaf."""
    node: Any = tensor.grad_fn
    while node is not None and node.name().startswith(PASSING):
        node = node.next_functions[0][0] if node.next_functions else None
    return node


def chain(tensor: Tensor, most: int = 12) -> Iterator[Any]:
    """The operations behind a tensor along their first inputs."""
    node: Any = tensor.grad_fn
    while node is not None and most:
        yield node
        most -= 1
        node = next((below for below, _ in node.next_functions if below is not None), None)


def shape(node: Any) -> tuple[int, ...] | None:
    """The shape of what an operation made, where torch keeps it."""
    try:
        return tuple(int(n) for n in node._input_metadata[0].shape)
    except (AttributeError, IndexError, TypeError, RuntimeError):
        return None
