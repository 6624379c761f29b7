from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from torchkiln import api, cli
from torchkiln.errors import DataError, RecipeError, RunFailed
from torchkiln.recipe.load import json_schema
from torchkiln.runs.directory import RunDirectory

TEST = {
    "n": 10,
    "split": "test",
    "primary": "accuracy",
    "metrics": {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9, "higher_is_better": True}},
    "baselines": [{"name": "majority class", "metrics": {"accuracy": {"value": 0.5}}, "difference": {}}],
    "verdict": {"text": "Better than guessing.", "beats_trivial": True, "beats_classical": None},
}
PROFILE = {
    "bound": "input", "shares": {"input": 0.62, "compute": 0.38}, "seconds_per_step": 0.01, "steps": 10,
    "achieved_flops": 1e9, "peak_flops": 1e10, "achieved_bandwidth": 1e9, "peak_bandwidth": 1e10, "next": "less",
    "operations_per_step": 10, "seconds_per_launch": 1e-6, "beside_the_net": {}, "trace": None,
    "settings": {"device": "cuda", "threads": 1, "precision": "32", "batch_size": 8},
}  # fmt: skip
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHKILN_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def fitted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """`api.fit` that only writes down how it was called."""
    called: dict[str, Any] = {}

    def fit(recipe: Any = None, overrides: Any = (), **more: Any) -> Any:
        called.update(recipe=recipe, overrides=list(overrides), **more)
        more["progress"].stage("data", "10 rows")
        (folder / "run").mkdir()
        (folder / "run" / "test.json").write_text(json.dumps(TEST))
        (folder / "run" / "report.html").touch()
        return SimpleNamespace(path=folder / "run")

    monkeypatch.setattr(api, "fit", fit)
    return called


def says(capsys: Captured, *words: str) -> tuple[int, str, str]:
    code = cli.main(words)
    out, err = capsys.readouterr()
    return code, out, err


def failing(monkeypatch: pytest.MonkeyPatch, verb: str, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, verb, fail)


# The verbs


def test_fit_ends_with_score_baselines_report_and_how_to_predict(
    folder: Path, fitted: dict[str, Any], capsys: Captured
) -> None:
    code, out, err = says(capsys, "fit", "r.yaml", "train.epochs=5", "--out", "runs/x", "optimizer.lr=1e-3")
    assert code == 0
    assert out.splitlines() == [
        "accuracy 0.80 (95 % interval 0.70 to 0.90) on 10 test rows",
        "  majority class  0.50",
        "Better than guessing.",
        f"Report   {folder / 'run' / 'report.html'}",
        f"Predict  torchkiln predict {folder / 'run'} INPUT",
    ]
    assert err == "data: 10 rows\n", "progress goes to stderr"
    assert fitted["recipe"] == Path("r.yaml")
    assert fitted["overrides"] == ["train.epochs=5", "optimizer.lr=1e-3"]
    assert (fitted["out"], fitted["resume"], fitted["overwrite"]) == (Path("runs/x"), None, False)


def test_fit_as_json_is_one_object_and_nothing_else(folder: Path, fitted: dict[str, Any], capsys: Captured) -> None:
    code, out, err = says(capsys, "fit", "data", "--json", "--overwrite")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "run": str(folder / "run"), "test": TEST, "report": str(folder / "run" / "report.html")}  # fmt: skip
    assert fitted["overwrite"] is True


def test_fit_takes_a_target_whatever_its_name(fitted: dict[str, Any], capsys: Captured) -> None:
    assert says(capsys, "fit", "rows.csv", "--target", "a: b=2")[0] == 0
    assert fitted["overrides"] == ['data.target="a: b=2"']
    assert fitted["target"] == "a: b=2"


def test_fit_goes_on_with_a_run(fitted: dict[str, Any], capsys: Captured) -> None:
    assert says(capsys, "fit", "--resume", "runs/x")[0] == 0
    assert (fitted["recipe"], fitted["resume"]) == (None, Path("runs/x"))


@pytest.mark.parametrize("more", [["train.epochs=5"], ["r.yaml"], ["--out", "runs/y"], ["--overwrite"]])
def test_a_run_goes_on_as_it_was_begun(more: list[str], fitted: dict[str, Any], capsys: Captured) -> None:
    code, _, err = says(capsys, "fit", "--resume", "runs/x", *more)
    assert (code, fitted) == (2, {})
    assert "takes nothing else but train.devices; to change something start a new one: torchkiln fit" in err


def test_a_run_goes_on_with_other_processes_or_data_where_it_is_said(fitted: dict[str, Any], capsys: Captured) -> None:
    assert says(capsys, "fit", "--resume", "runs/x", "train.devices=2", "--accept-data-change")[0] == 0
    assert (fitted["overrides"], fitted["accept_data_change"]) == (["train.devices=2"], True)


def test_a_file_with_an_equals_sign_is_a_file(folder: Path, fitted: dict[str, Any], capsys: Captured) -> None:
    (folder / "lr=1.yaml").touch()
    assert says(capsys, "fit", "lr=1.yaml", "seed=2")[0] == 0
    assert (fitted["recipe"], fitted["overrides"]) == (Path("lr=1.yaml"), ["seed=2"])


def test_init_writes_beside_and_says_what_next(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    called: dict[str, Any] = {}

    def init(data: Path, **more: Any) -> str:
        called.update(more)
        return "task: x\n"

    monkeypatch.setattr(api, "init", init)
    code, out, _ = says(capsys, "init", "data/flowers.csv", "--target", "y")
    assert (code, called["out"], called["target"]) == (0, Path("flowers.yaml"), "y")
    assert "torchkiln fit flowers.yaml" in out
    assert says(capsys, "init", "data", "--out", "-")[1] == "task: x\n"
    assert called["out"] is None
    assert json.loads(says(capsys, "init", "data", "--json")[1]) == {
        "recipe": "data.yaml",
        "text": "task: x\n",
    }


def test_predict_prints_a_table_that_can_be_piped_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    frame = pl.DataFrame({"key": ["a", "b"], "prediction": ["x,y", "z"], "confidence": [0.5, float("nan")]})
    called: dict[str, Any] = {}

    def predict(run: Path, inputs: list[Path], out: Path | None = None) -> pl.DataFrame:
        called.update(run=run, inputs=inputs, out=out)
        return frame

    monkeypatch.setattr(api, "predict", predict)
    code, out, _ = says(capsys, "predict", "run", "one", "two")
    assert (code, out) == (0, 'key,prediction,confidence\na,"x,y",0.5\nb,z,NaN\n')
    assert called["inputs"] == [Path("one"), Path("two")]
    rows = json.loads(says(capsys, "predict", "run", "one", "--json")[1])["predictions"]
    assert rows[0] == {"key": "a", "prediction": "x,y", "confidence": 0.5}
    assert rows[1]["confidence"] is None
    assert says(capsys, "predict", "run", "one", "--out", "p.csv")[1] == "p.csv: 2 rows\n"
    assert json.loads(says(capsys, "predict", "run", "one", "--out", "p.csv", "--json")[1]) == {
        "out": "p.csv", "rows": 2}  # fmt: skip


def test_test_report_and_compare(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(api, "test", lambda run, data=None, progress=None: TEST)
    monkeypatch.setattr(api, "report", lambda run: Path(run) / "report.html")
    monkeypatch.setattr(api, "compare", lambda runs: {"runs": [str(r) for r in runs]})
    assert says(capsys, "test", "run")[1].startswith("accuracy 0.80")
    assert json.loads(says(capsys, "test", "run", "data", "--json")[1]) == TEST
    assert says(capsys, "report", "run")[1] == "run/report.html\n"
    assert json.loads(says(capsys, "compare", "a", "b", "--json")[1]) == {"runs": ["a", "b"]}


def test_verify_says_what_is_whole_and_ends_with_1_if_nothing_can_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    made = RunDirectory.create(folder / "run")
    made.write_text("recipe.yaml", "task: x\n")
    code, out, err = says(capsys, "verify", "run")
    assert (code, err) == (0, "") and out.endswith("goes on from step 0; no best weights are whole\n")
    (made.path / "checkpoints" / "step-00000001").mkdir()
    code, out, err = says(capsys, "verify", "run")
    assert (code, err) == (1, "") and "damaged: " in out and "nothing to go on from" in out
    code, out, _ = says(capsys, "verify", "run", "--json")
    assert code == 1 and json.loads(out)["ok"] is False
    assert says(capsys, "verify", "nowhere")[0] == 2


def test_profile_prints_the_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(api, "profile", lambda *given, **more: asked.append((given, more["out"])) or PROFILE)
    (folder / "r.yaml").touch()
    code, out, _ = says(capsys, "profile", "r.yaml", "train.batch_size=8", "--out", "t.json")
    assert code == 0 and out.startswith("Bound by input: 62 % of a step\n") and out.endswith("Next: less\n")
    assert asked == [((Path("r.yaml"), ["train.batch_size=8"]), Path("t.json"))]
    assert json.loads(says(capsys, "profile", "r.yaml", "--json")[1]) == PROFILE


def test_schema_is_the_schema(capsys: Captured) -> None:
    assert json.loads(says(capsys, "schema")[1]) == json_schema()


def test_version_and_help(capsys: Captured) -> None:
    assert says(capsys, "--version")[1].startswith("torchkiln ")
    code, out, _ = says(capsys, "--help")
    assert code == 0
    for verb in ("init", "fit", "profile", "test", "predict", "report", "compare", "verify", "schema"):
        assert verb in out
    assert "KEY=VALUE" in says(capsys, "fit", "--help")[1]


def test_a_poor_encoding_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = {"text": "caf\u00e9", "beats_trivial": True, "beats_classical": None}
    monkeypatch.setattr(api, "test", lambda run, data=None, progress=None: {**TEST, "verdict": verdict})
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding="ascii"))
    assert cli.main(["test", "run"]) == 0
    assert b"caf\\xe9" in stream.getvalue()


# Mistakes: one sentence, exit code 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit"], "fit needs a recipe or data"),
        (["profile"], "profile needs a recipe or data: torchkiln profile RECIPE"),
        (["profile", "r.yaml", "--lr", "3"], "settings are written key=value: did you mean opt"),
        (["profile", "r.yaml", "--out", "t.txt"], "t.txt: a trace is written as .json or .json.gz"),
        (["profile", "nowhere.yaml"], "nowhere.yaml"),
        (["fit", "r.yaml", "epochs", "5"], "'epochs' is no setting; write key=value: did you mean train."),
        (["fit", "r.yaml", "lr:", "3"], "did you mean optimizer.lr=3?"),
        (["fit", "r.yaml", "zzz"], "'zzz' is no setting; write key=value, such as train.epochs=5"),
        (["fit", "r.yaml", "--lr", "3"], "no option --lr; settings are written key=value: did you mean opt"),
        (["fit", "r.yaml", "--lr=3"], "did you mean optimizer.lr=3?"),
        (["fit", "r.yaml", "--model", "mlp"], "did you mean model=mlp?"),
        (["fit", "r.yaml", "--tagret", "y"], "torchkiln fit has no option --tagret; did you mean --target?"),
        (["test", "run", "--jsn"], "torchkiln test has no option --jsn; did you mean --json?"),
        (["fitt", "x"], "no such command 'fitt'. Did you mean 'fit'?"),
        (["predict"], "missing argument 'RUN'"),
        (["fit", "--out"], "option '--out' requires an argument"),
        (["compare", "one"], "compare needs at least two runs"),
        (["report", "nowhere"], "nowhere does not exist"),
        (["fit", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["fit", "nowhere"], "nowhere does not exist"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(words: list[str], said: str, capsys: Captured) -> None:
    code, out, err = says(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_recipe_in_place_of_a_verb(folder: Path, capsys: Captured) -> None:
    (folder / "r.yaml").touch()
    assert "did you mean torchkiln fit r.yaml?" in says(capsys, "r.yaml")[2]


def test_no_words_at_all_show_the_help(capsys: Captured) -> None:
    code, out, err = says(capsys)
    assert code == 2
    assert "Usage" in out + err
    assert "error" not in err


def test_all_faults_of_a_recipe_are_listed(folder: Path, capsys: Captured) -> None:
    (folder / "rows.csv").touch()
    (folder / "r.yaml").write_text("task: table_regression\ndata: rows.csv\ntrain: {epoch: 3}\nlr: 1\n")
    code, _, err = says(capsys, "fit", "r.yaml", "optimizer.lr=much")
    assert code == 2
    assert err.splitlines() == [
        "error: 3 faults in r.yaml",
        "  optimizer.lr (given as optimizer.lr=much): found 'much', accepted is a number above 0 or null",
        "  train.epoch (line 3): unknown key; did you mean epochs?",
        "  lr (line 4): unknown key; did you mean optimizer.lr?",
    ]


def test_errors_are_json_too_where_json_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    failing(monkeypatch, "fit", RecipeError(["a: no", "b: no"], "r.yaml"))
    code, out, err = says(capsys, "fit", "r.yaml", "--json")
    assert code == 2
    assert json.loads(out)["error"] == {
        "code": "K100", "message": "r.yaml: a: no; b: no", "faults": ["a: no", "b: no"]}  # fmt: skip
    assert err.startswith("error: 2 faults")


def test_exit_codes_tell_a_failed_run_from_a_wrong_input(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    failing(monkeypatch, "fit", RunFailed("stopped at step 7; go on with: torchkiln fit --resume runs/x"))
    assert says(capsys, "fit", "x") == (
        1,
        "",
        "error: stopped at step 7; go on with: torchkiln fit --resume runs/x\n",
    )
    failing(monkeypatch, "fit", DataError("rows.csv has no column 'y'"))
    assert says(capsys, "fit", "x") == (2, "", "error: rows.csv has no column 'y'\n")
    failing(monkeypatch, "fit", KeyboardInterrupt())
    assert says(capsys, "fit", "x") == (1, "", "error: stopped\n")


def test_a_file_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    failing(monkeypatch, "report", FileNotFoundError(2, "No such file or directory", "nowhere/p.csv"))
    assert says(capsys, "report", "x") == (2, "", "error: nowhere/p.csv: no such file or directory\n")


def test_an_unexpected_error_is_a_sentence_with_the_way_to_more(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    failing(monkeypatch, "fit", ZeroDivisionError("division\nby zero"))
    code, _, err = says(capsys, "fit", "x", "seed=1")
    assert code == 1
    assert "unexpected ZeroDivisionError" in err
    assert "division by zero" in err
    assert "torchkiln fit x seed=1 --debug" in err
    assert f"{Path(__file__).name}, line " in err, "the person's own line is named"
    assert "Traceback" not in err


@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_shows_the_traceback(way: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    failing(monkeypatch, "fit", DataError("no"))
    if way == "environment":
        monkeypatch.setenv("TORCHKILN_DEBUG", "1")
    code, _, err = says(capsys, "fit", "x", *(["--debug"] if way == "option" else []))
    assert code == 2
    assert "Traceback" in err
    assert err.endswith("error: no\n")


# As a process


def test_a_reader_who_leaves_gets_no_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "torchkiln", "schema"], stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_torch_before_it_is_needed(folder: Path) -> None:
    """A recipe with a fault is refused without torch: what is wrong is said in a moment."""
    (folder / "r.yaml").write_text("task: nothing\n")
    code = "import sys; from torchkiln.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "fit", "r.yaml"], capture_output=True, text=True)
    assert "data: is missing" in done.stderr
    assert done.returncode == 0
