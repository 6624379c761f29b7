from __future__ import annotations

import pytest

from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.source import Class, Function, Source

FILES = {
    "home.pkg.nets": "from torch import nn\nclass Base(nn.Module):\n    def go(self): ...\nclass Net(Base): ...\n",
    "home.pkg.engine": "def train(model): ...\n",
    "home.pkg": "from .engine import train\n",
    "home.other.engine": "def train(model): ...\n",
    "home.pkg.main": (
        "from pkg.engine import train\nfrom .nets import *\nfrom pkg import train as again\n"
        "net = Net()\nmoved = net.to('cpu')\ntrain(net)\nagain(net)\nmoved.go()\nprint(1)\n"
    ),
}


@pytest.fixture(scope="module")
def project() -> Project:
    return Project([
        Source("__init__.py" if name == "home.pkg" else f"{name}.py", text, name) for name, text in FILES.items()
    ])  # fmt: skip


def test_calls_are_followed_across_files(project: Project) -> None:
    main = project.sources[-1]
    targets = {main.called(c) or "?": project.target(c, f) for c, f in main.calls}
    assert isinstance(targets["Net"], Class)
    train = targets["pkg.engine.train"]
    assert isinstance(train, Function) and train.source.module == "home.pkg.engine"
    assert targets["pkg.train"] is train, "what a package passes on"
    go = targets["moved.go"]
    assert isinstance(go, Function) and go.name == "go"
    assert targets["print"] is None


def test_classes_know_all_above_them(project: Project) -> None:
    net = project.sources[0].classes["Net"]
    assert project.is_module(net) and not project.is_lightning(net)
    assert "torch.nn.Module" in project.bases(net)


def test_files_belong_together_by_imports(project: Project) -> None:
    near = {s.module for s in project.related(project.sources[-1])}
    assert "home.pkg.engine" in near and "home.other.engine" not in near
    assert project.any_text(project.sources[-1], ["nn.Module"])


def test_a_class_that_makes_itself_ends() -> None:
    text = "class A:\n    def f(self):\n        self.x = self.x.y()\n        self.x.g()\n"
    assert Project([Source("a.py", text, "a")]).callers == {}
