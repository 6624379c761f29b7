from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import pytest
import servers
from servers import Asked

from torchkiln.errors import BundleError
from torchkiln.serving.limits import Limits
from torchkiln.serving.metrics import Metrics
from torchkiln.serving.served import CLOSE, Served, alike, load

NAMES = ("table", "text", "pictures")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("bundles")
    paths = [f"{name}={servers.with_golden(getattr(bundles, name), folder / name)}" for name in NAMES]
    with servers.asked(folder, *paths) as made:
        yield made


def served(app: Asked, name: str) -> Served:
    return app.worker.app.repository.models[name].loaded["1"]


def loaded(path: Path, **limits: Any) -> Served:
    return load("m", "1", path, {"threads": 1}, Limits(**limits), Metrics())


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_record_goes_the_way_of_all(name: str, app: Asked) -> None:
    one = served(app, name)
    assert len(one.golden) >= 16
    assert app.run(one.check(time.monotonic() + 5)) is None
    record, answer = one.golden[0]
    one.golden[0] = (record, {**answer, "confidence": 0.123})
    try:
        assert "does not answer its golden record" in str(app.run(one.check(time.monotonic() + 5)))
    finally:
        one.golden[0] = (record, answer)
    assert "deadline" in str(app.run(one.check(time.monotonic() - 1)))


def test_a_bundle_that_answers_otherwise_is_not_loaded(tmp_path: Path) -> None:
    answer = {"prediction": "yes", "confidence": 0.5, "probabilities": {"no": 0.5, "yes": 0.5}}
    line = json.dumps({"record": bundles.RECORD, "answer": answer}).encode()
    with pytest.raises(BundleError, match="does not answer its golden records"):
        loaded(bundles.table(tmp_path / "b", files={"golden.jsonl": line}))
    line = json.dumps({"record": {}, "answer": answer}).encode()
    with pytest.raises(BundleError, match="cannot answer its own example"):
        loaded(bundles.table(tmp_path / "c", files={"golden.jsonl": line}))


def test_a_bundle_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b", files={"more.bin": bytes(2_000_000)})
    with pytest.raises(BundleError, match="bundle_mb"):
        loaded(path, bundle_mb=1.0)


def test_a_light_net_runs_on_the_loop_and_a_heavy_one_has_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundles.table(tmp_path / "b")
    assert loaded(path).batcher.inline
    monkeypatch.setattr("torchkiln.serving.served.INLINE_SECONDS", 0.0)
    assert not loaded(path).batcher.inline


@pytest.mark.parametrize("name", NAMES)
def test_requests_are_held_beside_the_training_data(name: str, app: Asked) -> None:
    one = served(app, name)
    record = one.golden[0][0]
    for _ in range(150):
        assert servers.ask(app, "POST", f"/v1/models/{name}:predict", [record] * 4).status == 200
    report = one.drift()
    assert report["rows"] >= (600 if name != "pictures" else 60)
    assert any(found["clear"] for found in report["features"].values())  # the same record over and over
    assert "torchkiln_drift_psi{" in servers.ask(app, "GET", "/metrics").body.decode()
    described = servers.ask(app, "GET", f"/v1/models/{name}").json
    assert any(row["clear"] for row in described["drift"])


def test_without_a_reference_there_is_no_drift(tmp_path: Path) -> None:
    one = loaded(bundles.table(tmp_path / "b"))
    one.watch({}, {})
    assert one.drift() == {}


def test_golden_answers_are_those_of_the_model_that_the_export_chose(tmp_path: Path) -> None:
    answer = {"prediction": "yes", "confidence": 0.5, "probabilities": {"no": 0.5, "yes": 0.5}}
    line = json.dumps({"record": bundles.RECORD, "answer": answer}).encode()
    one = {"file": "model.onnx", "proven": True, "inputs": {}, "outputs": {}}
    parts = {"models": {"onnx": one, "int8": {**one, "file": "model.int8.onnx"}}, "serve": "int8"}
    plain = (bundles.table(tmp_path / "a") / "model.onnx").read_bytes()
    path = bundles.table(tmp_path / "b", files={"golden.jsonl": line, "model.int8.onnx": plain}, parts=parts)
    with pytest.raises(BundleError, match="does not answer its golden records"):
        loaded(path)
    other = load("m", "1", path, {"threads": 1, "model": "onnx"}, Limits(), Metrics())
    assert other.golden[0][1] == other.bundle.predict(bundles.RECORD)[0] != answer


def test_eight_bits_may_be_a_level_off() -> None:
    golden = {"prediction": "a", "confidence": 0.51, "probabilities": {"a": 0.51, "b": 0.49}}
    near = {"prediction": "b", "confidence": 0.52, "probabilities": {"a": 0.48, "b": 0.52}}
    far = {"prediction": "b", "confidence": 0.6, "probabilities": {"a": 0.4, "b": 0.6}}
    assert alike(near, golden, CLOSE["int8"]) and not alike(far, golden, CLOSE["int8"])
    assert not alike(near, golden, CLOSE["onnx"])


def test_answers_are_alike_within_what_addition_may_change() -> None:
    golden = {"prediction": "a", "probabilities": {"a": 0.7, "b": [1.0, 2.0]}}
    assert alike({**golden, "more": 1}, golden)
    assert alike({"prediction": "a", "probabilities": {"a": 0.70001, "b": [1.0, 2.0]}}, golden)
    for change in ({"prediction": "b"}, {"probabilities": {"a": 0.71, "b": [1.0, 2.0]}}, {"probabilities": {}},
                   {"probabilities": {"a": 0.7, "b": [1.0]}}):  # fmt: skip
        assert not alike({**golden, **change}, golden)
