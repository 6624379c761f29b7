import pytest
import torch

from torchkiln.training import peaks


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "SIDES", (64, 128))
    monkeypatch.setattr(peaks, "TRIAD_BYTES", {"cpu": 2**20})
    monkeypatch.setattr(peaks, "LAUNCHES", 50)


def test_the_best_of_a_machine_is_measured() -> None:
    found = peaks.measure("cpu", torch.float32)
    assert found.flops > 1e6 and found.bandwidth > 1e6 and 0 < found.launch < 1e-2


def test_a_slow_product_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(peaks, "_best", lambda work, device: asked.append(work) or 1.0)
    assert peaks.matrix_peak("cpu", torch.bfloat16) == 2 * 64**3
    assert len(asked) == 1
