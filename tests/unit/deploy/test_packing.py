"""Archives made anew without what tells of a machine."""

from __future__ import annotations

import io
import zipfile

from torchkiln.deploy.packing import repacked


def archive(names: list[str], date: tuple[int, int, int, int, int, int]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in names:
            packed.writestr(zipfile.ZipInfo(name, date), name)
    return out.getvalue()


def test_order_and_dates_are_one_and_some_entries_gone() -> None:
    first = archive(["m/a.so", "m/b.cpp", "m/c"], (2026, 1, 2, 3, 4, 6))
    second = archive(["m/c", "m/b.cpp", "m/a.so"], (1999, 1, 2, 3, 4, 6))
    assert repacked(first, (".cpp",)) == repacked(second, (".cpp",))
    with zipfile.ZipFile(io.BytesIO(repacked(first, (".cpp",)))) as packed:
        assert packed.namelist() == ["m/a.so", "m/c"] and packed.read("m/c") == b"m/c"
