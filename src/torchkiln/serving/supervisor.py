"""The process above the workers: one socket each, a new worker for one that died or stands still."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torchkiln.bundle.session import cores
from torchkiln.errors import InputError, KilnError
from torchkiln.serving.fleet import Fleet
from torchkiln.serving.settings import Settings

KILL_SECONDS = 5.0
"""A worker that stands still for so long is replaced; one that loads a large model may be slow to move."""
START_SECONDS = 120.0
"""For loading."""
_STEADY_SECONDS = 10.0  # a worker that lived so long did not die of its start
_LONGEST_WAIT = 30.0
_TICK = 0.2


@dataclass
class _Child:
    """One worker as the supervisor sees it."""

    number: int
    socket: socket.socket
    process: int = 0
    since: float = 0.0
    deaths: int = 0
    due: float = 0.0
    moved: bool = False


def serve(settings: Settings, said: Callable[[str], None] = lambda line: None) -> int:
    """Serve until a signal; the exit code.

    Args:
        settings: Checked here first.
        said: Called with the address once all workers answer.

    Raises:
        KilnError: Something is wrong with the settings or the bundles; nothing was served.
    """
    settings.check()
    count = settings.workers or max(1, cores() // settings.threads)
    sockets = _listen(settings.host, settings.port, count)
    scheme = "https" if settings.tls_cert else "http"
    host, port = sockets[0].getsockname()[:2]
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    with contextlib.ExitStack() as ends, tempfile.TemporaryDirectory(prefix="torchkiln-serve-") as folder:
        for one in sockets:
            ends.enter_context(one)
        fleet = Fleet(Path(folder), count)
        # Imported before the workers part, so that a new one starts in a moment and shares the memory.
        from torchkiln.serving import worker

        if count == 1:
            fleet.started(0)
            worker.run(settings, sockets[0], fleet, 0, lambda: said(address))
            return 0
        return _Supervisor(settings, sockets, fleet, worker.run).run(lambda: said(f"{address} ({count} workers)"))


class _Supervisor:
    """Keeps the workers alive.

    Args:
        settings: Of the server.
        sockets: One a worker; all listen on one address.
        fleet: The board.
        work: What a worker does.
    """

    def __init__(
        self, settings: Settings, sockets: list[socket.socket], fleet: Fleet,
        work: Callable[[Settings, socket.socket, Fleet, int], None],
    ) -> None:  # fmt: skip
        self.settings, self.fleet, self.work = settings, fleet, work
        self.children = [_Child(i, one) for i, one in enumerate(sockets)]
        self.code = 0

    def run(self, ready: Callable[[], None]) -> int:
        """Until a signal; `ready` is called once all workers are, for the first time."""
        signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        for child in self.children:
            self.fleet.started(child.number)
            self._start(child)
        said = False
        while True:
            got = signal.sigtimedwait(signals, _TICK)
            if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop()
            if not self._tend():
                self._stop()
                return self.code
            if not said and self.fleet.trouble() is None:
                said = True
                ready()

    def _start(self, child: _Child) -> None:
        child.since, child.moved = time.monotonic(), False
        sys.stdout.flush(), sys.stderr.flush()
        child.process = os.fork()
        if child.process:
            return
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
            for other in self.children:
                if other is not child:
                    other.socket.close()
            self.work(self.settings, child.socket, self.fleet, child.number)
            code = 0
        except KilnError as error:
            code = error.exit_code
            print(f"error: {error}", file=sys.stderr)  # noqa: T201
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)

    def _tend(self) -> bool:
        """Replace who died or stands still; whether to go on."""
        now = time.monotonic()
        for child in self.children:
            if child.process:
                done, status = os.waitpid(child.process, os.WNOHANG)
                if done and not self._died(child, os.waitstatus_to_exitcode(status), now):
                    return False
                if not done and self.fleet.still(child.number) > (KILL_SECONDS if child.moved else START_SECONDS):
                    os.kill(child.process, signal.SIGKILL)
                child.moved = child.moved or (not done and self.fleet.ready(child.number))
            elif now >= child.due:
                self.fleet.restarted(child.number)
                self._start(child)
        return True

    def _died(self, child: _Child, code: int, now: float) -> bool:
        """Set the time of the next start; false where starting is in vain."""
        if not child.moved and self.fleet.restarts() == 0 and code > 0:
            self.code = code  # it says itself what is wrong, and so it would again
            child.process = 0
            return False
        child.process = 0
        child.deaths = 0 if now - child.since > _STEADY_SECONDS else child.deaths + 1
        wait = min(_LONGEST_WAIT, 0.5 * 2 ** (child.deaths - 2)) if child.deaths > 1 else 0.0
        child.due = now + wait
        print(f"worker {child.number} ended with {code}; a new one starts in {wait:g} s", file=sys.stderr)  # noqa: T201
        return True

    def _stop(self) -> int:
        """Let all finish what they have begun; the exit code."""
        alive = [child for child in self.children if child.process]
        for child in self.children:
            child.socket.close()  # the workers' own are the last: whoever still comes is answered by them
        for child in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.process, signal.SIGTERM)
        end = time.monotonic() + self.settings.drain_seconds + 3.0
        while alive and time.monotonic() < end:
            alive = [c for c in alive if os.waitpid(c.process, os.WNOHANG)[0] == 0]
            if alive:
                time.sleep(0.02)
        for child in alive:
            os.kill(child.process, signal.SIGKILL)
            os.waitpid(child.process, 0)
        return self.code


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets on one address, one a worker: the kernel shares connections out among them.

    Raises:
        InputError: The address cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        _refuse_taken(found)
        for _ in range(count):
            one = socket.socket(found[0], found[1])
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if count > 1:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((found[4][0], sockets[0].getsockname()[1] if len(sockets) > 1 else port))
            one.listen(2048)
            one.setblocking(False)
            one.set_inheritable(True)
    except OSError as error:
        for one in sockets:
            one.close()
        raise InputError(f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another --port, or "
                         "stop what listens there") from error  # fmt: skip
    return sockets


def _refuse_taken(found: tuple[object, ...]) -> None:
    """Another server of ours that shares its port out would let us in: half of the requests each."""
    family, kind, _, _, address = found
    with socket.socket(family, kind) as probe:  # type: ignore[arg-type]
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)  # type: ignore[arg-type]
        probe.listen(1)
