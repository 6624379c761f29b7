from __future__ import annotations

import math

import pytest

from torchkiln.errors import RecipeError
from torchkiln.recipe.yaml_text import Plain, parse, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-2", -2),
        ("+2", 2),
        ("10_000", 10_000),
        ("0x1f", 31),
        ("0o17", 15),
        ("010", 10),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("no", "no"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1e", "1e"),
        ("-", "-"),
        ("1__0", "1__0"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_nan_is_a_number() -> None:
    value = scalar(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_unquoted_scalars_stay_open_and_quoted_ones_are_text() -> None:
    value = parse("a: 1\nb: '1'\nc: \"no\"\nd: no").value
    assert [type(v) for v in value.values()] == [Plain, str, str, Plain]


def test_keys_are_taken_as_written() -> None:
    assert list(parse("on: 1\n2020: 2\n010: 3\nnull: 4\ny: 5").value) == ["on", "2020", "010", "null", "y"]


def test_each_key_has_its_line() -> None:
    origins = parse("a: 1\nb:\n  c: 2\n  d:\n  - e: 3\n").origins
    assert origins[("b", "c")] == "line 3"
    assert origins[("b", "d", 0, "e")] == "line 5"


def test_a_key_given_twice_is_a_fault_and_reading_goes_on() -> None:
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\nz: 4\n")
    assert document.faults == [
        "b.c is given twice (line 2 and line 2): keep one",
        "a is given twice (line 1 and line 3): keep one",
    ]
    assert document.value["z"] == "4"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\n\tb: 2", 2, "a tab: indent with spaces"),
        ("a:\n\tb: 2", 2, "a tab: indent with spaces"),
        ("a:\n  b: 1\n   c: 2", 3, "indented too far"),
        ("a:\n    b: 1\n  c: 2", 3, "indented unlike"),
        ("a: [1, 2\nb: 3", 1, "not closed"),
        ("a: {b: 1", 1, "not closed"),
        ("p: 'abc\nq: 1", 1, "a quote that is not closed"),
        ('p: "C:\\data"', 1, "single quotes"),
        ("match: *.bias", 1, "must be in quotes"),
        ("a: &x 1", 1, "must be in quotes"),
        ("a: @x", 1, "put it in quotes"),
        ("a: b: c", 1, "a second colon"),
        ("task:tables\ndata: x", 1, "a space is missing after the colon"),
        ("a: 1\nb\nc: 2", 2, "a key without a value"),
        ("a: - b", 1, "a line of its own"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: 1\nb: \x00", 2, "U+0000"),
    ],
)
def test_a_slip_is_one_sentence_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    (fault,) = caught.value.faults
    assert f"line {line}" in fault
    assert said in fault
    assert str(caught.value).startswith("r.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!mine 3", "!!binary aGk="])
def test_tags_are_refused(tag: str) -> None:
    with pytest.raises(RecipeError, match=r"line 2 .*: the tag !.* is refused"):
        parse(f"b: 1\na: {tag}")


def test_deep_nesting_is_a_sentence() -> None:
    with pytest.raises(RecipeError, match="nested too deeply"):
        parse("[" * 5000)


def test_an_empty_text_has_no_value() -> None:
    assert parse("# only a comment\n").value is None
