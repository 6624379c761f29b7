"""Ed25519 over the bytes of manifest.json, which names every other file by its digest."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from torchkiln.bundle.manifest import MANIFEST, SIGNATURE
from torchkiln.errors import BundleError

_MAKE = "openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout -out public.pem"


def sign(manifest: bytes, key_file: Path) -> bytes:
    """The content of signature.json.

    Args:
        manifest: The bytes that are signed.
        key_file: A private key in a PEM file, without a password.

    Raises:
        BundleError: It is no such key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"{key_file} cannot be read as a private key ({_why(error)}); make one: {_MAKE}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{key_file} is no Ed25519 key; make one: {_MAKE}")
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    content = {
        "algorithm": "ed25519",
        "public_key": _text(key.public_key().public_bytes(*raw)),
        "signature": _text(key.sign(manifest)),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def check(folder: Path, public: Path | None) -> None:
    """Whether a bundle's signature fits its manifest, and is by the right key.

    Args:
        folder: The bundle's.
        public: The public key, in a PEM file, that it must be signed by; None takes any, or no signature.

    Raises:
        BundleError: It is not signed, though it must be; or by another key; or what was signed was changed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    file = folder / SIGNATURE
    if not file.is_file():
        if public is not None:
            raise BundleError(f"{folder} is not signed, and a signature by {public} is required")
        return
    wanted = None if public is None else _public_bytes(public)
    try:
        content = json.loads(file.read_bytes())
        key, signature = (base64.b64decode(content[name], validate=True) for name in ("public_key", "signature"))
        if wanted is not None and key != wanted:
            raise BundleError(f"{file} is by another key than {public}")
        Ed25519PublicKey.from_public_bytes(key).verify(signature, (folder / MANIFEST).read_bytes())
    except InvalidSignature as error:
        raise BundleError(f"{folder / MANIFEST} was changed after it was signed; {file} does not fit it") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{file} is no signature that can be read ({_why(error)})") from error


def _public_bytes(file: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key: Any = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read as a public key ({_why(error)}); make one: {_MAKE}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{file} is no Ed25519 key; make one: {_MAKE}")
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _why(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror or str(error).partition("\n")[0][:200] or type(error).__name__
