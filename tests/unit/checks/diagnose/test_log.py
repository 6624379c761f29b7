from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln.checks.diagnose import log
from torchkiln.errors import DataError

PLAIN = 'Traceback (most recent call last):\n  File "t.py", line 3, in f\n    g(x)\n    ^^^^\nValueError: no\n'


def only(text: str) -> log.Failure:
    (chain,) = log.parse(text).chains
    return chain.failures[-1]


def test_a_plain_traceback() -> None:
    failure = only(f"Epoch 1\n{PLAIN}")
    assert (failure.kind, failure.flat) == ("ValueError", "no")
    assert failure.frames == [log.Frame("t.py", 3, "f", "g(x)")]


@pytest.mark.parametrize(
    "prefix",
    ["[rank1]: ", "2024-01-01 00:00:00,123 ERROR x: ", "(Worker pid=12) ", "trainer-1  | ", "\x1b[31m", "  | "],
)
def test_prefixes_are_taken_off(prefix: str) -> None:
    failure = only("".join(prefix + line for line in PLAIN.splitlines(True)))
    assert (failure.kind, failure.flat, len(failure.frames)) == ("ValueError", "no", 1)
    assert failure.frames[0].code == "g(x)"


def test_windows_line_ends_and_paths() -> None:
    failure = only(PLAIN.replace("t.py", "C:\\x\\t.py").replace("\n", "\r\n"))
    assert failure.frames[0].file == "C:\\x\\t.py" and failure.flat == "no"


def test_ranks_that_write_at_once_are_told_apart() -> None:
    lines = PLAIN.splitlines()
    text = "\n".join(f"[rank{r}]: {line}" for line in lines for r in (0, 1))
    assert [(c.stream, c.failures[0].flat) for c in log.parse(text).chains] == [("rank0", "no"), ("rank1", "no")]


def test_links_of_a_chain() -> None:
    text = f"{PLAIN}\nDuring handling of the above exception, another exception occurred:\n\n{PLAIN}"
    assert [f.link for f in log.parse(text).chains[0].failures] == [None, "during"]
    text = f"{PLAIN}\nThe above exception was the direct cause of the following exception:\n\n{PLAIN}"
    assert [f.link for f in log.parse(text).chains[0].failures] == [None, "cause"]
    assert len(log.parse(f"{PLAIN}Epoch 2\n{PLAIN}").chains) == 2


def test_the_traceback_of_a_worker_is_inside() -> None:
    text = PLAIN.replace("no", "Caught KeyError in DataLoader worker process 0.\nOriginal ") + PLAIN
    assert [f.link for f in log.parse(text.replace("Original \n", "Original ")).chains[0].failures] == [None, "nested"]


def test_cleaning_up_is_aside() -> None:
    chains = log.parse(f"{PLAIN}Exception ignored in: <function x>\n{PLAIN}").chains
    assert [chain.aside for chain in chains] == [False, True]


def test_a_notebooks_traceback() -> None:
    text = (
        "-----\nIndexError                                Traceback (most recent call last)\nCell In[2], line 3\n"
        "      1 a = 1\n----> 3 loss(x)\n\nFile ~/v/lib/python3.11/site-packages/torch/nn.py:12, in f(self, x)\n"
        "---> 12 return g(x)\n\nIndexError: Target 3 is out of bounds."
    )
    failure = only(text)
    assert (failure.kind, failure.flat) == ("IndexError", "Target 3 is out of bounds.")
    assert failure.place == log.Frame("In[2]", 3, "<module>", "loss(x)")
    assert failure.frames[1].line == 12


def test_a_traceback_in_a_box() -> None:
    text = (
        "╭── Traceback (most recent call last) ──╮\n│ /src/t.py:14 in main                  │\n"
        "│ ❱ 14 model(x)                         │\n╰───────────────────────────────────────╯\nValueError: no\nmore"
    )
    failure = only(text)
    assert failure.frames == [log.Frame("/src/t.py", 14, "main", "model(x)")]
    assert failure.flat == "no more"


def test_a_log_that_begins_in_the_middle() -> None:
    failure = only("    y = f(x)\n" + PLAIN.partition("\n")[2])
    assert failure.kind == "ValueError" and failure.frames[0].file == "t.py"


def test_an_exception_without_a_traceback() -> None:
    read = log.parse("x\ntorch.OutOfMemoryError: CUDA out of memory.\nmore")
    ((number, failure),) = read.loose
    assert (number, failure.kind, failure.flat) == (1, "torch.OutOfMemoryError", "CUDA out of memory. more")


@pytest.mark.parametrize(
    ("raw", "said"), [(b"", "is empty"), (b"\x89PNG\r\n\x1a\n", "is no log"), (b"\0" * 4000, "is no log")]
)
def test_what_is_no_log(raw: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(raw)
    with pytest.raises(DataError, match=said):
        log.load(file)
    with pytest.raises(DataError, match="is a folder"):
        log.load(tmp_path)


def test_other_encodings_are_read(tmp_path: Path) -> None:
    assert log.decode(PLAIN.encode("utf-16"), "a") == (PLAIN, [])
    text, notes = log.decode(b"caf\xe9\n" + PLAIN.encode(), "a.log")
    assert notes == ["a.log is not UTF-8 from byte 4 on; what cannot be read is passed over"]
    assert only(text).flat == "no"


def test_of_a_huge_log_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LARGEST", 1000)
    monkeypatch.setattr(log, "KEPT", 500)
    file = tmp_path / "a.log"
    file.write_text("step\n" * 1000 + PLAIN)
    text, notes = log.load(file)
    assert len(text) == 500 and "its last" in notes[0] and only(text).flat == "no"


def test_facts_become_failures() -> None:
    frame = {"file": "t.py", "line": 3, "function": "f", "code": "f(x)", "values": {"x": {"is": "list"}}}
    one, inner = log.from_facts(
        [{"kind": "E", "text": f"Caught E in a worker.\nOriginal {PLAIN}", "frames": [frame], "link": None}]
    )
    assert one.place == log.Frame("t.py", 3, "f", "f(x)", {"x": {"is": "list"}})
    assert (inner.kind, inner.flat, inner.link) == ("ValueError", "no", "nested")


def test_a_traceback_in_one_line_of_json() -> None:
    failure = only(json.dumps({"level": "error", "message": "failed", "exc_info": PLAIN}))
    assert (failure.kind, failure.frames[0].file) == ("ValueError", "t.py")


def test_the_errors_of_a_notebook(tmp_path: Path) -> None:
    file = tmp_path / "a.ipynb"
    shown = "ValueError          Traceback (most recent call last)\nCell In[1], line 1\n----> 1 f()\n\nValueError: no"
    cells = [{"cell_type": "code", "outputs": [{"output_type": "error", "traceback": shown.split("\n")}]}]
    file.write_text(json.dumps({"cells": cells}))
    assert only(log.load(file)[0]).place == log.Frame("In[1]", 1, "<module>", "f()")
    for text, said in (('{"cells": []}', "without cells"), ("{}", "no notebook"), ("x", "no notebook")):
        file.write_text(text)
        with pytest.raises(DataError, match=said):
            log.load(file)
