"""A stop that was asked for waits for a safe point; asked twice, it does not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchkiln.training.signals import Signals, Stopped


@pytest.fixture
def signals() -> Iterator[Signals]:
    made = Signals()
    made.listen()
    yield made
    made.leave()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_asks_and_the_second_stops_at_once(signals: Signals, number: int) -> None:
    os.kill(os.getpid(), number)
    assert signals.asked == number
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_the_signals_go_back_to_whoever_had_them() -> None:
    before = signal.getsignal(signal.SIGTERM)
    made = Signals()
    made.listen()
    assert signal.getsignal(signal.SIGTERM) != before
    made.leave()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    made = Signals()
    made.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    assert made.asked is None
    made.leave()
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_codes_and_the_words_that_resume(number: int, code: int) -> None:
    stopped = Stopped(number, 7, Path("runs/a"))
    assert stopped.exit_code == code
    assert "stopped at step 7" in str(stopped) and "torchkiln fit --resume runs/a" in str(stopped)
