from __future__ import annotations

from torchkiln.checks.diagnose.failure import Failure, Frame, said, words

TENSOR = {"is": "tensor", "shape": [4, 9], "dtype": "float32", "device": "cpu", "grad": False, "graph": False}


def test_the_innermost_line_of_ones_own() -> None:
    failure = Failure("a.b.E", "x\n y", [Frame("t.py", 1, "f"), Frame("/v/site-packages/torch/n.py", 2, "g", "c()")])
    assert failure.name == "E" and failure.flat == "x y"
    assert failure.place == failure.frames[0]
    assert failure.where.endswith("torch/n.py:g: c()")


def test_pythons_own_errors_have_one_line() -> None:
    assert Failure("KeyError", "'a'\nCUDA out of memory").flat == "'a'"


def test_names_for_a_mend() -> None:
    found = words(Frame("t.py", 1, "f", "loss = self.loss(out, y)", {"self.net.0": {"inner": True, "is": "list"}}))
    assert found == {"code": "loss = self.loss(out, y)", "function": "f", "called": "self.loss", "given": "out",
                     "second": "y", "owner": "self", "layer": "self.net.0"}  # fmt: skip
    assert words(Frame("t.py", 1, "f", "return fc(x)"))["layer"] == "fc"
    assert words(Frame("t.py", 1, "f", "for x in loader:")) == {"code": "for x in loader:", "function": "f"}
    assert words(None) == {}


def test_values_are_said() -> None:
    frame = Frame("t.py", 1, "f", "", {"x": TENSOR, "kept": {"is": "list", "length": 3, "graph": True}})
    assert said(frame) == "x float32[4, 9] on cpu, kept 3 tensors"
