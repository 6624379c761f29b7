"""A signature holds for the very bytes that were signed, and only by the right key."""

from __future__ import annotations

import json
from pathlib import Path

import bundles
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from torchkiln import bundle
from torchkiln.errors import BundleError


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    made = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    plain = serialization.NoEncryption()
    private.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_only_the_right_key_opens(tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    _, others = keys(tmp_path, "theirs")
    path = bundles.table(tmp_path / "b", sign_key=private)
    assert bundle.load(path, require_signature=public).predict(bundles.RECORD)
    with pytest.raises(BundleError, match="by another key than"):
        bundle.load(path, require_signature=others)
    (path / "signature.json").unlink()
    with pytest.raises(BundleError, match="is not signed"):
        bundle.load(path, require_signature=public)


def test_a_manifest_that_was_changed_does_not_fit(tmp_path: Path) -> None:
    private, _ = keys(tmp_path, "ours")
    path = bundles.table(tmp_path / "b", sign_key=private)
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"small"', '"other"'))
    with pytest.raises(BundleError, match=r"manifest\.json was changed after it was signed"):
        bundle.load(path)


@pytest.mark.parametrize("content", ["", "[]", '{"public_key": "x", "signature": "y"}', '{"public_key": 1}'])
def test_what_is_no_signature_is_refused(content: str, tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    (path / "signature.json").write_text(content)
    with pytest.raises(BundleError, match=r"signature\.json is no signature"):
        bundle.load(path)


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "rsa.pem").write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (tmp_path / "text.pem").write_text("no key")
    for name, sentence in (("rsa", "is no Ed25519 key"), ("text", "cannot be read"), ("none", "No such file")):
        with pytest.raises(BundleError, match=sentence):
            bundles.table(tmp_path / "b", sign_key=tmp_path / f"{name}.pem")
    assert not (tmp_path / "b").exists()
    path = bundles.table(tmp_path / "b", sign_key=keys(tmp_path, "ours")[0])
    with pytest.raises(BundleError, match="cannot be read as a public key"):
        bundle.load(path, require_signature=tmp_path / "text.pem")
    assert json.loads((path / "signature.json").read_text())["algorithm"] == "ed25519"
