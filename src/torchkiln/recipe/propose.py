"""From facts about the data to a commented recipe: what `torchkiln init` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

from torchkiln.errors import RecipeError
from torchkiln.registry import did_you_mean


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Args:
        holds: `words` are names of few or many things, `text` is running text.
        distinct: Different values, missing ones not counted.
        missing: Rows without a value.
        rows: All rows.
        whole: Whether all numbers are whole.
        words: Words a value, on average; 0 for what is no string.
    """

    name: str
    holds: Literal["number", "words", "text", "date", "pictures"]
    distinct: int
    missing: int
    rows: int
    whole: bool = False
    words: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What is known of the data before a recipe is written.

    Args:
        path: As the person wrote it.
        kind: As found in the data.
        columns: The person's own, in order.
        splits: Those that the data gives itself.
        without: The column that only a given part without labels lacks, which so is the target.
    """

    path: str
    kind: Literal["images", "table", "text"]
    columns: Sequence[Column]
    splits: Sequence[str] = ()
    without: str | None = None

    @property
    def rows(self) -> int:
        """All rows."""
        return self.columns[0].rows if self.columns else 0

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(c for c in self.columns if c.name == name)


@dataclass(frozen=True)
class Target:
    """The column to predict and why it is taken for that."""

    column: Column
    reason: str


_NAMES = (
    "target", "label", "labels", "y", "survived", "income", "species", "diagnosis", "churn", "churned",
    "exited", "default", "fraud", "is_fraud", "outcome", "response", "class", "sentiment", "intent",
    "emotion", "category", "topic", "median_house_value", "medv", "saleprice", "sale_price", "price",
    "charges", "salary", "mpg", "quality", "rating", "score", "cnt", "count", "type", "result", "output",
)  # fmt: skip
"""Names that targets have, the surer first; small letters."""
_ENDINGS = ("_target", "_label", "_class", "_category", "_price", "_value", "_score")
_TEXT_NAMES = ("text", "sentence", "review", "comment", "message", "tweet", "document", "content", "body",
               "question", "query", "utterance", "headline", "title", "description", "prompt")  # fmt: skip
_GROUP = re.compile(
    r"(^|[_\s-])(patient|user|customer|client|subject|session|person|household|family|speaker|author|writer|"
    r"group|store|device|sensor|machine|account|visitor|owner|video|scene|location|participant|donor|animal)"
    r"([_\s-]?(id|nr|no|number|code))?$",
    re.IGNORECASE,
)
_MOST_CLASSES = 20
"""Different whole numbers up to which they are taken for classes."""


def propose(facts: Facts, target: str | None = None) -> str:
    """The text of a recipe.

    Args:
        facts: About the data.
        target: The column to predict, where the person says so.

    Raises:
        RecipeError: The target cannot be told; lists the columns.
    """
    chosen = find_target(facts, target)
    task, why = _task(facts, chosen.column)
    lines = [
        f"# {_summary(facts)}. Written by torchkiln init; train, test and report: torchkiln fit THIS_FILE",
        f"task: {task}  # {why}",
        "data:",
        f"  path: {scalar(facts.path)}",
        *_columns(facts, chosen),
        *_split(facts, chosen.column, task),
        "",
        "# More that can be said, each with its default: take the # away to change it. null is decided for",
        "# the data at hand, and the run's own recipe.yaml says how. All keys: torchkiln schema",
        *[f"# {line}" for line in _settings(task)],
    ]
    return "\n".join(lines) + "\n"


def _settings(task: str) -> list[str]:
    """The settings that are changed most, as YAML that changes nothing."""
    classes = not task.endswith("regression")
    loss = "cross_entropy, bce_with_logits, nll" if classes else "mse, l1, smooth_l1"
    models = _MODELS[task.split("_")[0]]
    return [
        "seed: 0",
        "model:",
        f"  name: null  # {models}; or in its place class_path: my_package.nets.Net",
        *(["  pretrained: auto", "  freeze: null  # such as backbone"] if not task.startswith("table") else []),
        "loss:",
        f"  name: null  # {loss}",
        *(["  class_weights: null  # balanced"] if classes else []),
        "optimizer:",
        "  name: null  # adamw, adam, sgd",
        "  lr: null",
        "scheduler:",
        "  name: null  # cosine, linear, one_cycle, step, plateau, constant",
        "train:",
        "  epochs: null",
        "  max_time: null  # 90s, 10m, 2h",
        "  batch_size: null",
        "  early_stopping: null  # {patience: 10}",
        "  monitor: null  # the validation metric that says which epoch is best",
        "  precision: auto  # 32, bf16, 16",
        "  device: auto  # cpu, cuda, mps",
        "  deterministic: false",
    ]


_MODELS = {
    "image": "small_conv, resnet18, mobilenet_v3_small ..., timm:NAME",
    "table": "tabm, mlp, ft_transformer",
    "text": "ngram_bag, transformer, hf:NAME",
}


def find_target(facts: Facts, name: str | None = None) -> Target:
    """The column to predict.

    Args:
        facts: About the data.
        name: As the person says.

    Raises:
        RecipeError: There is no such column, or none can be told.
    """
    known = [c.name for c in facts.columns if c.holds != "pictures"]
    if name is not None:
        if name not in known:
            raise RecipeError(f"{facts.path}: there is no column {name!r} to predict{did_you_mean(name, known)}")
        return Target(facts.column(name), "")
    found = _guess(facts)
    if found is None:
        listed = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
        raise RecipeError(
            f"{facts.path}: which column is to be predicted cannot be told; say torchkiln init {facts.path} "
            f"--target COLUMN (columns are {listed})"
        )
    return found


def is_text(facts: Facts) -> bool:
    """Whether a table is a set of texts: one column of text and little else but the target."""
    text = find_text(facts.columns, facts.without)
    if text is None:
        return False
    guess = _guess(facts)
    if guess and not is_class(guess.column):
        return False
    target = guess.column.name if guess else None
    others = [c for c in facts.columns if c.name not in (text.name, target) and not _numbers_rows(c)]
    named = text.name.lower() in _TEXT_NAMES
    if not others:
        return text.holds == "text" or named
    return len(others) <= 2 and text.holds == "text" and (named or text.words >= 12)


def find_text(columns: Sequence[Column], target: str | None) -> Column | None:
    """The column that most looks like text: by its name, else the one with the most words."""
    strings = [c for c in columns if c.holds in ("words", "text") and c.name != target and c.distinct > 1]
    named = [c for c in strings if c.name.lower() in _TEXT_NAMES]
    running = [c for c in strings if c.holds == "text"]
    by_name = sorted(named, key=lambda c: (-c.words, _TEXT_NAMES.index(c.name.lower())))
    by_length = sorted(running, key=lambda c: -c.words)
    return next(iter(by_name or by_length), None)


def is_class(column: Column) -> bool:
    """Whether a target's values are classes and no amounts."""
    if column.holds != "number":
        return True
    few = column.distinct <= _MOST_CLASSES and column.rows - column.missing >= 10 * column.distinct
    return column.whole and (column.distinct <= 2 or few)


def find_group(columns: Sequence[Column], target: str) -> Column | None:
    """A column such as `patient_id` whose values come back over several rows."""
    for column in columns:
        repeated = 3 <= column.distinct <= (column.rows - column.missing) / 2
        counts = column.holds == "words" or (column.holds == "number" and column.whole)
        if column.name != target and repeated and counts and names_group(column.name):
            return column
    return None


def names_group(name: str) -> bool:
    """Whether a column of this name may say which rows belong together."""
    return bool(_GROUP.search(_snake(name)))


def find_time(columns: Sequence[Column], target: str) -> Column | None:
    """The first column of dates that is mostly filled in."""
    dated = [c for c in columns if c.holds == "date" and c.name != target and c.distinct >= 3]
    return next((c for c in dated if c.missing <= 0.05 * c.rows), None)


def scalar(value: object) -> str:
    """A value as YAML in one line, quoted where it must be."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if "\n" not in text else json.dumps(value, ensure_ascii=False)


# The target


def _guess(facts: Facts) -> Target | None:
    if facts.without:
        return Target(facts.column(facts.without), "the column that the part without labels lacks")
    if facts.kind == "images" and len(facts.columns) == 2:
        return Target(facts.columns[1], "the folders' names")
    candidates = [c for c in facts.columns if _can_be_target(c)]
    folded = {_snake(c.name): c for c in reversed(candidates)}
    for name in _NAMES:
        if name in folded:
            return Target(folded[name], "guessed by its name")
    for column in candidates:
        if _snake(column.name).endswith(_ENDINGS):
            return Target(column, "guessed by its name")
    rest = [c for c in facts.columns if c.holds not in ("pictures", "text") and not _numbers_rows(c)]
    text = find_text(facts.columns, None)
    rest = [c for c in rest if text is None or c.name != text.name]
    if facts.kind != "table" and len(rest) == 1 and rest[0] in candidates:
        return Target(rest[0], "the only other column")
    for column, place in ((facts.columns[-1], "last"), (facts.columns[0], "first")):
        if column in candidates and is_class(column) and 2 <= column.distinct <= max(20, column.rows // 50):
            return Target(column, f"guessed: the {place} column, with few different values")
    return None


def _can_be_target(column: Column) -> bool:
    if column.holds in ("pictures", "date", "text") or column.distinct < 2:
        return False
    return column.holds == "number" or column.distinct <= max(2, column.rows // 2)


def _numbers_rows(column: Column) -> bool:
    """Whether each value occurs once, as in a row number or an id."""
    unique = column.distinct == column.rows - column.missing and column.rows > 1
    return unique and (column.holds == "words" or (column.holds == "number" and column.whole))


def _snake(name: str) -> str:
    """`SalePrice` and `sale-price` to `sale_price`."""
    return re.sub(r"[\s.-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()


# The text


def _task(facts: Facts, target: Column) -> tuple[str, str]:
    """The task's name and why."""
    if facts.kind == "images":
        return "image_classification", f"{target.distinct} classes"
    if facts.kind == "text":
        return "text_classification", f"{target.distinct} classes"
    name = scalar(target.name)
    if is_class(target):
        other = "; if they are amounts: table_regression" if target.holds == "number" else ""
        return "table_classification", f"{name} holds {target.distinct} different values{other}"
    other = "; if they are classes: table_classification" if target.whole else ""
    return "table_regression", f"{name} holds numbers, {target.distinct:,} different ones{other}"


def _summary(facts: Facts) -> str:
    what = {"images": "pictures", "table": f"rows, {len(facts.columns)} columns", "text": "texts"}[facts.kind]
    return f"{facts.path}, {facts.rows:,} {what}"


def _columns(facts: Facts, target: Target) -> list[str]:
    lines = []
    text = find_text(facts.columns, target.column.name) if facts.kind == "text" else None
    if text:
        lines.append(f"  text: {scalar(text.name)}")
    pictures = next((c for c in facts.columns if c.holds == "pictures"), None)
    if pictures and pictures.name != "image":
        lines.append(f"  image: {scalar(pictures.name)}")
    line = f"  target: {scalar(target.column.name)}"
    if target.reason and target.reason != "the folders' names":
        line += f"  # {target.reason}; for another: torchkiln init {facts.path} --target COLUMN"
    lines.append(line)
    if target.column.missing:
        lines.append(f"  unlabelled: drop  # {target.column.missing:,} rows have no label; stop refuses them")
    return lines


def _split(facts: Facts, target: Column, task: str) -> list[str]:
    """How rows are given to the splits, with the reason."""
    given = [s for s in ("train", "val", "test") if s in facts.splits]
    missing = [s for s in ("val", "test") if s not in given]
    if given and not missing:
        return ["  # train, val and test are taken as the data gives them"]
    by, column, why = _way(facts, target, task)
    if given:
        why = f"{' and '.join(given)} as given; {missing[0]} is taken from train: {why}"
    lines = [f"  split:  # {why}", f"    by: {by}"]
    if column:
        lines.append(f"    column: {scalar(column)}")
    shares = {"val": "    val: 0.15  # share of the rows that are not test",
              "test": "    test: 0.15  # share of all rows; read once, at the end"}  # fmt: skip
    return lines + [shares[s] for s in missing]


def _way(facts: Facts, target: Column, task: str) -> tuple[str, str | None, str]:
    group = find_group(facts.columns, target.name)
    if group:
        many = f"{group.distinct:,} different values over {group.rows:,} rows"
        return (
            "group",
            group.name,
            f"rows of one {group.name} stay together ({many}); else: stratified or random",
        )
    time = find_time(facts.columns, target.name) if facts.kind == "table" else None
    if time:
        return (
            "time",
            time.name,
            "the latest rows are the test, as in use; where time does not matter: random",
        )
    if task.endswith("regression"):
        return "random", None, "other ways: group, time (with a column)"
    return (
        "stratified",
        None,
        "each class has the same share everywhere; other ways: group, time (with a column)",
    )
