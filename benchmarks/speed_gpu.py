"""Rows for a machine with a CUDA device; elsewhere each says so and stops. They were not run yet: docs/speed.md.

    python benchmarks/speed.py gpu_cifar gpu_resnet50 gpu_gpt

`gpu_resnet50` asks for timm's train.py, which its package lacks (`TIMM_TRAIN=/path/train.py`), and `gpu_gpt` for a
checkout of nanoGPT (`NANOGPT=/path`). Ours are the recipes in examples/gpu. MFU is what a step needs by its matrix
products, forward and twice that backward, as a share of this device's own matrix-product peak in bf16, measured in
the same run.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from figures import HERE, Figure, environment, in_turns, median, run

RECIPES = HERE.parent / "examples" / "gpu"
LENGTH, WINDOWS = 1024, 6000
PHOTOS = 5120


def needs_cuda(row: str) -> None:
    if not torch.cuda.is_available():
        raise SystemExit(f"{row} needs a CUDA device, and torch {torch.__version__} sees none here")


def needed(row: str, variable: str, what: str) -> Path:
    """A peer's file that no package brings."""
    place = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not place.exists():
        raise SystemExit(f"{row} needs {what}: set {variable} to it")
    return place


def gpu_cifar(folder: Path, env: Path) -> list[Figure]:
    """CIFAR-10 to 94 %: the mean test accuracy and the training time of three seeds."""
    needs_cuda("gpu_cifar")
    data = _cifar(env)
    runs = [_fit("cifar10.yaml", folder / f"cifar-{seed}", f"data.path={data}", f"seed={seed}") for seed in range(3)]
    accuracy, seconds = median(runs, "accuracy"), median(runs, "train_s")
    sys.path.insert(0, str(RECIPES))
    from cifar10_net import Net

    work = _forward_flops(Net(), torch.zeros(8, 3, 32, 32)) * 3 * 49_000 * runs[0]["epochs"]
    words = f"{accuracy:.4f} in {seconds:.1f} s of training, MFU {work / seconds / _peak():.0%}"
    beside = "airbench94 2.6 s compiled, 3.8 s eager, both on an A100 (published)"
    return [Figure("gpu_cifar", "CIFAR-10, median of 3 seeds", words, "at least 0.94", beside, accuracy >= 0.94)]


def gpu_resnet50(folder: Path, env: Path) -> list[Figure]:
    """Pictures a second at 224 pixels in bf16 and channels_last, from JPEG files, in the last of three epochs."""
    needs_cuda("gpu_resnet50")
    script = needed("gpu_resnet50", "TIMM_TRAIN", "timm's train.py")
    from torchvision.models import resnet50

    data = _photos(folder / "photos")
    runs = in_turns({
        "ours": lambda: _fit("resnet50.yaml", folder / f"resnet-{time.time_ns()}", f"data.path={data}",
                             "train.epochs=3"),
        "timm": partial(_timm, script, data, folder),
    }, rounds=2)  # fmt: skip
    flops = 3 * _forward_flops(resnet50(), torch.zeros(1, 3, 224, 224))
    return [_ratio("gpu_resnet50", "pictures", "timm's train.py", runs["ours"], runs["timm"], flops)]


def gpu_gpt(folder: Path, env: Path) -> list[Figure]:
    """Tokens a second of 124 million parameters, beside nanoGPT's model in its own loop, both compiled."""
    needs_cuda("gpu_gpt")
    checkout = needed("gpu_gpt", "NANOGPT", "a checkout of nanoGPT")
    sys.path.insert(0, str(RECIPES))
    from gpt import GPT

    def ours() -> dict[str, Any]:
        found = _fit("gpt.yaml", folder / f"gpt-{time.time_ns()}", f"data.init_args.windows={WINDOWS}",
                     "train.epochs=3")  # fmt: skip
        return {**found, "rate": found["rate"] * LENGTH}

    nano = partial(run, [sys.executable, HERE / "speed_gpu.py", "nanogpt", checkout], threads=None)
    runs = in_turns({"ours": ours, "nanoGPT": nano}, rounds=2)
    flops = 3 * _forward_flops(GPT(), torch.zeros(1, LENGTH, dtype=torch.int64)) / LENGTH
    return [_ratio("gpu_gpt", "tokens", "nanoGPT", runs["ours"], runs["nanoGPT"], flops)]


def _ratio(
    row: str, unit: str, peer: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], flops: float
) -> Figure:
    """Our rate beside a peer's; `flops` is what one unit needs."""
    rates, peak = [median(runs, "rate") for runs in (ours, theirs)], _peak()
    words = [f"{rate:,.0f} {unit}/s, MFU {rate * flops / peak:.0%}" for rate in rates]
    ratio = rates[0] / rates[1]
    return Figure(row, f"{unit} a second", f"{ratio:.2f} times: {words[0]}", "at least 1 times", f"{peer}: {words[1]}",
                  ratio >= 1)  # fmt: skip


# Ours


def _fit(recipe: str, out: Path, *settings: str) -> dict[str, Any]:
    """A run of a shipped recipe; seconds of training, samples a second of the last epoch, and the accuracy."""
    command = [sys.executable, "-m", "torchkiln", "fit", recipe, *settings, "--out", str(out)]
    subprocess.run(command, cwd=RECIPES, env=environment(threads=None), check=True, stdout=subprocess.DEVNULL)
    rows = list(csv.DictReader((out / "timings.csv").read_text().splitlines()))
    metrics = json.loads((out / "test.json").read_text())["metrics"]
    return {"train_s": sum(float(row["seconds"]) for row in rows), "epochs": len(rows),
            "rate": float(rows[-1]["samples_per_second"]),
            "accuracy": metrics.get("accuracy", {}).get("value")}  # fmt: skip


# Peers


def _timm(script: Path, data: Path, folder: Path) -> dict[str, Any]:
    """The train.py of timm as its documentation trains a ResNet-50; the mean rate that it says of the last epoch."""
    words = [sys.executable, script, "--data-dir", data, "--model", "resnet50", "--num-classes", "10", "--img-size",
             "224", "--batch-size", "256", "--opt", "sgd", "--lr", "0.5", "--epochs", "3", "--sched-on-updates",
             "--amp", "--amp-dtype", "bfloat16", "--channels-last", "--torchcompile", "--workers",
             str(os.cpu_count()), "--log-interval", "1", "--output", folder / "timm"]  # fmt: skip
    done = subprocess.run([str(w) for w in words], env=environment(threads=None), capture_output=True, text=True)
    rates = re.findall(r"\(\d+\.\d+s, +([\d.]+)/s\)", done.stdout + done.stderr)
    if done.returncode or not rates:
        raise SystemExit(f"timm's train.py gave no rate:\n{done.stderr[-2000:]}")
    return {"rate": float(rates[-1])}


def nanogpt(checkout: str) -> dict[str, Any]:
    """The model of nanoGPT in the loop of its train.py: bf16, compiled, 40 batches of 12 a step, clipped."""
    sys.path.insert(0, checkout)
    from model import GPT, GPTConfig

    net = GPT(GPTConfig(block_size=LENGTH, vocab_size=50304, bias=False, dropout=0.0)).cuda()
    optimizer = net.configure_optimizers(0.1, 6e-4, (0.9, 0.95), "cuda")
    compiled = torch.compile(net)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    rows = torch.randint(0, 50257, (WINDOWS, LENGTH + 1)).pin_memory()

    def step() -> None:
        for index in torch.randint(0, WINDOWS, (40, 12)):
            x, y = (part.cuda(non_blocking=True) for part in (rows[index, :-1], rows[index, 1:]))
            with torch.autocast("cuda", torch.bfloat16):
                _, loss = compiled(x, y)
            (loss / 40).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return {"rate": 40 * 12 * LENGTH / _seconds(step, warm=3, times=10)}


# Data and measures


def _cifar(env: Path) -> Path:
    """All of CIFAR-10 as two parquet files, fetched once by torchvision."""
    import polars as pl
    from torchvision.datasets import CIFAR10

    data = env / "cifar10"
    for name in ("train", "test"):
        if not (data / f"{name}.parquet").exists():
            source = CIFAR10(str(env), train=name == "train", download=True)
            rows = [(_png(image), source.classes[label]) for image, label in source]
            data.mkdir(exist_ok=True)
            frame = pl.DataFrame(rows, schema=["image", "label"], orient="row")
            frame.write_parquet(data / f"{name}.parquet")
    return data


def _png(image: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def _photos(folder: Path) -> Path:
    """JPEG files of 320 x 256 pixels in ten classes, for training and validation."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for split, count in (("train", PHOTOS), ("val", 256)):
        for number in range(count):
            place = folder / split / f"class-{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (16, 20, 3), dtype=np.uint8))
            coarse.resize((320, 256)).save(place / f"{number}.jpg", quality=90)
    return folder


def _forward_flops(net: torch.nn.Module, x: torch.Tensor) -> float:
    """Floating-point operations of a sample's forward pass, by its products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    return counter.get_total_flops() / len(x)


def _peak() -> float:
    """Operations a second of a product of two large bf16 matrices on this device."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    return 2 * 8192**3 / _seconds(lambda: a @ a, warm=5, times=20)


def _seconds(work: Callable[[], Any], warm: int, times: int) -> float:
    """Median seconds of some work on the device."""
    found = []
    for number in range(warm + times):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        found += [time.perf_counter() - begun] if number >= warm else []
    return statistics.median(found)


if __name__ == "__main__":
    print(json.dumps({"nanogpt": nanogpt}[sys.argv[1]](*sys.argv[2:])))
