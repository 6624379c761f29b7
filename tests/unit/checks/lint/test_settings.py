from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.checks.lint import settings
from torchkiln.errors import RecipeError

TABLE = """
[tool.torchkiln.lint]
select = ["E", "W113"]
ignore = ["E105"]
fail-on = "E,W"
baseline = "known.json"
[tool.torchkiln.lint.per-file]
"tests/*" = ["E1"]
"""


def test_the_nearest_project_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(TABLE)
    (tmp_path / "src").mkdir()
    found = settings.from_project([tmp_path / "src"])
    assert "E101" in found.rules() and "W113" in found.rules()
    assert not {"E105", "W119", "S401"} & found.rules()
    assert found.left_out("a/tests/x.py") >= {"E101"} and not found.left_out("src/x.py")
    assert found.fail_on == "EW" and found.baseline == tmp_path / "known.json"


def test_style_is_for_the_strict() -> None:
    assert "S401" not in settings.Settings().rules() and "S401" in settings.Settings(strict=True).rules()
    assert settings.with_words(settings.Settings(strict=True), strict=False, select=("E",)).strict


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("selct = ['E']", "did you mean 'select'"),
        ("select = 'E'", "a list of words"),
        ("select = ['Q']", "no rule begins with 'Q'"),
        ("fail-on = 'X'", "no tier 'X'"),
        ("strict = 1", "true or false"),
        ("per-file = {a = 'E'}", "a table of patterns"),
        ("x = ", "cannot be read"),
    ],
)
def test_faults_are_told(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.torchkiln.lint]\n{line}\n")
    with pytest.raises(RecipeError, match=said):
        settings.from_project([tmp_path])
