from __future__ import annotations

from torchkiln.serving.limits import Limits


def test_the_defaults_are_those_promised() -> None:
    limits = Limits()
    assert (limits.body_bytes, limits.inflated_bytes, limits.ratio) == (16_000_000, 64_000_000, 100)
    assert (limits.head_seconds, limits.body_seconds, limits.idle_seconds) == (5, 30, 65)
    assert (limits.connections, limits.rows, limits.megapixels, limits.depth) == (1024, 1024, 50, 64)
    assert limits.queue_rows == 8 * limits.batch and limits.deadline_seconds == 10 and limits.delay_us == 0
