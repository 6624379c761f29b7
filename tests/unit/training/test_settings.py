"""What a step runs under is set around it, and put back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.recipe.schema import Recipe
from torchkiln.training import settings
from torchkiln.training.settings import Setting


def test_a_recipes_setting_is_its_own_words_and_torchs_defaults() -> None:
    open_ = settings.of(Recipe(task="custom", data={}))  # type: ignore[arg-type]
    assert (open_.precision, open_.compile, open_.allocator, open_.attention) == ("32", False, "default", "default")
    said: dict[str, Any] = {"precision": "bf16", "threads": 3, "attention": "math", "allocator": "keep"}
    said |= {"compile": "max-autotune", "channels_last": True, "device": "cpu", "deterministic": True}
    found = settings.of(Recipe(task="custom", data={}, train=said))  # type: ignore[arg-type]
    assert {k: v for k, v in vars(found).items() if k in said} == said


def test_settings_hold_inside_and_are_put_back() -> None:
    threads = torch.get_num_threads()
    with settings.applied(Setting("cpu", threads + 1, deterministic=True, attention="math")):
        assert torch.get_num_threads() == threads + 1
        assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic
    assert torch.backends.cuda.flash_sdp_enabled()


def test_cudas_own_are_set_on_cuda_alone_and_nothing_is_timed_where_all_is_deterministic() -> None:
    cuda = Setting("cuda", 1, precision="tf32", cudnn_benchmark=True)
    with settings.applied(cuda):
        assert torch.backends.cudnn.benchmark and torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark and not torch.backends.cuda.matmul.allow_tf32
    with settings.applied(replace(cuda, deterministic=True)):
        assert not torch.backends.cudnn.benchmark
    with settings.applied(replace(cuda, device="cpu")):
        assert not torch.backends.cudnn.benchmark and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("attention", ["default", *settings.KERNELS])
def test_scaled_dot_products_are_had_with_every_kernel_or_by_the_plain_one(attention: str) -> None:
    q = torch.randn(2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted = nn.functional.scaled_dot_product_attention(q, q, q)
    with settings.kernels(attention):
        assert torch.allclose(nn.functional.scaled_dot_product_attention(q, q, q), wanted, atol=1e-6)


def test_weights_are_laid_out_as_the_plan_says() -> None:
    conv = nn.Conv2d(3, 4, 3)
    assert settings.prepared_net(conv, True).weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]


def test_autocast_is_of_the_settings_type() -> None:
    with settings.autocast(Setting("cpu", 1, "bf16")):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
    with settings.autocast(Setting("cpu", 1)):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32


def test_the_allocator_is_told_and_told_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    libc = type("Libc", (), {"mallopt": lambda self, option, value: told.append((option, value))})()
    monkeypatch.setattr(settings.ctypes, "CDLL", lambda name: libc)
    monkeypatch.setattr(settings, "can_keep_freed_memory", lambda: True)
    with settings.applied(Setting("cpu", 1, allocator="keep")):
        assert dict(told)[-4] == 0  # no tensor is mapped for itself
    settings.keep_freed_memory(False)
    assert dict(told)[-4] == 65536
