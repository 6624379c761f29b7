from __future__ import annotations

import pytest

from torchkiln.checks.diagnose import out_of_memory as oom
from torchkiln.checks.diagnose.failure import Failure, Frame
from torchkiln.checks.diagnose.rule import Context

NEW = (
    "CUDA out of memory. Tried to allocate {asked} GiB. GPU 0 has a total capacity of 24.00 GiB of which {free} GiB is "
    "free. Including non-PyTorch memory, this process has {mine} GiB memory in use. Of the allocated memory {used} GiB "
    "is allocated by PyTorch, and {unused} GiB is reserved by PyTorch but unallocated."
)
OLD = (
    "CUDA out of memory. Tried to allocate {asked} GiB (GPU 0; 24.00 GiB total capacity; {used} GiB already allocated; "
    "{free} GiB free; {reserved} GiB reserved in total by PyTorch)"
)


def failure(text: str, *frames: Frame) -> Failure:
    return Failure("torch.OutOfMemoryError", text, frames)


@pytest.mark.parametrize(
    ("text", "fragmented", "others"),
    [
        (NEW.format(asked=2, free=1, mine=22.5, used=13, unused=9), True, False),
        (NEW.format(asked=2, free=1, mine=22.5, used=22, unused=0.2), False, False),
        (NEW.format(asked=0.02, free=0.01, mine=2, used=1.5, unused=0.1), False, True),
        (OLD.format(asked=2, free=1, used=13, reserved=22), True, False),
        (OLD.format(asked=2, free=1, used=21.8, reserved=22), False, False),
        (OLD.format(asked=0.02, free=0.01, used=1.0, reserved=1.1), False, True),
        ("CUDA out of memory.", False, False),
    ],
)
def test_figures_tell_the_cause(text: str, fragmented: bool, others: bool) -> None:
    assert oom.fragmented(failure(text), Context()) is fragmented
    assert oom.others(failure(text), Context()) is others


def test_frames_tell_an_evaluation() -> None:
    frame = Frame("t.py", 1, "validate_epoch", "model(x)")
    assert oom.evaluating(failure("", frame), Context())
    spared = Frame("/v/site-packages/torch/utils/_contextlib.py", 1, "decorate_context", "return func()")
    assert not oom.evaluating(failure("", spared, frame), Context())
    assert not oom.evaluating(failure("", Frame("t.py", 1, "evolve", "model(x)")), Context())


def test_frames_tell_what_is_placed() -> None:
    assert oom.placing(
        failure("", Frame("t.py", 1, "main", "model = Net().cuda()"), Frame("a.py", 2, "c", "self._apply(f)")),
        Context(),
    )
    assert oom.placing(failure("", Frame("/v/site-packages/torch/optim/adam.py", 1, "_init_group", "")), Context())
    assert not oom.placing(failure("", Frame("t.py", 1, "main", "x = x.to(device)")), Context())


def test_a_graph_that_is_kept() -> None:
    kept = {"kept": {"is": "list", "length": 9, "graph": True}}
    assert oom.graph_kept(failure("", Frame("t.py", 1, "main", "total += loss")), Context())
    assert oom.graph_kept(failure("", Frame("t.py", 1, "main", "model(x)", kept)), Context())
    assert oom.graph_kept(failure("", Frame("t.py", 1, "main", "model(x)")), Context(lint=lambda: {"W129": [4]}))
    growing = [f"step {i} mem: {i + 1}.5 GB" for i in range(5)]
    assert oom.graph_kept(failure(""), Context(lines=growing))
    assert not oom.graph_kept(failure(""), Context(lines=[*growing, "step 9 mem: 1.0 GB"]))
