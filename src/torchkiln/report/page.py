"""The report of a run: one self-contained HTML file, the verdict first."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from torchkiln.errors import RunError
from torchkiln.report import exported, predictions, sections, words
from torchkiln.report.material import Material, read
from torchkiln.report.verdict import verdict
from torchkiln.runs.directory import RunDirectory, write_atomic

NAME = "report.html"
_TEMPLATES = Path(__file__).parent / "template"


def write(run_path: str | Path) -> Path:
    """Write `report.html` into a run directory, from what its files hold.

    A file that is missing or damaged costs its section, which says so; the others are written.

    Args:
        run_path: The run directory.

    Returns:
        The page's path.

    Raises:
        RunError: There is no run, or the page cannot be written.
    """
    run = RunDirectory.open(run_path)
    page = render(read(run.path))
    try:
        write_atomic(run.path / NAME, page.encode("utf-8", errors="replace"))
    except OSError as error:
        raise RunError(f"{run.path / NAME} cannot be written: {error.strerror}") from error
    return run.path / NAME


def render(material: Material) -> str:
    """The whole page."""
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    return (
        _environment()
        .get_template("page.html")
        .render(
            m=material,
            name=material.path.resolve().name,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            verdict=verdict(material),
            curves=sections.curves(material),
            confusion=predictions.confusion(material),
            residuals=predictions.residuals(material),
            calibration=predictions.calibration(material),
            mistakes=predictions.mistakes(material),
            slices=predictions.slices(material),
            data=sections.data(material),
            plan=sections.plan(material),
            exported=exported.section(material.export),
            environment=sections.environment(material),
            epochs=sections.epochs(material),
            events=sections.events(material),
        )
    )


def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for name in ("count", "plural", "share", "score", "interval", "figure", "duration", "measure"):
        env.filters[name] = getattr(words, name)
    env.filters["sortable"] = _sortable
    env.filters["breakable"] = _breakable
    return env


def _sortable(value: Any) -> str:
    """A number for the sorting of a table; empty where there is none."""
    return repr(value) if isinstance(value, (int, float)) and math.isfinite(value) else ""


def _breakable(text: Any) -> Markup:
    """Text that may break behind an underscore or a slash, as names and paths should."""
    return Markup(re.sub(r"([_/])(?=\w)", r"\1<wbr>", str(escape(text))))


def _policy(style: str, script: str) -> str:
    """What the browser may load: nothing from anywhere, and this style and script alone."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    own = f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    return f"default-src 'none'; img-src data:; {own}"
