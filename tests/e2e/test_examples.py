"""Each shipped example runs as its own first lines say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = sorted(EXAMPLES.glob("*.y*ml"))
FOR_GPUS = sorted((EXAMPLES / "gpu").glob("*.y*ml"))
SCRIPTS = sorted(EXAMPLES.rglob("*.py"))
SMALL = {
    "cifar10": "data.path=../../demo/digits train.batch_size=8 model.init_args.width=4",
    "resnet50": "data.path=../../demo/digits data.image_size=32 train.batch_size=8 optimizer.lr=1e-6",
    "gpt": "data.init_args.length=8 data.init_args.windows=60 data.init_args.vocabulary=50 model.init_args.length=8 "
    "model.init_args.vocabulary=64 model.init_args.layers=2 model.init_args.heads=2 model.init_args.width=16 "
    "train.accumulate=2",
}
"""What makes a recipe for a GPU one that a CPU runs in seconds."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, with the data that they make beside it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for line in ("examples/digits.py demo/digits", "examples/small_data.py demo"):
        subprocess.run([sys.executable, *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_all_examples_are_found() -> None:
    assert len(RECIPES) == 4
    assert [path.name for path in SCRIPTS] == ["digits.py", "cifar10_net.py", "gpt.py", "own_parts.py",
                                               "prove_resume.py", "small_data.py"]  # fmt: skip
    assert {path.stem for path in FOR_GPUS} == set(SMALL)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe(recipe: Path, kiln: Any, place: Path) -> None:
    run = f"runs/{recipe.stem}"
    done = kiln("fit", f"examples/{recipe.name}", "train.epochs=2", "--out", run, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / run / "report.html").is_file()


@pytest.mark.parametrize("recipe", FOR_GPUS, ids=lambda path: path.stem)
def test_a_recipe_for_a_gpu_takes_its_steps_at_a_small_size(recipe: Path, kiln: Any, place: Path) -> None:
    on_a_cpu = ["train.device=cpu", "train.precision=32", "train.compile=false", "train.channels_last=false",
                "train.epochs=1", "train.limit_batches=3", "train.threads=1"]  # fmt: skip
    done = kiln("fit", recipe.name, *on_a_cpu, *SMALL[recipe.stem].split(), "--out", f"../../runs/gpu-{recipe.stem}",
                cwd=place / "examples" / "gpu")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (place / "runs" / f"gpu-{recipe.stem}" / "report.html").is_file()


def test_data_sets_have_the_size_they_say(place: Path) -> None:
    assert len(list((place / "demo" / "digits").rglob("*.png"))) == 1797
    assert sorted(path.name for path in (place / "demo").glob("*.csv")) == [
        "diabetes.csv",
        "sentences.csv",
        "wine.csv",
    ]


def test_own_parts(place: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "examples/own_parts.py", "demo"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("own_net", "own_module"):
        assert (place / "demo" / name / "report.html").is_file()
    result = json.loads((place / "demo" / "own_net" / "test.json").read_text())
    assert result["metrics"]["accuracy"]["value"] > 0.8


def test_prove_resume(place: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "examples/prove_resume.py", "demo", "--kills", "2"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("; killed after step") == 2
    assert done.stdout.count("  equal") == 4
    # what is compared can differ
    (place / "demo" / "killed" / "metrics.csv").write_text("epoch\n", encoding="utf-8")
    monkeypatch.syspath_prepend(EXAMPLES)
    import prove_resume

    assert not prove_resume.compare(place / "demo" / "never-killed", place / "demo" / "killed")
