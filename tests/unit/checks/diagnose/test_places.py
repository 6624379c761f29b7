from __future__ import annotations

import re

import pytest

from torchkiln.checks.diagnose import places
from torchkiln.checks.diagnose.failure import Failure
from torchkiln.checks.diagnose.rule import Context


def keys(missing: str, extra: str) -> Failure:
    return Failure("", f'Missing key(s) in state_dict: "{missing}". Unexpected key(s) in state_dict: "{extra}".')


@pytest.mark.parametrize(
    ("missing", "extra", "same"),
    [("fc.weight", "module.fc.weight", True), ("module.fc.weight", "fc.weight", True),
     ("fc.weight", "model.fc.weight", True), ("fc.weight", "head.weight", False),
     ("fc.weight", "model.head.weight", False), ("fc.weight", "_orig_mod.head.weight", True)],
)  # fmt: skip
def test_a_prefix_is_told_from_other_names(missing: str, extra: str, same: bool) -> None:
    assert places.prefixed(keys(missing, extra), Context()) is same


def test_one_list_alone_has_no_prefix() -> None:
    assert not places.prefixed(Failure("", 'Missing key(s) in state_dict: "a.b".'), Context())


def test_a_loss_is_told_by_its_line() -> None:
    assert re.search(places.LOSS, "t.py:f: loss = criterion(out, y)")
    assert re.search(places.LOSS, "/v/torch/nn/functional.py:cross_entropy: return x")
    assert not re.search(places.LOSS, "t.py:f: out = model(x)")


def test_numpy_says_axis() -> None:
    assert places.numpys(Failure("", "index 7 is out of bounds for axis 0 with size 5"))


def test_a_kernel_of_a_loss() -> None:
    lines = ["Loss.cu:242: nll_loss: Assertion `t >= 0 && t < n_classes` failed."]
    assert places.about_labels(Failure("", ""), Context(lines=lines))
    assert not places.about_labels(Failure("", ""), Context(lines=["Assertion `srcIndex < size` failed."]))


def test_an_end_of_input_is_a_checkpoints_only_in_torchs_reader() -> None:
    assert not places.reading(Failure("EOFError", "Ran out of input"), Context())
    assert places.reading(Failure("", "invalid load key, 'v'."), Context())
