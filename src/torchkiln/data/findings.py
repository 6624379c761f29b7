"""What the person should know about the data before it is trained on, and what must stop the run.

Training rows are looked at closely; of the test only what would spoil it: copies of training rows,
classes that training never saw, missing labels.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from torchkiln.codec.table_fit import all_differ
from torchkiln.codec.target import label_names
from torchkiln.data import findings_images, leaks
from torchkiln.data.facts import columns, text_column
from torchkiln.data.findings_images import copies_level
from torchkiln.data.source import SPLITS, Finding, Source
from torchkiln.recipe.propose import find_group, names_group
from torchkiln.recipe.schema import Data

LEAST_ROWS = 10
"""Rows in all below which nothing can be learnt and tested."""
_WIDE = 30
"""Test rows below which a score says little."""
_UNEVEN = 20
"""Times that the largest class is larger than the smallest one from which it is said."""


def check(source: Source, data: Data, target: str, classification: bool) -> Source:
    """The source with what was found added to its findings, the worst first.

    Rows are left out, each time with a warning, where `data.unlabelled` is `drop` and a label is missing,
    and where few pictures cannot be read. A finding of level `stop` must end the run.

    Args:
        source: With its splits assigned.
        data: The recipe's `data`.
        target: The target's column.
        classification: Whether it holds classes.
    """
    frame, findings = _labelled(source, data, target)
    if source.kind == "images":
        frame, found = findings_images.check(frame)
        findings += found
    findings += _sizes(source.frame, frame)
    if not any(f.code == "too_few_rows" for f in findings):
        findings += _classes(frame, target) if classification else _numbers(frame, target)
        findings += _rows(replace(source, frame=frame), data, target, classification)
    order = {"stop": 0, "warn": 1, "note": 2}
    findings = sorted([*source.findings, *findings], key=lambda f: order[f.level])
    return replace(source, frame=frame, findings=findings)


def _labelled(source: Source, data: Data, target: str) -> tuple[pl.DataFrame, list[Finding]]:
    """The rows that have a label."""
    values = source.frame[target]
    missing = values.is_null() | (values.is_nan() if values.dtype.is_float() else False)
    if values.dtype == pl.String:
        missing |= values.str.strip_chars() == ""
    missing = missing.fill_null(True)
    if not missing.any():
        return source.frame, []
    bad = source.frame.filter(missing)
    said = f"{len(bad):,} of {len(values):,} rows have no value of {target!r}, such as {bad['key'][0]}"
    if any(f.code == "missing_words" and repr(target) in f.text for f in source.findings):
        said += " (words such as NA and ? count as none)"
    samples = bad["key"].head(100).to_list()
    kept = source.frame.filter(~missing)
    if data.unlabelled == "drop":
        return kept, [Finding("missing_labels", "warn", f"{said}: left out", samples)]
    said += "; fill them in, or leave these rows out by data.unlabelled: drop"
    return kept, [Finding("missing_labels", "stop", said, samples)]


def _sizes(before: pl.DataFrame, frame: pl.DataFrame) -> list[Finding]:
    if len(frame) < LEAST_ROWS:
        left = f", of {len(before):,}" if len(before) > len(frame) else ""
        text = f"{len(frame)} rows{left} are too few to learn from and to test on; {LEAST_ROWS} are the least"
        return [Finding("too_few_rows", "stop", text)]
    counts, had = ({s: int((rows["split"] == s).sum()) for s in SPLITS} for rows in (frame, before))
    findings = []
    for split in SPLITS:
        was = had[split]
        if not counts[split] and (was or split == "train"):
            why = "none of its rows can be used" if was else "no row is in it"
            findings.append(Finding("empty_split", "stop", f"{split} is empty: {why}"))
    if 0 < counts["test"] < _WIDE:
        text = f"the test has {counts['test']} rows only, so its score is uncertain: look at its interval"
        findings.append(Finding("small_test", "warn", text))
    return findings


# The target


def _classes(frame: pl.DataFrame, target: str) -> list[Finding]:
    rows = frame.select("split", "key", label_names(frame[target]).alias("class"))
    counts = {s: dict(rows.filter(pl.col("split") == s)["class"].value_counts().rows()) for s in SPLITS}
    train = counts["train"]
    names = sorted(train, key=lambda c: (-train[c], c))
    if len({*train, *counts["val"], *counts["test"]}) == 1:
        text = f"the target {target!r} is {names[0]!r} in every row; two classes are the least"
        return [Finding("one_class", "stop", text)]
    if len(names) > max(2, sum(train.values()) // 2):
        text = (
            f"the target {target!r} has {len(names):,} classes in {sum(train.values()):,} training rows, too "
            "few rows for each; is it the right column, or an amount (table_regression)?"
        )
        return [Finding("too_many_classes", "stop", text)]
    findings = _absent(rows, counts)
    if len(names) == 1:
        text = f"training has only the class {names[0]!r} of {target!r}; two are the least"
        return [*findings, Finding("one_class", "stop", text)]
    return findings + _balance(train, names, target)


def _absent(rows: pl.DataFrame, counts: dict[str, dict[str, int]]) -> list[Finding]:
    """Classes that training never saw, and those that are never measured."""
    findings = []
    for split in ("val", "test"):
        unseen = sorted(set(counts[split]) - set(counts["train"]))
        if unseen:
            n = sum(counts[split][c] for c in unseen)
            keys = rows.filter((pl.col("split") == split) & pl.col("class").is_in(unseen))["key"].head(20)
            text = (
                f"{split} has {_listed(unseen)} ({n:,} rows, such as {keys[0]}) that training never saw: "
                f"put rows of it into train or take them out of {split}"
            )
            findings.append(Finding("unseen_class", "stop", text, keys.to_list()))
        lacking = sorted(set(counts["train"]) - set(counts[split]))
        if lacking and counts[split]:
            text = f"{split} has no row of {_listed(lacking)}, so nothing is measured there"
            findings.append(Finding("absent_class", "warn", text, lacking[:20]))
    return findings


def _listed(classes: list[str]) -> str:
    named = ", ".join(map(repr, classes[:3])) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")
    return f"the class{'es' if len(classes) > 1 else ''} {named}"


def _balance(train: dict[str, int], names: list[str], target: str) -> list[Finding]:
    total = sum(train.values())
    shown = ", ".join(f"{c!r} {train[c] / total:.1%}" for c in names[:6])
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    findings = [Finding("label_counts", "note", f"{target}, {len(names)} classes in train: {shown}{more}")]
    few = [c for c in names if train[c] < 5]
    if few:
        text = f"{_listed(few)} {'have' if len(few) > 1 else 'has'} fewer than 5 training rows"
        findings.append(Finding("tiny_class", "warn", text, few[:20]))
    if train[names[0]] >= _UNEVEN * train[names[-1]]:
        text = (
            f"classes are uneven: {train[names[0]]:,} training rows of {names[0]!r}, {train[names[-1]]:,} of "
            f"{names[-1]!r}; accuracy flatters, so look at macro_f1, and try loss.class_weights: balanced"
        )
        findings.append(Finding("uneven_classes", "warn", text))
    return findings


def _numbers(frame: pl.DataFrame, target: str) -> list[Finding]:
    values = frame[target]
    numbers = values.cast(pl.Float64, strict=False)
    bad = frame.filter(numbers.is_null())
    if len(bad):
        held = f"{bad['key'][0]} has {bad[target][0]!r}"
        text = f"the target {target!r} must be a number, and {len(bad):,} rows hold something else: {held}"
        return [Finding("target_no_number", "stop", text, bad["key"].head(100).to_list())]
    infinite = frame.filter(numbers.is_infinite())
    if len(infinite):
        text = f"the target {target!r} is infinite in {len(infinite):,} rows, such as {infinite['key'][0]}"
        return [Finding("target_infinite", "stop", text, infinite["key"].head(100).to_list())]
    train = numbers.filter(frame["split"] == "train")
    if train.n_unique() == 1:
        text = f"the target {target!r} is {train[0]:g} in every training row; there is nothing to learn"
        return [Finding("constant_target", "stop", text)]
    if train.n_unique() == 2:
        text = f"the target {target!r} has two different values only; if they are classes: table_classification"
        return [Finding("two_valued_target", "warn", text)]
    return _capped(train, target)


def _capped(train: pl.Series, target: str) -> list[Finding]:
    """A number cut off at one end: many rows hold exactly the largest or smallest value."""
    if train.n_unique() < 100:
        return []
    findings = []
    numbers = train.to_numpy()
    for end, word in ((float(numbers.max()), "largest"), (float(numbers.min()), "smallest")):
        share = float((numbers == end).mean())
        if share >= 0.02 and end != 0:
            text = f"the target {target!r} seems cut off: {share:.1%} of train are its {word} value, {end:,.10g}"
            findings.append(Finding("capped_target", "note", text))
    return findings


# Copies


def _rows(source: Source, data: Data, target: str, classification: bool) -> list[Finding]:
    """What is found by setting rows beside one another."""
    dropped = [c for c, kind in data.columns.items() if kind == "drop" and c in source.frame.columns]
    frame = source.frame.drop([c for c in dropped if c != target])
    if source.kind == "images":
        return _groups(frame, data, target)
    if source.kind == "text":
        text = data.text or text_column(frame, target)
        same = _normalised(frame[text]) if text else frame["key"]
        findings = _copied(frame, same, target, classification, "texts", " (but for case and punctuation)")
        return findings + _groups(frame, data, target)
    own = frame.drop("key", "split", target)
    telling = own.select([c for c in own.get_columns() if not _numbers_rows(c)])
    findings = _groups(frame, data, target)
    if telling.width > 1:
        how = " in every column but the target" + (
            " but those that number the rows" if telling.width < own.width else ""
        )
        findings += _copied(frame, telling.hash_rows(), target, classification, "rows", how)
    return findings + leaks.find(frame.filter(pl.col("split") == "train"), target, classification)


def _groups(frame: pl.DataFrame, data: Data, target: str) -> list[Finding]:
    """Things such as patients that have rows in train and in the test."""
    if data.split.by in ("group", "time"):
        return []
    telling = [c.name for c in frame.iter_columns() if c.name in ("key", "split") or names_group(c.name)]
    group = find_group(columns(frame.select(telling)), target)
    if group is None:
        return []
    values = {s: set(frame.filter(pl.col("split") == s)[group.name].drop_nulls()) for s in ("train", "test")}
    both = values["train"] & values["test"]
    if len(both) < 0.1 * len(values["test"]) or not both:
        return []
    text = (
        f"{len(both):,} of {len(values['test']):,} values of {group.name!r} in the test are in train too; if "
        f"new ones are to be predicted, split by them: data.split: {{by: group, column: {group.name}}}"
    )
    return [Finding("groups_across_splits", "warn", text, [group.name])]


def _copied(
    frame: pl.DataFrame, same: pl.Series, target: str, classification: bool, what: str, how: str
) -> list[Finding]:
    """Rows that are `same` on both sides of a split, and such rows with different labels."""
    rows = frame.select("key", "split", pl.col(target).alias("target")).with_columns(same.alias("same"))
    findings = _across(rows, what, how)
    return findings + _conflicts(rows, what) if classification else findings


def _normalised(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def _numbers_rows(values: pl.Series) -> bool:
    """Whether it is an id: whole numbers or words that all differ."""
    if values.dtype.is_float():
        return False
    return values.dtype == pl.Binary or all_differ(values)


def _across(rows: pl.DataFrame, what: str, how: str) -> list[Finding]:
    findings = []
    for part, others in (("test", ["train", "val"]), ("val", ["train"])):
        here = rows.filter(pl.col("split") == part)
        there = rows.filter(pl.col("split").is_in(others)).unique("same", keep="first", maintain_order=True)
        both = here.join(there, on="same", how="inner", suffix="_there", maintain_order="left")
        if both.is_empty():
            continue
        # Where rows repeat within the test as well, as in tables of a few categories, copies are natural.
        telling = here["same"].n_unique() >= 0.9 * len(here)
        share = len(both) / len(here)
        named = [f"{a} = {b}" for a, b in both.select("key", "key_there").head(20).rows()]
        text = (
            f"{len(both):,} of {len(here):,} {part} {what} ({share:.1%}) are in {' or '.join(others)} as well"
            f"{how}, such as {named[0]}"
        )
        level = copies_level(share, may_stop=part == "test" and telling)
        findings.append(Finding("duplicates_across_splits", level, text, named))
    return findings


def _conflicts(rows: pl.DataFrame, what: str) -> list[Finding]:
    several = rows.filter(pl.col("target").n_unique().over("same") > 1)
    if several.is_empty():
        return []
    first = several.filter(pl.col("same") == several["same"][0])
    pair = first.unique("target", keep="first", maintain_order=True)["key"].head(2).to_list()
    share = len(several) / len(rows)
    text = (
        f"{len(several):,} {what} ({share:.1%}) are equal to another but for the target, such as "
        f"{' and '.join(pair)}; no model can get all of these right"
    )
    return [Finding("conflicting_labels", "warn" if share >= 0.01 else "note", text, pair)]
