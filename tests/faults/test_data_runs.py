"""Whole runs on data that fails, or whose workers do: they go on with the same bits, or stop and can be resumed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

FAULTY = '''
import os, random, signal, time
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

HERE = Path(__file__).parent
WIDTH = int(os.environ.get("WIDTH", "6"))


class Rows(Dataset):
    """Noisy rows; the files `kill`, `hang`, `hole` and `die` beside this one say what befalls sample 17."""

    def __init__(self, size, seed, faulty=False):
        self.x = torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(seed))
        self.y, self.faulty = (self.x[:, 0] > 0).long(), faulty

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        if self.faulty and i == 17:
            befall(get_worker_info() is not None)
        return self.x[i] + 0.1 * torch.randn(WIDTH), self.y[i]


def befall(in_worker):
    if in_worker and taken("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if in_worker and taken("hang"):
        time.sleep(600)
    if (HERE / "hole").exists() and epochs_done() == 1:
        raise OSError(5, "Input/output error")
    if epochs_done() == 3 and taken("die"):
        os.kill(os.getpid(), signal.SIGKILL)


def taken(name):
    try:
        (HERE / name).unlink()
    except FileNotFoundError:
        return False
    return True


def epochs_done():
    table = HERE / "run" / "metrics.csv"
    return table.read_text().count("\\n") - 1 if table.exists() else 0


def make():
    return Rows(400, 0, faulty=True), Rows(100, 1), Rows(100, 2)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(WIDTH, 8), nn.Dropout(0.1), nn.Linear(8, 2))


class Stream(IterableDataset):
    """Noisy rows in an order of its own, without a length; each worker has its share."""

    def __iter__(self):
        rows, info = Rows(400, 0), get_worker_info()
        order = torch.randperm(400).tolist()
        for i in order[info.id if info else 0 :: info.num_workers if info else 1]:
            x, y = rows[i]
            yield x * random.uniform(0.9, 1.1) + np.random.normal(0, 0.1), y


class Drawn(Sampler):
    """Rows drawn with a generator of its own."""

    def __init__(self):
        self.rng = torch.Generator()

    def __len__(self):
        return 400

    def __iter__(self):
        return iter(torch.randint(400, (400,), generator=self.rng).tolist())


def as_it_is(kind, workers):
    more = {"batch_size": 40, "num_workers": workers, "persistent_workers": workers > 0}
    train = DataLoader(Stream(), **more) if kind == "stream" else DataLoader(Rows(400, 0), sampler=Drawn(), **more)
    return train, Rows(100, 1), Rows(100, 2)


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def training_step(self, batch, index):
        if self.current_epoch == 1 and index == 6 and taken("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        loss = nn.functional.cross_entropy(self.net(batch[0].float()), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
'''
RECIPE = """
task: custom
data: {class_path: faulty.make}
model: {class_path: faulty.Net}
loss: cross_entropy
train: {epochs: 5, batch_size: 100, precision: "32", threads: 1, channels_last: false}
"""
AS_IT_IS = """
task: custom
data: {{class_path: faulty.as_it_is, init_args: {{kind: {kind}, workers: {workers}}}}}
model: {{class_path: faulty.Module}}
train: {{epochs: 3, precision: "32", threads: 1, checkpoint_every: 4}}
"""


class Faulty:
    """A run in a folder of its own, on data that fails as files in the folder say."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.run = folder, folder / "run"
        (folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")

    def kiln(self, *arguments: str, before: list[str] = [], **more: str) -> subprocess.CompletedProcess[str]:  # noqa: B006
        command = [*before, sys.executable, "-m", "torchkiln", "fit", *arguments]
        return subprocess.run(command, cwd=self.folder, env={**os.environ, **more}, capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL, timeout=400)  # fmt: skip

    def fit(self, *settings: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.kiln("recipe.yaml", *settings, "--out", "run", **more)

    def result(self) -> list[bytes]:
        """The newest weights of each kind, and the table."""
        found = sorted((self.run / "checkpoints").glob("*-*/weights.safetensors"))
        newest = {path.parent.name.partition("-")[0]: path for path in found}
        assert set(newest) == {"best", "step"}
        return [path.read_bytes() for _, path in sorted(newest.items())] + [(self.run / "metrics.csv").read_bytes()]

    def said(self) -> str:
        """What the run wrote down of what befell it."""
        files = [self.run / name for name in ("events.jsonl", "decisions.jsonl")]
        return "".join(path.read_text(encoding="utf-8") for path in files if path.exists())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    run = Faulty(tmp_path_factory.mktemp("whole") / "one")
    done = run.fit("data.workers=0")
    assert done.returncode == 0, done.stderr
    return run.result()


@pytest.mark.parametrize(
    ("what", "said"), [("kill", "worker"), ("hang", "was reading")], ids=["fault_06_killed", "fault_07_hangs"]
)
def test_fault_06_and_07_a_run_whose_worker_fails_ends_with_the_same_bits(
    what: str, said: str, undisturbed: list[bytes], tmp_path: Path
) -> None:
    run = Faulty(tmp_path / "one")
    (run.folder / what).touch()
    done = run.fit("data.workers=2", "data.worker_timeout=5")
    assert done.returncode == 0, done.stderr
    assert not (run.folder / what).exists(), "it never befell"
    assert said in run.said()
    assert run.result() == undisturbed


def test_fault_27_a_run_whose_file_was_removed_stops_and_goes_on_when_it_is_back(
    pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "split"
    for name in ("train", "val", "test"):
        shutil.copytree(pictures, folder / name)
        for i, path in enumerate(sorted((folder / name).rglob("*.png"))):  # no copies across splits
            Image.fromarray(np.random.default_rng([i, len(name)]).integers(0, 256, (12, 12, 3), np.uint8)).save(path)
    settings = ("train.epochs=40", "train.threads=1", "train.precision=32", "train.channels_last=false",
                "train.early_stopping=null", "train.batch_size=8", "data.workers=0", "data.store=stream",
                "data.image_size=12", "model=small_conv")  # fmt: skip
    whole, cut = Faulty(tmp_path / "whole"), Faulty(tmp_path / "cut")
    done = whole.kiln(str(folder), *settings, "--out", "run")
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "torchkiln", "fit", str(folder), *settings, "--out", "run"],
        cwd=cut.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    table, lost = cut.run / "metrics.csv", folder / "train" / "bees" / "07.png"
    while not (table.exists() and table.read_text().count("\n") > 2):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    lost.rename(tmp_path / "kept.png")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert "train/bees/07.png: there is no such file" in errors and "--resume run" in errors
    (tmp_path / "kept.png").rename(lost)
    done = cut.kiln("--resume", "run")
    assert done.returncode == 0, done.stderr
    assert cut.result() == whole.result()


def test_fault_28_a_sample_skipped_once_is_left_out_again_after_a_kill(
    undisturbed: list[bytes], tmp_path: Path
) -> None:
    whole, cut, stopped = (Faulty(tmp_path / name) for name in ("whole", "cut", "stopped"))
    for run in (whole, cut, stopped):
        (run.folder / "hole").touch()
    done = whole.fit("data.workers=0", "data.unreadable=skip")
    assert done.returncode == 0, done.stderr
    assert "sample 17" in whole.said().replace("samples 17", "sample 17") and whole.result() != undisturbed

    (cut.folder / "die").touch()
    assert cut.fit("data.workers=0", "data.unreadable=skip").returncode == -signal.SIGKILL
    (cut.folder / "hole").unlink()  # it can be read by now, which must not change the run
    done = cut.kiln("--resume", "run")
    assert done.returncode == 0, done.stderr
    assert cut.result() == whole.result()

    done = stopped.fit("data.workers=0")
    assert done.returncode == 1, done.stderr
    assert "sample 17 cannot be read: OSError" in done.stderr and "--resume run" in done.stderr
    (stopped.folder / "hole").unlink()
    done = stopped.kiln("--resume", "run")
    assert done.returncode == 0, done.stderr
    assert stopped.result() == undisturbed


def test_fault_42_a_run_without_shared_memory_reads_for_itself_and_ends_with_the_same_bits(
    small_shared_memory: list[str], tmp_path: Path
) -> None:
    whole, cut = Faulty(tmp_path / "whole"), Faulty(tmp_path / "cut")
    for run, before in ((whole, []), (cut, small_shared_memory)):
        done = run.fit("data.workers=2", "train.epochs=2", before=before, WIDTH="20000")
        assert done.returncode == 0, done.stderr
    assert "shared memory" in cut.said()
    assert cut.result() == whole.result()


@pytest.mark.parametrize(("kind", "workers"), [("stream", 0), ("stream", 2), ("sampler", 0), ("sampler", 2)])
def test_fault_01_a_run_on_a_loader_used_as_it_is_ends_with_the_same_bits(
    kind: str, workers: int, tmp_path: Path
) -> None:
    whole, cut = Faulty(tmp_path / "whole"), Faulty(tmp_path / "cut")
    for run in (whole, cut):
        (run.folder / "recipe.yaml").write_text(AS_IT_IS.format(kind=kind, workers=workers), encoding="utf-8")
    done = whole.fit()
    assert done.returncode == 0, done.stderr
    assert "reads the first batches of its epoch again" in whole.said()
    (cut.folder / "die").touch()
    assert cut.fit().returncode == -signal.SIGKILL
    done = cut.kiln("--resume", "run")
    assert done.returncode == 0, done.stderr
    assert cut.result() == whole.result()
