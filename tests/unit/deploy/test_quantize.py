"""INT8 on real nets: kept where it pays, refused where it does not, the same file each time.

Which of two files is faster is this machine's to say; here the clock is replaced where the outcome hangs on it.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torchvision
from torch import nn

from torchkiln.bundle.proof import Truth
from torchkiln.codec.base import Array
from torchkiln.deploy import quantize
from torchkiln.deploy.prove import Sample, computed
from torchkiln.deploy.quantize import Choice, Int8, Material, Tried

Case = Callable[..., Material]


def digits(n: int, size: int = 16) -> tuple[Array, Array]:
    """Bars of four directions in noise, uint8 [n, size, size, 3], and which it is."""
    rng = np.random.default_rng(n)
    target = rng.integers(0, 4, n)
    at = np.stack(np.meshgrid(np.arange(size), np.arange(size)))
    along = np.stack([at[0], at[1], at[0] + at[1], at[0] - at[1]])[target]
    wave = np.sin(along * 1.2 + rng.uniform(0, 6, (n, 1, 1)))
    pixels = 128 + 60 * wave[..., None] + rng.normal(0, 40, (n, size, size, 3))
    return pixels.clip(0, 255).astype(np.uint8), target


class Pictures(nn.Module):
    """Convolutions, one after another, that were trained for some steps."""

    def __init__(self, depthwise: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
        for _ in range(2):
            groups = 16 if depthwise else 1
            layers += [nn.Conv2d(16, 16, 3, padding=1, groups=groups), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(16, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = (image.permute(0, 3, 1, 2).float() - 128) / 64
        return torch.softmax(self.head(self.body(x).mean((2, 3))), -1)


def trained(net: nn.Module, inputs: Array, target: Array, steps: int = 60) -> nn.Module:
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x, y = torch.from_numpy(inputs), torch.from_numpy(target)
    for step in range(steps):
        rows = slice(step * 64 % len(x), step * 64 % len(x) + 64)
        loss = nn.functional.nll_loss(torch.log(net(x[rows]) + 1e-9), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def exported(net: nn.Module, name: str, example: torch.Tensor, file: Path) -> Path:
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    made = torch.onnx.export(program, dynamo=True, opset_version=20, verbose=False, input_names=[name])
    assert made is not None
    made.save(str(file), external_data=False)
    return file


def accuracy(target: Array, prediction: Array) -> float:
    return float(np.mean(prediction.argmax(axis=1) == target))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nets")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Case:
    """Files of trained nets of pictures, each made once."""
    made: dict[bool, Material] = {}

    def case(depthwise: bool) -> Material:
        if depthwise not in made:
            inputs, target = digits(640)
            file = folder / f"pictures{depthwise}.onnx"
            net = trained(Pictures(depthwise), inputs[:512], target[:512])
            exported(net, "image", torch.from_numpy(inputs[:2]), file)
            made[depthwise] = material(file, "image", inputs[:128], inputs[256:], target[256:], net)
        return made[depthwise]

    return case


@pytest.fixture(scope="module")
def table(folder: Path) -> Material:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 64)).astype(np.float32)
    target = ((x[:, :8].sum(axis=1) > 0) + 2 * (x[:, 8] > 0)).astype(np.int64)
    layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4), nn.Softmax(-1)]
    net = trained(nn.Sequential(*layers), x, target)
    exported(net, "x", torch.from_numpy(x[:2]), folder / "table.onnx")
    return material(folder / "table.onnx", "x", x[:256], x[256:], target[256:], net)


def material(file: Path, name: str, calibration: Array, judged: Array, target: Array, net: nn.Module) -> Material:
    with torch.inference_mode():
        reference = net(torch.from_numpy(judged)).numpy()
    assert accuracy(target, reference) > 0.7, "the net has not learnt"
    held_out = Sample(np.arange(len(judged)), {name: judged}, reference)
    truth = Truth(target, accuracy, "accuracy", True)
    return Material(file, {name: name}, {name: calibration}, held_out, classes=True, truth=truth)


def clock(monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    """A machine on which every INT8 file takes so much of the time of FP32."""
    monkeypatch.setattr(quantize._Maker, "timed", lambda self, run, size: [1.0, ratio])


def kinds(file: Path) -> set[str]:
    return {node.op_type for node in onnx.load(file).graph.node}


def test_a_file_that_is_right_and_fast_is_kept(pictures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 0.5)
    out, case = tmp_path / "int8.onnx", pictures(depthwise=False)
    found = quantize.quantize(case, out)
    assert found.kept == Choice("static", "min-max")
    assert found.why.startswith("INT8 by static min-max; tried: static min-max: CPU time 50 % at batch 1")
    answer = computed(quantize.runner(out, case.names), case.judged.arrays)
    assert np.mean(answer.argmax(1) == case.judged.reference.argmax(1)) >= 0.98
    assert (answer != case.judged.reference).any()
    assert list(tmp_path.iterdir()) == [out]
    weights = {
        t.data_type for t in onnx.load(out).graph.initializer if t.name.endswith("_quantized") and len(t.dims) == 4
    }
    assert weights == {onnx.TensorProto.INT8}
    zeros = {t.data_type for t in onnx.load(out).graph.initializer if t.name.endswith("_zero_point") and not t.dims}
    assert onnx.TensorProto.UINT8 in zeros  # of activations


def test_a_file_that_is_right_and_slow_is_not_kept(
    pictures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 2.4)
    found = quantize.quantize(pictures(depthwise=True), tmp_path / "int8.onnx")
    assert found.kept is None
    assert [str(t.choice) for t in found.tried] == ["static min-max"]  # another calibration is not faster
    assert found.why == (
        "INT8 does not pay here; tried: static min-max: CPU time 240 % at batch 1, 240 % at batch 32 of that in FP32"
    )
    assert list(tmp_path.iterdir()) == []


def test_one_batch_size_where_it_pays_is_enough(
    pictures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize._Maker, "timed", lambda self, run, size: [1.0, 1.2 if size == 1 else 0.9])
    assert quantize.quantize(pictures(depthwise=False), tmp_path / "a.onnx").kept
    monkeypatch.setattr(quantize._Maker, "timed", lambda self, run, size: [1.0, 0.91])
    assert not quantize.quantize(pictures(depthwise=False), tmp_path / "b.onnx").kept


def test_a_file_that_is_fast_and_wrong_is_calibrated_anew_and_layers_are_left(
    pictures: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 0.5)
    judge = quantize.compare
    wanted = ["static entropy", "static percentile"]

    def strict(reference: Array, answer: Array, **more: Any) -> Any:
        """Nothing agrees until two layers are left in FP32."""
        found = judge(reference, answer, **more)
        return found if len(asked) > 4 else replace(found, agreement=0.5)

    asked: list[Choice] = []
    make = quantize._Maker.make
    monkeypatch.setattr(
        quantize._Maker, "make", lambda self, choice, file: (asked.append(choice), make(self, choice, file))
    )
    monkeypatch.setattr(quantize, "compare", strict)
    found = quantize.quantize(pictures(depthwise=False), tmp_path / "int8.onnx")
    assert [str(t.choice) for t in found.tried[1:3]] == wanted
    assert [len(t.choice.fp32) for t in found.tried] == [0, 0, 0, 1, 2]
    assert found.kept is not None and len(found.kept.fp32) == 2
    left = onnx.load(tmp_path / "int8.onnx")
    plain = {n.name for n in left.graph.node if n.op_type in ("Conv", "Gemm")} & set(found.kept.fp32)
    assert plain == set(found.kept.fp32)  # named as they are in the file
    assert "left in FP32" in found.why


def test_nets_without_convolutions_may_be_quantised_as_they_run(
    table: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 0.8)
    found = quantize.quantize(table, tmp_path / "int8.onnx")
    assert [t.choice.form for t in found.tried] == ["static", "dynamic"]
    assert found.tried[0].good and found.kept == found.tried[0].choice
    assert "hangs on the rows beside it" in found.tried[1].faults[0], "a server puts strangers' rows together"
    quantize.quantize(table, tmp_path / "again.onnx", Int8(Choice("dynamic"), []))
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= kinds(tmp_path / "again.onnx")
    assert onnx.TensorProto.INT8 in {t.data_type for t in onnx.load(tmp_path / "again.onnx").graph.initializer}


def test_the_last_step_to_the_answer_is_not_cut_to_256_levels(table: Material, tmp_path: Path) -> None:
    quantize.quantize(table, tmp_path / "int8.onnx", Int8(Choice("static", "min-max"), []))
    graph = onnx.load(tmp_path / "int8.onnx").graph
    made_by = {name: node for node in graph.node for name in node.output}
    assert made_by[graph.output[0].name].op_type == "Softmax"


def test_what_was_chosen_before_is_made_again_without_a_look_at_the_clock(
    table: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, 0.5)
    first = quantize.quantize(table, tmp_path / "a.onnx")
    evidence = json.loads(json.dumps({**first.as_json(), "cpu": first.cpu}))
    clock(monkeypatch, 5.0)
    again = quantize.quantize(table, tmp_path / "b.onnx", Int8.from_json(evidence))
    assert again == first
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert "cpu" not in json.dumps(first.as_json())
    none = quantize.quantize(table, tmp_path / "c.onnx", Int8(None, first.tried))
    assert none.kept is None
    assert not (tmp_path / "c.onnx").exists()


def test_what_cannot_be_made_is_told_and_stops_nothing(
    table: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **more: Any) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(quantize, "quantize_static", fails)
    clock(monkeypatch, 0.5)
    found = quantize.quantize(table, tmp_path / "int8.onnx")
    assert found.tried[0].faults == ["it cannot be made: no such operator"]
    assert found.kept is None and len(found.tried) == 2


def test_a_file_that_the_quantiser_cannot_read_is_told_too(
    table: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **more: Any) -> None:
        raise ValueError("no shapes")

    monkeypatch.setattr(quantize, "quant_pre_process", fails)
    found = quantize.quantize(table, tmp_path / "int8.onnx")
    assert found.kept is None
    assert found.why == "INT8 does not pay here; tried: it cannot be made ready: no shapes"


def test_the_quantiser_says_nothing(table: Material, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable
    quantize.quantize(table, tmp_path / "int8.onnx", Int8(Choice("static", "percentile"), []))
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == before


def test_a_depthwise_net_is_found_not_to_pay_by_this_machines_clock(pictures: Case, tmp_path: Path) -> None:
    found = quantize.quantize(pictures(depthwise=True), tmp_path / "int8.onnx")
    assert found.kept is None, found.why
    assert "INT8 does not pay here; tried: static min-max: CPU time" in found.why


@pytest.mark.slow
def test_a_resnet_is_found_to_pay_by_this_machines_clock(folder: Path, tmp_path: Path) -> None:
    inputs, target = digits(640, size=64)
    torch.manual_seed(0)
    body = torchvision.models.resnet18(num_classes=4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.body((image.permute(0, 3, 1, 2).float() - 128) / 64), -1)

    net = trained(Net(), inputs[:512], target[:512], steps=40)
    exported(net, "image", torch.from_numpy(inputs[:2]), folder / "resnet.onnx")
    case = material(folder / "resnet.onnx", "image", inputs[:256], inputs[256:], target[256:], net)
    found = quantize.quantize(case, tmp_path / "int8.onnx")
    assert found.kept is not None, found.why
    assert (tmp_path / "int8.onnx").stat().st_size < 0.4 * (folder / "resnet.onnx").stat().st_size


def test_a_trial_says_what_it_found() -> None:
    one = Tried(Choice("static", "entropy", ("conv1",)), {}, ["0.9 of the answers agree"], {"1": [2.0, 1.0]}, True)
    assert not one.good
    assert str(one) == (
        "static entropy, conv1 left in FP32: 0.9 of the answers agree; CPU time 50 % at batch 1 of that in FP32"
    )


_AGAIN = """
import pickle, sys
from pathlib import Path
from torchkiln.deploy import quantize
material = quantize.Material(**pickle.loads(sys.stdin.buffer.read()))
quantize.quantize(material, Path(sys.argv[1]), quantize.Int8(quantize.Choice("static", "min-max"), []))
"""


def test_two_processes_write_the_same_file(table: Material, tmp_path: Path) -> None:
    import pickle

    given = {"source": table.source, "names": table.names, "calibration": table.calibration, "judged": table.judged,
             "classes": True}  # fmt: skip
    for seed in ("1", "2"):  # of Python's hashes, by which sets are ordered
        command = [sys.executable, "-c", _AGAIN, str(tmp_path / seed)]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, input=pickle.dumps(given), env=env, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
