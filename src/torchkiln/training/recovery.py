"""What a fit that failed can be helped by: another life from its newest checkpoint, with one thing changed."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

from torchkiln.data.replayed import Replayed
from torchkiln.data.workers import at_work, out_of_files, restart, worker_fault
from torchkiln.errors import RunFailed
from torchkiln.models.memory import memory_asked, out_of_memory
from torchkiln.runs.decisions import Decision, Decisions
from torchkiln.training.finite import NotFinite


class At(NamedTuple):
    """Where a fit was: epoch, batch in it, optimizer step, and whether validation had begun."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    validating: bool = False


MOST_SKIPPED = 10
"""Batches that may be left out of a run; more is no accident of the data."""
WORKER_LIVES = 2
"""Restarts of dead workers at one place; after these, samples are read in the training process."""


class Recovery:
    """Decides whether a failed fit can go on, and changes what must change for it.

    Args:
        decisions: Where to note it.
        batch_size: Samples that one process computes at once.
        skip: Whether batches that are not finite may be left out.
        loaders: Those of training and validation.
        can_split: Whether batches can be computed in parts.
    """

    def __init__(
        self, decisions: Decisions, *, batch_size: int, skip: bool, loaders: list[Any], can_split: bool
    ) -> None:
        self.decisions, self.batch_size, self.skip = decisions, batch_size, skip
        self.loaders, self.can_split = loaders, can_split
        self.closely = False
        """Whether the next life searches for the batch that is not finite."""
        self._deaths: Counter[At] = Counter()

    def recover(self, error: Exception, at: At) -> str:
        """Prepare the next life; raises what cannot be helped.

        Args:
            error: Why the life ended.
            at: Where.

        Returns:
            What happened and what is done about it.
        """
        if isinstance(error, NotFinite):
            return self._leave_out(error)
        if out_of_memory(error):
            return self._split(error, at)
        if fault := worker_fault(error):
            return self._restart(fault, error, at)
        if said := out_of_files(error):
            raise RunFailed(said) from error
        raise error

    def _leave_out(self, error: NotFinite) -> str:
        if not self.skip:
            raise error
        if not self.closely:
            # What is seen may be the trace of an earlier batch's gradient.
            self.closely = True
            return f"{error.what} is not finite at step {error.step}: the batch that makes it so is searched for"
        self.closely = False
        if sum(d.kind == "skip_batch" for d in self.decisions.made) >= MOST_SKIPPED:
            raise RunFailed(f"{MOST_SKIPPED} batches were left out, and still: {error}") from error
        text = (f"{error.what} of batch {error.batch} in epoch {error.epoch} is not finite{error.of}: "
                "the batch is left out")  # fmt: skip
        self.decisions.add(Decision("skip_batch", error.step, text, epoch=error.epoch, batch=error.batch))
        return text

    def _split(self, error: Exception, at: At) -> str:
        kind: Literal["eval_parts", "parts"] = "eval_parts" if at.validating else "parts"
        parts = 2 * self.decisions.parts(at.step, kind)
        need = f" ({asked})" if (asked := memory_asked(error)) else ""
        what = f"out of memory in {'validation' if at.validating else 'training'} at step {at.step}{need}"
        if not self.can_split:
            raise RunFailed(f"{what}: lower train.batch_size and raise train.accumulate by as much, in a new run"
                            ) from error  # fmt: skip
        if parts >= 2 * self.batch_size * (2 if at.validating else 1):
            raise RunFailed(f"{what}, with one sample at a time: take a smaller model, or set "
                            "model.checkpoint_gradients or train.precision=bf16, in a new run") from error  # fmt: skip
        text = f"{what}: from there on a batch is computed in {parts} parts"
        self.decisions.add(Decision(kind, at.step, text, value=parts))
        return text

    def _restart(self, fault: str, error: Exception, at: At) -> str:
        self._deaths[at] += 1
        alone = fault == "shared_memory" or self._deaths[at] > WORKER_LIVES
        own = any(isinstance(loader, Replayed) for loader in self.loaders)  # whose batches depend on its workers
        if self._deaths[at] > WORKER_LIVES + 1 or (alone and own):
            raise RunFailed(f"the workers of the loader cannot go on at step {at.step}: {error}; give it num_workers=0 "
                            "in a new run") from error  # fmt: skip
        doing = "; ".join(filter(None, (at_work(loader, error) for loader in self.loaders)))
        for loader in self.loaders:
            restart(loader, 0 if alone else None)
        what = {"died": "a worker that reads samples died", "hung": "a worker that reads samples gave nothing in time",
                "shared_memory": "there is no shared memory left for workers"}[fault]  # fmt: skip
        then = "samples are read in the training process from here on" if alone else "the workers are started again"
        return f"{what} at step {at.step} (epoch {at.epoch}, batch {at.batch}{': ' if doing else ''}{doing}); {then}"
