from __future__ import annotations

import json

import pytest

from torchkiln.serving.refusal import Refusal, busy


def test_each_protocol_has_its_form() -> None:
    refusal = Refusal(422, "records[0].age: found 'x'")
    problem = json.loads(refusal.problem("id-1"))
    assert problem["status"] == 422 and problem["title"] == "invalid_input" and problem["request_id"] == "id-1"
    assert problem["detail"] == str(refusal)
    assert json.loads(refusal.oip()) == {"error": str(refusal)}


def test_busy_says_when_to_come_again() -> None:
    assert busy("full", 3).status == 503 and busy("full", 3).headers == {b"retry-after": b"3"}


def test_every_status_has_a_word() -> None:
    with pytest.raises(KeyError):
        Refusal(299, "no refusal")
