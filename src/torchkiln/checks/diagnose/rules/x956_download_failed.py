"""A model or data set could not be fetched.

## What

A download from a hub fails: no network, no access, or no such name.

## Why

Compute nodes are often offline; gated models need a token; names are case-sensitive.

## Bad

```text
OSError: We couldn't connect to 'https://huggingface.co' to load this file, couldn't find it in the cached files
and it looks like bert-base is not the path to a directory containing a file named config.json.
```

## Good

```sh
HF_HUB_OFFLINE=1 HF_HOME=/data/hf python train.py
```

## Fix

Fetch it where there is a network and set HF_HOME to that cache (HF_HUB_OFFLINE=1), log in for a gated model, and
check the name on the hub.

## How sure

90 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"couldn't connect to 'https://huggingface|is not a local folder and is not a valid model identifier|"
        r"Can't load (?:tokenizer|config|the configuration|the model) for|Cannot access gated repo|gated repo|"
        r"Repository Not Found for url|We couldn't connect|outgoing traffic has been disabled|"
        r"offline mode is enabled",
        weight=14,
    ),
    Seen(
        r"urlopen error|HTTP Error \d+|Connection|Max retries",
        frame=r"torch/hub\.py|torchvision/datasets|torchvision/models|huggingface_hub|transformers/utils/hub",
        weight=14,
    ),
)
