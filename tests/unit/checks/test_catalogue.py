from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.checks import catalogue
from torchkiln.errors import RecipeError


def test_tiers_stand_in_their_order() -> None:
    tiers = [page.tier for page in catalogue.pages().values()]
    assert "".join(dict.fromkeys(tiers)) == "EWDPSR" and len(tiers) > 50


def test_a_page_has_its_parts() -> None:
    page = catalogue.page("e101")
    assert page.id == "E101" and "zero_grad" in page.fix and 0.5 < page.confidence <= 1
    assert page.markdown().startswith("# E101: Gradients are never cleared\n")


def test_an_unknown_rule_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean"):
        catalogue.page("E1O1")


def test_beginnings_name_rules() -> None:
    assert {"E101", "W113"} <= catalogue.chosen(["E", "W113"]) and "W119" not in catalogue.chosen(["E", "W113"])
    with pytest.raises(RecipeError, match="no rule begins with"):
        catalogue.chosen(["X9"])


def test_a_page_with_other_headings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e999_x.py"
    file.write_text('"""Title.\n\n## What\n\nThis.\n"""\n')
    with pytest.raises(AssertionError, match="the headings are What"):
        catalogue._read(file, "lint", "x")
