from __future__ import annotations

from torchkiln.training.plan_rows import SAID, decision


def test_a_row_has_candidates_even_where_none_were_measured() -> None:
    assert decision("train.threads", 2, SAID) == {
        "what": "train.threads", "chosen": 2, "why": "the recipe says so", "candidates": [],
    }  # fmt: skip
    measured = [{"value": 1, "milliseconds": 2.0, "note": ""}]
    assert decision("train.threads", 2, "faster", measured)["candidates"] == measured
