"""The model card: what a bundle is for, what it was trained on, how well it does and where less well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MOST_ROWS = 20
"""Of a table; the run's report has them all."""
_UNKNOWN = "not stated"


def make(
    *,
    manifest: Mapping[str, Any],
    schema: Mapping[str, Any],
    test: Mapping[str, Any],
    net: str,
    data: Mapping[str, Any],
    parity: Mapping[str, Any],
) -> str:
    """The content of card.md; every figure in it is one that was measured and handed in.

    Args:
        manifest: Its parts: `name`, `run_id`, `task`, `models`, `versions`, `licences`.
        schema: The content of schema.json.
        test: The content of the run's test.json; empty where nothing was held out.
        net: What the recipe calls the net.
        data: `rows` by split, `digest`, `target`, and `findings`, a sentence each; what is not known is left out.
        parity: The content of parity.json; empty where nothing was proven.

    References:
        Mitchell et al., "Model cards for model reporting", 2019.
    """
    parts = [
        f"# {manifest['name']}",
        _about(manifest, net),
        "## What it takes and gives",
        _schema(schema),
        "## Data",
        _data(data),
        "## How well it does",
        _scores(test),
        "## Where it does less well",
        _slices(test),
        "## The files and their proof",
        _proof(manifest, parity),
        "## Limits",
        _limits(schema, test),
        "## Licences",
        _licences(manifest["licences"]),
    ]
    return "\n\n".join(parts) + "\n"


def _about(manifest: Mapping[str, Any], net: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest["versions"].items()))
    return (
        f"A model for {manifest['task'].replace('_', ' ')}: the net `{net}`, of the run `{manifest['run_id']}`. "
        f"Made with {versions}."
    )


def _schema(schema: Mapping[str, Any]) -> str:
    rows = []
    for name, field in schema["request"]["properties"].items():
        kind = field.get("type", "any value")
        words = " or ".join(kind) if isinstance(kind, list) else kind
        rows.append([f"`{_cell(name)}`", words, field.get("description", "")])
    more = f"\n\nClasses: {', '.join(f'`{c}`' for c in schema['classes'][:_MOST_ROWS])}" if schema["classes"] else ""
    if len(schema["classes"]) > _MOST_ROWS:
        more += f" and {len(schema['classes']) - _MOST_ROWS} more"
    unit = schema["units"].get("prediction")
    return _table(["field", "type", "meaning"], rows) + more + (f"\n\nThe prediction's unit: {unit}." if unit else "")


def _data(data: Mapping[str, Any]) -> str:
    rows = data.get("rows") or {}
    sizes = ", ".join(f"{count:,} {split}" for split, count in rows.items()) or _UNKNOWN
    said = [f"- Rows: {sizes}", f"- Target: {data.get('target', _UNKNOWN)}"]
    if digest := data.get("digest"):
        said.append(f"- SHA-256 of the data: `{digest}`")
    said += [f"- {_cell(sentence)}" for sentence in (data.get("findings") or [])[:_MOST_ROWS]]
    return "\n".join(said)


def _scores(test: Mapping[str, Any]) -> str:
    if not test:
        return "Nothing was held out, so nothing is known of how well it does on new rows."
    rows = [[name, _number(one["value"]), _interval(one)] for name, one in test["metrics"].items()]
    for base in test.get("baselines", []):
        one = base["metrics"].get(test["primary"])
        if one:
            rows.append([f"{test['primary']} of the baseline {base['name']}", _number(one["value"]), _interval(one)])
    verdict = test.get("verdict", {}).get("text", "")
    head = f"On {test['n']:,} rows that training did not see:"
    return f"{head}\n\n{_table(['measure', 'value', '95 % interval'], rows)}" + (f"\n\n{verdict}" if verdict else "")


def _slices(test: Mapping[str, Any]) -> str:
    slices = test.get("slices") or []
    if not slices:
        return "No group of rows was large enough to be looked at by itself."
    rows = [
        [f"{_cell(one['column'])} = {_cell(one['value'])}", f"{one['n']:,}", _number(one["score"]), _interval(one)]
        for one in slices[:_MOST_ROWS]
    ]
    measure = slices[0].get("metric", test.get("primary", "score"))
    return _table(["rows with", "count", str(measure), "interval"], rows)


def _proof(manifest: Mapping[str, Any], parity: Mapping[str, Any]) -> str:
    found = parity.get("files") or {}
    rows = []
    for form, model in manifest["models"].items():
        one = found.get(form) or {}
        seen = one.get("held_out") or {}
        rows.append([
            f"`{model['file']}`", one.get("verdict", "unproven"),
            _number(seen.get("max_abs")), _number(seen.get("over_std")), _number(seen.get("agreement")),
        ])  # fmt: skip
    head = f"Each file was held beside the trained net on {parity['rows']:,} rows. " if "rows" in parity else ""
    columns = ["file", "verdict", "largest difference", "by the spread of the answers", "same answers"]
    return f"{head}parity.json holds all figures.\n\n{_table(columns, rows)}"


def _limits(schema: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    said = [f"- {what}: at most {most:,} a request" for what, most in schema["limits"].items() if what == "rows"]
    said += [
        f"- {what.replace('_', ' ')}: at most {most:,}" for what, most in schema["limits"].items() if what != "rows"
    ]
    said += [f"- {_cell(note)}" for note in test.get("notes", [])]
    said.append("- It was tested on rows of the kind it was trained on; of others nothing is known. reference.json "
                "holds how the training rows lie, and the server compares.")  # fmt: skip
    return "\n".join(said)


def _licences(licences: Mapping[str, Any]) -> str:
    known = {"data": _UNKNOWN, "weights": _UNKNOWN, **licences}
    return "\n".join(f"- {_cell(what)}: {_cell(value)}" for what, value in known.items())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """A value that keeps to its cell, and is no Markdown or HTML of its own: names come from anyone's data."""
    text = " ".join(str(value).split())
    return "".join(f"&#{ord(c)};" if c in "|<>`*_[]" else c for c in text)


def _interval(one: Mapping[str, Any]) -> str:
    return f"{_number(one.get('low'))} to {_number(one.get('high'))}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "\u2013"
