"""What a person may write in a recipe: each key, its type, unit and default.

`None` or `"auto"` means: not said, so the task's defaults or the plan decide; the run's own
`recipe.yaml` holds what was decided. Checks that need no data are made here, the others where the data
or the model is at hand.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from torchkiln.recipe.section import AtLeastOne, Auto, ColumnKind, Part, Positive, Section, Share
from torchkiln.recipe.training import Train
from torchkiln.registry import did_you_mean, task_names

SHORT_FORMS = {"data": "path", "model": "name", "loss": "name", "optimizer": "name", "scheduler": "name"}
"""Sections that may be given as one word, and the key that the word stands for."""


class Split(Section):
    """How rows are given to train, val and test where the data does not say so itself."""

    by: Literal["auto", "random", "stratified", "group", "time", "column"] = "auto"
    """`group`: rows that share `column` stay together; `time`: ordered by `column`, the latest is the
    test; `column`: `column` holds the words train, val and test."""
    column: str | None = None
    """The column that `group`, `time` or `column` goes by."""
    val: Share = 0.15
    """Share of the rows that training may look at, kept for validation."""
    test: Share = 0.15
    """Share of all rows, kept for the test."""

    @model_validator(mode="after")
    def _fits(self) -> Split:
        if self.by in ("group", "time", "column") and not self.column:
            raise ValueError(f"split by {self.by} needs the name of a column")
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}; less than 1 must be left for train")
        return self


class Transform(BaseModel):
    """One augmentation: a name of `torchvision.transforms.v2`, and its arguments beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    name: str
    """A name of `torchvision.transforms.v2`; its arguments stand beside it."""


class Data(Section):
    """Where the data is and how it is read."""

    path: str | None = None
    """A folder or a file. Folders may hold train/ val/ test/, or one folder a class, or files named
    train.*, val.* and test.*."""
    train: str | None = None
    """A folder or file of training rows alone, in place of `path`."""
    val: str | None = None
    """A folder or file of validation rows, beside `train`."""
    test: str | None = None
    """A folder or file of test rows, beside `train`."""
    class_path: str | None = None
    """A LightningDataModule, or a function that returns (train, val, test) datasets or loaders."""
    init_args: dict[str, Any] = {}
    """Keyword arguments for `class_path`."""
    target: str | None = None
    """The column to predict."""
    text: str | None = None
    """The column that holds the text."""
    image: str | None = None
    """The column that holds the image's bytes or path."""
    columns: dict[str, ColumnKind] = {}
    """Kinds of columns, where the inferred one is wrong."""
    unlabelled: Literal["stop", "drop"] = "stop"
    """What to do with rows whose label is missing."""
    split: Split = Split()
    image_size: Auto | Annotated[int, Field(ge=4, le=4096)] = "auto"
    """Side of the square training images, in pixels."""
    augment: Auto | list[Transform] = "auto"
    """What changes training images; auto goes by their size, an empty list is none."""
    progressive: list[tuple[Share, AtLeastOne]] | None = None
    """Smaller images early: [[until this share of the epochs, side in pixels], ...]."""
    max_tokens: AtLeastOne | None = None
    """Longest text, in tokens; longer ones are cut."""
    store: Literal["auto", "device", "memory", "cache", "stream"] = "auto"
    """Where decoded samples live: on the device that trains, in memory, in a memory-mapped file, or decoded anew each
    time."""
    workers: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Processes that read samples ahead; 0 reads them in the training process."""
    prefetch: Auto | AtLeastOne = "auto"
    """Batches that each of these processes is ahead."""
    pin: Auto | bool = "auto"
    """Batches in memory that a GPU copies from by itself."""
    worker_timeout: AtLeastOne = 300
    """Seconds that training waits for one batch of such a process before it gives it up."""
    unreadable: Literal["stop", "skip"] = "stop"
    """What to do with a sample that cannot be read while training: stop, or go on without it and count it."""

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if self.path and (self.train or self.val or self.test):
            raise ValueError("give path, or train, val and test, not both")
        if (self.val or self.test) and not self.train:
            raise ValueError("val and test need train beside them")
        if self.class_path and (self.path or self.train):
            raise ValueError("give class_path or paths, not both")
        if self.store == "device" and self.workers not in ("auto", 0):
            raise ValueError(f"samples on the device are not to be had by {self.workers} workers; take workers: 0")
        return self


class Unfreeze(Section):
    """Parameters that begin to train at an epoch."""

    epoch: Annotated[int, Field(ge=0)]
    """The first epoch is 0."""
    match: str
    """Pattern of parameter names, with `*`: `backbone.layer4.*`."""


class Model(Part):
    """The net."""

    args: dict[str, Any] = {}
    """Arguments of the built-in net called `name`."""
    pretrained: bool | Auto | str = "auto"
    """True, false, a file of weights, or auto: taken where they can be had, and the run says so."""
    freeze: str | list[str] | None = None
    """Patterns of parameter names that do not train: `backbone`, `backbone.layer1.*`."""
    unfreeze: list[Unfreeze] = []
    """Frozen parameters that begin to train later."""
    cache_features: Auto | bool = "auto"
    """Compute what a frozen backbone gives once, and train the head on that; auto: where it can be and saves time."""
    head: Part | None = None
    """A head of the person's own in place of the net's; it is given `in_features` and `out_features`."""
    init: Literal["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform",
                  "trunc_normal", "orthogonal"] | None = None  # fmt: skip
    """Scheme for the weights of linear and convolution layers; null keeps the net's own."""
    checkpoint_gradients: bool = False
    """Compute activations again in the backward pass instead of keeping them."""


class Loss(Part):
    """What training makes small."""

    name: Literal["auto", "cross_entropy", "bce_with_logits", "nll", "mse", "l1", "smooth_l1",
                  "triplet_margin", "cosine_embedding"] | None = None  # fmt: skip
    """null or auto: the task's own."""
    label_smoothing: Share | None = None
    """Share of each label that is spread over all classes."""
    class_weights: Literal["balanced"] | list[Positive] | None = None
    """One weight a class in the order of the sorted class names, or inversely to their counts."""
    margin: float | None = None
    """Distance that triplet_margin and cosine_embedding ask for."""
    beta: Positive | None = None
    """Where smooth_l1 turns from square to absolute."""

    @model_validator(mode="after")
    def _options_fit(self) -> Loss:
        owners = {"label_smoothing": ("cross_entropy",), "class_weights": ("cross_entropy", "nll",
                  "bce_with_logits"), "margin": ("triplet_margin", "cosine_embedding"),
                  "beta": ("smooth_l1",)}  # fmt: skip
        for key, names in owners.items():
            if getattr(self, key) is not None and self.name not in (None, "auto", *names):
                raise ValueError(f"{key} belongs to {' or '.join(names)}, not to {self.name}")
        return self


class ParameterGroup(Section):
    """Parameters whose names match get settings of their own; the first match counts."""

    match: str
    """Pattern of parameter names, with `*`: `backbone.*`."""
    lr: Annotated[float, Field(ge=0)] | None = None
    """Learning rate of these parameters; null: the optimizer's."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of these parameters; null: the optimizer's."""


class Optimizer(Part):
    """What steps the weights."""

    name: Literal["auto", "adamw", "adam", "sgd", "muon"] | None = None
    """null or auto: the task's own."""
    lr: Positive | None = None
    """Learning rate at its full height."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Never put on biases and on norms, unless a group says so."""
    momentum: Share | None = None
    """Of sgd."""
    nesterov: bool | None = None
    """Of sgd."""
    betas: tuple[Share, Share] | None = None
    """Of adam and adamw: decays of the averages of gradient and square."""
    implementation: Auto | Literal["fused", "foreach", "loop"] = "auto"
    """How the step over all parameters is made, where the optimizer has a choice; auto is measured by the plan."""
    groups: list[ParameterGroup] = []
    """Settings for some of the parameters; the first match counts."""

    @model_validator(mode="after")
    def _options_fit(self) -> Optimizer:
        if self.name == "muon" and self.nesterov is not None:
            raise ValueError("nesterov belongs to sgd; the momentum of muon always is")
        if self.name in ("adam", "adamw") and (self.momentum is not None or self.nesterov):
            raise ValueError(f"momentum and nesterov belong to sgd; {self.name} has betas")
        if self.name in ("sgd", "muon") and self.betas is not None:
            raise ValueError(f"betas belong to adam and adamw; {self.name} has momentum")
        return self


class Scheduler(Part):
    """How the learning rate goes over the run."""

    name: Literal["auto", "cosine", "linear", "one_cycle", "step", "plateau", "constant"] | None = None
    """null or auto: the task's own; plateau follows the validation metric."""
    warmup: Share | None = None
    """Share of the run over which the rate climbs to its full height."""
    final: Annotated[float, Field(ge=0, le=1)] | None = None
    """What is left of the rate at the end, as a share."""
    every: AtLeastOne | None = None
    """step: epochs between two drops."""
    gamma: Annotated[float, Field(gt=0, lt=1)] | None = None
    """step and plateau: what the rate is multiplied with."""
    patience: Annotated[int, Field(ge=0)] | None = None
    """plateau: epochs without a better validation metric before a drop."""
    interval: Literal["step", "epoch"] | None = None
    """class_path: whether the scheduler is stepped after each step or each epoch."""


class Recipe(Section):
    """A whole recipe. `task` and `data` are needed, all else has a default."""

    task: str
    """The kind of work."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """What every random number of the run follows from."""
    data: Data
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    scheduler: Scheduler = Scheduler()
    train: Train = Train()

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        if value not in task_names():
            raise ValueError(f"unknown task {value!r}{did_you_mean(value, task_names())}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.train.exact == "elastic" and "skip" in (self.data.unreadable, self.train.not_finite):
            raise ValueError("train.exact: elastic has shards of a fixed size; nothing can be skipped with it")
        return self

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """`loss: mse` is short for `loss: {name: mse}`, `data: PATH` for `data: {path: PATH}`."""
        return spell_out(values) if isinstance(values, dict) else values


def spell_out(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's top level with the short forms of `SHORT_FORMS` written out."""
    return {k: {SHORT_FORMS[k]: v} if k in SHORT_FORMS and isinstance(v, str) else v for k, v in values.items()}
