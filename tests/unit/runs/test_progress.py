"""What is told to a display, and when."""

from typing import Any

from torchkiln.runs.progress import Progress


def test_every_hook_does_nothing_by_default() -> None:
    progress = Progress()
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("stage", ("fit", "training")), ("message", ("x", "warn")), ("plan", ([],)), ("start", (1, 2)),
        ("step", (0, 1, {})), ("epoch", ({}, {})), ("done", ({},)),
    ]  # fmt: skip
    hooks = [n for n in vars(Progress) if not n.startswith("_")]
    assert sorted(n for n, _ in calls) == sorted(hooks)
    for name, args in calls:
        assert getattr(progress, name)(*args) is None
