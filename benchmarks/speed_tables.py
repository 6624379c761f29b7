"""Tables: from a CSV of a million rows to the first step, and steps a second, beside pandas and fastai.

    python benchmarks/speed_tables.py SYSTEM FILE

Run as a program it is one system on one file; `speed.py tables` runs all in turns. Each reads the file, splits it 70,
15 and 15, fills what is missing, standardises numbers, turns names into codes, and trains the same small net in the
same plain loop, so that only the way from the file to a batch differs. Imports are not counted. Ludwig 0.17 is not
among them: it needs Python 3.12.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure, in_turns, median, peers_python, run

ROWS, BATCH = 1_000_000, 1024
SECONDS = 4.0
"""For which steps are counted."""
PINNED = ["pandas==3.1.1", "fastai==2.8.12", "datasets==5.2.0"]


def tables(folder: Path, env: Path) -> list[Figure]:
    """The row: seconds from the file to the first step, and steps a second from there."""
    file = make(folder / "table.csv", ROWS)
    python, here = peers_python(env, "input", PINNED), Path(__file__)
    found = in_turns(
        {
            "torchkiln": lambda: run([sys.executable, here, "ours", file], threads=None, OMP_NUM_THREADS=1),
            "hand": lambda: run([sys.executable, here, "at_hand", file], threads=None, OMP_NUM_THREADS=1),
            "pandas": lambda: run([python, here, "pandas", file], threads=None, OMP_NUM_THREADS=1),
            "fastai": lambda: run([python, here, "fastai", file], threads=None, OMP_NUM_THREADS=1),
        },
        rounds=3,
    )
    first = {name: median(runs, "first") for name, runs in found.items()}
    rate = {name: median(runs, "rate") for name, runs in found.items()}
    memory = {name: median(runs, "memory") for name, runs in found.items()}
    others = ("pandas", "fastai")
    words = {"pandas": "pandas, scikit-learn, DataLoader", "fastai": "fastai TabularPandas"}
    sooner, faster = (
        min(first[o] for o in others) / first["torchkiln"],
        rate["torchkiln"] / max(rate[o] for o in others),
    )
    what = f"{ROWS:,} rows x 30 columns, {file.stat().st_size / 2**20:.0f} MiB of CSV"
    return [
        Figure("tables", f"{what}, to the first step", f"{first['torchkiln']:.1f} s, {sooner:.1f}x as soon", ">= 3x",
               "; ".join(f"{words[o]} {first[o]:.1f} s" for o in others), sooner >= 3),
        Figure("tables", f"steps of {BATCH} rows, MLP 128-128", f"{rate['torchkiln']:.0f} a second, {faster:.1f}x",
               ">= 5x", "; ".join(f"{words[o]} {rate[o]:.0f}" for o in others), faster >= 5),
        Figure("tables", "the same, beside a plain loop over tensors at hand",
               f"{rate['torchkiln'] / rate['hand']:.2f} of its steps", "", f"plain loop {rate['hand']:.0f} a second"),
        Figure("tables", "peak memory", f"{memory['torchkiln']:,.0f} MiB", "",
               "; ".join(f"{words[o]} {memory[o]:,.0f} MiB" for o in others)),
    ]  # fmt: skip


def make(file: Path, rows: int) -> Path:
    """A table of 20 columns of numbers, 9 of names and a label; five hold numbers missing, three names missing."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    columns: dict[str, pl.Series] = {}
    for i in range(20):
        x = 10.0 ** (i % 5 - 1) * random.normal(size=rows) if i % 3 else np.exp(random.normal(size=rows))
        numbers = pl.Series(np.round(x, 3) if i % 7 else np.round(x).astype(np.int64))
        columns[f"n{i}"] = numbers.set(pl.Series(random.random(rows) < 0.05), None) if i % 4 == 0 else numbers
    for i, kinds in enumerate((2, 3, 5, 8, 12, 20, 50, 200, 1000)):
        names = pl.Series([f"{chr(97 + i)}_{j}" for j in range(kinds)])[random.integers(0, kinds, rows)]
        columns[f"c{i}"] = names.set(pl.Series(random.random(rows) < 0.05), None) if i % 3 == 0 else names
    told = columns["n1"].to_numpy() + (columns["c2"] == "c_1").to_numpy()
    label = told + random.normal(size=rows) > 0.3
    columns["label"] = pl.Series(np.where(label, "yes", "no"))
    pl.DataFrame(columns).write_csv(file)
    return file


# The systems: each gives endless batches (numbers, codes, target), and how many codes each column of names has


def ours(file: Path) -> tuple[list[int], int, Iterator[Any]]:
    """Through the way that `fit` takes: sources, splits, findings, codec, store, order, loader."""
    from torchkiln.codec.table import TableCodec
    from torchkiln.data.loader import loader
    from torchkiln.data.order import TrainOrder
    from torchkiln.recipe.schema import Recipe
    from torchkiln.training.prepare import prepare

    prepared = prepare(Recipe(task="table_classification", data={"path": str(file), "target": "label"}))
    store, codec = prepared.stores["train"], prepared.codec.inputs
    assert isinstance(codec, TableCodec)
    order = TrainOrder(len(store), BATCH, seed=0)
    batches = loader(store, order)

    def epochs() -> Iterator[Any]:
        for epoch in range(10**6):
            order.set_epoch(epoch)
            yield from ((b["numeric"], b["categorical"], b["target"]) for b in batches)

    return codec.cardinalities, len(codec.edges) + codec.indicators, epochs()


def at_hand(file: Path) -> tuple[list[int], int, Iterator[Any]]:
    """Our arrays as tensors, and rows drawn from them: what no loader can be faster than."""
    import torch

    sizes, numbers, batches = ours(file)
    parts = [torch.cat(column) for column in zip(*(next(batches) for _ in range(200)), strict=True)]

    def drawn() -> Iterator[Any]:
        while True:
            for rows in torch.randperm(len(parts[0])).split(BATCH):
                yield tuple(part[rows] for part in parts)

    return sizes, numbers, drawn()


def pandas(file: Path) -> tuple[list[int], int, Iterator[Any]]:
    """As most scripts do: read_csv, train_test_split, a ColumnTransformer, TensorDataset and DataLoader."""
    import pandas as pd
    import torch
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelEncoder, OrdinalEncoder, StandardScaler
    from torch.utils.data import DataLoader, TensorDataset

    frame = pd.read_csv(file)
    y = LabelEncoder().fit_transform(frame.pop("label"))
    numbers = frame.select_dtypes("number").columns.tolist()
    names = [c for c in frame.columns if c not in numbers]
    rest, _, y_rest, _ = train_test_split(frame, y, test_size=0.15, stratify=y, random_state=0)
    train, val, y_train, _ = train_test_split(rest, y_rest, test_size=0.15, stratify=y_rest, random_state=0)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("names", codes, names),
    ])  # fmt: skip
    encoded = columns.fit_transform(train)
    columns.transform(val)
    data = TensorDataset(
        torch.tensor(encoded[:, : len(numbers)], dtype=torch.float32),
        torch.tensor(encoded[:, len(numbers) :], dtype=torch.int64) + 1,
        torch.tensor(y_train),
    )
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)
    sizes = [len(c) + 1 for c in columns.named_transformers_["names"].categories_]
    return sizes, len(numbers), (batch for _ in range(10**6) for batch in loader)


def fastai(file: Path) -> tuple[list[int], int, Iterator[Any]]:
    """As its tabular tutorial does."""
    import pandas as pd
    from fastai.tabular.all import (
        Categorify,
        CategoryBlock,
        FillMissing,
        Normalize,
        RandomSplitter,
        TabularPandas,
        cont_cat_split,
        range_of,
    )

    frame = pd.read_csv(file)
    numbers, names = cont_cat_split(frame, max_card=2000, dep_var="label")
    splits = RandomSplitter(valid_pct=0.15)(range_of(frame))
    table = TabularPandas(frame, [Categorify, FillMissing, Normalize], names, numbers, y_names="label",
                          y_block=CategoryBlock(), splits=splits)  # fmt: skip
    loader = table.dataloaders(bs=BATCH).train
    sizes = [len(table.classes[c]) for c in table.cat_names]
    epochs = (batch for _ in range(10**6) for batch in loader)
    return sizes, len(table.cont_names), ((n, c.long(), y.flatten().long()) for c, n, y in epochs)


SYSTEMS = {"ours": ours, "at_hand": at_hand, "pandas": pandas, "fastai": fastai}


def net_for(sizes: list[int], numbers: int) -> Any:
    """The same net for all: codes to vectors of 8, beside the numbers, through 128 and 128."""
    import torch
    from torch import Tensor, nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vectors = nn.ModuleList(nn.Embedding(n, 8) for n in sizes)
            width = numbers + 8 * len(sizes)
            self.layers = nn.Sequential(
                nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)
            )

        def forward(self, x: Tensor, codes: Tensor) -> Tensor:
            found: Tensor = self.layers(torch.cat([x, *(e(c) for e, c in zip(self.vectors, codes.T, strict=True))], 1))
            return found

    return Net()


def main(system: str, file: Path) -> None:
    """Print seconds to the end of the first step, steps a second behind it, and the peak memory in MiB."""
    import torch
    from torch.nn.functional import cross_entropy

    if system in ("ours", "at_hand"):
        import torchkiln.tasks.table_classification
        import torchkiln.training.prepare  # noqa: F401
    elif system == "fastai":
        import fastai.tabular.all  # noqa: F401
    else:
        import pandas as pd  # noqa: F401
        import sklearn.compose  # noqa: F401
    torch.manual_seed(0)
    begun = time.perf_counter()
    sizes, numbers, batches = SYSTEMS[system](file)
    net = net_for(sizes, numbers)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def step() -> None:
        x, codes, target = next(batches)
        loss = cross_entropy(net(x, codes), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    first = time.perf_counter() - begun
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        step()
        steps += 1
    rate = steps / (time.perf_counter() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": first, "rate": rate, "memory": memory}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
