"""`torchkiln diagnose`: a log, or a program that is run as it is, into causes and mends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import sys
import tempfile
import termios
import threading
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from torchkiln.checks.diagnose import facts, log, match
from torchkiln.checks.diagnose.failure import Chain
from torchkiln.checks.diagnose.match import Diagnosis
from torchkiln.errors import DataError

OUTSIDE = Path(__file__).parent / "outside"
KEPT = 4_000_000
"""Characters of a program's stderr that are kept, its last ones."""
UNIX_SIGNAL = 128
ENDS = {9: "Killed", 11: "Segmentation fault"}
"""Signals that leave no word."""


def of_text(text: str) -> Diagnosis:
    """The diagnosis of a log's text, or of a traceback."""
    return match.of_log(log.parse(text))


def of_file(path: str | Path) -> Diagnosis:
    """The diagnosis of a log; `-` reads stdin.

    Raises:
        DataError: It is no log.
    """
    if str(path) == "-":
        text, notes = log.decode(sys.stdin.buffer.read(), "stdin")
    else:
        text, notes = log.load(Path(path))
    found = of_text(text)
    found.notes += notes
    return found


def of_command(words: Sequence[str], stdout: IO[Any] | None = None) -> Diagnosis:
    """Run a program as it is, and diagnose how it ended.

    Args:
        words: The command.
        stdout: Where its stdout goes; None leaves it where ours goes.

    Returns:
        The diagnosis with the program's exit code; of a program that ended well without a finding.

    Raises:
        DataError: There is no such command.
    """
    with tempfile.TemporaryDirectory(prefix="torchkiln-") as folder:
        paths = [str(OUTSIDE), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), facts.FACTS: folder}
        code, written = _run(words, env, stdout)
        if code == 0:
            return Diagnosis([])
        known = _known(Path(folder))
    found = _diagnosis(known, written, code)
    found.code = code if code >= 0 else UNIX_SIGNAL - code
    return found


def _run(words: Sequence[str], env: dict[str, str], stdout: IO[Any] | None) -> tuple[int, str]:
    """The program's exit code, and what it wrote to stderr, which is passed on as it comes."""
    terminal = sys.stderr.isatty()
    inner, outer = _terminal() if terminal else os.pipe()  # a program that asks finds a terminal where there is one
    try:
        child = subprocess.Popen(list(words), env=env, stdout=stdout, stderr=outer)
    except OSError as error:
        os.close(inner)
        raise DataError(f"{words[0]} cannot be started: {(error.strerror or 'no reason given').lower()}") from error
    finally:
        os.close(outer)
    kept = bytearray()
    reader = threading.Thread(target=_pass_on, args=(inner, kept), daemon=True)
    reader.start()
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:  # the program has it too, and ends in its own way
            continue
    reader.join(timeout=2)  # a process that it left behind may hold stderr open
    return code, kept.decode("utf-8", "replace")


def _terminal() -> tuple[int, int]:
    """A terminal of the size of ours that changes nothing of what is written to it."""
    inner, outer = pty.openpty()
    tty.setraw(outer)
    fcntl.ioctl(outer, termios.TIOCSWINSZ, fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, bytes(8)))
    return inner, outer


def _pass_on(inner: int, kept: bytearray) -> None:
    while True:
        try:
            data = os.read(inner, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not data:
            break
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
        kept += data
        del kept[:-KEPT]
    os.close(inner)


def _known(folder: Path) -> list[Chain]:
    """What the program's processes knew when they failed, the first one to fail first."""
    found = []
    for file in sorted(folder.glob("*.json"), key=lambda f: f.stat().st_mtime_ns):
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:  # killed while it wrote
            continue
        found.append(Chain(log.from_facts(read["chain"]), str(read["rank"] or "")))
    return found


def _diagnosis(known: list[Chain], written: str, code: int) -> Diagnosis:
    """By the frames where they are known; by the log for processes that could tell nothing."""
    read = log.parse(written)
    if -code in ENDS or code - UNIX_SIGNAL in ENDS:
        read.lines.append(ENDS[abs(code) % UNIX_SIGNAL])  # as a shell would say
    if not known:
        return match.of_log(read)
    read.chains = known
    found = match.of_log(read)
    return found if found.findings else match.of_log(log.parse(written))
