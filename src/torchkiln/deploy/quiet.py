"""What exporters print, kept in a file: it runs to thousands of lines, and the cause stands in one of them."""

from __future__ import annotations

import contextlib
import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def into(log: Path) -> Iterator[None]:
    """Printed lines, warnings, log records and the traceback of an error go to `log`; nothing said leaves none."""
    with log.open("w", encoding="utf-8", errors="backslashreplace") as out:
        handler = logging.StreamHandler(out)
        loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir", "onnxruntime")]
        kept = [(one, one.handlers[:], one.propagate) for one in loggers]
        for one in loggers:
            one.handlers, one.propagate = [handler], False

        def told(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
            out.write(warnings.formatwarning(message, category, filename, lineno))

        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
                warnings.simplefilter("default")
                warnings.showwarning = told
                yield
        except BaseException:
            traceback.print_exc(file=out)
            raise
        finally:
            for one, handlers, propagate in kept:
                one.handlers, one.propagate = handlers, propagate
    if not log.stat().st_size:
        log.unlink()
