from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.checks.diagnose import match
from torchkiln.checks.diagnose.log import parse

HEAD = "Traceback (most recent call last):\n"


def ids(text: str) -> list[str]:
    return [one.rule for one in match.of_log(parse(text)).findings]


def trace(error: str, code: str = "f(x)", file: str = "t.py") -> str:
    return f'{HEAD}  File "{file}", line 2, in f\n    {code}\n{error}\n'


OOM = trace("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB")
PEER = trace("RuntimeError: Connection closed by peer [10.0.0.1]:1")
NOBODY = trace("KeyError: 'a'")


def test_causes_are_ranked() -> None:
    found = match.of_log(parse(OOM)).findings
    assert found[0].rule == "X101" and len(found) > 2
    assert found[0].confidence > found[1].confidence
    assert (found[0].state, found[1].state) == ("FAIL", "WARN")
    assert (found[0].file, found[0].line) == ("t.py", 2)


def test_the_last_of_one_process_counts() -> None:
    assert ids(f"{OOM}going on\n{NOBODY}") == []
    assert ids(f"{NOBODY}going on\n{OOM}")[0] == "X101"


def test_of_several_processes_the_first_counts() -> None:
    def ranked(text: str, rank: int) -> str:
        return "".join(f"[rank{rank}]: {line}" for line in text.splitlines(True))

    later = trace("RuntimeError: Target sizes: shape '[2, 2]' is invalid for input of size 3")
    assert ids(ranked(OOM, 1) + ranked(later, 0))[0] == "X101"


def test_what_follows_from_elsewhere_stands_back() -> None:
    assert ids(OOM + PEER)[0] == "X101"
    assert ids(PEER) == ["X919"]
    assert ids(NOBODY + PEER) == []


def test_a_summary_stands_back_behind_a_line_that_says_more() -> None:
    summary = trace("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")
    watchdog = "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=311)\n"
    assert ids(watchdog + summary) == ["X912"] and ids(summary) == ["X921"]


def test_in_the_handling_of_another_the_later_counts_if_it_is_known() -> None:
    between = "\nDuring handling of the above exception, another exception occurred:\n\n"
    assert ids(NOBODY + between + OOM)[0] == "X101"
    assert ids(OOM + between + NOBODY)[0] == "X101"


def test_of_a_chain_of_causes_the_first_counts() -> None:
    between = "\nThe above exception was the direct cause of the following exception:\n\n"
    assert ids(OOM + between + trace("RuntimeError: view size is not compatible with input tensor's size"))[0] == "X101"


def test_not_known() -> None:
    found = match.of_log(parse(NOBODY))
    assert found.findings == [] and found.seen == "KeyError: 'a'"
    assert match.of_log(parse("all went well")).seen == ""


def test_lint_names_the_line_that_it_would_have_found(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\nclass N(nn.Module):\n    def __init__(self):\n        self.a = nn.ReLU()\n")
    text = trace("AttributeError: cannot assign module before Module.__init__() call", file=str(file))
    (found,) = match.of_log(parse(text)).findings
    assert found.rule == "X602" and str(found.fix).endswith(
        "`torchkiln lint` finds this before it runs: E116 in line 4."
    )


def test_an_exception_that_was_caught() -> None:
    with pytest.raises(IndexError) as caught:
        raise IndexError("Target 3 is out of bounds.")
    found = match.of_error(caught.value).findings[0]
    assert found.rule == "X401" and found.file == __file__ and found.line
