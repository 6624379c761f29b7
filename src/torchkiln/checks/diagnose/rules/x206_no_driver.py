"""No GPU can be used: no driver, or a torch without CUDA.

## What

CUDA is asked for where torch finds no driver, an old driver, no device, or was installed without CUDA.

## Why

The device is written out in the program, or the wrong build of torch or driver is installed.

## Bad

```text
RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a
driver from http://www.nvidia.com/Download/index.aspx
```

## Good

```python
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = Net().to(device)
```

## Fix

Choose the device by `torch.cuda.is_available()`; if there is a GPU, check `nvidia-smi`, the driver's version,
CUDA_VISIBLE_DEVICES, `--gpus all` of a container, and that torch is a build for CUDA (`python -c "import torch;
print(torch.version.cuda)"`).

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Found no NVIDIA driver|Torch not compiled with CUDA enabled|driver version is insufficient|"
        r"The NVIDIA driver on your system is too old|No CUDA GPUs are available|"
        r"no CUDA-capable device is detected|"
        r"CUDA unknown error - this may be due to an incorrectly set up environment|"
        r"ProcessGroupNCCL is only supported with GPUs|CUDA is not available|"
        r"Could not run '[^']+' with arguments from the '(?:CUDA|MPS|XPU)' backend|"
        r"No supported gpu backend found|(?:MPS|PyTorch) (?:backend|"
        r"is not linked with support for) ?\w* ?(?:devices|is not available)|cudaGetDeviceCount"
    ),
    lint=("S401",),
)
