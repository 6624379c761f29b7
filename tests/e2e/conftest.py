"""Small data of each kind, made from fixed seeds, and the command line to use it with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

Kiln = Callable[..., "subprocess.CompletedProcess[str]"]
Here = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Variables of the command; `tests/conftest.py` has set those that matter."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def command() -> Path:
    """The installed command."""
    return Path(sys.executable).with_name("torchkiln")


@pytest.fixture(scope="session")
def kiln(command: Path, environment: dict[str, str]) -> Kiln:
    """`kiln("fit", path, cwd=folder)` runs the command and returns how it ended."""

    def run(*arguments: str | Path, cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *map(str, arguments)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=600,
            **more,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """`here("fit", path, cwd=folder)` gives exit code, stdout and stderr; in this process, so quicker."""

    from torchkiln.cli import main

    def run(*arguments: str | Path, cwd: Path) -> tuple[int, str, str]:
        monkeypatch.chdir(cwd)
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a class with discs, squares and crosses; greyscale, RGBA and mixed sizes among them."""
    folder = tmp_path_factory.mktemp("images") / "shapes"
    random = np.random.default_rng(0)
    for shape in ("cross", "disc", "square"):
        (folder / shape).mkdir(parents=True)
        for i in range(40):
            side = int(random.integers(24, 34))
            picture = draw(shape, side, random)
            mode = ("RGB", "L", "RGBA", "RGB")[i % 4]
            picture.convert(mode).save(folder / shape / f"{i:02}.{'jpg' if i % 4 == 3 else 'png'}")
    return folder


def draw(shape: str, side: int, random: np.random.Generator) -> Image.Image:
    noise = random.integers(0, 60, (side, side, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    pen = ImageDraw.Draw(picture)
    colour = tuple(int(c) for c in random.integers(150, 256, 3))
    x, y = (int(v) for v in random.integers(side // 2 - 3, side // 2 + 4, 2))
    r = side // 3
    if shape == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif shape == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    else:
        pen.line((x - r, y - r, x + r, y + r), fill=colour, width=3)
        pen.line((x - r, y + r, x + r, y - r), fill=colour, width=3)
    return picture


@pytest.fixture(scope="session")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with two classes: numbers, categories, a date, gaps, a constant and an id."""
    path = tmp_path_factory.mktemp("table") / "customers.csv"
    random = np.random.default_rng(1)
    n = 400
    age = random.integers(18, 80, n)
    plan = random.choice(["basic", "family", "pro"], n, p=[0.5, 0.3, 0.2])
    spent = random.gamma(2.0, 50.0, n).round(2)
    since = [date(2020, 1, 1) + timedelta(days=int(d)) for d in random.integers(0, 1500, n)]
    score = 0.06 * (age - 45) + (plan == "pro") * 2.0 - (plan == "basic") + random.normal(0, 0.5, n)
    pl.DataFrame(
        {
            "id": [f"C{i:05}" for i in range(n)],
            "age": [None if i % 17 == 0 else int(a) for i, a in enumerate(age)],
            "plan": [None if i % 23 == 0 else str(p) for i, p in enumerate(plan)],
            "spent": spent,
            "since": since,
            "country": ["here"] * n,
            "stays": np.where(score > 0, "yes", "no"),
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="session")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a number to predict."""
    path = tmp_path_factory.mktemp("table") / "houses.csv"
    random = np.random.default_rng(2)
    n = 400
    area = random.uniform(30, 200, n).round(1)
    rooms = random.integers(1, 7, n)
    district = random.choice(["centre", "north", "south"], n)
    price = 2000 * area + 9000 * rooms + 80000 * (district == "centre") + random.normal(0, 8000, n)
    pl.DataFrame(
        {
            "area": area,
            "rooms": [None if i % 19 == 0 else int(r) for i, r in enumerate(rooms)],
            "district": district,
            "price": price.round(0),
        }
    ).write_csv(path)
    return path


SUBJECTS = {
    "garden": ["soil", "seed", "rose", "water", "tree", "leaf", "bloom", "spade", "hedge", "lawn"],
    "kitchen": ["salt", "oven", "bread", "spoon", "flour", "soup", "knife", "pepper", "roast", "plate"],
}
FILLERS = [
    "the",
    "a",
    "with",
    "my",
    "some",
    "very",
    "old",
    "new",
    "good",
    "and",
    "then",
    "quite",
    "small",
    "large",
    "near",
    "for",
]


@pytest.fixture(scope="session")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of two subjects, of different lengths."""
    path = tmp_path_factory.mktemp("text") / "topics.csv"
    random = np.random.default_rng(3)
    rows = []
    for i in range(400):
        subject = ("garden", "kitchen")[i % 2]
        words = [*random.choice(SUBJECTS[subject], 2), *random.choice(FILLERS, int(random.integers(3, 12)))]
        rows.append((" ".join(random.permutation(words)), subject))
    pl.DataFrame(rows, schema=["sentence", "subject"], orient="row").write_csv(path)
    return path
