"""What is to be looked for: the table `[tool.torchkiln.lint]` of pyproject.toml, and what the command line adds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torchkiln.checks import catalogue
from torchkiln.checks.finding import TIERS
from torchkiln.errors import RecipeError
from torchkiln.registry import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to lint.

    Args:
        select: Ids, or beginnings of ids, of the rules to apply; none means all.
        ignore: The same of rules to leave out.
        exclude: Patterns of files and folders to pass over.
        per_file: Pattern of files to the rules that are left out there.
        baseline: A file of findings that are known.
        fail_on: The tiers whose findings give the exit code 1.
        strict: Apply the tier S too.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: Path | None = None
    fail_on: str = "E"
    strict: bool = False

    def rules(self) -> set[str]:
        """The rules to apply.

        Raises:
            RecipeError: A word names no rule.
        """
        chosen = catalogue.chosen(self.select) if self.select else set(catalogue.chosen(["E", "W", "D", "P"]))
        if self.strict:
            chosen |= catalogue.chosen(["S"])
        return chosen - catalogue.chosen(self.ignore)

    def left_out(self, file: str) -> set[str]:
        """The rules that are left out for one file."""
        words = [w for pattern, some in self.per_file.items() if _matches(file, pattern) for w in some]
        return catalogue.chosen(words)


KEYS = ("select", "ignore", "exclude", "per-file", "baseline", "fail-on", "strict")


def from_project(paths: Sequence[str | Path]) -> Settings:
    """The settings of the pyproject.toml nearest above the first path.

    Raises:
        RecipeError: The table holds something that is no setting.
    """
    start = Path(paths[0] if paths else ".").resolve()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                table = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise RecipeError(f"{file} cannot be read: {error}") from error
            return _checked(table.get("tool", {}).get("torchkiln", {}).get("lint", {}), file)
    return Settings()


def _checked(table: Mapping[str, Any], file: Path) -> Settings:
    faults = [f"{key!r} is no setting{did_you_mean(key, KEYS)}" for key in table if key not in KEYS]
    for key in ("select", "ignore", "exclude"):
        if not _words(table.get(key, [])):
            faults.append(f"{key} is a list of words")
    per_file = table.get("per-file", {})
    if not isinstance(per_file, dict) or not all(_words(v) for v in per_file.values()):
        faults.append("per-file is a table of patterns, each with a list of rules")
    if not isinstance(table.get("strict", False), bool):
        faults.append("strict is true or false")
    if faults:
        raise RecipeError(faults, f"{file} [tool.torchkiln.lint]")
    baseline = table.get("baseline")
    made = Settings(
        select=tuple(table.get("select", ())),
        ignore=tuple(table.get("ignore", ())),
        exclude=tuple(table.get("exclude", ())),
        per_file={k: tuple(v) for k, v in per_file.items()},
        baseline=file.parent / str(baseline) if baseline else None,
        fail_on=tiers(str(table.get("fail-on", "E"))),
        strict=bool(table.get("strict", False)),
    )
    made.rules(), [made.left_out(p) for p in per_file]  # names of rules are checked here
    return made


def tiers(letters: str) -> str:
    """Letters of tiers, as `E` or `E,W`.

    Raises:
        RecipeError: One is no tier.
    """
    found = "".join(letters.upper().replace(",", "").split())
    wrong = sorted(set(found) - set(TIERS))
    if wrong:
        raise RecipeError(f"there is no tier {wrong[0]!r}; they are {', '.join(TIERS)}")
    return found


def with_words(settings: Settings, **words: Any) -> Settings:
    """The settings with those of the command line, where these are given."""
    return replace(settings, **{name: value for name, value in words.items() if value not in (None, (), [], False)})


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _matches(file: str, pattern: str) -> bool:
    posix = Path(file).as_posix()
    return fnmatch(posix, pattern) or fnmatch(posix, f"*/{pattern}")
