"""Texts: 100,000 short documents, tokenised, bucketed by length and padded, beside `datasets` and transformers.

    python benchmarks/speed_texts.py SYSTEM FOLDER

Run as a program it is one system on one folder. Both read the same parquet files, use the same tokenizer, put texts of
like length into a batch, and pad each batch to its longest. Imports are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure, in_turns, median, peers_python, run
from speed_tables import PINNED

DOCUMENTS, BATCH, LONGEST = 100_000, 64, 128
HELD_OUT = DOCUMENTS // 20


def texts(folder: Path, env: Path) -> list[Figure]:
    """The row: batches a second over a first epoch, tokenising included, and over a later one."""
    place = make(folder / "texts", DOCUMENTS)
    python, here = peers_python(env, "input", PINNED), Path(__file__)

    def theirs() -> dict[str, Any]:
        return run(
            [python, here, "datasets", place], threads=1, HF_HOME=folder / "hub", HF_DATASETS_CACHE=_fresh(folder)
        )

    found = in_turns(
        {"ours": lambda: run([sys.executable, here, "ours", place], threads=1), "datasets": theirs}, rounds=3
    )
    figures = []
    what_for = f"{DOCUMENTS:,} documents"
    for what, words, floor in (("first", "first epoch, tokenising included", 2.0), ("later", "a later epoch", 0.0)):
        ours, other = (median(runs, what) for runs in found.values())
        beside = f"datasets.map, LengthGroupedSampler, DataCollatorWithPadding {other:,.0f}"
        figures.append(Figure("texts", f"{what_for}, {words}", f"{ours:,.0f} batches a second, {ours / other:.1f}x",
                              f">= {floor:g}x" if floor else "", beside, ours >= floor * other))  # fmt: skip
    return figures


def _fresh(folder: Path) -> Path:
    """A cache of its own for each run, so that none finds the texts tokenised."""
    return folder / f"datasets-{time.time_ns()}"


def make(folder: Path, count: int) -> Path:
    """Documents of 4 to 60 words, frequent ones more often, and a tokenizer of 8,000 pieces trained on them."""
    import numpy as np
    import polars as pl

    from torchkiln.codec.text import TokenCodec

    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = np.array(
        ["".join(letters[np.minimum(random.geometric(0.12, n), 26) - 1]) for n in random.integers(2, 10, 20_000)]
    )
    folder.mkdir()
    for name, n in (("train", count), ("val", HELD_OUT)):
        lengths = random.integers(4, 60, n)
        picked = words[np.minimum(random.zipf(1.2, lengths.sum()), len(words)) - 1]
        documents = [" ".join(part) for part in np.split(picked, np.cumsum(lengths)[:-1])]
        frame = pl.DataFrame({"text": documents, "label": random.integers(0, 4, n).astype(str)})
        frame.write_parquet(folder / f"{name}.parquet")
    train = pl.read_parquet(folder / "train.parquet")
    (folder / "tokenizer.json").write_text(TokenCodec.fit(train, "text", LONGEST).tokenizer)
    return folder


def ours(folder: Path) -> Callable[[int], int]:
    """Through the way that `fit` takes, with a tokenizer that is there already."""
    from torchkiln.codec.base import Codec
    from torchkiln.codec.target import Labels
    from torchkiln.codec.text import TokenCodec
    from torchkiln.data.loader import loader
    from torchkiln.data.order import TrainOrder
    from torchkiln.recipe.schema import Recipe
    from torchkiln.training.prepare import prepare

    data = {"path": str(folder), "text": "text", "target": "label", "max_tokens": LONGEST, "split": {"test": 0}}
    recipe = Recipe(task="text_classification", data=data, model={"name": "transformer"})
    inputs = TokenCodec("text", (folder / "tokenizer.json").read_text(), 0, LONGEST)
    codec = Codec(inputs, Labels("label", ["0", "1", "2", "3"]))
    store = prepare(recipe, fitted=lambda: codec).stores["train"]
    order = TrainOrder(len(store), BATCH, seed=0, lengths=store.lengths)
    batches = loader(store, order)

    def epoch(number: int) -> int:
        order.set_epoch(number)
        return sum(bool(b["ids"].ndim) for b in batches)

    return epoch


def datasets(folder: Path) -> Callable[[int], int]:
    """As the documentation of both libraries does."""
    import torch
    from datasets import load_dataset
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast
    from transformers.trainer_pt_utils import LengthGroupedSampler

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    files = {name: str(folder / f"{name}.parquet") for name in ("train", "val")}
    read = load_dataset("parquet", data_files=files).class_encode_column("label")
    told = read.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=LONGEST), batched=True)
    train = told["train"].remove_columns("text")
    lengths = [len(ids) for ids in train["input_ids"]]
    sampler = LengthGroupedSampler(BATCH, lengths=lengths, generator=torch.Generator().manual_seed(0))
    batches = DataLoader(train, BATCH, sampler=sampler, collate_fn=DataCollatorWithPadding(tokenizer))
    return lambda number: sum(bool(b["input_ids"].ndim) for b in batches)


def main(system: str, folder: Path) -> None:
    """Print batches a second of the first epoch, counted from the files on, and of the second."""
    if system == "ours":
        import torchkiln.tasks.text_classification
        import torchkiln.training.prepare  # noqa: F401
    else:
        import datasets as _  # noqa: F401
        import transformers.trainer_pt_utils  # noqa: F401
    begun = time.perf_counter()
    epoch = ours(folder) if system == "ours" else datasets(folder)
    ready = time.perf_counter() - begun
    batches = epoch(0)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    again = epoch(1)
    later = time.perf_counter() - begun
    print(json.dumps({"first": batches / first, "later": again / later, "ready": ready, "batches": batches}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
