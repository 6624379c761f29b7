from __future__ import annotations

import ast

import pytest

from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.values import Values, by_maker, by_name

TEXT = """
import torch
from torch import nn
from sklearn.preprocessing import StandardScaler
class Net(nn.Module): ...
class OwnLoss(nn.Module): ...
def build(): return Net(), torch.optim.Adam(p)
net, o = build()
wrapped = nn.parallel.DistributedDataParallel(Net().to(0))
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(o)
crit = nn.CrossEntropyLoss()
own = OwnLoss()
amp = torch.amp.GradScaler("cuda", enabled=False)
scaler = StandardScaler()
alias = crit
either = Net() if big else None
x = x.y
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("net", "model"), ("o", "optimizer"), ("wrapped", "model"), ("plateau", "plateau"), ("crit", "loss"),
        ("own", "loss"), ("amp", ""), ("scaler", "other"), ("alias", "loss"), ("either", "model"), ("x", ""),
        ("self.optimizer", "optimizer"), ("accelerator", "foreign"), ("unknown", ""),
    ],
)  # fmt: skip
def test_kinds(name: str, kind: str) -> None:
    source = Source("a.py", TEXT, "a")
    values = Values(Project([source]))
    assert values.kind(ast.parse(name, mode="eval").body, values.frame(source.top)).name == kind


def test_usual_names() -> None:
    assert [by_name(n).name for n in ("opt_d", "lr_scheduler", "criterion", "netG", "train_loader", "grad_scaler")] == [
        "optimizer", "scheduler", "loss", "model", "loader", "scaler",
    ]  # fmt: skip
    assert [by_name(n).name for n in ("option", "count", "x", "closs")] == ["", "", "", ""]


def test_makers_of_other_libraries() -> None:
    assert by_maker("accelerate.Accelerator").name == "foreign" and by_maker("numpy.zeros").name == "other"
    assert by_maker("transformers.get_cosine_schedule_with_warmup").name == "scheduler"
