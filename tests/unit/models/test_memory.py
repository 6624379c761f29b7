from __future__ import annotations

import pytest
import torch

from torchkiln.models.memory import memory_asked, out_of_memory


@pytest.mark.parametrize(("error", "is_it"), [
    (torch.OutOfMemoryError("CUDA out of memory"), True), (MemoryError(), True),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
    (RuntimeError("shapes differ"), False), (ValueError("out of memory"), False),
])  # fmt: skip
def test_which_errors_are_a_lack_of_memory(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) is is_it


def test_the_machines_own_lack_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value) and memory_asked(caught.value) == f"tried to allocate {1 << 60} bytes"


def test_where_the_need_is_not_said_there_is_none() -> None:
    assert memory_asked(MemoryError()) == ""
