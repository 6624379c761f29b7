from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from torchkiln import cli
from torchkiln.checks.finding import ORDER, json_schema
from torchkiln.checks.lint import output
from torchkiln.checks.lint.run import lint

BAD = """import torch
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
m = torch.load("x")
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(BAD)
    return Path("a.py")


def says(capsys: Captured, *words: str) -> tuple[int, str, str]:
    code = cli.main(["lint", *words])
    return (code, *capsys.readouterr())


def test_text_shows_the_line_and_the_mend(file: Path, capsys: Captured) -> None:
    code, out, _ = says(capsys, "a.py")
    assert code == 1
    assert "a.py:5: E101" in out and "5 | optimizer.step()" in out and "fix: Call `optimizer.zero_grad()`" in out
    assert "1 E (certain bug), 1 D" in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--ignore", "E101"], 0), (["--select", "D"], 0), (["--select", "D", "--fail-on", "E,D"], 1),
        (["--fail-on", "W"], 0), (["--format", "sraif"], 2), (["--select", "Q1"], 2), (["gone.py"], 1),
    ],
)  # fmt: skip
def test_exit_codes(words: list[str], code: int, file: Path, capsys: Captured) -> None:
    assert says(capsys, "a.py", *words)[0] == code


def test_bad_input_alone_is_two_and_one_sentence(file: Path, capsys: Captured) -> None:
    file.write_bytes(b"\0")
    code, _, err = says(capsys, "a.py")
    assert code == 2 and err.count("\n") == 1 and "null bytes" in err


def test_json_is_a_list_of_findings_as_the_schema_says(file: Path, capsys: Captured) -> None:
    _, out, _ = says(capsys, "a.py", "--json")
    found = json.loads(out)
    assert [f["rule"] for f in found] == ["E101", "D202"]
    kinds = {"string": str, "null": type(None), "number": (int, float), "integer": int}
    for one in found:
        assert tuple(one) == ORDER
        for name, schema in json_schema()["items"]["properties"].items():
            allowed = schema.get("type", [])
            allowed = [allowed] if isinstance(allowed, str) else allowed
            assert "enum" not in schema or one[name] in schema["enum"]
            assert not allowed or any(isinstance(one[name], kinds[a]) for a in allowed), name
            assert "pattern" not in schema or re.match(schema["pattern"], one[name])


def required(value: dict[str, Any], needed: dict[str, type], optional: dict[str, type]) -> None:
    assert set(needed) <= set(value) <= set(needed) | set(optional), value
    for name, kind in {**needed, **optional}.items():
        assert name not in value or isinstance(value[name], kind), name


def test_sarif_has_the_shape_of_its_schema(file: Path) -> None:
    """The objects that we write, as SARIF 2.1.0 section 3 lists their properties."""
    log = output.sarif(lint([file]), "0.1.0")
    required(log, {"version": str, "runs": list}, {"$schema": str})
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    required(run, {"tool": dict}, {"results": list, "columnKind": str})
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = run["tool"]["driver"]
    required(driver, {"name": str}, {"version": str, "rules": list})
    for rule in driver["rules"]:
        required(rule, {"id": str}, {"shortDescription": dict, "fullDescription": dict, "help": dict,
                                     "defaultConfiguration": dict, "properties": dict})  # fmt: skip
        assert rule["help"]["text"] and rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    for result in run["results"]:
        required(result, {"message": dict}, {"ruleId": str, "ruleIndex": int, "level": str, "locations": list,
                                             "partialFingerprints": dict})  # fmt: skip
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a.py" and place["region"]["startLine"] >= 1
        assert all(isinstance(v, str) for v in result["partialFingerprints"].values())


def test_annotations_are_one_line_each(file: Path, capsys: Captured) -> None:
    _, out, _ = says(capsys, "a.py", "--format", "github")
    lines = out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("::error file=a.py,line=5,title=E101 ")


def test_a_baseline_is_written_and_used(file: Path, capsys: Captured) -> None:
    code, _, err = says(capsys, "a.py", "--write-baseline", "known.json")
    assert code == 0 and "knows 2 findings" in err
    assert says(capsys, "a.py", "--baseline", "known.json")[0] == 0


def test_mends_are_counted(file: Path, capsys: Captured) -> None:
    code, _, err = says(capsys, "a.py", "--unsafe-fixes")
    assert code == 0 and "2 mended in 1 files" in err
