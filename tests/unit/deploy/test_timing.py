"""Times are taken in turns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from torchkiln.codec.base import Array
from torchkiln.deploy import timing


def test_turns_are_timed_in_this_threads_cpu() -> None:
    def busy(feeds: Mapping[str, Array]) -> Array:
        return np.sort(np.random.default_rng(0).normal(size=feeds["n"][0]))

    found = timing.cpu_in_turns({"a": busy, "b": busy}, {"n": np.array([2000])})
    assert set(found) == {"a", "b"}
    assert all(0 < milliseconds < 1000 for milliseconds in found.values())
