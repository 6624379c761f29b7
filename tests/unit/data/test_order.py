"""Which samples make the batch of a step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln.data.order import BUCKET_BATCHES, EvalOrder, Shard, TrainOrder


def epoch_of(order: TrainOrder | EvalOrder) -> list[list[int]]:
    return [key.indices.tolist() for key in order]


@given(n=st.integers(1, 200), batch=st.integers(1, 40), world=st.integers(1, 4), epoch=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_training_sees_each_sample_once_on_however_many_processes(n: int, batch: int, world: int, epoch: int) -> None:
    seen: list[int] = []
    lengths = set()
    for rank in range(world):
        order = TrainOrder(n, batch, seed=1, shard=Shard(rank, world))
        order.set_epoch(epoch)
        batches = epoch_of(order)
        lengths.add(len(batches))
        seen += [i for b in batches for i in b]
    assert sorted(seen) == list(range(n))
    assert lengths == {len(order)}


@given(n=st.integers(1, 100), batch=st.integers(1, 9), world=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_evaluation_sees_each_sample_once_and_pads_none(n: int, batch: int, world: int) -> None:
    seen = [i for r in range(world) for b in epoch_of(EvalOrder(n, batch, shard=Shard(r, world))) for i in b]
    assert sorted(seen) == list(range(n))


@given(n=st.integers(8, 200), batch=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_evaluation_batches_are_the_same_on_any_number_of_processes(n: int, batch: int) -> None:
    """What is computed together decides the last bits of a prediction."""
    alone = epoch_of(EvalOrder(n, batch, least=4))
    for world in (2, 4):
        ranks = [EvalOrder(n, batch, shard=Shard(r, world), least=4) for r in range(world)]
        assert all(len(order) == len(epoch_of(order)) > 0 for order in ranks)
        dealt: list[list[list[int]]] = [epoch_of(order) for order in ranks]
        assert [dealt[k % world][k // world] for k in range(len(alone))] == alone
        assert sum(len(part) for part in dealt) == len(alone)


def test_evaluation_makes_as_many_batches_as_there_are_processes() -> None:
    """Lightning refuses a process without any."""
    assert [len(EvalOrder(5, 100, shard=Shard(r, 2))) for r in (0, 1)] == [1, 1]
    assert len(EvalOrder(5, 100)) == 1
    assert [len(EvalOrder(1, 100, shard=Shard(r, 2))) for r in (0, 1)] == [1, 0]


def test_two_processes_share_the_batches_of_one() -> None:
    alone = TrainOrder(64, 8, seed=3)
    first, second = (TrainOrder(64, 4, seed=3, shard=Shard(r, 2)) for r in (0, 1))
    for whole, a, b in zip(epoch_of(alone), epoch_of(first), epoch_of(second), strict=True):
        assert sorted(whole) == sorted(a + b)


def test_epochs_differ_and_come_back() -> None:
    order = TrainOrder(50, 8, seed=0)
    first = epoch_of(order)
    order.set_epoch(1)
    assert epoch_of(order) != first
    order.set_epoch(0)
    assert epoch_of(order) == first


def test_a_resume_begins_at_its_batch_and_later_epochs_at_the_first() -> None:
    order = TrainOrder(50, 8, seed=0)
    order.set_epoch(2)
    whole = epoch_of(order)
    order.start_at(2, 3)
    # Lightning iterates twice before the first batch, and sets the epoch in between
    assert epoch_of(order) == whole[3:]
    order.set_epoch(2)
    assert epoch_of(order) == whole[3:]
    order.set_epoch(3)
    assert len(epoch_of(order)) == len(order)


def test_a_rest_of_one_joins_the_batch_before() -> None:
    sizes = [len(b) for b in epoch_of(TrainOrder(17, 8, seed=0))]
    assert sizes == [8, 9]
    assert [len(b) for b in epoch_of(TrainOrder(18, 8, seed=0))] == [8, 8, 2]


@pytest.mark.parametrize(("world", "shards"), [(2, None), (1, 4), (2, 4), (4, 4)])
@given(n=st.integers(8, 200), batch=st.integers(8, 20))
@settings(max_examples=40, deadline=None)
def test_no_process_and_no_shard_is_left_with_one_sample_of_a_short_batch(
    world: int, shards: int | None, n: int, batch: int
) -> None:
    for rank in range(world):
        order = TrainOrder(n, batch, seed=0, shard=Shard(rank, world), shards=shards)
        assert min(size for b in range(len(order)) for size in order.shard_sizes(b)) >= 2


def test_an_epoch_may_end_after_some_batches() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=100).astype(np.int64)
    for kept in (None, lengths):
        whole = TrainOrder(100, 8, seed=0, accumulate=4, lengths=kept)
        cut = TrainOrder(100, 8, seed=0, accumulate=4, lengths=kept, limit=6)
        assert epoch_of(cut) == epoch_of(whole)[:6]
        assert len(cut) == 6 and cut.samples == 48 and whole.samples == 100
        # the last window has two batches, by whose samples Lightning's division by four is made good
        assert [cut.scale(b) for b in range(6)] == [1, 1, 1, 1, 2, 2]
        cut.start_at(0, 4)
        assert len(epoch_of(cut)) == 2 and len(cut) == 6
        assert len(TrainOrder(100, 8, seed=0, limit=99)) == len(whole)


@given(n=st.integers(4, 120), size=st.sampled_from([4, 8, 20]))
@settings(max_examples=60, deadline=None)
def test_shards_of_a_batch_are_the_same_on_any_number_of_processes(n: int, size: int) -> None:
    def shards(world: int) -> list[list[list[int]]]:
        """The samples of each shard of each batch."""
        found: list[list[list[int]]] = []
        orders = [TrainOrder(n, size // world, seed=0, shard=Shard(r, world), shards=4) for r in range(world)]
        parts = [epoch_of(order) for order in orders]
        for b in range(len(orders[0])):
            found.append([])
            for order, mine in zip(orders, parts, strict=True):
                cuts = np.cumsum(order.shard_sizes(b))
                assert cuts[-1] == len(mine[b])
                found[-1] += [part.tolist() for part in np.split(np.array(mine[b], np.int64), cuts[:-1])]
        return found

    alone = shards(1)
    assert shards(2) == alone == shards(4)
    for batch, parts in zip(TrainOrder(n, size, seed=0, shards=4).batches(0), alone, strict=True):
        assert parts == [batch[v::4].tolist() for v in range(4)]


def test_a_short_epoch_leaves_shards_empty() -> None:
    order = TrainOrder(3, 8, seed=0, shard=Shard(1, 2), shards=4)
    assert order.shard_sizes(0) == [1, 0]
    assert [len(b) for b in epoch_of(order)] == [1]
    assert TrainOrder(2, 8, seed=0, shard=Shard(1, 2), shards=4).shard_sizes(0) == [0, 0]


@pytest.mark.parametrize(
    ("n", "batch", "accumulate", "world"), [(60, 10, 4, 1), (17, 4, 3, 1), (23, 3, 2, 3), (30, 4, 4, 2)]
)
def test_scaled_gradients_are_those_of_the_mean_over_the_window(
    n: int, batch: int, accumulate: int, world: int
) -> None:
    """Lightning divides by `accumulate`, DDP by `world`: the scale must undo just that."""
    values = np.random.default_rng(0).normal(size=n)
    orders = [TrainOrder(n, batch, seed=0, accumulate=accumulate, shard=Shard(r, world)) for r in range(world)]
    batches = [epoch_of(o) for o in orders]
    for first in range(0, len(orders[0]), accumulate):
        window = range(first, min(first + accumulate, len(orders[0])))
        stepped = sum(
            orders[r].scale(b) * values[batches[r][b]].mean() / accumulate / world for b in window for r in range(world)
        )
        wanted = values[[i for b in window for r in range(world) for i in batches[r][b]]].mean()
        assert stepped == pytest.approx(wanted)


def test_the_scale_is_one_where_all_is_even() -> None:
    order = TrainOrder(64, 8, seed=0, accumulate=2)
    assert [order.scale(b) for b in range(8)] == [1.0] * 8


def test_buckets_hold_samples_of_like_length_and_lose_none() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=1000).astype(np.int64)
    order = TrainOrder(1000, 16, seed=0, lengths=lengths)
    batches = epoch_of(order)
    assert sorted(i for b in batches for i in b) == list(range(1000))
    padded = sum(len(b) * lengths[b].max() for b in batches)
    plain = sum(len(b) * lengths[b].max() for b in epoch_of(TrainOrder(1000, 16, seed=0)))
    assert padded < 1.15 * lengths.sum() < plain
    assert BUCKET_BATCHES > 1
    longest_first = [max(lengths[b]) for b in batches]
    assert longest_first != sorted(longest_first)


def test_evaluation_goes_from_long_to_short() -> None:
    lengths = np.array([3, 9, 1, 7, 5], dtype=np.int64)
    assert epoch_of(EvalOrder(5, 2, lengths=lengths)) == [[1, 3], [4, 0], [2]]
