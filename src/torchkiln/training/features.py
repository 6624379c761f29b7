"""What a frozen backbone gives, computed once, so that the steps train the head alone.

The net stays whole, so that weights go by the same names, and test and prediction run through all of it. Only the
batches differ: they hold features where the inputs were.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchkiln.data import cache
from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder
from torchkiln.data.store import ArrayStore, Batch, Indices, Store
from torchkiln.errors import RecipeError
from torchkiln.models import adapt
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.tasks._base import FEATURES, Task
from torchkiln.training import plan, settings, state_files
from torchkiln.training.devices import device_name
from torchkiln.training.fit import load_weights
from torchkiln.training.plan_rows import SAID, decision
from torchkiln.training.prepare import DISK_SHARE, Prepared

BATCH = 64
"""Samples that go through the backbone at once; a number of its own, as the bits of convolutions depend on it."""
TOLERANCE = 1e-2
"""By which head and backbone one after the other may differ from the whole net, relative to its largest output."""
HEAD = "head."
UNCUT = "this net cannot be run in two parts, a backbone and a head of its own"


class FeatureStore(ArrayStore):
    """Features in the place of a store's inputs.

    Args:
        features: float32 [n, ...].
        target: As for `ArrayStore`.
        of: Whose samples they are; batches are put together by the same lengths.
    """

    def __init__(self, features: Any, target: Any, of: Store) -> None:
        super().__init__({FEATURES: features}, target)
        self._lengths = of.lengths

    @property
    def lengths(self) -> Indices | None:
        return self._lengths


def decide(planned: plan.Plan, task: Task, net: nn.Module, store: Store) -> plan.Plan:
    """The plan with `model.cache_features` settled, and a row on it wherever something is frozen.

    Args:
        planned: The plan so far.
        task, net, store: What is trained, and the training samples.

    Raises:
        RecipeError: The recipe asks for what cannot be.
    """
    recipe = planned.recipe
    wish = recipe.model.cache_features
    if wish is False or (wish == "auto" and not adapt.frozen_patterns(recipe.model)):
        chosen, why = False, SAID
    elif cause := hindrance(task, net, recipe, store):
        if wish is True:
            raise RecipeError(f"model.cache_features: {cause}")
        chosen, why = False, cause
    elif wish == "auto" and recipe.train.epochs == 1:
        chosen, why = False, "a single epoch sees each sample once, so that nothing is saved"
    else:
        chosen = True
        why = SAID if wish is True else (
            "what is before the head is frozen and nothing random touches its inputs: it runs once and not in each "
            "epoch")  # fmt: skip
    model = recipe.model.model_copy(update={"cache_features": chosen})
    rows = [decision("model.cache_features", chosen, why)] if adapt.frozen_patterns(recipe.model) else []
    return dataclasses.replace(
        planned, recipe=recipe.model_copy(update={"model": model}), decisions=[*planned.decisions, *rows]
    )


def hindrance(task: Task, net: nn.Module, recipe: Recipe, store: Store) -> str | None:
    """Why features cannot be computed once, as a part of a sentence; None where they can."""
    if not adapt.frozen_patterns(recipe.model):
        return "nothing is frozen; model.freeze=backbone would"
    before = [(name, p) for name, p in net.named_parameters() if not name.startswith(HEAD)]
    if trained := next((name for name, p in before if p.requires_grad), None):
        return f"{trained}, which lies before the head, is trained"
    for later in recipe.model.unfreeze:
        if thawed := next((name for name, _ in before if adapt.matches(name, later.match)), None):
            return f"model.unfreeze trains {thawed} from epoch {later.epoch} on"
    if task.transform() is not None:
        changes = "data.progressive" if recipe.data.progressive else "data.augment"
        return f"{changes} changes the inputs from epoch to epoch; data.augment=[] data.progressive=null would not"
    if recipe.data.unreadable == "skip":
        return "data.unreadable is skip, and which samples can be read is only known epoch by epoch"
    return _trial(task, net, store)


def _trial(task: Task, net: nn.Module, store: Store) -> str | None:
    """Run a few samples through the parts and through the whole."""
    batch = store.take(np.arange(min(4, len(store)), dtype=np.int64), 0)
    with adapt.evaluating(net), torch.no_grad():
        features = task.features(net, batch)
        if features is None:
            return UNCUT
        whole, parts = task.forward(net, batch), task.forward(net, {**batch, FEATURES: features})
    if not torch.allclose(whole, parts, rtol=0, atol=TOLERANCE * float(whole.abs().max())):
        return "its head gives something else for the backbone's features than the whole net gives"
    need, base = features[0].numel() * 4 * len(store), cache.folder()
    base.mkdir(parents=True, exist_ok=True)
    if need > min(shutil.disk_usage(base).free * DISK_SHARE, cache.LIMIT_BYTES):
        return f"{need / 2**30:,.1f} GiB of features do not fit the disk cache in {base}"
    return None


def stores(prepared: Prepared, net: nn.Module) -> dict[str, Store]:
    """The training and validation samples as features, from the cache or computed now."""
    found = dict(prepared.stores)
    for split in ("train", "val"):
        store = prepared.stores[split]
        if len(store):
            with settings.applied(settings.of(prepared.recipe)):
                name = _entry(prepared, net, split)
                arrays = cache.kept(name, lambda new, store=store: _compute(prepared, net, store, new))  # type: ignore[misc]
            found[split] = FeatureStore(arrays[FEATURES], prepared.targets[split], store)
    return found


def load_newest(net: nn.Module, run: RunDirectory) -> None:
    """Give the net the weights of a run's newest checkpoint, where it has one.

    A run that goes on is to see the features that it began with, whatever became meanwhile of the file that its
    backbone was read from.
    """
    folder = checkpoints.newest(run.path / "checkpoints", checkpoints.STEP)
    if folder is not None:
        weights = state_files.load_tensors(folder / "weights.safetensors")
        load_weights(net, {name.removeprefix("net."): t for name, t in weights.items()}, folder)


def _compute(prepared: Prepared, net: nn.Module, store: Store, new: cache.New) -> dict[str, Any]:
    """Run the samples through the backbone as training would: same device, threads, precision and layout."""
    recipe, task = prepared.recipe, prepared.task
    train = recipe.train
    setting = settings.of(recipe)
    net = settings.prepared_net(net.to(train.device), train.channels_last is True)
    order = EvalOrder(len(store), BATCH, lengths=store.lengths)
    workers = recipe.data.workers if isinstance(recipe.data.workers, int) else 0
    out: Any = None
    with adapt.evaluating(net), torch.no_grad():
        for batch in loader(store, order, workers=workers):
            with settings.autocast(setting):
                features = task.features(net, _on(train.device, batch))
            assert features is not None  # as decided
            array = features.float().cpu().numpy()
            if out is None:
                out = new(FEATURES, (len(store), *array.shape[1:]), np.float32)
            out[batch["index"].numpy()] = array
    return {FEATURES: out}


def _entry(prepared: Prepared, net: nn.Module, split: str) -> str:
    """Name of the cache's entry: all that the features follow from."""
    train, codec = prepared.recipe.train, prepared.codec.inputs
    rows = cache.key(prepared.source.digest, codec, split, prepared.source.rows(split)["key"])
    how = [train.device, train.threads, train.precision, train.channels_last, train.deterministic, BATCH,
           torch.__version__, torch.backends.cpu.get_cpu_capability(), device_name(train.device)]  # fmt: skip
    hashed = hashlib.sha256(json.dumps([rows, how, repr(net)]).encode())
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        if not name.startswith(HEAD):
            hashed.update(name.encode() + _raw(tensor))
    return hashed.hexdigest()[:32]


def _raw(tensor: Tensor) -> bytes:
    raw: bytes = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return raw


def _on(device: str, batch: Batch) -> Batch:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
