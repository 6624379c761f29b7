"""The section `train` of a recipe: how long and in which way it trains."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from torchkiln.recipe.section import AtLeastOne, Auto, Positive, Section, Share


class Clip(Section):
    """Bounds for the gradients; one of both."""

    norm: Positive | None = None
    """Largest norm of all gradients together; larger ones are scaled down."""
    value: Positive | None = None
    """Largest absolute value of one gradient; larger ones are cut."""

    @model_validator(mode="after")
    def _one(self) -> Clip:
        if self.norm and self.value:
            raise ValueError("clip by norm or by value, not both")
        return self


class EarlyStopping(Section):
    """Stop when the monitored metric no longer gets better."""

    patience: AtLeastOne = 10
    """Validations without a better value."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """What counts as better, in the metric's own unit."""
    min_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs before which it never stops."""


class Train(Section):
    """How long and in which way it trains."""

    epochs: AtLeastOne | None = None
    """Passes over the training rows; null: the task's own."""
    steps: AtLeastOne | None = None
    """Optimizer steps; ends the run before `epochs` does."""
    max_time: str | None = None
    """Wall-clock budget for training, such as 90s, 10m, 2h."""
    batch_size: AtLeastOne | None = None
    """Samples a forward pass, on each process; the effective batch is this times accumulate."""
    accumulate: AtLeastOne = 1
    """Batches whose gradients make one step."""
    clip: Clip = Clip()
    precision: Auto | Literal["32", "tf32", "bf16", "16"] = "auto"
    """Bits of the arithmetic; tf32 is of CUDA; auto is measured by the plan."""
    compile: Auto | bool | Literal["default", "reduce-overhead", "max-autotune"] = "auto"
    """`torch.compile` of the training step, true or one of its modes; auto: where the plan finds that it pays."""
    channels_last: Auto | bool = "auto"
    """Memory order of image tensors; auto is measured by the plan."""
    attention: Auto | Literal["default", "flash", "efficient", "cudnn", "math"] = "auto"
    """Kernel of scaled dot products; default: torch's choice by shapes and types; auto is measured by the plan."""
    cudnn_benchmark: Auto | bool = "auto"
    """Let cuDNN time its convolutions, on CUDA and never with `deterministic`; auto is measured by the plan."""
    allocator: Auto | Literal["default", "keep"] = "auto"
    """keep: glibc holds on to freed memory in place of giving it back; auto is measured by the plan."""
    micro_batch: Auto | AtLeastOne | None = "auto"
    """Samples computed at once, a larger batch in parts of this size; null: the whole batch; auto: as many as fit."""
    plan_seconds: Annotated[float, Field(ge=0)] = 60.0
    """The longest that the plan may measure; 0 measures nothing and takes what is safe anywhere."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running average of the weights, a step; validation and test use the average."""
    swa: Share | None = None
    """Share of the epochs after which the weights at each epoch's end are averaged, all equally; validation and
    test use that average."""
    early_stopping: EarlyStopping | None = None
    monitor: str | None = None
    """The validation metric that says which epoch was best; null: the task's."""
    validate_every: Positive = 1.0
    """Epochs between two validations; below 1 a share of an epoch, such as 0.25."""
    validate_batches: AtLeastOne | None = None
    """Training batches between two validations, counted over the whole run, in place of `validate_every`."""
    early_looks: bool = False
    """Validate after an eighth, a quarter and half of the first epoch too, where it has 100 batches or more."""
    limit_batches: AtLeastOne | None = None
    """Training batches after which an epoch ends; null: when the data does."""
    deterministic: bool = False
    """Only deterministic kernels; an operation that has none is an error."""
    device: Auto | Literal["cpu", "cuda", "mps"] = "auto"
    """Where the net trains; auto: the best there is."""
    devices: AtLeastOne = 1
    """Processes on this machine, one a device."""
    threads: Auto | AtLeastOne = "auto"
    """Threads of one operation on the CPU; part of the result's bits, so kept by the run."""
    checkpoint_every: Auto | AtLeastOne = "auto"
    """Steps between two recoverable checkpoints; auto goes by the clock."""
    keep_every: AtLeastOne | None = None
    """Steps between two checkpoints that are kept for good; null keeps the newest two and the best."""
    guard: bool = True
    """Try the first batch before training, and watch for silent errors; changes no bit of the result."""
    not_finite: Literal["stop", "skip"] = "stop"
    """What to do with a batch whose loss is NaN or infinite: stop, or go back and train without it."""
    exact: Literal["same", "elastic"] = "same"
    """What bitwise equality holds across: runs on as many processes, or on any number that divides `shards`."""
    shards: AtLeastOne = 4
    """elastic: parts of each batch whose gradients are added in a fixed order, whoever computed them."""

    @field_validator("precision", mode="before")
    @classmethod
    def _number_or_word(cls, value: Any) -> Any:
        return str(value) if value in (16, 32) else value

    @field_validator("validate_every")
    @classmethod
    def _whole_above_one(cls, value: float) -> float:
        if value > 1 and value % 1:
            raise ValueError(f"{value:g} is neither a whole number of epochs nor a share of one")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Train:
        if self.ema and self.swa is not None:
            raise ValueError("ema and swa are two averages of the weights; give one of them")
        if self.exact == "elastic" and self.shards % self.devices:
            raise ValueError(f"{self.shards} shards cannot be dealt to {self.devices} devices evenly")
        if self.validate_batches and self.validate_every != 1:
            raise ValueError("validate by validate_every or by validate_batches, not both")
        if self.early_looks and (self.validate_batches or self.validate_every < 1):
            raise ValueError("early_looks goes with validation at the ends of epochs: validate_every of 1 or more")
        return self

    @field_validator("max_time")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value


def seconds(text: str) -> float:
    """Seconds in `90s`, `10m`, `1.5h`.

    Raises:
        ValueError: It is none of these.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        value = float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no time; write 90s, 10m or 2h") from None
    if value <= 0:
        raise ValueError(f"{text!r} is not above zero")
    return value
