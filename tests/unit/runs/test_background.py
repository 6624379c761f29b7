from __future__ import annotations

import threading

import pytest

from torchkiln.runs.background import Background


def test_one_at_a_time_and_in_order() -> None:
    done: list[int] = []
    running = threading.Lock()

    def work(number: int) -> None:
        assert running.acquire(blocking=False), "two at once"
        done.append(number)
        running.release()

    background = Background()
    for number in range(20):
        background.start(lambda number=number: work(number))
    background.join()
    assert done == list(range(20))


def test_the_caller_does_not_wait() -> None:
    gate, background = threading.Event(), Background()
    background.start(lambda: (gate.wait(60), None)[1])
    background.check()  # still under way: nothing to say
    gate.set()
    background.join()


def test_an_error_reaches_the_one_who_asks_next_and_once() -> None:
    def fail() -> None:
        raise OSError(28, "full")

    background = Background()
    for ask in (background.join, lambda: background.start(lambda: None)):
        background.start(fail)
        with pytest.raises(OSError, match="full"):
            ask()
        background.join()


def test_check_raises_what_ended_badly() -> None:
    over, background = threading.Event(), Background()

    def fail() -> None:
        over.set()
        raise ValueError("no")

    background.start(fail)
    over.wait(60)
    asking = iter(background.check, "never")
    with pytest.raises(ValueError, match="no"):
        list(asking)
