"""What disks and strangers do to bundles and to requests: refused in a sentence, never believed, never a crash."""

from __future__ import annotations

import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bundles
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchkiln import bundle
from torchkiln.bundle import archive, external, files
from torchkiln.errors import BundleError, RecordError

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(key)
    return bundles.text(folder / "b", sign_key=folder / "key.pem")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bundle.Bundle]:
    folder = tmp_path_factory.mktemp("models")
    makers: dict[str, Any] = {
        "plain": lambda f: bundles.table(f, without=["since"]),
        "table": bundles.table,
        "text": bundles.text,
        "pictures": bundles.pictures,
        "tensors": bundles.tensors,
    }
    return {name: bundle.load(make(folder / name)) for name, make in makers.items()}


def refusal(call: Callable[[], object], *kinds: type[Exception]) -> str | None:
    """The sentence with which it is refused; None where it is not."""
    try:
        call()
    except kinds as error:
        return str(error)
    return None


# Files


@quick
@given(data=st.data())
def test_a_byte_changed_anywhere_is_seen(signed: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(files.listed(signed)))
    content = (signed / name).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    what = data.draw(st.sampled_from(["flip", "cut", "more", "drop"]))
    changed = {
        "flip": content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :],
        "cut": content[:at],
        "more": content + b" ",
        "drop": content[:at] + content[at + 1 :],
    }[what]
    (signed / name).write_bytes(changed)
    said = refusal(lambda: bundle.load(signed), BundleError)
    (signed / name).write_bytes(content)
    if said is None:
        assert name == "signature.json"  # where a space more changes nothing that is said
    else:
        assert name in said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@quick
@given(data=st.data())
def test_whatever_a_manifest_says_is_checked(models: dict[str, bundle.Bundle], data: st.DataObject) -> None:
    folder = models["text"].path
    before = (folder / "manifest.json").read_bytes()
    content: Any = json.loads(before)
    place: Any = content
    key: Any = data.draw(st.sampled_from(sorted(content)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(JSON)
    (folder / "manifest.json").write_text(json.dumps(content))
    try:
        refusal(lambda: bundle.load(folder).predict("a good film"), BundleError)
    finally:
        (folder / "manifest.json").write_bytes(before)


NAMES = st.lists(
    st.sampled_from(["..", ".", "a", "b.json", "", "/", "\\", "C:", "\x00", "a" * 300, "\u202e", " ", "~", "\n"]),
    min_size=1, max_size=4,
).map("/".join)  # fmt: skip


@quick
@given(names=st.lists(NAMES | st.text(max_size=12), min_size=1, max_size=4))
def test_no_name_in_an_archive_leads_out_of_it(names: list[str], tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name in dict.fromkeys(names):
            try:
                entry = zipfile.ZipInfo("x")
                entry.filename = name
                target.writestr(entry, b"content")
            except (ValueError, UnicodeEncodeError):
                return
    (tmp_path / "b.zip").write_bytes(out.getvalue())
    try:
        folder = archive.unpack(tmp_path / "b.zip")
    except BundleError:
        return
    try:
        inside = [p for p in folder.rglob("*") if p.is_file()]
        assert len(inside) == len(set(names))
        for name in names:
            called = name.partition("\x00")[0]  # zip itself ends a name there
            assert (folder / called).resolve().is_relative_to(folder.resolve())
    finally:
        shutil.rmtree(folder)


@quick
@given(content=st.binary(max_size=200), cut=st.integers(0, 3000), at=st.integers(0, 3000), byte=st.integers(0, 255))
def test_a_damaged_graph_is_refused_or_read(
    models: dict[str, bundle.Bundle], content: bytes, cut: int, at: int, byte: int, tmp_path: Path
) -> None:
    whole = bytearray((models["table"].path / "model.onnx").read_bytes())
    whole[at % len(whole)] = byte
    for damaged in (content, bytes(whole[:cut]), bytes(whole)):
        (tmp_path / "m.onnx").write_bytes(damaged)
        said = refusal(lambda: external.locations(tmp_path / "m.onnx"), BundleError)
        assert said is None or "m.onnx" in said


# Requests

ODD = JSON | st.sampled_from(
    [math.nan, math.inf, 10**400, -(2**63), 1e308, "\ud800", "\x00", "data:,", "AAAA", b"", True]
)


@settings(quick, max_examples=120)
@given(data=st.data(), kind=st.sampled_from(["plain", "table", "text", "pictures", "tensors"]))
def test_whatever_is_asked_is_answered_or_refused_in_a_sentence(
    models: dict[str, bundle.Bundle], data: st.DataObject, kind: str
) -> None:
    made = models[kind]
    good = {
        "plain": {name: value for name, value in bundles.RECORD.items() if name != "since"},
        "table": bundles.RECORD,
        "text": {"text": "a"},
        "pictures": {"image": bundles.png()},
        "tensors": {"x": [[1, 2, 3]]},
    }
    record: Any = dict(good[kind])
    for name in data.draw(st.lists(st.sampled_from(sorted(record)), max_size=2)):
        record[name] = data.draw(ODD)
    if data.draw(st.integers(0, 9)) == 0:
        record = data.draw(ODD | st.dictionaries(st.text(max_size=5), ODD, max_size=2))
    answers: list[Any] = []
    said = refusal(lambda: answers.extend(made.decode(made.compute(made.encode([good[kind], record])))), RecordError)
    if said is None:
        json.dumps(answers, allow_nan=False)
    else:
        assert "records[1]" in said and "\n" not in said


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_an_answer_in_a_batch_is_the_answer_alone(kind: str, tmp_path: Path) -> None:
    made = bundle.load(bundles.text(tmp_path / "b", kind=kind))
    rng = np.random.default_rng(0)
    words = ["good", "bad", "film", "zebra", "a", "\u00e9", "", "\n"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(300)]
    together = made.predict(texts, batch_size=32)
    for text, answer in zip(texts, together, strict=True):
        alone = made.predict(text)[0]
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)


def test_nothing_in_a_bundle_is_a_pickle_or_a_program(models: dict[str, bundle.Bundle]) -> None:
    for made in models.values():
        for name in files.listed(made.path):
            content = (made.path / name).read_bytes()
            assert not name.endswith((".py", ".pyc", ".pkl", ".pickle", ".pt", ".so", ".sh")), name
            assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x7fELF", b"#!")), name
