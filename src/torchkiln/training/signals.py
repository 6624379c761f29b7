"""A stop that was asked for: by Ctrl-C, by a scheduler, by a terminal that was closed."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from torchkiln.errors import RunFailed


class Signals:
    """Notes that a stop was asked for, so that it happens at a safe point.

    The first signal asks; a second one stops at once.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        """The signal that came."""
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # else as nohup asked
                self._before[number] = signal.signal(number, self._on_signal)

    def leave(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _on_signal(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = number


class Stopped(RunFailed):
    """The person asked for a stop, and the run was saved.

    Args:
        number: The signal.
        step: Where.
        run: The run directory.
    """

    def __init__(self, number: int, step: int, run: Path) -> None:
        self.exit_code = 1 if number == signal.SIGINT else 128 + number  # type: ignore[misc]
        super().__init__(f"stopped at step {step}, and saved; go on with: torchkiln fit --resume {run}")
