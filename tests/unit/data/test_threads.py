"""Many small things at once: all of them, in order, and errors come through."""

from __future__ import annotations

import pytest

from torchkiln.data.threads import CHUNK, in_threads


@pytest.mark.parametrize("count", [0, 1, CHUNK, 3 * CHUNK + 1])
def test_each_thing_is_done_once_and_in_order(count: int) -> None:
    assert in_threads(lambda x: x * x, range(count)) == [x * x for x in range(count)]


def test_an_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 / x, [2, 1, 0])
