"""All that the person says about a server, and what can be told to be wrong before it starts."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.errors import InputError
from torchkiln.serving.limits import Limits
from torchkiln.serving.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One server."""

    paths: list[Path]
    """Bundles, runs, folders of name/version/."""
    host: str = "127.0.0.1"
    """Address that is listened on; any but a loopback needs tokens, or `no_auth`."""
    port: int = 8000
    """0 takes a free one."""
    workers: int = 0
    """Processes; 0: one a usable core."""
    threads: int = 1
    """Of one batch in the model."""
    versions: str = "latest:1"
    """Which versions of a folder answer: `latest:N`, `all`, or names with commas."""
    watch: bool = False
    """Whether new bundles in the folders are taken up as they come."""
    token_file: Path | None = None
    """Lines of TOKEN RIGHT[,RIGHT] [RATE]."""
    no_auth: bool = False
    """Whether everyone who reaches the address may ask."""
    tls_cert: Path | None = None
    """A certificate chain, PEM."""
    tls_key: Path | None = None
    """Its key, PEM; None: it stands in the same file."""
    access_log: str | None = "-"
    """A file, `-` for standard output, None for none."""
    request_log: str | None = None
    """A file for sampled requests and their answers."""
    request_share: float = 0.01
    """Of the requests that go there."""
    hash_fields: frozenset[str] = frozenset()
    """Fields of records that are hashed there."""
    drain_seconds: float = 20.0
    """From a SIGTERM to the end, at most."""
    allow_unproven: bool = False
    """Serve models whose proof failed."""
    require_signature: Path | None = None
    """A public key that bundles must be signed for."""
    form: str | None = None
    """`onnx` or `int8`; None: the one that the export chose."""
    limits: Limits = field(default_factory=Limits)
    """Of requests, connections and queues."""

    def check(self) -> None:
        """Say what is wrong before anything is started.

        Raises:
            InputError: One sentence.
        """
        if not self.paths:
            raise InputError("nothing to serve; name a bundle, a run, or a folder of name/version/")
        if not 0 <= self.port < 65536 or self.workers < 0 or self.threads < 1:
            raise InputError("--port is 0 to 65535, --workers from 0 and --threads from 1")
        if self.token_file is not None:
            self.tokens()
        elif not self.no_auth and not self.loopback:
            raise InputError(f"{self.host} can be reached from other machines: give --token-file FILE, or --no-auth "
                             "where something else checks who asks")  # fmt: skip
        self.tls()

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def tokens(self) -> Tokens | None:
        """Who may ask; None: everyone."""
        return Tokens.read(self.token_file) if self.token_file is not None else None

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts connections, if anything does.

        Raises:
            InputError: The certificate or its key cannot be read, or they do not belong together.
        """
        if self.tls_cert is None:
            if self.tls_key is not None:
                raise InputError("--tls-key needs --tls-cert")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"{self.tls_cert}: no certificate and key that can be used ({error})") from error
        return context

    def bundle_options(self) -> dict[str, Any]:
        """For `torchkiln.serving.served.load`."""
        return {"allow_unproven": self.allow_unproven, "require_signature": self.require_signature,
                "model": self.form, "threads": self.threads}  # fmt: skip
