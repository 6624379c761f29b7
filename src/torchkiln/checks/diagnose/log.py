"""Tracebacks in a log, whoever wrote it: Python, IPython, Rich, the ranks of torchrun, with the prefixes of loggers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.checks.diagnose.failure import Chain, Failure, Frame
from torchkiln.errors import DataError

LARGEST, KEPT = 16_000_000, 8_000_000
"""Bytes of a log that is still read whole, and of a larger one's end that is read."""
LONGEST = 80
"""Lines of a message."""
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
STREAM = re.compile(r"^\s*(\[?(?:rank|default)[ :]?\d+\]?:|\(\w[^()]*pid=\d+[^()]*\)|\d+:(?= )|[\w.-]+\s*\|(?= )) ?")
HEAD = "Traceback (most recent call last)"
FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
NOTEBOOK = re.compile(
    r"^(?:File (?P<file>\S.*?):(?P<line>\d+)(?:, in (?P<function>[^(]+).*)?"
    r"|(?:Cell |Input )?In ?\[(?P<cell>\d+)\],(?: line (?P<at>\d+)| in .*)"
    r"|(?P<old><ipython-input-[^>]+>|[/~\w].*?\.py) in (?P<inside>[^(]+).*)$"
)
RICH = re.compile(r"^(?P<file>\S.*?):(?P<line>\d+) in (?P<function>\S+)$")
ARROW = re.compile(r"^\s*(?:-+>|❱)\s*(\d+)\s?(.*)$")
KIND = r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*"
RAISED = re.compile(rf"^\**(?P<kind>{KIND})(?:\((?:{KIND})\))?(?:: ?(?P<text>.*))?$")
LOOSE = re.compile(
    r"(?:^|[\s*\]:>|\"])(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|Interrupt)|torch\._dynamo\.exc\.\w+)"
    r":(?: (?P<text>\S.*)?)?$"
)
WRAPPED = 6
"""Lines in which a message without a traceback may go on, as terminals and tables break it."""
MARKS = re.compile(r"^\s*[\^~ ]*[\^~][\^~ ]*$")
LINKS = {
    "The above exception was the direct cause of": "cause",
    "During handling of the above exception": "during",
}
ASIDE = ("Exception ignored in", "Error in atexit", "Exception in thread", "--- Logging error ---")
NEXT = re.compile(r"^(?:\[?\d{4}-\d\d-\d\d|\[?[EWI]\d{3,4} \d\d:|(?:INFO|WARNING|ERROR|DEBUG)[:\s]|terminate called)")


@dataclass
class Log:
    """What was read.

    Args:
        chains: The tracebacks, in their order.
        loose: Exceptions that stand in a line without a traceback, with its number.
        lines: All lines, without prefixes and colours.
        notes: One sentence for each thing about the reading that the person should know.
    """

    chains: list[Chain] = field(default_factory=list)
    loose: list[tuple[int, Failure]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(path: Path) -> tuple[str, list[str]]:
    """A log's text, and what is to be said of its reading.

    Raises:
        DataError: It is no log.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the log in it")
    size = path.stat().st_size
    notes = []
    with path.open("rb") as file:
        if size > LARGEST:
            file.seek(size - KEPT)
            notes.append(f"{path} has {size / 1e6:.0f} MB; its last {KEPT / 1e6:.0f} MB are read")
        raw = file.read()
    text, fault = decode(raw, str(path))
    return (_outputs(text, path) if path.suffix == ".ipynb" else text), notes + fault


def _outputs(text: str, path: Path) -> str:
    """The errors among a notebook's outputs.

    Raises:
        DataError: It is no notebook, or has no cells.
    """
    try:
        cells = json.loads(text)["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        errors = ["\n".join(one["traceback"]) for one in outputs if one.get("output_type") == "error"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no notebook: it holds no JSON with cells") from error
    if not cells:
        raise DataError(f"{path} is a notebook without cells")
    return "\n".join(errors)


def decode(raw: bytes, name: str) -> tuple[str, list[str]]:
    """The text of bytes in whatever encoding, and a sentence where they are not UTF-8.

    Raises:
        DataError: They are no text.
    """
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace"), []
    if raw.count(b"\0") > len(raw) // 1000 + 16 or raw[:4] in (b"\x89PNG", b"PK\x03\x04", b"\x7fELF", b"%PDF"):
        raise DataError(f"{name} is no log: it holds bytes that are no text")
    if not raw.strip():
        raise DataError(
            f"{name} is empty; what the program wrote to stderr belongs in it: python train.py 2> train.log"
        )
    try:
        return raw.decode("utf-8").replace("\0", ""), []
    except UnicodeDecodeError as error:
        note = f"{name} is not UTF-8 from byte {error.start + 1} on; what cannot be read is passed over"
        return raw.decode("utf-8", "replace").replace("\0", ""), [note]


def parse(text: str) -> Log:
    """Everything in a log that rules can be matched against."""
    log = Log()
    streams: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(_lines(text)):
        found = STREAM.match(line)
        key = re.sub(r"\W", "", found[1]) if found else ""
        line = line[found.end() :] if found else line
        streams.setdefault(key, []).append((number, line))
        log.lines.append(line)
    chains: list[tuple[int, Chain]] = []
    for stream, lines in streams.items():
        chains += [(place, chain) for place, chain in _Reader(lines, stream).chains()]
    log.chains = [chain for _, chain in sorted(chains, key=lambda item: item[0])]
    for number, line in enumerate(log.lines):
        if len(line) < 4000 and (found := LOOSE.search(line)):
            rest = log.lines[number + 1 : number + WRAPPED]
            log.loose.append((number, Failure(found["kind"], "\n".join([found["text"] or "", *rest]))))
    return log


def _lines(text: str) -> Iterator[str]:
    """Lines without colours; a traceback that a logger wrote into one line, as JSON, is taken apart."""
    for line in re.split(r"\r\n|\n|\r", ANSI.sub("", text)):
        if HEAD in line and "\\n" in line:
            yield from line.replace('\\"', '"').split("\\n")
        else:
            yield line


def from_facts(found: Sequence[Mapping[str, Any]]) -> list[Failure]:
    """What `facts.of_error` gives, as failures; a traceback inside a message, a worker's, is one of them."""
    failures = []
    for one in found:
        failures.append(Failure(one["kind"], one["text"], [Frame(**frame) for frame in one["frames"]], one["link"]))
        if HEAD in one["text"]:
            inner = [failure for chain in parse(one["text"]).chains for failure in chain.failures]
            failures += [Failure(f.kind, f.text, f.frames, "nested") for f in inner]
    return failures


class _Reader:
    """Reads the tracebacks of one process.

    Args:
        lines: Number in the log and text.
        stream: The process's name.
    """

    def __init__(self, lines: list[tuple[int, str]], stream: str) -> None:
        self.lines, self.stream, self.at = lines, stream, 0

    def chains(self) -> Iterator[tuple[int, Chain]]:
        """Each with the number of the line where it begins."""
        link, aside, chain = None, False, Chain([], self.stream)
        begun = 0
        while self.at < len(self.lines):
            number, line = self.lines[self.at]
            if HEAD in line or FRAME.match(line):
                nested = link is None and bool(chain.failures) and _holds_another(chain.failures[-1], line)
                read = self._traceback()
                if read is None:
                    continue
                if chain.failures and not nested and link is None:
                    yield begun, chain
                    chain = Chain([], self.stream)
                if not chain.failures:
                    begun, chain.aside = number, aside
                chain.failures.append(read)
                read.link = "nested" if nested else link
                link, aside = None, False
                continue
            if not chain.failures and (told := RAISED.match(line.strip())) and "Caught " in (told["text"] or ""):
                begun, chain.aside = number, aside
                chain.failures.append(Failure(told["kind"], told["text"]))  # its own traceback was cut off
            link = next((kind for words, kind in LINKS.items() if words in line), link)
            aside = aside or line.lstrip().startswith(ASIDE)
            self.at += 1
        if chain.failures:
            yield begun, chain

    def _traceback(self) -> Failure | None:
        """The traceback that begins at this line; moves on behind its message."""
        head = self.lines[self.at][1]
        before, found, _ = head.partition(HEAD)
        kind = before.strip() if re.fullmatch(rf"{KIND}\s\s+", before.lstrip()) else ""
        if "╭" in before:
            return self._rich()
        if kind:
            return self._notebook(kind)
        prefix = _prefix(before) if found else None
        if found:
            self.at += 1
        frames: list[Frame] = []
        while self.at < len(self.lines):
            line = self._bare(prefix)
            if match := FRAME.match(line):
                self.at += 1
                code = self._code(prefix)
                frames.append(Frame(match["file"], int(match["line"]), (match["function"] or "").strip(), code))
            elif not line.strip() or MARKS.match(line) or line.strip().startswith("[Previous line repeated"):
                self.at += 1
            elif raised := RAISED.match(line.strip().removesuffix("**")):
                self.at += 1
                return Failure(raised["kind"], self._message(raised["text"] or "", prefix), frames)
            elif HEAD in line:
                break
            elif line.startswith((" ", "\t")):
                self.at += 1
            else:
                break
        return Failure("", "", frames) if frames else None

    def _bare(self, prefix: re.Pattern[str] | None) -> str:
        line = self.lines[self.at][1]
        found = prefix.match(line) if prefix else None
        return line[found.end() :] if found else line

    def _code(self, prefix: re.Pattern[str] | None) -> str:
        """The code below a frame, where there is one."""
        if self.at >= len(self.lines):
            return ""
        line = self._bare(prefix)
        if FRAME.match(line) or HEAD in line or not line.strip():
            return ""
        flush = line == line.lstrip()
        if flush and (m := RAISED.match(line)) and re.search(r"Error|Exception|Failed|Interrupt|Exit", m["kind"]):
            return ""
        self.at += 1
        return line.strip().strip("*")

    def _message(self, first: str, prefix: re.Pattern[str] | None) -> str:
        """The rest of an exception's message: up to the next traceback or to another writer's line."""
        text = [first]
        while self.at < len(self.lines) and len(text) < LONGEST:
            line = self._bare(prefix)
            if HEAD in line or any(words in line for words in LINKS) or NEXT.match(line) or line.startswith(ASIDE):
                break
            if FRAME.match(line) and not first.startswith(("Caught ", "backend=")) and "from user code" not in text[-1]:
                break
            text.append(line)
            self.at += 1
        return "\n".join(text).strip()

    def _notebook(self, kind: str) -> Failure:
        """IPython's form: the class stands in the head, and the message below the frames."""
        self.at += 1
        frames: list[Frame] = []
        while self.at < len(self.lines):
            line = self.lines[self.at][1]
            if line.startswith(f"{kind}:") or line.strip() == kind or HEAD in line:
                break
            if found := NOTEBOOK.match(line.strip()):
                at = found["line"] or found["at"]
                file = found["file"] or found["old"] or f"In[{found['cell']}]"
                function = (found["function"] or found["inside"] or "<module>").strip()
                frames.append(Frame(file, int(at) if at else None, function))
            elif frames and (arrow := ARROW.match(line)):
                last = frames[-1]
                frames[-1] = Frame(last.file, int(arrow[1]), last.function, arrow[2].strip())
            self.at += 1
        first = self.lines[self.at][1].partition(":")[2].strip() if self.at < len(self.lines) else ""
        if self.at < len(self.lines) and HEAD not in self.lines[self.at][1]:
            self.at += 1
            first = self._message(first, None)
        return Failure(kind, first, frames)

    def _rich(self) -> Failure | None:
        """Rich's form: frames in a box, the message below it."""
        self.at += 1
        frames: list[Frame] = []
        while self.at < len(self.lines):
            line = self.lines[self.at][1].strip()
            self.at += 1
            inner = line.strip("│ ").rstrip()
            if line.startswith("╰"):
                break
            if found := RICH.match(inner):
                frames.append(Frame(found["file"], int(found["line"]), found["function"]))
            elif frames and (arrow := ARROW.match(inner)):
                last = frames[-1]
                frames[-1] = Frame(last.file, last.line, last.function, arrow[2].replace("│", " ").strip())
        while self.at < len(self.lines):
            raised = RAISED.match(self.lines[self.at][1].strip())
            if not self.lines[self.at][1].strip():
                self.at += 1
            elif raised:
                self.at += 1
                return Failure(raised["kind"], self._message(raised["text"] or "", None), frames)
            else:
                break
        return Failure("", "", frames) if frames else None


def _holds_another(last: Failure, line: str) -> bool:
    """Whether the traceback at a line belongs to the message before it: that of another process."""
    told = last.text.startswith("Caught ") or re.search(r"terminated with the following error|^ray::", last.text)
    return line.lstrip().startswith("Original ") or bool(told)


def _prefix(before: str) -> re.Pattern[str] | None:
    """What stood before a traceback's head, with any numbers: a logger puts it before the lines that follow too."""
    if not before:
        return None
    return re.compile(re.sub(r"\d+", lambda _: r"\d+", re.sub(r"([^\w\s])", r"\\\1", before)).rstrip() + r" ?")
