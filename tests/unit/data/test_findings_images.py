from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance

from torchkiln.data.findings_images import check, copies_level


def scene(seed: int) -> Image.Image:
    """Something like a photo: soft patches of colour."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)


def saved(image: Image.Image, suffix: str = "JPEG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **how)
    return buffer.getvalue()


def frame(**parts: list[bytes]) -> pl.DataFrame:
    rows = [(f"{split}/{i}.jpg", split, content) for split, list_ in parts.items() for i, content in enumerate(list_)]
    return pl.DataFrame(rows, schema=["key", "split", "image"], orient="row")


TRAIN = [saved(scene(i)) for i in range(60)]
WHOLE = saved(scene(1000))
SPOILT = {
    "cut short": (WHOLE[: len(WHOLE) // 2], "cut short"),
    "empty": (b"", "empty"),
    "a text": (b"Dear reader, this is a letter. " * 20, "no picture"),
    "noise": (np.random.default_rng(0).bytes(500), "no picture"),
    "a cut PNG": (saved(scene(3), "PNG")[:900], ""),
}


@pytest.mark.parametrize("name", SPOILT)
def test_many_unreadable_pictures_stop_the_run(name: str) -> None:
    content, word = SPOILT[name]
    kept, findings = check(frame(train=[*TRAIN[:20], content]))
    assert len(kept) == 20
    assert [(f.code, f.level) for f in findings] == [("unreadable_pictures", "stop")]
    assert findings[0].samples == ["train/20.jpg"]
    assert "1 of 21" in findings[0].text
    assert "train/20.jpg" in findings[0].text
    assert word in findings[0].text


def test_few_unreadable_pictures_are_left_out_and_named() -> None:
    kept, findings = check(frame(train=[*TRAIN, *[saved(scene(i)) for i in range(60, 110)], b"no picture"]))
    assert len(kept) == 110
    assert (findings[0].level, findings[0].samples) == ("warn", ["train/110.jpg"])


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    rows = {"key": ["a.jpg"], "split": ["train"], "image": [str(tmp_path / "a.jpg")]}
    findings = check(pl.DataFrame(rows))[1]
    assert "a.jpg: no such file" in findings[0].text


def test_pictures_of_every_kind_are_readable() -> None:
    kinds = [saved(scene(i).convert(mode), "PNG") for i, mode in enumerate(("L", "RGBA", "P", "1", "LA", "I;16"))]
    assert check(frame(train=kinds))[1] == []


def test_equal_bytes_across_splits() -> None:
    others = [saved(scene(i)) for i in range(100, 140)]
    findings = check(frame(train=TRAIN, val=[TRAIN[3], *others[:9]], test=[TRAIN[5], *others[9:]]))[1]
    assert [(f.code, f.level, f.samples) for f in findings] == [
        ("duplicates_across_splits", "warn", ["test/0.jpg = train/5.jpg"]),
        ("duplicates_across_splits", "warn", ["val/0.jpg = train/3.jpg"]),
    ]


def test_half_the_test_copied_stops_the_run() -> None:
    findings = check(frame(train=TRAIN, test=TRAIN[:30]))[1]
    assert [(f.code, f.level) for f in findings] == [("duplicates_across_splits", "stop")]


CHANGES = {
    "saved again": lambda i: saved(i, quality=40),
    "smaller": lambda i: saved(i.resize((40, 30))),
    "brighter": lambda i: saved(ImageEnhance.Brightness(i).enhance(1.2)),
    "grey": lambda i: saved(i.convert("L")),
    "another format": lambda i: saved(i, "PNG"),
    "cropped a little": lambda i: saved(i.crop((1, 1, 63, 47))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_near_copies_across_splits(name: str) -> None:
    fresh = [saved(scene(i)) for i in range(100, 120)]
    findings = check(frame(train=TRAIN, test=[CHANGES[name](scene(7)), *fresh]))[1]
    assert [(f.code, f.samples) for f in findings] == [("near_duplicates_across_splits", ["test/0.jpg = train/7.jpg"])]
    assert findings[0].level != "stop"


def test_near_copies_are_the_same_where_many_hashes_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [CHANGES["brighter"](scene(i)) for i in (7, 9)]
    rows = frame(train=TRAIN, test=[*copies, *(saved(scene(i)) for i in range(100, 120))])
    one_by_one = check(rows)[1]
    monkeypatch.setattr("torchkiln.data.findings_images._CROWDED", -1.0)
    assert one_by_one
    assert check(rows)[1] == one_by_one


def test_different_pictures_are_no_copies() -> None:
    assert check(frame(train=TRAIN, test=[saved(scene(i)) for i in range(200, 260)]))[1] == []


def test_drawings_that_all_look_alike_are_no_copies() -> None:
    from sklearn.datasets import load_digits

    digits = [saved(Image.fromarray((d * 15).astype(np.uint8)), "PNG") for d in load_digits().images[:600]]
    assert check(frame(train=digits[:450], test=digits[450:]))[1] == []


def test_empty_pictures_are_no_near_copies() -> None:
    white = [saved(Image.new("RGB", (20 + i, 20), "white")) for i in range(4)]
    assert check(frame(train=white[:2], test=white[2:]))[1] == []


def test_two_clear_skies_are_no_copies() -> None:
    """Faint gradients are all alike, though not the same photo."""
    sky = [np.tile(np.linspace(200, high, 64), (48, 1)).astype(np.uint8) for high in (212, 216)]
    one, two = (saved(Image.fromarray(s), "PNG") for s in sky)
    fresh = [saved(scene(i)) for i in range(100, 120)]
    assert check(frame(train=[one, *TRAIN], test=[two, *fresh]))[1] == []


def test_many_pictures_are_sampled_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.data.findings_images.MOST", 25)
    kept, findings = check(frame(train=TRAIN))
    assert len(kept) == 60
    assert [(f.code, f.text[:8]) for f in findings] == [("sampled", "20 of 60")]


def test_levels_of_copies() -> None:
    assert copies_level(0.009, may_stop=True) == "note"
    assert copies_level(0.01, may_stop=True) == "warn"
    assert copies_level(0.5, may_stop=True) == "stop"
    assert copies_level(0.5, may_stop=False) == "warn"
