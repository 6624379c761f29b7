"""Write scikit-learn's 1,797 handwritten digits as a folder of images: one folder a class.

python examples/digits.py demo/digits
torchkiln fit demo/digits
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main(folder: Path) -> None:
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = (pixels / 16 * 255).astype(np.uint8)
        Image.fromarray(grey).resize((16, 16), Image.Resampling.BICUBIC).save(path)
    print(f"{len(digits.target)} images of 10 classes in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/digits"))
