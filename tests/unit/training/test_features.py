"""Features of a frozen backbone: the same training, without running the backbone again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import torchkiln
from torchkiln import Run
from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels
from torchkiln.data import cache
from torchkiln.data.store import ArrayStore
from torchkiln.errors import RecipeError, RunFailed
from torchkiln.models import adapt, images
from torchkiln.recipe.load import load
from torchkiln.runs import checkpoints
from torchkiln.tasks.image_classification import ImageClassification
from torchkiln.training import features, plan
from torchkiln.training.module import KilnModule
from torchkiln.training.state_files import load_tensors

STEPS = 20
"""Of the runs below: 4 epochs of 5."""


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHKILN_CACHE", str(tmp_path / "cache"))
    drawn = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(28):
            pixels = drawn.integers(shade, shade + 60, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


@pytest.fixture
def fit(pictures: Path, tmp_path: Path) -> Callable[..., Run]:
    def run(name: str, **more: Any) -> Run:
        settings = {
            "seed": 3, "data.augment": [], "data.progressive": None, "data.workers": 0, "model.name": "small_conv",
            "model.args": {"widths": [8, 8, 16]}, "model.freeze": "backbone", "train.epochs": 4, "train.batch_size": 8,
            "train.threads": 1, "train.precision": "32", "train.channels_last": False, "train.early_stopping": None,
            "train.ema": None, **{key.replace("__", "."): value for key, value in more.items()},
        }  # fmt: skip
        return torchkiln.fit(pictures, settings, out=tmp_path / name)

    return run


def weights(run: Run) -> dict[str, Tensor]:
    folder = checkpoints.newest(run.path / "checkpoints", checkpoints.STEP)
    assert folder is not None
    return load_tensors(folder / "weights.safetensors")


def row(run: Run) -> dict[str, Any]:
    rows = run.directory.read_json("plan.json")["decisions"]
    return next(r for r in rows if r["what"] == "model.cache_features")


@pytest.mark.slow
def test_the_head_ends_where_it_ends_through_the_whole_net(
    fit: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    through = fit("through", model__cache_features=False)
    step, seen = KilnModule.training_step, list[set[str]]()
    monkeypatch.setattr(KilnModule, "training_step", lambda self, b, i: (seen.append(set(b)), step(self, b, i))[1])
    run = fit("cached")
    assert seen == [{"features", "target", "index"}] * STEPS
    assert row(run)["chosen"] is True and row(through)["why"] == "the recipe says so"
    assert "cache_features: true" in (run.path / "recipe.yaml").read_text()
    ours, theirs = weights(run), weights(through)
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        frozen = name.startswith("net.backbone.")
        assert torch.equal(tensor, theirs[name]) if frozen else torch.allclose(tensor, theirs[name], atol=1e-5), name
    assert run.scores["metrics"]["accuracy"] == through.scores["metrics"]["accuracy"]
    assert len(run.predict(run.path.parent / "data" / "dark")) == 28


@pytest.mark.slow
def test_a_run_goes_on_bitwise_though_cache_and_weights_file_are_gone(
    fit: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = images.build(load({"task": "image_classification", "data": "x", "model": {"args": {"widths": [8, 8, 16]}}},
                            check_paths=False).model, 2, 16)  # fmt: skip
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    more = {"model__pretrained": str(tmp_path / "net.safetensors"), "train__checkpoint_every": 3}
    whole = weights(fit("whole", **more))

    step, calls = KilnModule.training_step, []

    def stops(module: KilnModule, batch: Any, batch_idx: int) -> Tensor:
        calls.append(batch)
        if len(calls) == 8:
            raise RuntimeError("power cut")
        return step(module, batch, batch_idx)

    monkeypatch.setattr(KilnModule, "training_step", stops)
    with pytest.raises(RunFailed, match="power cut"):
        fit("broken", **more)
    assert "image" not in calls[0] and calls[0]["features"].dtype == torch.float32
    shutil.rmtree(tmp_path / "cache")
    save_file(
        {n: t + 1 if t.is_floating_point() else t for n, t in net.state_dict().items()}, more["model__pretrained"]
    )
    resumed = weights(torchkiln.fit(resume=tmp_path / "broken"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_a_frozen_backbone_keeps_its_statistics_through_validations_between_steps(fit: Callable[..., Run]) -> None:
    run = fit("frozen", model__cache_features=False, train__validate_every=0.4)
    first = checkpoints.newest(fit("begun", train__epochs=1).path / "checkpoints", checkpoints.STEP)
    assert first is not None
    begun, ended = load_tensors(first / "weights.safetensors"), weights(run)
    frozen = [name for name in ended if name.startswith("net.backbone.")]
    assert any("running_mean" in name for name in frozen)
    assert all(torch.equal(begun[name], ended[name]) for name in frozen)


@pytest.mark.slow
def test_a_frozen_encoder_of_texts_runs_once(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    said = [" ".join(drawn.choice(["good", "bad", "film", "a", "the"], drawn.integers(2, 9))) for _ in range(120)]
    frame = pl.DataFrame({"text": [f"{t} {i}" for i, t in enumerate(said)], "label": ["ab"["bad" in t] for t in said]})
    frame.write_csv(tmp_path / "t.csv")
    settings = {"model.name": "transformer", "model.freeze": "backbone", "train.epochs": 2, "train.batch_size": 16,
                "train.threads": 1, "train.precision": "32", "data.workers": 0, "data.text": "text",
                "model.args": {"width": 16, "blocks": 1, "heads": 2}}  # fmt: skip
    runs = [
        torchkiln.fit(tmp_path / "t.csv", {**settings, "model.cache_features": wish}, out=tmp_path / str(wish))
        for wish in ("auto", False)
    ]
    assert row(runs[0])["chosen"] is True
    ours, theirs = map(weights, runs)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


# What hinders it


def picture_task(**overrides: Any) -> tuple[ImageClassification, nn.Module, ArrayStore]:
    settings = {"model.freeze": "backbone", "model.args": {"widths": [8, 8, 16]}, "data.augment": [],
                "data.image_size": 16, "train.epochs": 3, **overrides}  # fmt: skip
    recipe = load({"task": "image_classification", "data": "x"}, settings, check_paths=False)
    task = ImageClassification(recipe, Codec(ImageCodec("image", 16), Labels("label", ["a", "b"])))
    net = task.build()
    adapt.freeze(net, recipe.model, 0)
    drawn = np.random.default_rng(0)
    return task, net, ArrayStore({"image": drawn.integers(0, 255, (9, 16, 16, 3), dtype=np.uint8)}, np.zeros(9, int))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"model.freeze": None}, "nothing is frozen"),
        ({"model.freeze": "backbone.*.0.*"}, "which lies before the head, is trained"),
        ({"model.unfreeze": [{"epoch": 2, "match": "backbone"}]}, r"model.unfreeze trains backbone\..* from epoch 2"),
        ({"data.augment": [{"name": "RandomHorizontalFlip"}]}, "data.augment changes the inputs"),
        ({"data.progressive": [[0.5, 8]]}, "data.progressive changes the inputs"),
        ({"data.unreadable": "skip"}, "data.unreadable is skip"),
    ],
)
def test_what_hinders_it_is_named(overrides: dict[str, Any], says: str) -> None:
    task, net, store = picture_task(**overrides)
    wanted = task.recipe.model_copy(update={"model": task.recipe.model.model_copy(update={"cache_features": True})})
    with pytest.raises(RecipeError, match=says):
        features.decide(plan.Plan(wanted), task, net, store)
    left = features.decide(plan.Plan(task.recipe), task, net, store)
    assert left.recipe.model.cache_features is False
    assert len(left.decisions) == (overrides.get("model.freeze", "") is not None), "no row where nothing is frozen"


def test_a_net_that_cannot_be_cut_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task, net, store = picture_task()
    assert features.hindrance(task, net, task.recipe, store) is None
    assert net.training, "the modules' modes are put back"
    monkeypatch.setattr(images.PictureNet, "features", lambda net, x: net.backbone(net.normalize(x)) * 2)
    monkeypatch.setattr(images.PictureNet, "forward", lambda net, x: net.head(net.backbone(net.normalize(x))))
    assert "gives something else" in str(features.hindrance(task, net, task.recipe, store))
    monkeypatch.setattr(ImageClassification, "features", lambda task, net, batch: None)
    assert features.hindrance(task, net, task.recipe, store) == features.UNCUT


def test_features_that_do_not_fit_and_single_epochs_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    task, net, store = picture_task(**{"train.epochs": 1})
    assert "a single epoch" in features.decide(plan.Plan(task.recipe), task, net, store).decisions[0]["why"]
    monkeypatch.setattr(cache, "LIMIT_BYTES", 100)
    assert "do not fit the disk cache" in str(features.hindrance(task, net, task.recipe, store))
