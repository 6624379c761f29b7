"""One piece of work at a time beside the training: writing a checkpoint from a copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Background:
    """Runs work in a thread, at most one at a time.

    An error of the work is raised at the next call of `check`, `start` or `join`, in the thread that calls.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """What the last finished work took."""
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin `work`, after what is under way has ended."""
        self.join()
        # No daemon: a process that ends by itself writes its last checkpoint to the end.
        self._thread = threading.Thread(target=self._run, args=(work,), name="torchkiln-writer")
        self._thread.start()

    def join(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._raise()

    def check(self) -> None:
        """Raise the error of work that has ended badly; waits for nothing."""
        if self._thread is None or not self._thread.is_alive():
            self.join()

    def _run(self, work: Callable[[], None]) -> None:
        begun = time.perf_counter()
        try:
            work()
        except BaseException as error:
            self._error = error
        self.seconds = time.perf_counter() - begun

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
