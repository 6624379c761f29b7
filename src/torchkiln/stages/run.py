"""What every run does, whoever's the parts are: its first files, the fit, the test's files, the report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchkiln.data.source import Finding
from torchkiln.errors import DataError, KilnError, RunError, RunFailed
from torchkiln.recipe.schema import Recipe
from torchkiln.report.planned import sentences
from torchkiln.runs import checkpoints, environment
from torchkiln.runs.directory import CHILD, CHILD_RESUMES, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import going_on, guarding
from torchkiln.training import compiling, jobs, measuring, plan, settings
from torchkiln.training import fit as training
from torchkiln.training.devices import device_name
from torchkiln.training.signals import Stopped

EVAL_BATCH = 256
BEST = "best.json"


def write_finding(run: RunDirectory, finding: Finding) -> None:
    """Add a finding to events.jsonl."""
    run.event("finding", finding.text, finding.level, code=finding.code, samples=finding.samples[:20])


def write_plan(run: RunDirectory, planned: plan.Plan, net: nn.Module, digest: str | None) -> None:
    """Write plan.json and environment.json."""
    recipe = planned.recipe
    run.write_json("plan.json", planned.written())
    for decided in planned.decisions:
        if decided["what"] == "train.compile" and measuring.FELL_BACK in decided["why"]:
            run.event("decision", f"train.compile: {decided['why']}", "warn")
    parameters = list(net.parameters())
    run.write_json(
        "environment.json",
        {
            **machine(recipe),
            "precision": {"mode": recipe.train.precision, "kept_fp32": planned.kept_fp32},
            "data_digest": digest,
            "threads": recipe.train.threads,
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            "not_bitwise": [],
        },
    )


def tell(planned: plan.Plan, progress: Progress) -> None:
    """Show a plan: its decisions, when they were measured, and what the run will take."""
    progress.plan(planned.decisions)
    for line in sentences(planned.written()):
        progress.message(line)


def machine(recipe: Recipe) -> dict[str, Any]:
    """The device, the versions and the rest of what a life of a run trains on."""
    train = recipe.train
    described = environment.describe(Path.cwd())
    described["versions"]["cuda"] = torch.version.cuda if torch.cuda.is_available() else None
    described["cpu"]["kernels"] = torch.backends.cpu.get_cpu_capability()
    named = device_name(train.device)
    return {"device": {"type": train.device, "name": named, "count": train.devices}, **described}


def is_complete(run: RunDirectory, progress: Progress) -> bool:
    """Whether all stages ended, which is then said."""
    complete = all(run.finished(stage) for stage in ("fit", "test", "report")) and _best_is_whole(run)
    if complete:
        progress.message("the run is complete; nothing is left to do")
    return complete


def training_is_left(run: RunDirectory) -> bool:
    """Whether there is training to do: it did not end, or its best weights were damaged since and are sought again."""
    if run.finished("fit") and _best_is_whole(run):
        return False
    if not going_on.is_child():
        run.write_json("stages.json", {})
        (run.path / BEST).unlink(missing_ok=True)
    return True


def _best_is_whole(run: RunDirectory) -> bool:
    step = run.read_json(BEST, {}).get("step")
    return step is not None and checkpoints.is_whole(
        checkpoints.named(run.path / "checkpoints", checkpoints.BEST, step)
    )


def write_resume(run: RunDirectory, recipe: Recipe, left: str | None, progress: Progress) -> None:
    """What is to be said of a further life of a run before it trains.

    Args:
        left: Who left the run directory locked, if anyone.
    """
    if left:
        run.event("resume", f"{left} ended without a word while it trained here; the run is taken over")
    going_on.check_machine(run, machine(recipe), recipe, progress)


def as_child(recipe: Recipe) -> RunDirectory | None:
    """The run of which this process is a further one, started by Lightning; None in the first."""
    if CHILD not in os.environ or jobs.shard(recipe).rank == 0:
        return None
    return RunDirectory.open(os.environ[CHILD])


def train(run: RunDirectory, job: training.Job, recipe: Recipe, progress: Progress, resume: bool) -> None:
    """The fit stage: whatever ends it early leaves a run that can be resumed, and words that say so.

    Raises:
        RunError: The checkpoint to go on from is of another model.
        RunFailed: Training stopped before its end.
    """
    progress.stage("fit", "training")
    if not going_on.is_child():
        run.remember()
    resume = bool(int(os.environ.get(CHILD_RESUMES, resume)))
    begun = time.perf_counter()
    os.environ |= {CHILD: str(run.path), CHILD_RESUMES: str(int(resume))}
    again = f"go on with: torchkiln fit --resume {run.path}"
    graphs = compiling.Compilations() if getattr(job.module, "compiled", ()) else None
    try:
        with settings.applied(settings.of(recipe)), guarding.guarded(run, job, recipe, progress, resume):
            best = training.fit(job, recipe, run, progress, resume)
    except DataError as error:  # a file that went bad, or away, under way
        raise RunFailed(f"{error}; mend it, then {again}") from error
    except KilnError as error:
        if isinstance(error, Stopped) and jobs.shard(recipe).rank > 0:
            sys.exit(0)  # the first process says so; a code of ours would have Lightning end it first
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        raise RunFailed(f"stopped at once, at the cost of what was not yet saved; {again}") from error
    except Exception as error:
        if "loading state_dict" in str(error):
            raise RunError(f"{run.path / 'checkpoints'} holds the state of another model: {_keys(error)}; put its own "
                           "checkpoints back") from error  # fmt: skip
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        raise RunFailed(f"training failed: {type(error).__name__}: {first}; the run is kept: {again}") from error
    finally:
        del os.environ[CHILD], os.environ[CHILD_RESUMES]
    if jobs.shard(recipe).rank > 0:
        sys.exit(0)  # a further process of the same run; the first one tests and reports
    run.write_json(BEST, best)
    if graphs:
        run.write_json("plan.json", {**run.read_json("plan.json", {}), "compiled": graphs.counted()})
    note_time(run, "train_seconds", time.perf_counter() - begun)
    run.finish("fit")


def _keys(error: Exception) -> str:
    """The tensors that do not fit, as torch names them below its first line."""
    named = [line.strip().rstrip(". ") for line in str(error).splitlines()[1:] if line.strip()]
    return "; ".join(named[:2]) + (f"; and {len(named) - 2} more" if len(named) > 2 else "")


def conclude(run: RunDirectory, progress: Progress, begun: float) -> Path:
    """The last stage: the report, with the total time in it."""
    from torchkiln.report import page  # here, since nothing before it waits for templates

    progress.stage("report", "writing the report")
    note_time(run, "total_seconds", time.perf_counter() - begun)
    page.write(run.path)
    run.finish("report")
    progress.done({**run.read_json("test.json"), "run": str(run.path)})
    return run.path


def write_test(run: RunDirectory, result: Any, more: Mapping[str, Any]) -> None:
    """Write test.json, predictions.parquet and mistakes.json."""
    result.predictions.write_parquet(run.path / "predictions.parquet")
    run.write_json("mistakes.json", result.mistakes)
    # test.json is the same after any resume; what a clock says goes beside the other timings
    seconds = {b["name"]: b.pop("seconds") for b in result.test["baselines"]}
    run.write_json("environment.json", {**run.read_json("environment.json", {}), "baseline_seconds": seconds})
    run.write_json("test.json", {**result.test, **more, **best_of(run)})
    run.finish("test")


def best_of(run: RunDirectory) -> dict[str, Any]:
    """Which weights were tested, and from which epoch."""
    best = run.read_json(BEST, {})
    return {"weights": "best" if best.get("metric") else "last", "best_epoch": best.get("epoch")}


def note_time(run: RunDirectory, name: str, spent: float) -> None:
    """Add seconds to environment.json, over all lives of the run, and what follows from them."""
    known = run.read_json("environment.json", {})
    known[name] = (known.get(name) or 0.0) + spent
    rows = [r for r in run.rows("timings") if r.get("samples_per_second")]
    if rows:
        speeds = sorted(float(r["samples_per_second"]) for r in rows)
        known["samples_per_second"] = speeds[len(speeds) // 2]
        known["peak_memory_mb"] = max(float(r["memory_mb"]) for r in rows)
    run.write_json("environment.json", known)
