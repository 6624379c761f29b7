"""All rules by their id, read from the pages that stand at the head of their modules; no rule is imported for that."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from torchkiln.checks.finding import TIERS, TRIED
from torchkiln.errors import RecipeError
from torchkiln.registry import did_you_mean

HEADINGS = ("What", "Why", "Bad", "Good", "Fix", "How sure")
PLACES = {"lint": "lint/rules", "guard": "guard/rules"}
"""Wing to the folder of its rules, below this one: one module a rule, named for its id."""
KINDS = {**TIERS, **TRIED}


@dataclass(frozen=True)
class Page:
    """A rule's documentation.

    Args:
        id: Such as E101.
        title: What the rule finds, in a few words.
        wing: Who applies it, of PLACES.
        module: The dotted name of its module.
        sections: The text under each of HEADINGS.
    """

    id: str
    title: str
    wing: str
    module: str
    sections: dict[str, str]

    @property
    def tier(self) -> str:
        """The tier's letter."""
        return self.id[0]

    @property
    def why(self) -> str:
        """As one paragraph."""
        return _flat(self.sections["Why"])

    @property
    def fix(self) -> str:
        """As one paragraph."""
        return _flat(self.sections["Fix"])

    @property
    def confidence(self) -> float:
        """The share, 0 to 1, that stands first under `How sure`."""
        found = re.match(r"(\d+) %", self.sections["How sure"])
        assert found, f"{self.id}: How sure begins with a share in per cent"
        return int(found[1]) / 100

    def snippet(self, heading: str) -> str:
        """The code of `Bad` or `Good`."""
        found = re.search(r"```\w*\n(.*?)```", self.sections[heading], re.DOTALL)
        assert found, f"{self.id}: {heading} shows code"
        return found[1]

    def markdown(self) -> str:
        """The whole page."""
        parts = [f"# {self.id}: {self.title}", f"{KINDS[self.tier].capitalize()}, found by `torchkiln {self.wing}`."]
        for heading in HEADINGS:
            parts += [f"## {heading}", self.sections[heading]]
        return "\n\n".join(parts) + "\n"


@functools.cache
def pages() -> dict[str, Page]:
    """Every rule's page by id, in the order of tiers."""
    found = {}
    here = Path(__file__).parent
    for wing, place in PLACES.items():
        for file in sorted((here / place).glob("[a-z][0-9][0-9][0-9]_*.py")):
            page = _page_of(file, wing, place)
            found[page.id] = page
    order = "".join(KINDS)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0])))


def page(rule: str) -> Page:
    """The page of one rule.

    Raises:
        RecipeError: There is no such rule.
    """
    if re.fullmatch(r"[A-Za-z]\d{3}", rule):  # one alone is had much sooner than all
        for wing, place in PLACES.items():
            for file in (Path(__file__).parent / place).glob(f"{rule.lower()}_*.py"):
                return _page_of(file, wing, place)
    raise RecipeError(f"there is no rule {rule!r}{did_you_mean(rule.upper(), pages())}")


def chosen(words: list[str] | tuple[str, ...]) -> set[str]:
    """The rules that ids or beginnings of ids (`E`, `P3`, `W113`) name.

    Raises:
        RecipeError: A word names none.
    """
    found: set[str] = set()
    for word in words:
        named = {rule for rule in pages() if rule.startswith(word.upper())} if word else set()
        if not named:
            raise RecipeError(f"no rule begins with {word!r}{did_you_mean(word.upper(), pages())}")
        found |= named
    return found


@functools.cache
def _page_of(file: Path, wing: str, place: str) -> Page:
    return _read(file, wing, ".".join(("torchkiln.checks", *place.split("/"), file.stem)))


def _read(file: Path, wing: str, module: str) -> Page:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    title, _, rest = text.partition("\n")
    parts = re.split(r"^## (.+)$", rest, flags=re.MULTILINE)
    sections = {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}
    assert tuple(sections) == HEADINGS, f"{file.name}: the headings are {', '.join(HEADINGS)}, not {list(sections)}"
    return Page(file.stem[:4].upper(), title.strip().rstrip("."), wing, module, sections)


def _flat(text: str) -> str:
    return " ".join(text.split())
