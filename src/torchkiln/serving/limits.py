"""What one request, one connection and one queue may take; each is an option of `torchkiln serve`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds, all of them checked before memory is taken for what they bound."""

    body_mb: float = 16.0
    """Body of a request as sent, in MB of 10^6 bytes."""
    inflated_mb: float = 64.0
    """The same after gzip or deflate, in MB."""
    ratio: int = 100
    """Most bytes that one compressed byte may become."""
    head_kb: int = 32
    """Request line and headers, in kB of 1,000 bytes."""
    head_seconds: float = 5.0
    """From the first byte of a request to the end of its headers."""
    body_seconds: float = 30.0
    """From the end of the headers to the end of the body."""
    idle_seconds: float = 65.0
    """How long a connection may stay open between requests."""
    connections: int = 1024
    """Open at once, of each worker."""
    batch: int = 64
    """Rows computed at once."""
    queue: int = 8
    """Rows that may wait, in largest batches."""
    delay_us: int = 0
    """How long a batch waits to become fuller, in microseconds."""
    deadline_seconds: float = 10.0
    """From the end of the headers to the answer; `x-timeout-ms` lowers it."""
    rows: int = 1024
    """Records of one request."""
    megapixels: float = 50.0
    """Of a picture, told from its header before it is decoded."""
    text_kb: int = 1000
    """Of one text in UTF-8, in kB."""
    depth: int = 64
    """How deep JSON may be nested."""
    parts: int = 1024
    """Parts of a multipart body."""

    bundle_mb: float = 4000.0
    """A larger bundle is not loaded."""

    @property
    def body_bytes(self) -> int:
        """Largest body."""
        return int(self.body_mb * 1e6)

    @property
    def inflated_bytes(self) -> int:
        """Largest body once inflated."""
        return int(self.inflated_mb * 1e6)

    @property
    def queue_rows(self) -> int:
        """Rows that may wait."""
        return self.queue * self.batch
