"""YAML text to plain data, read strictly: no code, no aliases, no key twice, and no guessing of types.

Only PyYAML's parser is used, none of its constructors. An unquoted word or number stays text (`Plain`)
until the schema says what is wanted, so that `lr: 1e-3` is a number, `target: 2020` and `target: no` are
column names, and `nesterov: off` is false.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from torchkiln.errors import RecipeError

Path = tuple[str | int, ...]
"""Where in a recipe: `("optimizer", "groups", 0, "lr")`."""


class Plain(str):
    """An unquoted word or number whose type is not settled yet."""

    __slots__ = ()


@dataclass
class Document:
    """What a YAML text says.

    Args:
        value: Dicts, lists, strings and `Plain`.
        origins: Where each key was found, such as `line 7`.
        faults: What is wrong and did not hinder reading on, one sentence each.
    """

    value: Any
    origins: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def parse(text: str, where: str | None = None) -> Document:
    """Read one YAML document.

    Args:
        text: The document.
        where: Its file's name, for the error.

    Raises:
        RecipeError: It is no YAML, or holds what could run code.
    """
    document = Document(None)
    try:
        node = yaml.compose(text, Loader=_Composer)
        if node is not None:
            document.value = _plain_data(node, (), document)
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_sentence(error, text.splitlines()), where) from None
    except RecursionError:
        raise RecipeError("lists or mappings are nested too deeply", where) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"line {line}: holds the character U+{ord(text[error.position]):04X}, which YAML "
                          "does not allow", where) from None  # fmt: skip
    return document


_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_NAN = (".nan", ".NaN", ".NAN")


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted word or number means by the core schema of YAML 1.2, and `10_000` a number.

    So `no` and `off` are words, 1e-3 is a number, and 12:30 and 2020-01-01 are text.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 16 if text.startswith("0x") else 8 if text.startswith("0o") else 10)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
    return float("nan") if text in _NAN else str(text)


class _Composer(yaml.SafeLoader):
    """Stops at anchors and aliases.

    They can make a short text endless, and a pattern such as *.bias looks like an alias.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            kind = "alias" if isinstance(event, yaml.AliasEvent) else "anchor"
            raise yaml.composer.ComposerError(None, None, kind, event.start_mark)
        return super().compose_node(parent, index)


_TAGS = {f"tag:yaml.org,2002:{name}" for name in (
    "str", "int", "float", "bool", "null", "timestamp", "merge", "value", "seq", "map")}  # fmt: skip


def _plain_data(node: yaml.Node, path: Path, document: Document) -> Any:
    document.origins.setdefault(path, f"line {node.start_mark.line + 1}")
    if node.tag not in _TAGS:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        said = f"the tag {tag} is refused: a recipe holds plain values, never code"
        raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_plain_data(n, (*path, i), document) for i, n in enumerate(node.value)]
    return str(node.value) if getattr(node, "style", None) else Plain(node.value)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    """Keys are taken as written, so that `on:` and `2020:` are the columns of these names."""
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.faults.append(f"line {line}: a key must be text, not a list or a mapping")
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in values:
            first = document.origins[here]
            document.faults.append(f"{dotted(here)} is given twice ({first} and line {line}): keep one")
            continue
        document.origins[here] = f"line {line}"
        values[key] = _plain_data(value_node, here, document)
    return values


def dotted(path: Path) -> str:
    """`optimizer.groups.0.lr`."""
    return ".".join(str(p) for p in path)


_MEANINGS = (
    ("cannot start any token", "\\t", "a tab: indent with spaces"),
    ("alias", "", "a value that begins with * must be in quotes, such as '*.bias'; aliases are not read"),
    ("anchor", "", "a value that begins with & must be in quotes; anchors are not read"),
    ("mapping values are not allowed", "",
     "a second colon in one line or a line indented too far; put a value that holds ': ' in quotes"),
    ("could not find expected ':'", "", "a key without a value: write `key: value`"),
    ("while parsing a flow", "", "a [ or { that is not closed, or a comma that is missing"),
    ("while parsing a block mapping", "",
     "indented unlike the lines above it, or something follows a closing quote or bracket"),
    ("while parsing a block collection", "", "indented unlike the list above it"),
    ("sequence entries are not allowed", "", "a list's `- ` begins on a line of its own; or write [a, b]"),
    ("unknown escape character", "", "a backslash in double quotes: put the value in single quotes"),
    ("while scanning a quoted scalar", "", "a quote that is not closed"),
    ("cannot start any token", "", "a value that begins with a sign of YAML's own: put it in quotes"),
    ("expected a single document", "", "a second document begins (---): a recipe is one"),
)  # fmt: skip
"""What the parser says, a further part of it, and what that means for a person."""


def _sentence(error: yaml.MarkedYAMLError, lines: list[str]) -> str:
    """Line, the line itself, and what is wrong with it."""
    said = f"{error.context or ''} {error.problem or ''}"
    meaning = next((m for a, b, m in _MEANINGS if a in said and b in said), (error.problem or said).strip())
    mark = error.problem_mark or error.context_mark
    if "quoted scalar" in said or "simple key" in said or "flow" in said:
        mark = error.context_mark or mark
    number = mark.line + 1 if mark is not None else len(lines)
    glued = _key_without_space(lines[:number])
    if glued:
        number, meaning = glued, "a space is missing after the colon: write `key: value`"
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"line {number} ({line[:60]!r}): {meaning}" if line else f"line {number}: {meaning}"


def _key_without_space(lines: list[str]) -> int | None:
    """Number of the last line such as `task:tables`, if it is one of the last two that say anything."""
    said = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    for number, line in reversed(said[-2:]):
        if re.match(r"\s*(- )?[A-Za-z_]+:[^\s/:]\S*\s*$", line):
            return number
    return None
