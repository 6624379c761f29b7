"""Transfer learning with a frozen backbone: its features computed once, against a pass through the net each step.

    python benchmarks/speed_features.py true|false FOLDER

trains once and prints what it took; `features` runs both in turns. A ResNet-18 with random weights, on 244 photos of
ants and bees at 128 pixels, without augmentation.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from figures import Figure, in_turns, median, run

EPOCHS, ROUNDS = 8, 3
DATA = "hymenoptera"


def features(folder: Path, env: Path) -> list[Figure]:
    if not (Path(os.environ.get("TORCHKILN_DATA", "")) / DATA).is_dir():
        return [Figure("features", f"skipped: $TORCHKILN_DATA has no {DATA}", "", "", "")]
    program = Path(__file__)

    def train(wish: str) -> dict[str, float]:
        place = folder / f"features-{wish}"
        shutil.rmtree(place, ignore_errors=True)
        return run([sys.executable, program, wish, place], TORCHKILN_CACHE=place / "cache")

    found = in_turns({wish: lambda wish=wish: train(wish) for wish in ("true", "false")}, ROUNDS)
    lines = []
    for name, what in (("epoch", "an epoch"), ("wall", f"the whole run of {EPOCHS} epochs, features included")):
        once, each = median(found["true"], name), median(found["false"], name)
        ours, beside = f"{each / once:.1f}x ({once:.2f} s)", f"through the whole net {each:.2f} s"
        lines.append(Figure("features", f"{what}: ResNet-18 frozen, {DATA}", ours, "> 1x", beside, once < each))
    return lines


def main() -> None:
    import torchkiln

    wish, place = sys.argv[1], Path(sys.argv[2])
    settings = {"model.name": "resnet18", "model.pretrained": False, "model.freeze": "backbone", "data.image_size": 128,
                "data.augment": [], "data.progressive": None, "train.epochs": EPOCHS, "train.early_stopping": None,
                "train.precision": "32", "train.threads": 1, "data.workers": 0,
                "model.cache_features": wish == "true"}  # fmt: skip
    made = torchkiln.fit(Path(os.environ["TORCHKILN_DATA"]) / DATA, settings, out=place / "run")
    seconds = [float(row["seconds"]) for row in made.directory.rows("timings")]
    print(json.dumps({"epoch": statistics.median(seconds), "value": made.directory.read_json("best.json")["value"]}))


if __name__ == "__main__":
    main()
