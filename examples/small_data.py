"""Write three small data sets for the recipes beside this file: two tables and a file of sentences.

python examples/small_data.py demo
torchkiln fit examples/wine.yaml
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import polars as pl
from sklearn.datasets import load_diabetes, load_wine

LIBRARIES = ("numpy", "numpy.linalg", "scipy.signal", "scipy.stats", "torch", "torch.nn.functional")
NAMES = re.compile(r"\w*(numpy|scipy|torch)\w*", re.IGNORECASE)


def wine() -> pl.DataFrame:
    """178 wines of three growers, by what was measured in them."""
    found = load_wine()
    names = [str(found.target_names[i]) for i in found.target]
    return pl.DataFrame(found.data, schema=list(found.feature_names)).with_columns(grower=pl.Series(names))


def diabetes() -> pl.DataFrame:
    """442 patients and how their illness went on within a year."""
    found = load_diabetes(scaled=False)
    return pl.DataFrame(found.data, schema=list(found.feature_names)).with_columns(progression=pl.Series(found.target))


def sentences() -> pl.DataFrame:
    """What the functions of three libraries say of themselves, and which library it was."""
    rows = {}
    for name in LIBRARIES:
        for _, member in inspect.getmembers(importlib.import_module(name), callable):
            words = (inspect.getdoc(member) or "").split("\n\n")
            text = NAMES.sub("it", " ".join(" ".join(words[:2]).split()))
            if len(text) > 30:
                rows[text] = name.split(".")[0]
    return pl.DataFrame({"sentence": list(rows), "library": list(rows.values())})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for make in (wine, diabetes, sentences):
        path = folder / f"{make.__name__}.csv"
        rows = make()
        rows.write_csv(path)
        print(f"{len(rows)} rows in {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
