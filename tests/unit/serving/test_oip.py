"""The Open Inference Protocol: what goes in and out, and every malformed request as 400 with {"error": ...}."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import bundles
import numpy as np
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Answer, Asked

INFER = "/v2/models/tensors/infer"
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
HEAD = "inference-header-content-length"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("bundles")
    paths = [f"{name}={getattr(bundles, name)(folder / name)}" for name in ("tensors", "table", "text", "pictures")]
    with servers.asked(folder, *paths, rows=20) as made:
        yield made


def tensor(**change: Any) -> dict[str, Any]:
    made = {"name": "x", "shape": [2, 2, 3], "datatype": "FP32", "data": X.ravel().tolist(), **change}
    return {k: v for k, v in made.items() if v is not ...}


def infer(app: Asked, *inputs: Any, way: str = INFER, **more: Any) -> Answer:
    return servers.ask(app, "POST", way, {"inputs": list(inputs), **more}, {"content-type": ""})


def test_flat_and_nested_numbers(app: Asked) -> None:
    for data in (X.ravel().tolist(), X.tolist()):
        found = infer(app, tensor(data=data), id="mine")
        assert found.status == 200, found.body
        assert found.json["id"] == "mine" and found.json["model_name"] == "tensors"
        assert found.json["model_version"] == "1"
        output = found.json["outputs"][0]
        assert (output["name"], output["shape"], output["datatype"]) == ("output", [2, 3], "FP32")
        assert output["data"] == X.sum(axis=1).ravel().tolist()


def binary(head: dict[str, Any], *tails: bytes) -> tuple[bytes, dict[str, str]]:
    encoded = json.dumps(head).encode()
    return encoded + b"".join(tails), {HEAD: str(len(encoded)), "content-type": ""}


def test_binary_in_and_out(app: Asked) -> None:
    one = tensor(data=..., parameters={"binary_data_size": X.nbytes})
    body, headers = binary({"inputs": [one], "parameters": {"binary_data_output": True}}, X.tobytes())
    found = servers.ask(app, "POST", INFER, body, headers)
    size = int(found.headers[HEAD])
    head = json.loads(found.body[:size])
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 24}
    assert found.body[size:] == X.sum(axis=1).tobytes()
    asked = {"inputs": [one], "outputs": [{"name": "output", "parameters": {"binary_data": False}}]}
    found = servers.ask(app, "POST", INFER, *binary(asked, X.tobytes()))
    assert found.json["outputs"][0]["data"] == X.sum(axis=1).ravel().tolist()


def test_a_raw_body_is_one_row(app: Asked) -> None:
    found = servers.ask(app, "POST", INFER, X.tobytes(), {HEAD: "0", "content-type": ""})
    size = int(found.headers[HEAD])
    assert found.body[size:] == X.reshape(4, 3).sum(axis=0).tobytes()
    for body in (b"", X.tobytes()[:-1]):
        assert servers.ask(app, "POST", INFER, body, {HEAD: "0"}).status == 400
    assert servers.ask(app, "POST", "/v2/models/table/infer", bytes(8), {HEAD: "0"}).status == 400


NAN = X.ravel().tolist()[:-1]
WRONG: dict[str, list[Any]] = {
    "no input": [],
    "unknown": [tensor(name="y")],
    "no name": [tensor(name=...)],
    "twice": [tensor(), tensor()],
    "no object": [3],
    "datatype": [tensor(datatype="FP64")],
    "no datatype": [tensor(datatype=...)],
    "rank": [tensor(shape=[4, 3])],
    "another size": [tensor(shape=[2, 3, 2])],
    "a negative size": [tensor(shape=[-2, 2, 3])],
    "a huge size": [tensor(shape=[2**62, 2, 3])],
    "huge sizes whose product wraps": [tensor(shape=[2**31, 2**33, 3])],
    "a size of text": [tensor(shape=["2", 2, 3])],
    "a size of bool": [tensor(shape=[True, 2, 3])],
    "no shape": [tensor(shape=...)],
    "no rows": [tensor(shape=[0, 2, 3], data=[])],
    "product": [tensor(data=[1.0] * 11)],
    "no data": [tensor(data=...)],
    "ragged": [tensor(data=[[1, 2], [3]])],
    "text": [tensor(data=["1"] * 12)],
    "null": [tensor(data=[None, *NAN])],
    "bool": [tensor(data=[True, *NAN])],
    "bools": [tensor(data=[True] * 12)],
    "too large for the type": [tensor(data=[1e39, *NAN])],
    "bytes that are not there": [tensor(data=..., parameters={"binary_data_size": 48})],
    "bytes and data": [tensor(parameters={"binary_data_size": 48})],
    "bytes of text": [tensor(data=..., parameters={"binary_data_size": "48"})],
}


@pytest.mark.parametrize("name", WRONG)
def test_inputs_that_do_not_fit_are_400(name: str, app: Asked) -> None:
    found = infer(app, *WRONG[name])
    assert found.status == 400, found.body
    assert set(found.json) == {"error"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"3", b'{"inputs": 3}', b"{", b'{"inputs": [], "inputs": []}'])
def test_bodies_that_are_no_request(body: bytes, app: Asked) -> None:
    assert servers.ask(app, "POST", INFER, body).status == 400


@pytest.mark.parametrize("change", [-1, 1, 48, 10**6])
def test_binary_sizes_that_do_not_add_up(change: int, app: Asked) -> None:
    one = tensor(data=..., parameters={"binary_data_size": X.nbytes + change})
    assert servers.ask(app, "POST", INFER, *binary({"inputs": [one]}, X.tobytes())).status == 400
    one = tensor(data=..., parameters={"binary_data_size": X.nbytes})
    body, headers = binary({"inputs": [one]}, X.tobytes())
    wrong = {**headers, HEAD: str(int(headers[HEAD]) + change)}
    assert servers.ask(app, "POST", INFER, body, wrong).status == 400
    assert servers.ask(app, "POST", INFER, body + b"more", headers).status == 400


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "999999", "9" * 30])
def test_header_lengths_beyond_the_body(length: str, app: Asked) -> None:
    assert servers.ask(app, "POST", INFER, b'{"inputs": []}', {HEAD: length}).status == 400


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_floats_that_are_not_finite(value: float, app: Asked) -> None:
    bad = X.copy()
    bad[1, 1, 1] = value
    one = tensor(data=..., parameters={"binary_data_size": X.nbytes})
    assert servers.ask(app, "POST", INFER, *binary({"inputs": [one]}, bad.tobytes())).status == 400


def test_ids_outside_of_the_vocabulary(app: Asked) -> None:
    served = app.worker.app.repository.models["text"].loaded["1"]
    size = int(served.vocabulary["ids"])

    def ids(*values: int) -> Answer:
        n = len(values)
        return infer(
            app,
            {"name": "ids", "shape": [1, n], "datatype": "INT32", "data": list(values)},
            {"name": "weights", "shape": [1, n], "datatype": "FP32", "data": [1.0] * n},
            {"name": "words", "shape": [1, n], "datatype": "INT32", "data": [0] * n},
            way="/v2/models/text/infer",
        )

    assert ids(0, size - 1).status == 200
    for bad in (-1, size, 2**31 - 1):
        assert ids(1, bad).status == 400 and "vocabulary" in ids(1, bad).detail
    assert ids(2**31).status == 400


def test_categories_outside_of_their_codes(app: Asked) -> None:
    served = app.worker.app.repository.models["table"].loaded["1"]
    wanted = {t.name: t for t in served.bundle.manifest.inputs}
    codes = served.vocabulary["categorical"]
    numeric = int(wanted["numeric"].shape[1] or 0)

    def row(category: int) -> int:
        return infer(
            app,
            {"name": "numeric", "shape": [1, numeric], "datatype": "FP32", "data": [0] * numeric},
            {"name": "categorical", "shape": [1, len(codes)], "datatype": "INT64", "data": [category] * len(codes)},
            way="/v2/models/table/infer",
        ).status

    assert [row(0), row(int(codes.min()) - 1), row(-1), row(int(codes.max()))] == [200, 200, 400, 400]


def test_rows_over_the_limit_are_413(app: Asked) -> None:
    assert infer(app, tensor(shape=[21, 1, 3], data=[0] * 63)).status == 413


def test_outputs_that_are_not_there(app: Asked) -> None:
    for outputs in (
        [{"name": "y"}],
        [{"name": "output"}] * 2,
        [3],
        3,
        [{"name": "output", "parameters": {"classification": 2}}],
    ):
        assert infer(app, tensor(), outputs=outputs).status == 400


def test_documents(app: Asked) -> None:
    assert servers.ask(app, "GET", "/v2").json["name"] == "torchkiln"
    assert servers.ask(app, "GET", "/v2/models/tensors").json["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, -1, 3]}
    ]
    assert servers.ask(app, "GET", "/v2/models/tensors/versions/1/config").json["max_batch_size"] == 64
    assert servers.ask(app, "GET", "/v2/models/tensors/ready").status == 200
    assert servers.ask(app, "GET", "/v2/models/tensors/versions/7/ready").status == 404
    stats = servers.ask(app, "GET", "/v2/models/tensors/stats").json["model_stats"][0]
    infer(app, tensor())
    later = servers.ask(app, "GET", "/v2/models/tensors/stats").json["model_stats"][0]
    assert later["inference_stats"]["success"]["count"] == stats["inference_stats"]["success"]["count"] + 1
    assert servers.ask(app, "POST", "/v2/repository/index").json[0]["state"] == "READY"


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 300), at=st.integers(0, 300), byte=st.integers(0, 255), move=st.integers(-3, 3))
def test_whatever_is_changed_it_is_no_500(cut: int, at: int, byte: int, move: int, app: Asked) -> None:
    one = tensor(data=..., parameters={"binary_data_size": X.nbytes})
    body, headers = binary({"inputs": [one], "parameters": {"binary_data_output": True}}, X.tobytes())
    changed = bytearray(body[: len(body) - cut % 50])
    changed[at % len(changed)] = byte
    headers[HEAD] = str(int(headers[HEAD]) + move)
    assert servers.ask(app, "POST", INFER, bytes(changed), headers).status in (200, 400, 413)
