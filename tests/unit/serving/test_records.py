"""What `test_app` does not see from outside: boundaries, and how a body becomes records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bundles
import pytest

from torchkiln.serving.limits import Limits
from torchkiln.serving.metrics import Metrics
from torchkiln.serving.records import read
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.served import Served, load


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Served:
    path = bundles.pictures(tmp_path_factory.mktemp("b") / "pictures")
    return load("m", "1", path, {"threads": 1}, Limits(), Metrics())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Served:
    path = bundles.table(tmp_path_factory.mktemp("b") / "table")
    return load("m", "1", path, {"threads": 1}, Limits(), Metrics())


def test_csv_cells_become_numbers_names_and_nothing(table: Served) -> None:
    body = b'\xef\xbb\xbfage,height,town,since\n1e2,,"Ulm, Donau",2020-03-01\nx,1,,\n'
    assert read(body, b"text/csv", table, Limits()) == [
        {"age": 100.0, "height": None, "town": "Ulm, Donau", "since": "2020-03-01"},
        {"age": "x", "height": 1.0, "town": None, "since": None},
    ]


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=x", b'multipart/form-data; boundary="x"'])
def test_a_boundary_with_and_without_quotes(kind: bytes, pictures: Served) -> None:
    png = bundles.png()
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + png + b"\r\n--x--\r\n"
    assert read(body, kind, pictures, Limits()) == [{"image": png}]


@pytest.mark.parametrize(
    "body",
    [b"--x--", b"nothing", b"--x\r\n\r\n--x--", b"before--x\r\n\r\n\r\n--x--", b"--x\r\nno: form\r\n\r\nbody\r\n--x--",
     b"--x\r\nform-data: " + b"y" * 5000 + b"\r\n\r\nbody\r\n--x--"],
)  # fmt: skip
def test_other_multiparts_are_refused(body: bytes, pictures: Served) -> None:
    with pytest.raises(Refusal) as refused:
        read(body, b"multipart/form-data; boundary=x", pictures, Limits())
    assert refused.value.status in (400, 422)


def test_a_picture_is_measured_by_its_head_alone(pictures: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    def decoded(self: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    with pytest.raises(Refusal) as refused:
        read(bundles.png(side=2000), b"image/png", pictures, Limits(megapixels=1.0))
    assert refused.value.status == 413 and "megapixels" in refused.value.detail


def test_a_path_is_no_picture(pictures: Served, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(bundles.png())
    body = b'{"image": "' + str(tmp_path / "p.png").encode() + b'"}'
    with pytest.raises(Refusal, match="base64"):
        read(body, b"application/json", pictures, Limits())
