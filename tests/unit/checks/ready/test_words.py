from __future__ import annotations

from torchkiln.checks.ready.checklist import Line
from torchkiln.checks.ready.words import text


def test_a_line_an_item_and_the_count() -> None:
    lines = [Line("C101", "Compiled", "pass", "measured", None), Line("C105", "Exported", "fail", "no bundle", "do it")]
    said = text(lines)
    assert said[0] == "PASS           C101 Compiled: measured"
    assert said[2].strip() == "make it: do it" and said[-1] == "1 pass, 1 fail"
