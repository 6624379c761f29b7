"""Options of the loader exclude one another.

## What

`shuffle` beside a sampler, `batch_size` beside a batch sampler, workers' options without workers, shuffle of an
iterable data set, or tensors of unequal length.

## Why

The order comes from one place.

## Bad

```python
from torch.utils.data import DataLoader, SequentialSampler

DataLoader([1], shuffle=True, sampler=SequentialSampler([1]))
```

## Good

```python
from torch.utils.data import DataLoader, SequentialSampler

DataLoader([1], sampler=SequentialSampler([1]))
```

## Fix

Give either a sampler or `shuffle`; shuffle an iterable data set inside it; `prefetch_factor`, `persistent_workers`
and `timeout` need `num_workers` above 0.

## How sure

97 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"(?:sampler|batch_sampler) option is mutually exclusive|expected unspecified (?:shuffle|sampler|"
        r"batch_sampler|drop_last)|(?:persistent_workers|prefetch_factor|timeout|"
        r"multiprocessing_context) option (?:needs|could only|can only|should)|"
        r"could only be specified in multiprocessing|multiprocessing_context can only be used|"
        r"[Ss]ize mismatch between tensors|batch_size should be a positive integer|"
        r"num_workers option should be non-negative|`?sampler`? .*not supported with"
    ),
)
