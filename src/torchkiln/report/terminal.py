"""What a person sees of a run: live on a terminal, in plain lines elsewhere; and the words at its end.

Progress goes to stderr and results to stdout, so that the results can be piped on.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from torchkiln.report import planned, words
from torchkiln.runs.progress import Progress

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console, RenderableType

REFRESH_SECONDS = 0.25
"""A terminal is drawn anew no more often than this."""
LINE_SECONDS = 60.0
"""Without a terminal, a long epoch says a word this often."""
Line = tuple[str, str]
"""Style (`bold`, `dim`, `red`, ... or none) and text."""


def display(stream: TextIO | None = None, silent: bool = False) -> Display:
    """The display that suits a stream: live on a terminal, else plain lines.

    Args:
        stream: Where to draw; stderr by default.
        silent: Show nothing.
    """
    stream = stream or sys.stderr
    if silent:
        return Display()
    return Live(stream) if stream.isatty() else Lines(stream)


class Display(Progress):
    """A progress that shows nothing; leaving its `with` block gives the terminal back."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop drawing."""


class Lines(Display):
    """A line an epoch and a line an event, without control characters."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.gone = False
        self.steps = 0
        self.said_at = time.monotonic()

    def stage(self, name: str, text: str) -> None:
        self._say(f"{name}: {text}")

    def message(self, text: str, level: str = "note") -> None:
        self._say(text if level == "note" else f"{level}: {text}")

    def plan(self, decisions: list[dict[str, Any]]) -> None:
        for decision in decisions:
            self._say(f"plan: {_decision(decision)}")

    def start(self, epochs: int, steps: int) -> None:
        self.steps = steps

    def step(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        if time.monotonic() - self.said_at >= LINE_SECONDS:
            self._say("  ".join([f"epoch {epoch}", f"step {step:,} of {self.steps:,}", *_rates(values)]))

    def epoch(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        self._say("  ".join(f"{name} {value}" for name, value in _epoch_cells(row, timing)))

    def _say(self, text: str) -> None:
        """Write a line; a reader who left does not end the run."""
        self.said_at = time.monotonic()
        try:
            if not self.gone:
                self.stream.write(_plain(text) + "\n")
                self.stream.flush()
        except (OSError, ValueError):
            self.gone = True


class Live(Display):
    """A row an epoch, above a bar that is drawn anew by the clock."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self.console: Console = Console(file=stream, highlight=False)
        self.live: Any = None
        self.steps = 0
        self.now: tuple[int, Mapping[str, float]] = (0, {})
        self.drawn_at = 0.0
        self.headed = False

    def stage(self, name: str, text: str) -> None:
        self.close()  # only training has a bar, and it does not linger
        self._print((("bold", f"{name:<7}"), ("", text)))

    def message(self, text: str, level: str = "note") -> None:
        style = {"warn": "yellow", "stop": "red"}.get(level, "dim")
        self._print(((style, text),), indent=8)

    def plan(self, decisions: list[dict[str, Any]]) -> None:
        for decision in decisions:
            self._print((("dim", _decision(decision)),), indent=8)

    def start(self, epochs: int, steps: int) -> None:
        from rich.live import Live as RichLive

        self.steps = steps
        self.live = RichLive(self._bar(), console=self.console, auto_refresh=False, transient=True)
        with self._while_somebody_looks():
            self.live.start()

    def step(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        self.now = (step, values)
        if time.monotonic() - self.drawn_at >= REFRESH_SECONDS:
            self._draw()

    def epoch(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        cells = _epoch_cells(row, timing)
        if not self.headed:
            self._print((("bold", _row(name for name, _ in cells)),))
            self.headed = True
        self._print((("", _row(value for _, value in cells)),))

    def done(self, summary: Mapping[str, Any]) -> None:
        self.close()

    def close(self) -> None:
        if self.live is not None:
            with self._while_somebody_looks():
                self.live.stop()
            self.live = None

    def _draw(self) -> None:
        self.drawn_at = time.monotonic()
        if self.live is not None:
            with self._while_somebody_looks():
                self.live.update(self._bar(), refresh=True)

    @contextlib.contextmanager
    def _while_somebody_looks(self) -> Iterator[None]:
        """A terminal that was closed does not end the run."""
        try:
            yield
        except OSError:
            self.console.quiet = True

    def _bar(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        step, values = self.now
        parts = [f"step {step:,} of {self.steps:,}", *_rates(values)]
        grid = Table.grid(padding=(0, 1))
        said = Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
        grid.add_row(ProgressBar(total=max(self.steps, 1), completed=step, width=16), said)
        return grid

    def _print(self, parts: Sequence[Line], indent: int = 0) -> None:
        from rich.padding import Padding
        from rich.text import Text

        line = Text.assemble(*((text, style) for style, text in parts))
        with self._while_somebody_looks():
            self.console.print(Padding(line, (0, 0, 0, indent), expand=False))


# The words at a run's end


def score_lines(test: Mapping[str, Any]) -> list[Line]:
    """The test score with its interval, the baselines beside it, and the verdict.

    Args:
        test: The content of test.json.
    """
    metrics = test.get("metrics") or {}
    primary = str(test.get("primary") or next(iter(metrics), ""))
    if primary not in metrics:
        return [("yellow", "There is no test score: the data has no test split.")]
    rows = f"{words.count(test.get('n'))} {test.get('split') or 'test'} rows"
    lines = [("bold", f"{_score(primary, metrics[primary])} on {rows}")]
    others = [f"{words.measure(n)} {words.score(m['value'], m.get('low'), m.get('high'))}"
              for n, m in metrics.items() if n != primary]  # fmt: skip
    if others:
        lines.append(("dim", f"  also {', '.join(others)}"))
    lines += _baselines(test, primary)
    verdict = test.get("verdict") or {}
    if verdict.get("text"):
        good = verdict.get("beats_trivial") and verdict.get("beats_classical") is not False
        lines.append(("green" if good else "yellow", str(verdict["text"])))
    return lines


def next_lines(run: Path) -> list[Line]:
    """Where the report is, and how to predict."""
    report = run / "report.html"
    return [
        ("", f"Report   {report if report.is_file() else f'none yet: torchkiln report {run}'}"),
        ("", f"Predict  torchkiln predict {run} INPUT"),
    ]


def _score(name: str, metric: Mapping[str, Any]) -> str:
    value, low, high = metric.get("value"), metric.get("low"), metric.get("high")
    inside = words.interval(value, low, high)
    text = f"{words.measure(name)} {words.score(value, low, high)}"
    return f"{text} (95 % interval {inside})" if inside else text


def _baselines(test: Mapping[str, Any], primary: str) -> list[Line]:
    """Each baseline's score, and how far ours is from it, with the decimals of our score."""
    ours = test["metrics"][primary]
    places = words.decimals(words.finite(ours.get("value")) or 0.0, ours.get("low"), ours.get("high"))
    rows = []
    for baseline in test.get("baselines") or []:
        value = words.finite(((baseline.get("metrics") or {}).get(primary) or {}).get("value"))
        gap = baseline.get("difference") or {}
        figures = [words.finite(gap.get(k)) for k in ("value", "low", "high")]
        said = [words.MISSING if x is None else words.minus(f"{x:+,.{places}f}") for x in figures]
        if value is not None:
            text = f"{value:,.{places}f}   this run {said[0]} ({said[1]} to {said[2]})"
            rows.append((str(baseline.get("name")), text if figures[0] is not None else f"{value:,.{places}f}"))
    width = max((len(name) for name, _ in rows), default=0)
    return [("", f"  {name:<{width}}  {text}") for name, text in rows]


# Writing


def show(lines: Sequence[Line]) -> None:
    """Print lines on stdout, in colour on a terminal."""
    _write(sys.stdout, [[line] for line in lines])


def complain(faults: Sequence[str], where: str = "") -> None:
    """Print what is wrong on stderr: one sentence, or a line for each of several faults.

    Args:
        faults: One sentence each.
        where: The file they are in, if there is one.
    """
    if len(faults) == 1:
        said = f"{where}: {faults[0]}" if where else faults[0]
        lines: list[list[Line]] = [[("bold red", "error: "), ("", said)]]
    else:
        head = f"{len(faults)} faults in {where}" if where else f"{len(faults)} faults"
        lines = [[("bold red", "error: "), ("", head)], *([("", f"  {f}")] for f in faults)]
    with contextlib.suppress(OSError):  # nobody is there to read it
        _write(sys.stderr, lines)


def show_table(frame: pl.DataFrame, most: int = 20) -> None:
    """Print the first rows of a table on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in frame.columns:
        table.add_column(Text(name))
    for row in frame.head(most).iter_rows():
        table.add_row(*(Text(words.figure(v) if isinstance(v, float) else str(v)) for v in row))
    console = Console()
    console.print(table)
    if len(frame) > most:
        console.print(f"... and {len(frame) - most:,} more; --out FILE.csv keeps all of them", highlight=False)


def _write(stream: TextIO, lines: Sequence[Sequence[Line]]) -> None:
    if not stream.isatty():
        stream.write("".join(_plain("".join(text for _, text in parts)) + "\n" for parts in lines))
        stream.flush()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    for parts in lines:
        console.print(Text.assemble(*((text, style) for style, text in parts)), soft_wrap=True)


def _plain(text: str) -> str:
    """Hyphens for the signs of print, so that logs can be searched and read anywhere."""
    return text.replace("\u2212", "-").replace("\u2013", "-")


# Cells


def _epoch_cells(row: Mapping[str, Any], timing: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what is shown of an epoch: its losses, the first metric, speed and time."""
    metrics = [n for n in row if n.startswith("val_") and n != "val_loss"]
    shown = [n for n in ("train_loss", "val_loss", *metrics[:1]) if n in row]
    cells = [("epoch", str(row.get("epoch", "")))]
    cells += [(n.removeprefix("val_") if n in metrics else n, words.figure(row[n])) for n in shown]
    cells.append(("samples/s", words.count(timing.get("samples_per_second"))))
    cells.append(("time", words.duration(timing.get("seconds"))))
    return cells


def _rates(values: Mapping[str, float]) -> list[str]:
    said = []
    if words.finite(values.get("loss")) is not None:
        said.append(f"loss {words.figure(values['loss'])}")
    if words.finite(values.get("samples_per_second")) is not None:
        said.append(f"{words.count(values['samples_per_second'])} samples/s")
    if words.finite(values.get("seconds_left")) is not None:
        said.append(f"{words.duration(values['seconds_left'])} left")
    return said


def _decision(decision: Mapping[str, Any]) -> str:
    why = f" ({decision['why']})" if decision.get("why") else ""
    return f"{decision.get('what')} = {planned.flat(decision.get('chosen'))}{why}"


def _row(cells: Iterable[str]) -> str:
    first, *others = cells
    return f"{first:>7}" + "".join(f"{cell:>13}" for cell in others)
