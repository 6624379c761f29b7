"""The real client of Triton against our server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import bundles
import numpy as np
import pytest
import servers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the client's own packages
    http = pytest.importorskip("tritonclient.http")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
X = np.arange(24, dtype=np.float32).reshape(4, 2, 3)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("models")
    bundles.tensors(folder / "net" / "1")
    bundles.tensors(folder / "net" / "2")
    with servers.process(folder, options=("--workers", "1", "--versions", "all")) as server:
        made = http.InferenceServerClient(server.url.removeprefix("http://"))
        yield made
        made.close()


def given(binary: bool) -> list[Any]:
    one = http.InferInput("x", list(X.shape), "FP32")
    one.set_data_from_numpy(X, binary_data=binary)
    return [one]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_infer(client: Any, binary: bool, packed: str | None) -> None:
    for outputs in (None, [http.InferRequestedOutput("output", binary_data=binary)]):
        found = client.infer(
            "net", given(binary), outputs=outputs, request_id="7", request_compression_algorithm=packed
        )
        np.testing.assert_array_equal(found.as_numpy("output"), X.sum(axis=1))
        assert found.get_response()["id"] == "7"


def test_versions(client: Any) -> None:
    assert client.infer("net", given(True), model_version="1").get_response()["model_version"] == "1"
    with pytest.raises(Exception, match="no version"):
        client.infer("net", given(True), model_version="9")


def test_health_and_documents(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("net") and client.is_model_ready("net", "1") and not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("net")
    assert metadata["versions"] == ["1", "2"] and metadata["platform"] == "onnx_onnxv1"
    assert client.get_model_config("net")["backend"] == "onnxruntime"
    stats = client.get_inference_statistics("net", "2")["model_stats"]
    assert [one["version"] for one in stats] == ["2"] and stats[0]["inference_stats"]["success"]["count"] > 0
    assert len(client.get_inference_statistics()["model_stats"]) == 2


def test_repository(client: Any) -> None:
    assert [(one["name"], one["state"]) for one in client.get_model_repository_index()] == [("net", "READY")] * 2
    client.unload_model("net")
    assert not client.is_model_ready("net")
    client.load_model("net")
    assert client.is_model_ready("net")
    with pytest.raises(Exception, match="no model"):
        client.load_model("other")
    with pytest.raises(Exception, match="server's folders"):
        client.load_model("net", config="{}", files={"file:1/model.onnx": b"x"})


def test_errors_are_texts(client: Any) -> None:
    with pytest.raises(Exception, match="there is no input 'y'"):
        client.infer("net", [http.InferInput("y", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))])
    with pytest.raises(Exception, match="no model"):
        client.get_model_metadata("other")


def test_what_is_not_spoken_is_said(client: Any) -> None:
    for call in (client.get_trace_settings, client.get_log_settings, client.get_system_shared_memory_status):
        with pytest.raises(Exception, match="nothing on this path"):
            call()
