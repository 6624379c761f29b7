"""A trained net as one module, from the codec's arrays to the prediction, and what goes in and out of it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from torchkiln.codec.base import BATCH, Array, ArraySpec, Axis
from torchkiln.errors import ExportError
from torchkiln.tasks._base import Task

Named = Mapping[str, Array]
"""Arrays by name."""

EXAMPLE_BATCH = 2
"""Rows of the example that a graph is traced with: of one alone, torch.export may take the 1 for a constant."""
BATCHES = (1, 2, 7, 64)
"""Rows at which every file is run before it counts as written."""
LENGTHS = (1, 5, 32)
"""Lengths at which it is run, as far as the net was made for them."""

_DETECTION = "torchvision.models.detection."


@dataclass(frozen=True)
class Graph:
    """What is exported.

    Args:
        module: In eval mode, on the CPU, in float32; takes the `inputs` by position, gives a tuple.
        inputs: Forms of the tensors, in the order in which they are taken.
        outputs: Names of the tensors it gives.
        prediction_kind: `classes`: `probabilities` float32 [batch, classes]; `number`: `value` float32 [batch] in the
            target's own unit; `tensor`: whatever a person's own net gives.
    """

    module: nn.Module
    inputs: list[ArraySpec]
    outputs: list[str]
    prediction_kind: Literal["classes", "number", "tensor"]

    @property
    def axes(self) -> list[Axis]:
        """What varies besides the batch, each once."""
        found = {a.name: a for spec in self.inputs for a in spec.shape[1:] if isinstance(a, Axis)}
        return list(found.values())

    def run(self, arrays: Named) -> dict[str, Array]:
        """The eager module's outputs for one batch."""
        with torch.inference_mode():
            found = self.module(*(torch.from_numpy(arrays[spec.name]) for spec in self.inputs))
        return {name: out.numpy() for name, out in zip(self.outputs, found, strict=True)}

    def output_specs(self) -> list[dict[str, Any]]:
        """Name, dtype and shape of each output; None where the size is not the same for every batch."""
        small, large = (self.run(example(self.inputs, n, {a.name: n for a in self.axes})) for n in (2, 3))
        return [
            {
                "name": name,
                "dtype": str(small[name].dtype),
                "shape": [m if m == n else None for m, n in zip(small[name].shape, large[name].shape, strict=True)],
            }
            for name in self.outputs
        ]

    def cases(self) -> list[dict[str, Array]]:
        """Batches of several sizes and lengths, made up from the inputs' forms."""
        lengths = [
            {a.name: min(n, a.most or n) for a in self.axes} for n in LENGTHS
        ] if self.axes else [{}]  # fmt: skip
        wanted = [(b, lengths[i % len(lengths)]) for i, b in enumerate(BATCHES)]
        return [example(self.inputs, b, at, seed=i) for i, (b, at) in enumerate(wanted)]


def of_task(task: Task, net: nn.Module) -> Graph:
    """All that a built-in task does between the codec and the person's words.

    Args:
        task: Of the run.
        net: With its trained weights; left as it is.
    """
    specs = [spec for spec in task.codec.inputs.specs() if 0 not in spec.shape]
    empty = [spec for spec in task.codec.inputs.specs() if 0 in spec.shape]
    module = _named(_OfTask, [spec.name for spec in specs])(_ready(net), task, specs, empty)
    output = "probabilities" if task.prediction_kind == "classes" else "value"
    return Graph(module.eval(), specs, [output], task.prediction_kind)


def of_module(
    net: nn.Module, specs: list[ArraySpec], by_name: bool, kind: Literal["classes", "number", "tensor"],
    predicted: Callable[[Tensor], Tensor] | None,
) -> Graph:  # fmt: skip
    """A person's own net, from the tensors that its forward takes.

    Args:
        net: With its trained weights; left as it is.
        specs: Forms of the tensors.
        by_name: Whether it is called with them by name.
        kind: What it gives.
        predicted: Its output to a prediction of that kind; None for plain tensors.

    Raises:
        ExportError: It gives something else than tensors.
    """
    if any(type(part).__module__.startswith(_DETECTION) for part in net.modules()):
        raise ExportError("the net cannot be exported: a detection net of torchvision takes a list of pictures and "
                          "gives as many boxes as it finds, so its answers make no batch; the old exporter writes it "
                          "for one picture at a time: torch.onnx.export(net, ([picture],), FILE, dynamo=False)"
                         )  # fmt: skip
    module = _named(_OfModule, [spec.name for spec in specs])(_ready(net), specs, by_name, predicted).eval()
    if kind != "tensor":
        return Graph(module, specs, ["probabilities" if kind == "classes" else "value"], kind)
    lengths = {a.name: min(n, a.most or n) for n in LENGTHS[1:2] for a in Graph(module, specs, [], kind).axes}
    given = example(specs, EXAMPLE_BATCH, lengths)
    with torch.inference_mode():
        out = module.called(*(torch.from_numpy(array) for array in given.values()))
    if isinstance(out, Mapping):
        return Graph(module, specs, [str(name) for name in out], kind)
    count = len(tensors(out))
    return Graph(module, specs, ["output"] if count == 1 else [f"output_{i}" for i in range(count)], kind)


def tensors(output: Any) -> tuple[Tensor, ...]:
    """The tensors of what a net gives: one, several, or by name.

    Raises:
        ExportError: There is something else among them.
    """
    found = tuple(output.values()) if isinstance(output, Mapping) else output
    found = found if isinstance(found, tuple | list) else (found,)
    for one in found:
        if not isinstance(one, Tensor):
            raise ExportError(f"the net cannot be exported: its forward gives a {type(one).__name__}; let it give a "
                              "tensor, or a tuple or dict of tensors")  # fmt: skip
    return tuple(found)


def joined(outputs: Sequence[Array]) -> Array:
    """Several outputs side by side, so that each row has one line of numbers; a single one as it is."""
    if len(outputs) == 1:
        return outputs[0]
    return np.concatenate([np.asarray(out, np.float32).reshape(len(out), -1) for out in outputs], axis=1)


def example(specs: Sequence[ArraySpec], batch: int, lengths: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Arrays that have the form of inputs and hold nothing of anybody's data.

    Half of the first row is padding where rows have lengths.

    Args:
        specs: The inputs' forms.
        batch: Rows.
        lengths: Of every axis but the batch.
        seed: Another one gives other values.
    """
    random = np.random.default_rng(seed)
    made = {}
    for spec in specs:
        shape = [n if isinstance(n, int) else {BATCH.name: batch, **lengths}[n.name] for n in spec.shape]
        values: Array
        if np.issubdtype(np.dtype(spec.dtype), np.floating):
            values = random.normal(size=shape)
        else:
            values = random.integers(0, spec.below or 2, size=shape)
        if any(isinstance(n, Axis) for n in spec.shape[1:2]):
            values[0, (shape[1] + 1) // 2 :] = spec.pad
        made[spec.name] = values.astype(spec.dtype)
    return made


class _OfTask(nn.Module):
    """The codec's arrays to the task's prediction."""

    def __init__(self, net: nn.Module, task: Task, specs: list[ArraySpec], empty: list[ArraySpec]) -> None:
        super().__init__()
        self.net, self.task = net, task
        self.names = [spec.name for spec in specs]
        self.empty = empty  # a table without categories: a file's inputs hold something

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        batch = dict(zip(self.names, inputs, strict=True))
        for spec in self.empty:
            batch[spec.name] = torch.zeros((inputs[0].shape[0], 0), dtype=getattr(torch, spec.dtype))
        return (self.task.predict(self.task.forward(self.net, batch)),)


class _OfModule(nn.Module):
    """A person's net between the tensors it takes and what it predicts."""

    def __init__(
        self, net: nn.Module, specs: list[ArraySpec], by_name: bool, predicted: Callable[[Tensor], Tensor] | None
    ) -> None:
        super().__init__()
        self.net, self.by_name, self.predicted = net, by_name, predicted
        self.names = [spec.name for spec in specs]

    def called(self, *inputs: Tensor) -> Any:
        """What the net gives, as it gives it."""
        return self.net(**dict(zip(self.names, inputs, strict=True))) if self.by_name else self.net(*inputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        out = self.called(*inputs)
        return tensors(self.predicted(out) if self.predicted else out)


def _ready(net: nn.Module) -> nn.Module:
    """A copy in eval mode, on the CPU, in float32 and in the plain memory format."""
    made = copy.deepcopy(net).cpu().float().eval()
    for tensor in (*made.parameters(), *made.buffers()):
        tensor.data = tensor.data.contiguous()
    return made.requires_grad_(False)


def _named(kind: type[nn.Module], names: Sequence[str]) -> type[Any]:
    """The class with a forward whose parameters have these names, which torch.export gives to the graph's inputs."""

    def forward(self: nn.Module, *inputs: Tensor) -> Any:
        return kind.forward(self, *inputs)

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *names)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"forward": forward})
