"""Programs of other people, watched from outside by the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PLAIN = """
import sys
import torch
from torch import nn

def main():
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(64, 8), torch.randint(3, (64,)))
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, num_workers=1)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(2):
        for x, y in loader:
            CLEAR
            loss = nn.CrossEntropyLoss()(net(x), y)
            loss.backward()
            optimizer.step()
    print("done", sys.argv[1:], __name__)

if __name__ == "__main__":
    main()
    sys.exit(5)
"""
TWO = """
import os
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())
net = nn.Linear(4, 2)
wrapped = nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(5):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).pow(2).mean().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def test_a_bug_is_named_and_the_program_is_as_it_was(kiln: Any, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(PLAIN.replace("CLEAR", "pass"))
    done = kiln("guard", "--", sys.executable, "x.py", "7", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, "done ['7'] __main__\n")
    assert "FAIL R504" in done.stderr and "x.py:17" in done.stderr
    done = kiln("guard", "--", sys.executable, "x.py", "--json", cwd=tmp_path)
    assert done.returncode == 5 and [f["rule"] for f in json.loads(done.stdout)] == ["R504"]
    assert json.loads(done.stdout)[0]["step"] == 1


def test_a_clean_module_has_no_finding(kiln: Any, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(PLAIN.replace("CLEAR", "optimizer.zero_grad()").replace("sys.exit(5)", ""))
    done = kiln("guard", "--strict", "--json", "--", sys.executable, "-m", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n") and "done" in done.stderr


def test_processes_that_train_apart(kiln: Any, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(TWO)
    words = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone", "x.py"]
    done = kiln("guard", "--json", "found.json", "--", sys.executable, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert {f["rule"] for f in found} == {"R512"} and any("differ" in f["message"] for f in found)
