"""What bounds a step, from figures that are known."""

from typing import Any

import pytest

from torchkiln.recipe.load import load
from torchkiln.recipe.schema import Recipe
from torchkiln.training import bound
from torchkiln.training.bound import Step, next_step, shares


def recipe(**overrides: Any) -> Recipe:
    data = {"task": "image_classification", "data": {"path": "x"}}
    train = {"train.threads": 1, "train.precision": "32", "train.device": "cpu", "train.batch_size": 16}
    return load(data, {**train, "data.workers": 0, **overrides}, check_paths=False)


def test_on_the_cpu_what_is_no_work_is_launching() -> None:
    found = shares(Step(input=1, net=8, between=1, compute=5, memory=2))
    assert found == pytest.approx(
        {"input": 0.1, "compute": 0.5, "memory bandwidth": 0.2, "launch overhead": 0.1, "logging": 0.1}
    )


def test_work_that_took_longer_while_it_was_watched_fits_into_the_step() -> None:
    found = shares(Step(input=0, net=4, between=0, compute=6, memory=2))
    assert found["compute"] == 0.75 and found["launch overhead"] == 0 and sum(found.values()) == 1


def test_a_gpu_is_bound_by_its_work_and_else_by_what_the_cpu_is_at() -> None:
    found = shares(Step(input=6, net=3, between=1, compute=4, memory=1, on_gpu=True))
    assert found == pytest.approx(
        {"input": 0.3, "compute": 0.4, "memory bandwidth": 0.1, "launch overhead": 0.15, "logging": 0.05}
    )


@pytest.mark.parametrize(
    ("what", "overrides", "decisions", "says"),
    [
        (bound.INPUT, {"data.store": "stream"}, [], "data.store=cache"),
        (bound.INPUT, {"data.store": "cache"}, [], "data.workers=1"),
        (bound.INPUT, {"data.store": "cache", "train.threads": 4}, [], "data.workers=1 train.threads=3"),
        (bound.INPUT, {"data.workers": 3, "data.augment": [{"name": "AutoAugment"}]}, [], "fewer transforms"),
        (bound.COMPUTE, {}, [], "train.precision=bf16"),
        (bound.COMPUTE, {}, ["train.precision"], "train.channels_last=true"),
        (bound.COMPUTE, {}, ["train.precision", "train.channels_last"], "train.threads=4"),
        (bound.COMPUTE, {"model.freeze": "backbone"}, [], "model.cache_features=true"),
        (bound.MEMORY, {"train.precision": "bf16"}, [], "train.compile=true"),
        (bound.LAUNCH, {}, [], "train.batch_size=64"),
        (bound.LAUNCH, {"train.device": "cuda"}, [], "train.compile=reduce-overhead"),
        (bound.LOGGING, {}, [], "train.batch_size=64"),
    ],
)
def test_the_next_step_is_the_first_that_is_open(
    what: str, overrides: dict[str, Any], decisions: list[str], says: str
) -> None:
    tried = [{"what": w, "candidates": [{"value": 1}]} for w in decisions]
    assert says in next_step(what, recipe(**overrides), tried, cores=4, convolves=True)


def test_a_hook_of_the_persons_is_named() -> None:
    said = next_step(bound.LOGGING, recipe(), [], cores=2, convolves=False, costliest=("Net.log", 0.0123))
    assert said.startswith("Net.log takes 12 ms of each step")
