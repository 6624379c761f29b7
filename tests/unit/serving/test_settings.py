from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from torchkiln.errors import InputError
from torchkiln.serving.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_only_this_machine_reaches_a_loopback(host: str) -> None:
    Settings(paths=[Path("x")], host=host).check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org"])
def test_other_addresses_need_tokens_or_a_word(host: str) -> None:
    with pytest.raises(InputError, match="--token-file"):
        Settings(paths=[Path("x")], host=host).check()
    Settings(paths=[Path("x")], host=host, no_auth=True).check()


def test_numbers_out_of_range() -> None:
    with pytest.raises(InputError, match="--port"):
        Settings(paths=[Path("x")], port=70_000).check()
    with pytest.raises(InputError, match="nothing to serve"):
        Settings(paths=[]).check()


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def test_certificates(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    Settings(paths=[Path("x")], tls_cert=cert, tls_key=key).check()
    for wrong in (
        {"tls_cert": cert},
        {"tls_key": key},
        {"tls_cert": tmp_path / "none"},
        {"tls_cert": key, "tls_key": cert},
    ):
        with pytest.raises(InputError):
            Settings(paths=[Path("x")], **wrong).check()
