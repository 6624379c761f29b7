from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from torchkiln.checks.guard.patches import Patches
from torchkiln.checks.guard.watch import Watch

WATCHED = [
    (nn.Module, "__call__"), (nn.Module, "zero_grad"), (torch.autograd, "backward"), (optim.Optimizer, "zero_grad"),
    (F, "cross_entropy"), (Tensor, "__eq__"), (Tensor, "__getitem__"), (DataLoader, "__iter__"), (torch, "manual_seed"),
    (lr_scheduler.LRScheduler, "_update_lr"), (nn.utils, "clip_grad_norm_"), (torch.jit, "script"),
]  # fmt: skip


def watch() -> Watch:
    return Watch(lambda finding: None)


def test_all_is_as_before_when_it_ends() -> None:
    before = [getattr(owner, name) for owner, name in WATCHED]
    with Patches(watch()):
        assert all(getattr(o, n) is not b for (o, n), b in zip(WATCHED, before, strict=True))
    assert all(getattr(o, n) is b for (o, n), b in zip(WATCHED, before, strict=True))


def run(guarded: bool) -> tuple[list[float], Tensor]:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = optim.AdamW(net.parameters(), lr=1e-2)
    scheduler = lr_scheduler.StepLR(optimizer, 5)
    losses = []
    for step in range(20):
        x = torch.randn(8, 6)
        y = torch.randint(3, (8,))
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if step == 9:
            net.eval()
            with torch.no_grad():
                net(x)
            net.train()
    return losses, torch.rand(4)


def test_a_program_keeps_every_bit() -> None:
    alone = run(False)
    with Patches(watch()):
        beside = run(True)
    assert alone[0] == beside[0] and torch.equal(alone[1], beside[1])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_functions_can_still_be_pickled_scripted_and_mapped() -> None:
    with Patches(watch()) as watching:
        assert pickle.loads(pickle.dumps(F.cross_entropy)) is F.cross_entropy
        scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
        assert scripted(torch.ones(1, 2)).shape == (1, 2)
        assert torch.func.vmap(nn.Linear(2, 2))(torch.ones(3, 2)).shape == (3, 2)
        assert (torch.ones(2) == 1).all()
    assert watching.broken == []


def test_a_warning_is_said_to_be_where_it_was_caused() -> None:
    import warnings

    with warnings.catch_warnings(record=True) as caught, Patches(watch()):
        warnings.simplefilter("always")
        F.mse_loss(torch.zeros(2, 1), torch.zeros(2))
    assert [w.filename for w in caught] == [__file__]


def test_an_error_of_the_program_is_its_own() -> None:
    net = nn.Linear(2, 2)
    watching = watch()
    with Patches(watching):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            net(torch.ones(1, 3))
        assert watching.depth == 0
        assert net(torch.ones(1, 2)).shape == (1, 2)
