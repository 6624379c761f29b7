"""Random numbers are functions of what they are for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln import randomness


def test_a_key_is_stable_across_versions_and_machines() -> None:
    # a changed key would change every run that anybody has
    assert randomness.key(0, "order", 3) == 8244215730568551301
    assert randomness.key(0, "order", 3) != randomness.key(0, "order", 4)
    assert randomness.key(1, "order", 3) != randomness.key(0, "order", 3)


@given(seed=st.integers(0, 2**62), epoch=st.integers(0, 1000), n=st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_a_permutation_holds_each_index_once(seed: int, epoch: int, n: int) -> None:
    order = randomness.permutation(seed, "order", epoch, n)
    assert sorted(order) == list(range(n))
    assert (order == randomness.permutation(seed, "order", epoch, n)).all()


def test_a_samples_numbers_do_not_depend_on_the_others() -> None:
    everything = randomness.uniforms(7, "augment", 2, np.arange(1000, dtype=np.int64), 5)
    some = randomness.uniforms(7, "augment", 2, np.array([999, 3], dtype=np.int64), 3)
    assert (some == everything[[999, 3], :3]).all()


def test_uniforms_are_uniform_and_independent_of_one_another() -> None:
    x = randomness.uniforms(0, "augment", 0, np.arange(20_000, dtype=np.int64), 4)
    assert x.min() >= 0 and x.max() < 1
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in x.T])
    assert (abs(counts - 1000) < 5 * np.sqrt(1000)).all()
    correlation = np.corrcoef(np.concatenate([x, np.roll(x, 1, axis=0)], axis=1).T)
    assert abs(correlation - np.eye(8)).max() < 0.04
    assert (
        not np.isclose(x, randomness.uniforms(0, "augment", 1, np.arange(20_000, dtype=np.int64), 4)).any(axis=1).all()
    )
