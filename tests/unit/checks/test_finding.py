from __future__ import annotations

from torchkiln.checks.finding import ORDER, Finding, json_schema


def test_absent_fields_are_null_and_all_are_there() -> None:
    found = Finding(rule="E101", title="t", message="m").as_json()
    assert tuple(found) == ORDER and found["step"] is None and found["tier"] is None


def test_the_schema_names_the_fields_of_a_finding() -> None:
    items = json_schema()["items"]
    assert tuple(items["required"]) == tuple(items["properties"]) == ORDER
    assert items["properties"]["state"]["enum"] == ["PASS", "WARN", "FAIL", None]
