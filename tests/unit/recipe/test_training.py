from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from torchkiln.recipe.training import Train, seconds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clip": {"norm": 1, "value": 1}}, "clip by norm or by value, not both"),
        ({"max_time": "soon"}, "'soon' is no time"),
        ({"validate_every": 2.5}, "2.5 is neither a whole number of epochs nor a share of one"),
        ({"validate_every": 2, "validate_batches": 9}, "validate by validate_every or by validate_batches"),
        ({"ema": 0.9, "swa": 0.5}, "ema and swa are two averages"),
        ({"exact": "elastic", "shards": 4, "devices": 3}, "4 shards cannot be dealt to 3 devices evenly"),
    ],
)
def test_keys_that_do_not_go_together(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Train.model_validate(values)


@pytest.mark.parametrize("every", [1, 2, 0.25])
def test_validation_by_whole_epochs_or_shares(every: float) -> None:
    assert Train(validate_every=every).validate_every == every


@pytest.mark.parametrize(("text", "value"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "h", "-1s", "0m", "5d"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 90s, 10m or 2h|not above zero"):
        seconds(text)
