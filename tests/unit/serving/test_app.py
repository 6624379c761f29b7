"""Every row of the table of bad input, and what a request is answered with."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import bundles
import numpy as np
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Asked

TABLE, PICTURES, TEXT, TENSORS = "table", "pictures", "text", "tensors"
PREDICT = "/v1/models/table:predict"
PNG = bundles.png()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("bundles")
    paths = [
        f"{name}={getattr(bundles, name)(folder / name)}" for name in (TABLE, PICTURES, TEXT, TENSORS)
    ]  # fmt: skip
    limits = {"body_mb": 0.2, "inflated_mb": 0.3, "rows": 100, "parts": 8, "megapixels": 0.05, "text_kb": 50}
    with servers.asked(folder, *paths, **limits) as made:
        yield made


def test_a_record_is_answered(app: Asked) -> None:
    found = servers.ask(app, "POST", PREDICT, bundles.RECORD, {"x-request-id": "mine-1"})
    assert found.status == 200
    assert found.headers["x-request-id"] == found.json["request_id"] == "mine-1"
    assert found.json["model"] == "table" and found.json["version"] == "1"
    expected = app.worker.app.repository.models["table"].loaded["1"].bundle.predict(bundles.RECORD)
    assert found.json["predictions"] == expected


def test_a_trace_goes_through(app: Asked) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    assert servers.ask(app, "POST", PREDICT, bundles.RECORD, {"traceparent": trace}).headers["traceparent"] == trace
    assert "traceparent" not in servers.ask(app, "POST", PREDICT, bundles.RECORD, {"traceparent": "x\r\ny"}).headers


DEEP = b"[" * 65 + b"]" * 65
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"age=1",
    "cut short": b'{"age": 1',
    "NaN": b'{"age": NaN}',
    "Infinity": b'{"age": -Infinity}',
    "1e999": b'{"age": 1e999}',
    "too deep": b'{"age": ' + DEEP + b"}",
    "deep enough to break a parser": b"[" * 100_000,
    "deep with brackets in texts": b'{"a]": ' + b'["]",' * 70 + b"1" + b"]" * 70 + b"}",
    "no UTF-8": b'{"town": "\xff\xfe"}',
    "half of a character": b'{"town": "\\ud800"}',
    "a key twice": b'{"age": 1, "age": 2}',
    "a key twice, escaped": b'{"age": 1, "\\u0061ge": 2, "a:b": 1}',
    "a key twice, far inside": b'[{"age": 1}, {"age": {"b": 1, "b": 2}}]',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_json_is_400(name: str, app: Asked) -> None:
    found = servers.ask(app, "POST", PREDICT, MALFORMED[name])
    assert (found.status, found.headers["content-type"]) == (400, "application/problem+json"), found.body
    assert found.json["title"] == "malformed" and found.json["request_id"]


def test_depth_is_counted_outside_of_texts(app: Asked) -> None:
    flat = {**bundles.RECORD, "town": "[" * 100}
    assert servers.ask(app, "POST", PREDICT, flat).status == 200


INVALID: dict[str, Any] = {
    "missing": {k: v for k, v in bundles.RECORD.items() if k != "age"},
    "unknown": {**bundles.RECORD, "agee": 1},
    "a string for a number": {**bundles.RECORD, "age": "forty"},
    "a bool for a number": {**bundles.RECORD, "age": True},
    "a list for a number": {**bundles.RECORD, "age": [1]},
    "no date": {**bundles.RECORD, "since": "yesterday"},
    "no record": [],
    "a number for a record": 3,
    "records among others": [bundles.RECORD, 3],
}


@pytest.mark.parametrize("name", INVALID)
def test_what_does_not_fit_the_schema_is_422(name: str, app: Asked) -> None:
    found = servers.ask(app, "POST", PREDICT, INVALID[name])
    assert found.status == 422, found.body
    assert found.json["title"] == "invalid_input"


def test_the_record_and_the_field_are_named(app: Asked) -> None:
    found = servers.ask(app, "POST", PREDICT, [bundles.RECORD, {**bundles.RECORD, "age": "forty"}])
    assert "records[1].age" in found.detail and "forty" in found.detail and "a number" in found.detail


@pytest.mark.parametrize("x", [[[1, 2]], [1, 2, 3], [[1, 2, "3"]], [[1, 2, True]], [[1, 2, 1e39]], None])
def test_tensors_of_another_form_are_422(x: Any, app: Asked) -> None:
    assert servers.ask(app, "POST", "/v1/models/tensors:predict", {"x": x}).status == 422


# Types, encodings, methods, names


@pytest.mark.parametrize(
    ("model", "body", "kind", "status"),
    [
        (TABLE, b"{}", "application/xml", 415),
        (TABLE, PNG, "image/png", 415),
        (TEXT, b"a,b", "text/csv", 415),
        (TABLE, b"x", "text/plain", 415),
        (PICTURES, PNG, "image/png", 200),
        (PICTURES, PNG, "application/octet-stream", 200),
        (TEXT, b"a good film", "text/plain", 200),
        (TEXT, b"\xff", "text/plain", 400),
        (TEXT, b'{"text": "a"}\n\n{"text": "b"}\n', "application/x-ndjson", 200),
        (TEXT, b'{"text": "a"}\n3\n', "application/x-ndjson", 422),
        (TABLE, b"age,height,town,since\n1,2,Ulm,2020-03-01\n,,,\n", "text/csv; charset=utf-8", 200),
        (TABLE, b"age,height,town,since\n1,2\n", "text/csv", 400),
        (TABLE, b"age,age,town,since\n1,2,3,4\n", "text/csv", 400),
        (TABLE, b"age,height,town,since\nforty,2,Ulm,2020-03-01\n", "text/csv", 422),
        (TABLE, b'age,"height\n', "text/csv", 400),
        (TABLE, b"age,height,town,since\n", "text/csv", 422),
        (TABLE, b'{"age": 1}', "", 422),
    ],
)
def test_content_types(model: str, body: bytes, kind: str, status: int, app: Asked) -> None:
    found = servers.ask(app, "POST", f"/v1/models/{model}:predict", body, {"content-type": kind})
    assert found.status == status, found.body


def test_csv_is_read_as_json_is(app: Asked) -> None:
    body = b"age,height,town,since\n31.5,170,Ulm,2020-03-01\n"
    found = servers.ask(app, "POST", PREDICT, body, {"content-type": "text/csv"})
    assert found.json["predictions"] == servers.ask(app, "POST", PREDICT, bundles.RECORD).json["predictions"]


def multipart(*parts: bytes, end: bytes = b"--") -> bytes:
    head = b'content-disposition: form-data; name="p"; filename="p.png"\r\ncontent-type: image/png\r\n\r\n'
    return b"".join(b"--edge\r\n" + head + part + b"\r\n" for part in parts) + b"--edge" + end


def test_several_pictures_in_one_body(app: Asked) -> None:
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    way = "/v1/models/pictures:predict"
    blue = bundles.png((0, 0, 255))
    found = servers.ask(app, "POST", way, multipart(PNG, blue), kind)
    one, two = (servers.ask(app, "POST", way, p, {"content-type": "image/png"}).json for p in (PNG, blue))
    assert found.json["predictions"] == one["predictions"] + two["predictions"]
    assert servers.ask(app, "POST", way, multipart(PNG, end=b""), kind).status == 400
    assert servers.ask(app, "POST", way, b"--edge--", kind).status in (400, 422)
    assert servers.ask(app, "POST", way, multipart(*[PNG] * 9), kind).status == 413
    assert servers.ask(app, "POST", way, multipart(PNG), {"content-type": "multipart/form-data"}).status == 400
    assert servers.ask(app, "POST", PREDICT, multipart(PNG), kind).status == 415


def picture(raw: bytes) -> dict[str, str]:
    return {"image": base64.b64encode(raw).decode()}


def gif() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("P", (4, 4)).save(out, "GIF")
    return out.getvalue()


def moving() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (picture(PNG), 200),
        (picture(PNG[:45]), 422),
        (picture(b"no picture"), 422),
        (picture(gif()), 422),
        (picture(moving()), 422),
        (picture(bundles.png(side=300)), 413),
        ({"image": "not base64!"}, 422),
        ({"image": "/etc/passwd"}, 422),
        ({"image": 3}, 422),
        ({}, 422),
    ],
)
def test_pictures_in_json(body: Any, status: int, app: Asked) -> None:
    found = servers.ask(app, "POST", "/v1/models/pictures:predict", body)
    assert found.status == status, found.body


def test_encodings(app: Asked) -> None:
    body = json.dumps(bundles.RECORD).encode()
    bomb = gzip.compress(b"[" + b" " * 10_000_000)
    for sent, encoding, status in (
        (gzip.compress(body), "gzip", 200),
        (zlib.compress(body), "deflate", 200),
        (body, "identity", 200),
        (body, "br", 415),
        (body, "gzip", 400),
        (gzip.compress(body)[:-4], "gzip", 400),
        (gzip.compress(body) + b"more", "gzip", 400),
        (bomb, "gzip", 413),
    ):
        found = servers.ask(app, "POST", PREDICT, sent, {"content-encoding": encoding})
        assert found.status == status, (encoding, found.body)


def test_a_body_over_the_limit_is_413(app: Asked) -> None:
    declared = servers.ask(app, "POST", PREDICT, b"{}", {"content-length": "200001"})
    chunked = servers.ask(app, "POST", PREDICT, [b" " * 100_001, b" " * 100_001, b"{}"])
    rows = servers.ask(app, "POST", "/v1/models/text:predict", [{"text": "a"}] * 101)
    text = servers.ask(app, "POST", "/v1/models/text:predict", {"text": "a" * 50_001})
    assert [declared.status, chunked.status, rows.status, text.status] == [413] * 4


UNKNOWN = [
    "/v1/models/other:predict",
    "/v1/models/table/versions/9:predict",
    "/v1/models/../table:predict",
    "/v1/models/\0:predict",
    "/x",
    "/v2/models/other/infer",
    "/v2/models/a/b/c",
    "/page/../app.py",
]


def test_methods_and_paths(app: Asked) -> None:
    for method in ("GET", "PUT", "DELETE"):
        found = servers.ask(app, method, PREDICT)
        assert found.status == 405 and found.headers["allow"] == "POST"
    assert servers.ask(app, "DELETE", "/readyz").status == 405
    for path in UNKNOWN:
        found = servers.ask(app, "POST", path, bundles.RECORD)
        assert found.status in (404, 405), (path, found.body)
        assert "/src" not in found.detail
    assert servers.ask(app, "GET", "/page/..%2fapp.py").status == 404
    assert set(servers.ask(app, "GET", "/v2/models/other").json) == {"error"}


# Failures of the model


def served(app: Asked, name: str) -> Any:
    return app.worker.app.repository.models[name].loaded["1"]


def test_a_row_that_breaks_the_model_leaves_its_neighbours_alone(app: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    one = served(app, TENSORS)
    run = one.bundle.run

    def breaks(arrays: Any) -> Any:
        if (arrays["x"] == 13).any():
            raise RuntimeError("a secret of the model")
        return run(arrays)

    monkeypatch.setattr(one.bundle, "run", breaks)

    async def together() -> list[Any]:
        bodies = [{"x": [[float(i), 0, 0]]} for i in (1, 13, 2)]
        return await asyncio.gather(*[app.ask("POST", "/v1/models/tensors:predict", body) for body in bodies])

    good, bad, other = app.run(together())
    assert [good.status, bad.status, other.status] == [200, 500, 200]
    assert bad.json["request_id"] and "secret" not in bad.detail
    assert other.json["predictions"] == [{"output": [2.0, 0.0, 0.0]}]


def test_an_answer_that_is_no_number_is_500(app: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    one = served(app, TENSORS)
    monkeypatch.setattr(
        one.bundle, "run", lambda arrays: {"output": np.full((len(arrays["x"]), 3), np.nan, np.float32)}
    )
    found = servers.ask(app, "POST", "/v1/models/tensors:predict", {"x": [[1, 2, 3]]})
    assert (found.status, found.json["title"]) == (500, "non_finite_output")


def test_a_bug_of_ours_is_500_with_the_id(app: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.serving.app.records.read", lambda *args: 1 / 0)
    found = servers.ask(app, "POST", "/v1/models/tensors:predict", {"x": [[1, 2, 3]]}, {"x-request-id": "abc"})
    assert found.status == 500 and "abc" in found.detail and "division" not in found.detail
    assert served(app, TENSORS).batcher.idle


# Overload


def test_a_full_queue_is_told_before_the_body_is_read(app: Asked) -> None:
    batcher = served(app, TABLE).batcher
    batcher.admitted = batcher.most
    try:
        found = servers.ask(app, "POST", PREDICT, b"never parsed", {"content-length": "999999999"})
    finally:
        batcher.admitted = 0
    assert found.status == 503 and found.headers["retry-after"] == "1"


@pytest.mark.parametrize("phase", ["starting", "draining"])
def test_before_and_after_serving_it_is_503(phase: str, app: Asked) -> None:
    app.worker.app.phase = phase
    try:
        found = servers.ask(app, "POST", PREDICT, bundles.RECORD)
        assert found.status == 503 and "retry-after" in found.headers
        assert servers.ask(app, "GET", "/readyz").status == 503
        assert servers.ask(app, "GET", "/livez").status == 200
    finally:
        app.worker.app.phase = "ready"


def test_a_deadline_that_passed_is_504(app: Asked) -> None:
    assert servers.ask(app, "POST", PREDICT, bundles.RECORD, {"x-timeout-ms": "0"}).status == 504
    assert servers.ask(app, "POST", PREDICT, bundles.RECORD, {"x-timeout-ms": "soon"}).status == 400


def test_places_are_given_back(app: Asked) -> None:
    for body in (b"", bundles.RECORD, INVALID["missing"]):
        servers.ask(app, "POST", PREDICT, body)
    assert served(app, TABLE).batcher.idle and served(app, TABLE).batcher.admitted == 0


# Answers in a batch are answers alone


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=125, max_size=125), seed=st.integers(0, 2**31))
def test_answers_in_a_batch_are_those_alone(lengths: list[int], seed: int, app: Asked) -> None:
    """Over all examples 1,000 requests of mixed lengths, each held beside the answer to its own input."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(n, 3)).astype(np.float32) for n in lengths]

    async def together() -> list[Any]:
        bodies = [{"x": x.tolist()} for x in inputs]
        return await asyncio.gather(*[app.ask("POST", "/v1/models/tensors:predict", body) for body in bodies])

    before = served(app, TENSORS).executions
    found = app.run(together())
    assert served(app, TENSORS).executions - before < len(inputs)  # they shared batches
    for x, answer in zip(inputs, found, strict=True):
        np.testing.assert_allclose(answer.json["predictions"][0]["output"], x.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_texts_of_mixed_lengths_in_a_batch(app: Asked) -> None:
    words = ["good", "bad", "film", "short", "long", "what", "a"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 30))) for _ in range(200)]

    async def together() -> list[Any]:
        asked = [app.ask("POST", "/v1/models/text:predict", {"text": text}) for text in texts]
        return await asyncio.gather(*asked)

    bundle = served(app, TEXT).bundle
    for text, answer in zip(texts, app.run(together()), strict=True):
        alone = bundle.predict({"text": text})[0]["probabilities"]
        found = answer.json["predictions"][0]["probabilities"]
        assert all(abs(found[name] - value) < 1e-5 for name, value in alone.items())
