"""A model repository for NVIDIA Triton, whose ONNX Runtime backend serves the bundle's very file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from torchkiln.bundle.manifest import ModelFile, Tensor

FOLDER = "triton"
MOST_ROWS = 64
"""Rows that Triton joins to one batch."""
_TYPES = {
    **{f"float{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
    **{f"{sign}int{bits}": f"TYPE_{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "TYPE_BOOL",
}
_SHAPELESS = 8  # of a dynamic length, in the warm-up
_README = """\
# For Triton

`tritonserver --model-repository=THIS_FOLDER` serves `{name}`. It takes and gives arrays, not raw records: what turns a
record into these arrays is the bundle's codec (`torchkiln.bundle.load(BUNDLE).encode(records)`, which needs no torch).
"""


def write(
    folder: Path, name: str, model: ModelFile, inputs: Sequence[Tensor], outputs: Sequence[Tensor],
    classes: Sequence[str],
) -> None:  # fmt: skip
    """Write `triton/` into a bundle's folder; the model is the same file under a second name, where that can be.

    Args:
        folder: The draft's, in which `model.file` lies already.
        name: The bundle's.
        model: The form that is served.
        inputs, outputs: As in the manifest.
        classes: Names of the classes, if there are any.
    """
    called = model_name(name)
    there = folder / FOLDER / called
    (there / "1").mkdir(parents=True)
    _same(folder / model.file, there / "1" / "model.onnx")
    (there / "config.pbtxt").write_text(config(called, model, inputs, outputs, classes), encoding="utf-8")
    if classes:
        (there / "labels.txt").write_text("".join(f"{' '.join(c.split())}\n" for c in classes), encoding="utf-8")
    (folder / FOLDER / "README.md").write_text(_README.format(name=called), encoding="utf-8")


def model_name(name: str) -> str:
    """A name that Triton, and paths, take."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:128].strip("_") or "model"


def config(
    name: str, model: ModelFile, inputs: Sequence[Tensor], outputs: Sequence[Tensor], classes: Sequence[str]
) -> str:
    """The content of config.pbtxt: batches joined without waiting, a bounded queue, a warm-up."""
    labels = '\n  label_filename: "labels.txt"' if classes else ""
    given = ",\n".join(_tensor(t, model.inputs.get(t.name, t.name)) for t in inputs)
    made = ",\n".join(_tensor(t, model.outputs.get(t.name, t.name), labels) for t in outputs)
    warm = "\n".join(_warm(t, model.inputs.get(t.name, t.name)) for t in inputs)
    return f"""\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {MOST_ROWS}
input [
{given}
]
output [
{made}
]
dynamic_batching {{
  max_queue_delay_microseconds: 0
  default_queue_policy {{
    max_queue_size: {8 * MOST_ROWS}
    timeout_action: REJECT
    default_timeout_microseconds: 10000000
  }}
}}
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
version_policy {{ latest {{ num_versions: 2 }} }}
model_warmup [ {{
  name: "zeros"
  batch_size: 1
{warm}
}} ]
"""


def _tensor(tensor: Tensor, name: str, more: str = "") -> str:
    """Dimensions without the batch; Triton wants at least one, so a plain number is told to be one and reshaped."""
    dims = [-1 if n is None else n for n in tensor.shape[1:]]
    scalar = "" if dims else "\n  reshape { shape: [ ] }"
    return f"""\
{{
  name: "{name}"
  data_type: {_TYPES[tensor.dtype]}
  dims: {dims or [1]}{scalar}{more}
}}"""


def _warm(tensor: Tensor, name: str) -> str:
    dims = [_SHAPELESS if n is None else n for n in tensor.shape[1:]] or [1]
    what = f"data_type: {_TYPES[tensor.dtype]} dims: {dims} zero_data: true"
    return f'  inputs {{ key: "{name}" value: {{ {what} }} }}'


def _same(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has second names
        shutil.copyfile(source, target)
