"""The GPU itself failed.

## What

A launch failed, a memory error could not be corrected, or the card fell off the bus.

## Why

Hardware, heat, power or driver; on Windows and laptops the watchdog of the display.

## Bad

```text
RuntimeError: CUDA error: uncorrectable ECC error encountered
```

## Good

```sh
nvidia-smi -q -d ECC,TEMPERATURE,POWER
```

## Fix

Look at `nvidia-smi -q` and `dmesg | grep -i xid`, run on another card, restart the machine; a launch that fails
always at one place is an error of its kernel.

## How sure

85 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"uncorrectable ECC|unspecified launch failure|GPU has fallen off the bus|"
        r"the launch timed out and was terminated|CUDA error: (?:unspecified|unknown error)|"
        r"cudaErrorLaunchFailure|hardware stack error|Unable to determine the device handle",
        weight=34,
    ),
)
