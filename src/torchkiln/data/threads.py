"""One function over many small things, on all cores: for what leaves Python's lock, such as reading and decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torchkiln.runs import environment

Given = TypeVar("Given")
Made = TypeVar("Made")

CHUNK = 64
"""Things a task of the pool; handing one over costs as much as hashing a small file."""


def in_threads(function: Callable[[Given], Made], things: Sequence[Given]) -> list[Made]:
    """`[function(thing) for thing in things]`, with a thread a core."""
    chunks = [things[i : i + CHUNK] for i in range(0, len(things), CHUNK)]
    with ThreadPoolExecutor(environment.cores()) as pool:
        return [made for chunk in pool.map(lambda c: [function(thing) for thing in c], chunks) for made in chunk]
