"""Lists of numbers become tensors, or are told where they are not of the form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bundles
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln import bundle
from torchkiln.bundle import schema, tensors
from torchkiln.bundle.manifest import Tensor
from torchkiln.bundle.wrong import Wrong
from torchkiln.codec.base import BATCH, ArraySpec, Axis, Ragged
from torchkiln.errors import RecordError


def read(values: list[Any], *, dtype: str = "float32", shape: tuple[int | Axis, ...] = (3,), below: int | None = None):  # type: ignore[no-untyped-def]
    spec = ArraySpec("x", dtype, (BATCH, *shape), below)
    field = schema.make(None, [spec], [], "tensor")["request"]["properties"]["x"]
    sizes = [None if isinstance(n, Axis) else n for n in spec.shape]
    return tensors.reader(Tensor("x", dtype, sizes), field)(values)


ANY = Axis("length", 4)


@pytest.mark.parametrize(
    ("value", "more", "sentence"),
    [
        ([1, 2], {}, "2 of them in dimension 1"),
        ([[1], [2], [3]], {}, "a list"),
        ([1, "2", 3], {}, "'2', a string"),
        ([1, True, 3], {}, "True, a boolean"),
        ([1, None, 3], {}, "null"),
        (7, {}, "7, a number"),
        ([1, float("nan"), 3], {}, "nan, no finite float32"),
        ([1, 1e300, 3], {}, "no finite float32"),
        ([1, 10**400, 3], {}, "out of range"),
        ([1.5, 1, 1], {"dtype": "int64"}, "1.5, a number"),
        ([300, 1, 1], {"dtype": "uint8"}, "out of range"),
        ([2**70, 1, 1], {"dtype": "int64"}, "out of range"),
        ([0, 5, 1], {"dtype": "int64", "below": 5}, "5, out of range"),
        ([0, -1, 1], {"dtype": "int64", "below": 5}, "-1, out of range"),
        ([[1, 2], [3]], {"shape": (2, 2)}, "lists of different lengths"),
        ([[1, 2], 3], {"shape": (2, 2)}, "3, a number"),
        ([1] * 5, {"shape": (ANY,)}, "5 of them in dimension 1"),
        ([], {"shape": (ANY,)}, "0 of them"),
        (np.zeros(3, bool), {}, "array of bool"),
        ([0, 1, 1], {"dtype": "bool"}, "0, a number"),
    ],
)
def test_a_fault_is_told(value: Any, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Wrong) as error:
        read([value], **more)
    assert sentence in error.value.found, error.value.found


def test_what_is_of_the_form_is_taken() -> None:
    np.testing.assert_array_equal(read([[1, 2.5, 3], (4, 5, 6)]), np.array([[1, 2.5, 3], [4, 5, 6]], np.float32))
    assert read([2.0], shape=()).shape == (1,)
    assert read([[True, False]], shape=(2,), dtype="bool").dtype == bool
    assert read([np.ones(3)]).dtype == np.float32
    mixed = read([[1.0], [1.0, 2.0]], shape=(ANY,))
    assert isinstance(mixed, Ragged) and mixed.lengths.tolist() == [1, 2]


def test_records_of_two_shapes_are_told() -> None:
    with pytest.raises(Wrong, match="the shape"):
        read([[[1.0]], [[1.0, 2.0]]], shape=(ANY, Axis("width")))


def test_a_net_that_knows_no_padding_sees_none(tmp_path: Path) -> None:
    """The sum is blind to padding, so the graph counts rows instead."""
    made = bundle.load(bundles.tensors(tmp_path / "b"))
    seen: list[tuple[int, ...]] = []
    run = made.session.run
    made.session.run = lambda arrays: (seen.append(arrays["x"].shape), run(arrays))[1]  # type: ignore[method-assign]
    answers = made.predict([{"x": [[1, 1, 1]] * n} for n in (2, 1, 2, 3, 1)])
    assert [a["output"][0] for a in answers] == [2, 1, 2, 3, 1]
    assert sorted(seen) == [(1, 3, 3), (2, 1, 3), (2, 2, 3)]
    with pytest.raises(RecordError, match=r"records\[0\]\.x: found 10 of them in dimension 1; accepted is numbers "):
        made.predict({"x": [[1, 1, 1]] * 10})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats() | st.integers(-(10**40), 10**40), min_size=3, max_size=3), min_size=1, max_size=3))
def test_the_short_way_for_lists_gives_what_the_long_one_gives(values: list[list[float]]) -> None:
    found = []
    for several in (values, [tuple(v) for v in values]):  # tuples go the long way
        try:
            made = read(several)
            found.append((made.dtype, made.shape, made.tobytes()))
        except Wrong as wrong:
            found.append((wrong.record, wrong.found))
    assert found[0] == found[1]
