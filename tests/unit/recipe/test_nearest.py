from __future__ import annotations

import pytest

from torchkiln.recipe.nearest import _OTHER_NAMES, _OTHER_WORDS, key_meant, word_meant
from torchkiln.recipe.wanted import at, known_paths, words


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("optimizer.learning_rat", "lr"),
        ("optimizer.learning-rate", "lr"),
        ("optimizer.weight_deacy", "weight_decay"),
        ("train.epoch", "epochs"),
        ("train.batch", "batch_size"),
        ("train.Precision", "precision"),
        ("epochs", "train.epochs"),
        ("n_epochs", "train.epochs"),
        ("max_epochs", "train.epochs"),
        ("model.lr", "optimizer.lr"),
        ("lerning_rate", "optimizer.lr"),
        ("train.label", "data.target"),
        ("patience", "scheduler.patience or train.early_stopping.patience"),
        ("optimizer.groups.0.lrr", "lr"),
        ("traim", "train"),
        ("zzz", None),
    ],
)
def test_the_key_that_was_meant(written: str, meant: str | None) -> None:
    path = [int(p) if p.isdigit() else p for p in written.split(".")]
    assert key_meant(path) == meant


@pytest.mark.parametrize(
    ("path", "written", "meant"),
    [
        ("loss.name", "CE", "cross_entropy"),
        ("loss.name", "huber", "smooth_l1"),
        ("train.precision", "fp16", "16"),
        ("scheduler.name", "off", "constant"),
        ("optimizer.name", "AdamW", "adamw"),
        ("train.device", "gpu", "cuda"),
        ("optimizer.name", "qqq", None),
        ("data.target", "anything", None),
    ],
)
def test_the_word_that_was_meant(path: str, written: str, meant: str | None) -> None:
    assert word_meant(path.split("."), written) == meant


def test_other_names_lead_to_keys_and_words_that_exist() -> None:
    assert set(_OTHER_NAMES) <= set(known_paths())
    for path, meanings in _OTHER_WORDS.items():
        assert set(meanings) <= set(words(at(path.split("."))))
