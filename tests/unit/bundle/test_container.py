"""The Dockerfile installs what the manifest says, and no torch."""

from __future__ import annotations

from torchkiln.bundle.container import dockerfile


def test_the_base_install_as_nobody() -> None:
    text = dockerfile({"python": "3.11.7", "torchkiln": "0.1.0", "torch": "2.14"})
    lines = text.splitlines()
    assert "FROM python:3.11-slim" in lines and 'torchkiln==0.1.0"' in text and "USER 10001" in lines
    assert "HEALTHCHECK" in text and "/readyz" in text
    assert '"torchkiln==0.1.0"' in text and "[train]" not in text and "torch==" not in text
    assert lines.index("USER 10001") < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
