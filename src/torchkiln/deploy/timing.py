"""The CPU time of several ways to compute one thing, so that whatever else the machine does meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np

from torchkiln.codec.base import Array
from torchkiln.deploy.prove import Runner

_ROUNDS, _FEWEST_ROUNDS = 9, 3
_LEAST_SECONDS, _MOST_SECONDS = 0.004, 2.0
"""Of a measurement, so that the clock can tell it; and of all turns, where these are slow."""


def cpu_in_turns(runners: Mapping[str, Runner], feeds: Mapping[str, Array]) -> dict[str, float]:
    """Median milliseconds of this thread's CPU a call, run A B A B, so that what the machine does meets all alike."""
    first = {}
    for name, run in runners.items():
        made_ready = _cpu(run, feeds, 1)
        first[name] = made_ready if made_ready > _LEAST_SECONDS * _ROUNDS else _cpu(run, feeds, 1)
    calls = {name: max(1, round(_LEAST_SECONDS / max(took, 1e-6))) for name, took in first.items()}
    turn = sum(first[name] * calls[name] for name in runners)
    rounds = int(np.clip(_MOST_SECONDS / turn, _FEWEST_ROUNDS, _ROUNDS))
    found = [{name: _cpu(run, feeds, calls[name]) for name, run in runners.items()} for _ in range(rounds)]
    return {name: 1e3 * statistics.median(one[name] for one in found) for name in runners}


def _cpu(run: Runner, feeds: Mapping[str, Array], calls: int) -> float:
    """Seconds of a call."""
    begun = time.thread_time()
    for _ in range(calls):
        run(feeds)
    return (time.thread_time() - begun) / calls
