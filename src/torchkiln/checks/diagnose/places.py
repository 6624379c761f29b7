"""Where in a program something failed, as far as several rules ask for it."""

from __future__ import annotations

import re

from torchkiln.checks.diagnose.failure import Failure
from torchkiln.checks.diagnose.rule import Context

LOSS = (
    r"torch/nn/modules/loss\.py|:(?:cross_entropy|nll_loss|binary_cross_entropy\w*|mse_loss|l1_loss|huber_loss|smooth_l1_loss"
    r"|kl_div): |(?:criterion|loss_fn|loss_func\w*|\w*Loss\(\)|cross_entropy\w*|nll_loss|mse_loss)\("
)
"""A frame, or a line of code, of a loss."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "_forward_module.")
KEYS = re.compile(r"(Missing|Unexpected) key\(s\) in state_dict: ((?:\"[^\"]*\",? ?|\.\.\. ?)+)")
LABELS = re.compile(r"n_classes|nll_loss|cur_target|Loss\.cu|ClassNLL|t >= 0")


def numpys(failure: Failure) -> bool:
    """Whether an index error is numpy's, which says `axis` where torch says `dimension`."""
    return "for axis" in failure.flat


def about_labels(failure: Failure, context: Context) -> bool:
    """Whether the kernel that checked is a loss's."""
    return any(LABELS.search(line) for line in context.lines if "Assertion" in line)


def prefixed(failure: Failure, context: Context) -> bool:
    """Whether the names that are missing and those that are too many differ by one prefix."""
    found = {m[1]: re.findall(r"\"([^\"]*)\"", m[2]) for m in KEYS.finditer(failure.flat)}
    missing, extra = found.get("Missing", []), found.get("Unexpected", [])
    if not missing or not extra:
        return False
    for prefix in PREFIXES:
        for long, short in ((missing, extra), (extra, missing)):
            bare = {name.removeprefix(prefix) for name in long}
            if all(name.startswith(prefix) for name in long) and bare & set(short):
                return True
    return all(n.startswith(("module.", "_orig_mod.")) for n in extra) or all(
        n.startswith(("module.", "_orig_mod.")) for n in missing
    )


def reading(failure: Failure, context: Context) -> bool:
    """Whether a file of weights was being read, where the frames say so."""
    return "Ran out of input" not in failure.flat or "torch/serialization" in failure.where
