"""What an export costs, and what its files are worth: time to a proven bundle, speed beside the net, first answers.

    python benchmarks/export.py [ROW ...] [--check] [--json FILE] [--env DIR]

    TORCHKILN_DATA=DIR   holds cifar10/test.parquet and california_housing/housing.csv

Rows: `proof` a ResNet-18 to ONNX and the proof on 1,000 pictures of 224 pixels; `speed` that ONNX file in FP32 and in
INT8 beside the eager net in channels_last, one picture on one thread, by CPU time in turns; `first` loading a bundle
and the first answer, in a fresh process; `models` every net of the contract table, exported and proven.

The ResNet-18 is trained for some minutes on a few hundred pictures of CIFAR-10: its answers have a spread, no more.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from figures import HERE, Figure, command_line, in_turns, median, run

TRAIN, VAL, TEST, SIZE = 512, 1000, 100, 224
ROUNDS = 5


def proof(folder: Path, env: Path) -> list[Figure]:
    """Seconds from the run to an ONNX file that is proven."""
    place = resnet(folder)
    found = program("export", place, "onnx")
    (row,) = found["table"]
    held = f"max abs / std {row['over_std']:.1e}, agreement {row['agreement']:.4f}: {row['verdict']}"
    good = found["seconds"] <= 60 and row["verdict"] == "proven"
    text = f"{found['seconds']:.1f} s ({found['cpu']:.1f} s CPU)"
    return [Figure("proof", f"ResNet-18 to ONNX, proven on {VAL:,} pictures", text, "<= 60 s", held, good)]


def speed(folder: Path, env: Path) -> list[Figure]:
    """Milliseconds of CPU a picture: eager, ONNX, INT8."""
    place = resnet(folder)
    picture(folder)
    made = program("export", place, "onnx,int8")
    if "int8" not in {row["form"] for row in made["table"]}:
        return [Figure("speed", "INT8 ResNet-18, batch 1", made["said"], ">= 2.5x ONNX FP32", "", False)]
    found = in_turns({"all": lambda: program("timed", place)}, ROUNDS)["all"]
    eager, plain, int8 = (median(found, name) for name in ("eager", "onnx", "int8"))
    agreed = next(row["agreement"] for row in made["table"] if row["form"] == "int8")
    return [
        Figure("speed", "ONNX FP32, batch 1, 1 thread", f"{plain:.1f} ms, {eager / plain:.2f}x eager", ">= 1x",
               f"eager FP32 channels_last {eager:.1f} ms", plain <= eager),
        Figure("speed", "INT8, batch 1, 1 thread", f"{int8:.1f} ms, {plain / int8:.2f}x ONNX FP32", ">= 2.5x",
               f"{agreed:.4f} of the answers agree; {made['said']}", plain / int8 >= 2.5),
    ]  # fmt: skip


def first(folder: Path, env: Path) -> list[Figure]:
    """Seconds from nothing loaded to the first answer, torch out of reach."""
    figures = []
    for what, place, most in (("a table", table(folder), 1.0), ("a ResNet-18", resnet(folder), 2.0)):
        if not (place / "bundle" / "manifest.json").is_file():
            program("export", place, "onnx")
        golden = (place / "bundle" / "golden.jsonl").read_text().splitlines()[0]
        place.with_suffix(".record").write_text(json.dumps(json.loads(golden)["record"]))
        found = in_turns({what: lambda place=place: program("answered", place)}, ROUNDS)[what]  # type: ignore[misc]
        took, whole = median(found, "seconds"), median(found, "wall")
        text = f"{took:.2f} s (its whole process {whole:.2f} s)"
        what = f"{what}: bundle loaded and the first answer"
        figures.append(Figure("first", what, text, f"<= {most:g} s", "", took <= most))
    return figures


def models(folder: Path, env: Path) -> list[Figure]:
    """The contract table, as its tests say."""
    tests = HERE.parent / "tests" / "contract" / "test_exporters.py"
    log = folder / "exporters.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, f"--junitxml={log}"]
    try:
        run(command, threads=None)
    except SystemExit as error:
        print(error, file=sys.stderr)
    import xml.etree.ElementTree as ElementTree

    suite = ElementTree.parse(log).getroot().find("testsuite")
    assert suite is not None
    count, bad = int(suite.attrib["tests"]), sum(int(suite.attrib[k]) for k in ("failures", "errors", "skipped"))
    return [Figure("models", "nets of the contract table, exported and proven", f"{count - bad} of {count}", "all", "",
                   not bad and count > 0)]  # fmt: skip


# Runs to export, each made once


def resnet(folder: Path) -> Path:
    """A run of ResNet-18 on pictures of CIFAR-10 at 224 pixels."""
    place = folder / "resnet"
    if not place.exists():
        import polars as pl

        pictures = pl.read_parquet(data("cifar10", "test.parquet")).head(TRAIN + VAL + TEST)
        split = ["train"] * TRAIN + ["val"] * VAL + ["test"] * TEST
        pictures.with_columns(split=pl.Series(split)).write_parquet(folder / "pictures.parquet")
        fit(place, {
            "task": "image_classification",
            "data": {"path": str(folder / "pictures.parquet"), "image_size": SIZE, "augment": []},
            "model": {"name": "resnet18", "pretrained": False},
            "train": {"epochs": 6, "batch_size": 32, "threads": 2, "precision": "32", "compile": False},
        })  # fmt: skip
    return place


def picture(folder: Path) -> None:
    """One of the pictures as the codec makes it, in picture.npz."""
    import numpy as np
    import polars as pl

    from torchkiln.codec.image import ImageCodec

    one = ImageCodec("image", SIZE).encode(pl.read_parquet(folder / "pictures.parquet")[TRAIN : TRAIN + 1])
    np.savez(folder / "picture.npz", image=np.asarray(one["image"]))


def table(folder: Path) -> Path:
    """A run on the Californian houses."""
    place = folder / "table"
    if not place.exists():
        fit(place, {
            "task": "table_regression",
            "data": {"path": data("california_housing", "housing.csv"), "target": "median_house_value"},
            "train": {"epochs": 2},
        })  # fmt: skip
    return place


def data(*parts: str) -> str:
    place = os.environ.get("TORCHKILN_DATA")
    if not place or not Path(place, *parts).exists():
        raise SystemExit(f"export needs {'/'.join(parts)}: set TORCHKILN_DATA to the folder that holds it")
    return str(Path(place, *parts))


def fit(place: Path, recipe: Mapping[str, Any]) -> None:
    file = place.with_suffix(".yaml")
    file.write_text(json.dumps(recipe))
    run([sys.executable, "-m", "torchkiln", "fit", file, "--out", place], threads=None)
    if not (place / "test.json").is_file():
        raise SystemExit(f"{place}: the run did not end")


# The programs that are measured


def program(what: str, *args: Any) -> dict[str, Any]:
    return run([sys.executable, __file__, f"--{what}", *args], threads=None if what == "export" else 1)


def export(place: str, formats: str) -> dict[str, Any]:
    import torchkiln

    shutil.rmtree(Path(place, "bundle"), ignore_errors=True)
    begun = time.perf_counter()
    made: dict[str, Any] = torchkiln.export(place, formats=formats.split(","))
    return {"seconds": time.perf_counter() - begun, **made}


def timed(place: str) -> dict[str, Any]:
    """Milliseconds of CPU of one picture by each way."""
    import numpy as np
    import torch

    from torchkiln.deploy import fresh
    from torchkiln.deploy.quantize import cpu_in_turns
    from torchkiln.runs.directory import RunDirectory
    from torchkiln.stages import use

    torch.set_num_threads(1)
    trained = use.load(RunDirectory.open(place))
    net = trained.net.eval().to(memory_format=torch.channels_last)
    with np.load(Path(place, "..", "picture.npz")) as given:
        image = given["image"]

    def eager(feeds: Mapping[str, Any]) -> Any:
        with torch.inference_mode():
            batch = {"image": torch.from_numpy(feeds["image"])}
            return trained.task.predict(trained.task.forward(net, batch)).numpy()

    files = {"onnx": "model.onnx", "int8": "model.int8.onnx"}
    runners: dict[str, Callable[[Mapping[str, Any]], Any]] = {"eager": eager}
    for name, file in files.items():
        opened = fresh.opened(name, Path(place, "bundle", file))
        runners[name] = lambda feeds, opened=opened: opened(dict(feeds))[0]  # type: ignore[misc]
    return dict(cpu_in_turns(runners, {"image": image}))


def answered(place: str) -> dict[str, Any]:
    """Seconds to the first answer of a bundle; what is asked lies beside the run."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # whoever imports it fails
    record = json.loads(Path(place).with_suffix(".record").read_text())
    begun = time.perf_counter()
    from torchkiln import bundle

    (answer,) = bundle.load(Path(place, "bundle")).predict([record])
    return {"seconds": time.perf_counter() - begun, "answer": answer["prediction"]}


PROGRAMS = {"--export": export, "--timed": timed, "--answered": answered}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
    else:
        sys.exit(command_line(__doc__ or "", {"proof": proof, "speed": speed, "first": first, "models": models}))
