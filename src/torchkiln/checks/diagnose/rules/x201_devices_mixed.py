"""Tensors of one operation lie on different devices.

## What

An operation gets tensors of the CPU and of a GPU, or of two GPUs, at once.

## Why

Torch does not move tensors by itself: model, inputs, targets, and tensors that a module makes in `forward` must be
on one device.

## Bad

```text
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
```

## Good

```python
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = Net().to(device)
for x, y in loader:
    x, y = x.to(device), y.to(device)
    loss = criterion(model(x), y)
```

## Fix

Move the model and each batch to one `device`; what a module makes in `forward` gets `device=x.device`, and fixed
tensors are kept by `register_buffer`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"[Ee]xpected all tensors to be on the same device|found at least two devices|"
        r"expected device \S+ but got device|must be on the same device|"
        r"Placeholder storage has not been allocated|"
        r"is not on the expected device|[Ii]nput tensors must be on the same device|"
        r"[Ee]xpected object of (?:device|backend) type|"
        r"Expected object of backend CUDA"
    ),
    Seen(
        r"Input type \((?:torch\.)?(?P<a>\S*[Cc]uda\S*|torch\.\w*Tensor|"
        r"CUDA\w+)\) and weight type \((?P<b>\S+)\) should be the same",
        when=lambda f, c: f.flat.lower().count("cuda") == 1,
    ),
    Seen(
        r"(?:Input and (?:parameter|hidden) tensors are not at the same device|"
        r"indices should be either on (?:\S+|the same device)|"
        r"Tensor for (?:argument #\d+ )?(?:'\w+' )?is on (?:CPU|cpu), but expected|"
        r"argument #\d+ '?\w*'? is on CPU|Expected a '\w+' device type for generator|"
        r"module must have its parameters and buffers on device)"
    ),
    fix="`{code}` mixes devices: move `{given}` and the model to one device first, as in `{given} = "
    "{given}.to(device)`.",
)
