"""The Dockerfile of a bundle: the base install without torch, as a user who owns nothing."""

from __future__ import annotations

from collections.abc import Mapping

_TEXT = """\
# The server of this bundle, without torch.  docker build -t NAME . && docker run -p 8000:8000 \\
#   -v $PWD/token:/run/secrets/token:ro NAME
# Without a token, behind a proxy that asks for one:  docker run -p 127.0.0.1:8000:8000 NAME --no-auth
FROM python:{python}-slim
RUN pip install --no-cache-dir "torchkiln=={torchkiln}" \\
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin torchkiln
# The files belong to root and are read by all: whoever gets into the server cannot change the model.
COPY --chmod=a+rX . /bundle
USER 10001
ENV PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \\
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["torchkiln", "serve", "/bundle", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--token-file", "/run/secrets/token"]
"""


def dockerfile(versions: Mapping[str, str]) -> str:
    """The content of Dockerfile.

    Args:
        versions: As in the manifest; those of Python and of torchkiln are installed.
    """
    minor = ".".join(versions["python"].split(".")[:2])
    return _TEXT.format(python=minor, torchkiln=versions["torchkiln"])
