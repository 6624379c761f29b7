"""Nothing heavy before it is needed, and nothing that pyproject.toml does not name."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import bundles
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "torchkiln"
HEAVY = ("torch", "torchvision", "lightning", "transformers", "timm", "tokenizers", "sklearn", "scipy")

# What works on the base install, which has no torch.
LIGHT = {
    "import torchkiln": "import torchkiln",
    "torchkiln --help": "run('--help')",
    "torchkiln fit --help": "run('fit', '--help')",
    "torchkiln schema": "run('schema')",
    "a recipe": "from torchkiln.recipe.load import load; load(str(folder / 'recipe.yaml'), {})",
    "torchkiln report": "run('report', str(folder / 'first'), '--json')",
    "torchkiln lint": "run('lint', str(folder / 'train.py'), '--format', 'sarif')",
    "torchkiln rules": "run('rules')",
    "a bundle": f"from torchkiln import bundle; bundle.load(folder / 'bundle').predict({bundles.RECORD})",
    "torchkiln bench": "run('bench', str(folder / 'bundle'), '--seconds', '0.1', '--json')",
    "torchkiln compare": "run('compare', str(folder / 'first'), str(folder / 'second'), '--json')",
}
PROBE = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])

def run(*arguments):
    from torchkiln.cli import main
    code = main(arguments)
    assert code == 0, code

{code}
heavy = sorted(set({heavy}) & set(sys.modules))
print('\\n' + json.dumps(heavy))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, and two run directories as small as the report and the comparison can read."""
    folder = tmp_path_factory.mktemp("light")
    recipe = "task: table_classification\ndata: {path: rows.csv, target: y}\n"
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    (folder / "rows.csv").write_text("x,y\n1,no\n2,yes\n", encoding="utf-8")
    (folder / "train.py").write_text("import torch\nx = torch.zeros(3)\n", encoding="utf-8")
    bundles.table(folder / "bundle")
    for name, score in (("first", 0.7), ("second", 0.8)):
        write_run(folder / name, recipe, score)
    return folder


def write_run(run: Path, recipe: str, score: float) -> None:
    run.mkdir()
    (run / "recipe.yaml").write_text(recipe, encoding="utf-8")
    measured = {"value": score, "low": score - 0.01, "high": score + 0.01, "higher_is_better": True}
    test = {
        "split": "test",
        "n": 100,
        "task": "table_classification",
        "prediction_kind": "classes",
        "classes": ["no", "yes"],
        "target": "y",
        "primary": "accuracy",
        "weights": "best",
        "best_epoch": 1,
        "metrics": {"accuracy": measured},
        "baselines": [],
        "verdict": {"text": "It works.", "beats_trivial": True, "beats_classical": None},
        "confusion": [[40, 10], [10, 40]],
        "calibration": None,
        "residuals": None,
        "slices": [],
        "notes": [],
    }
    (run / "test.json").write_text(json.dumps(test), encoding="utf-8")
    (run / "environment.json").write_text(json.dumps({"total_seconds": 1.0}), encoding="utf-8")
    (run / "plan.json").write_text(json.dumps({"decisions": [], "seconds": 0.0}), encoding="utf-8")
    (run / "stages.json").write_text(json.dumps({"fit": True, "test": True}), encoding="utf-8")
    (run / "events.jsonl").touch()
    (run / "mistakes.json").write_text("[]", encoding="utf-8")
    rows = "epoch,step,train_loss,val_loss,val_accuracy,lr\n1,10,0.5,0.6,0.7,0.001\n"
    (run / "metrics.csv").write_text(rows, encoding="utf-8")
    (run / "timings.csv").write_text("epoch,seconds,samples_per_second,memory_mb\n1,1,100,50\n", encoding="utf-8")


@pytest.mark.parametrize("name", LIGHT)
def test_light_work_imports_nothing_heavy(name: str, folder: Path) -> None:
    code = PROBE.format(code=LIGHT[name], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_probe_sees_what_is_heavy(folder: Path) -> None:
    code = PROBE.format(code="import tokenizers", heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == ["tokenizers"]


NOT_BEFORE_A_STEP = ("transformers", "torchvision", "scipy", "sklearn", "tokenizers", "timm", "pandas", "jinja2")


@pytest.mark.slow
def test_what_trains_imports_no_more_than_it_needs() -> None:
    """A fit waits for these imports; Lightning alone would load four of them."""
    code = (
        "import json, sys; from torchkiln.stages import on_demand; on_demand.load_training(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"torch", "lightning"} <= loaded
    assert loaded & set(NOT_BEFORE_A_STEP) == set()


IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.split('.')[0] == 'torchkiln']:
        del sys.modules[known]
    importlib.import_module(name)
"""


WITHOUT = """
import sys
for name in {heavy}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
from torchkiln.cli import main
sys.exit(main(["fit", sys.argv[1], "--out", sys.argv[2]]))
"""


def test_a_missing_extra_is_named(folder: Path) -> None:
    code = WITHOUT.format(heavy=HEAVY)
    arguments = [str(folder / "recipe.yaml"), str(folder / "run")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'torchkiln[train]'" in done.stderr
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_every_module_can_be_imported_first() -> None:
    """No module relies on another having been imported before it, and importing one says nothing."""
    names = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(SOURCE.rglob("*.py"))
        if path.stem != "__main__"
    ]
    assert len(names) > 20
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_EACH, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def declared() -> tuple[set[str], set[str]]:
    """Distribution names of the base install and of the extras for users, as normalised."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    users = [line for name, lines in extras.items() if name != "dev" for line in lines]
    return names_of(project["dependencies"]), names_of(users) - {"torchkiln"}


def names_of(lines: list[str]) -> set[str]:
    return {normal(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Distributions that the source imports, wherever the import stands."""
    homes = metadata.packages_distributions()
    tops = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops.add(str(node.module).split(".")[0])
    tops -= set(sys.stdlib_module_names) | {"torchkiln"}
    return {normal(homes[top][0]) for top in tops}


def test_pyproject_names_what_is_imported_and_no_more() -> None:
    base, extras = declared()
    assert imported() | {"onnxscript"} == base | extras, "torch's exporter imports onnxscript for us"


def test_constraints_pin_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    base, extras = declared()
    assert base | extras <= names_of(pins)
