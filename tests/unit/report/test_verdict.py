from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkiln.report.material import Material, read
from torchkiln.report.verdict import epochs_done, primary, split_sizes, standing, verdict

Made = Callable[[str], Path]


def bare(**test: Any) -> Material:
    known = {"primary": "accuracy", "n": 50, "metrics": {"accuracy": score(0.8)}, "baselines": []}
    return Material(Path("runs/one"), test={**known, **test})


def score(value: float | None, higher: bool = True) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {"value": value, "low": low, "high": high, "higher_is_better": higher}


def baseline(low: float, high: float, name: str = "forest") -> dict[str, Any]:
    return {
        "name": name,
        "seconds": 1.0,
        "metrics": {"accuracy": score(0.7)},
        "difference": {"metric": "accuracy", "value": (low + high) / 2, "low": low, "high": high},
    }


@pytest.mark.parametrize(
    ("low", "high", "higher", "where"),
    [
        (0.01, 0.03, True, "behind"),
        (-0.03, -0.01, True, "ahead"),
        (-0.01, 0.01, True, "even"),
        (0.01, 0.03, False, "ahead"),
        (-0.03, -0.01, False, "behind"),
    ],
)
def test_a_baseline_stands_by_its_whole_interval(low: float, high: float, higher: bool, where: str) -> None:
    test = {"primary": "accuracy", "metrics": {"accuracy": score(0.8, higher)}}
    assert standing(test, baseline(low, high)) == where


def test_without_an_interval_the_scores_decide_and_without_scores_nothing_is_said() -> None:
    test = {"primary": "accuracy", "metrics": {"accuracy": score(0.8)}}
    assert standing(test, {"metrics": {"accuracy": score(0.9)}}) == "ahead"
    assert standing(test, {"metrics": {"f1": score(0.9)}}) is None


@pytest.mark.parametrize(
    ("gaps", "status", "label"),
    [
        ([(0.1, 0.2), (0.01, 0.02)], "good", "Better than every baseline"),
        ([(0.1, 0.2), (-0.02, -0.01)], "bad", "A baseline wins: b1"),
        ([(0.1, 0.2), (-0.02, 0.01)], "even", "No clear winner against b1"),
        ([(-0.1, 0.2), (-0.02, -0.01)], "bad", "A baseline wins: b1"),
        ([], "even", "No baseline to compare with"),
    ],
)
def test_the_label_says_who_wins(gaps: list[tuple[float, float]], status: str, label: str) -> None:
    found = verdict(bare(baselines=[baseline(*gap, name=f"b{i}") for i, gap in enumerate(gaps)]))
    assert (found["status"], found["label"]) == (status, label)


def test_a_net_that_a_guess_may_equal_is_no_draw() -> None:
    said = {"text": "Hm.", "beats_trivial": False, "beats_classical": None}
    found = verdict(bare(verdict=said, baselines=[baseline(-0.1, 0.2, "majority class")]))
    assert (found["status"], found["label"]) == ("bad", "Not shown to beat the trivial baseline: majority class")
    assert verdict(bare(verdict=said))["label"] == "No baseline to compare with"


def test_a_net_without_a_score_is_no_draw() -> None:
    found = verdict(bare(metrics={"accuracy": score(None)}, baselines=[baseline(0.0, 0.0)]))
    assert (found["status"], found["label"]) == ("bad", "No score")


def test_the_first_sentence_is_the_headline() -> None:
    found = verdict(bare(verdict={"text": "Accuracy is 0.8. That beats the rest at 0.7. Good."}))
    assert (found["headline"], found["lede"]) == ("Accuracy is 0.8.", "That beats the rest at 0.7. Good.")
    assert verdict(bare())["headline"].startswith("accuracy is 0.800 (0.790 to 0.810) on 50 test samples.")


def test_the_table_has_the_metric_that_decides_first(made: Made) -> None:
    table = verdict(read(made("table")))["scores"]
    assert [name for name, _ in table["metrics"]] == ["RMSE", "MAE", "R²"]
    assert [better for _, better in table["metrics"]] == ["lower", "lower", "higher"]
    assert [row["name"] for row in table["rows"]] == ["tabm", "mean", "HistGradientBoosting"]
    assert [row["standing"] for row in table["rows"]] == ["this run", "behind", "wins"]
    assert table["rows"][2]["gap"] == {"value": "+1,890", "interval": "890 to 2,910"}


def test_a_column_has_the_decimals_of_this_runs_interval() -> None:
    wide = {**baseline(0.2, 0.4), "metrics": {"accuracy": {"value": 0.5, "low": 0.31, "high": 0.69}}}
    found = verdict(bare(baselines=[wide]))
    cells = [row["cells"][0] for row in found["scores"]["rows"]]
    assert [(c["value"], c["interval"]) for c in cells] == [
        ("0.800", "0.790 to 0.810"),
        ("0.500", "0.310 to 0.690"),
    ]
    assert found["scores"]["rows"][1]["gap"] == {"value": "+0.300", "interval": "0.200 to 0.400"}


def test_seconds_of_baselines_may_stand_in_the_environment() -> None:
    env = {"train_seconds": 9.0, "baseline_seconds": {"forest": 2.5}}
    test = {**(bare().test or {}), "baselines": [{**baseline(0.1, 0.2), "seconds": None}]}
    rows = verdict(Material(Path("r"), test=test, environment=env))["scores"]["rows"]
    assert [row["seconds"] for row in rows] == [9.0, 2.5]


def test_the_facts_say_what_was_trained_on_what_with_which_weights(made: Made) -> None:
    facts = dict(verdict(read(made("images")))["facts"])
    assert facts["Model"] == "resnet9, 272,474 parameters, for image classification"
    assert facts["Data"] == "data/cifar10; 22,500 train, 2,500 val, 10,000 test; target label, 10 classes"
    assert facts["Weights"] == "of epoch 24, the best by validation accuracy; 30 epochs ran"
    assert facts["Time"] == "8 min 23 s on AMD EPYC 7B13"


def test_grave_events_come_first_and_once() -> None:
    events = [{"level": "warn", "text": f"w{i % 4}"} for i in range(8)] + [{"level": "stop", "text": "s"}]
    found = verdict(Material(Path("r"), events=[*events, {"level": "note", "text": "n"}]))
    assert [w["text"] for w in found["warnings"]] == ["s", "w0", "w1"]
    assert found["more_warnings"] == 2


def test_an_interrupted_run_says_how_far_it_came_and_how_to_go_on(made: Made) -> None:
    run = made("interrupted")
    found = verdict(read(run))
    assert found["label"] == "No verdict"
    assert "4 of 30 epochs" in found["headline"]
    assert found["resume"] == f"torchkiln fit --resume {run}"
    assert found["best_so_far"].startswith("Lowest validation loss so far: 1.500, in epoch 3.")


def test_a_run_that_the_data_check_stopped_is_not_resumed() -> None:
    found = verdict(Material(Path("r"), events=[{"level": "stop", "kind": "finding", "text": "Leak."}]))
    assert "the data check stopped it" in found["headline"]
    assert found["resume"] is None


def test_a_run_that_ended_between_training_and_test_says_so(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made("interrupted"), tmp_path / "with a space")
    (run / "stages.json").write_text(json.dumps({"fit": True}))
    found = verdict(read(run))
    assert "training ended, the test did not" in found["headline"]
    assert found["resume"].endswith("with a space'")


def test_splits_in_their_order_and_epochs_by_their_rows(made: Made) -> None:
    found = read(made("images"))
    assert split_sizes(found) == [("train", 22500), ("val", 2500), ("test", 10000)]
    assert epochs_done(found) == 30
    assert (split_sizes(Material(Path("r"))), epochs_done(Material(Path("r")))) == ([], 0)
    assert primary({"metrics": {"rmse": {}}}) == "rmse"
