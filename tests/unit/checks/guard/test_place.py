from __future__ import annotations

import linecache

import pytest

from torchkiln.checks.guard import place


def test_the_line_of_the_person() -> None:
    found = place.here()
    assert found is not None and found.file == __file__ and found.function == "test_the_line_of_the_person"


def ask(code: str, function: str) -> bool:
    """What a function of a program of its own says."""
    text = f"def {function}():\n    {code}\n    return found\nresult = {function}()\n"
    linecache.cache["<p>"] = (len(text), None, text.splitlines(keepends=True), "<p>")
    space = {"ask": place.speaks_of_held_out_data}
    exec(compile(text, "<p>", "exec"), space)
    return bool(space["result"])


@pytest.mark.parametrize(
    ("code", "function", "speaks"),
    [
        ("found = ask()", "evaluate", True),
        ("found = ask()", "validate_epoch", True),
        ("val_out = found = ask()", "step", True),
        ("found = ask()", "step", False),
        ("found = ask()", "train_and_test", False),
        ("latest = found = ask()", "sample", False),
    ],
)
def test_words_for_held_out_data(code: str, function: str, speaks: bool) -> None:
    assert ask(code, function) is speaks
