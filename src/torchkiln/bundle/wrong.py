"""What is wrong with a value of a record."""

from __future__ import annotations

from typing import Any

_LONGEST = 60


class Wrong(Exception):
    """A value that is not accepted; whoever knows the field's name makes a sentence of it.

    Args:
        record: Its place among the records.
        found: The value, or what it is.
        accepted: What would be.
        too_large: Whether only its size is wrong.
    """

    def __init__(self, record: int, found: str, accepted: str, *, too_large: bool = False) -> None:
        super().__init__(record, found, accepted)
        self.record, self.found, self.accepted, self.too_large = record, found, accepted, too_large


def shown(value: Any) -> str:
    """A value as the sentence names it: short, with the JSON word for its kind."""
    kinds = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (dict, "an object"), (list, "a list"))
    if value is None:
        return "null"
    kind = next((word for types, word in kinds if isinstance(value, types)), f"a {type(value).__name__}")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    if not isinstance(value, bool | int | float | str):
        return kind
    text = repr(value[:_LONGEST] if isinstance(value, str) else value)
    return f"{text}{'...' if isinstance(value, str) and len(value) > _LONGEST else ''}, {kind}"
