"""The examples that an epoch visits, by kind of sampler, and their order."""

from dataclasses import replace

import numpy as np
import pytest

from rdd_jax.data import samplers
from rdd_jax.data.samplers import Sampler, SamplerOptions

EXAMPLES, BATCH = 103, 10
SCORES = np.random.default_rng(0).permutation(EXAMPLES).astype(np.float32)


def sampler(kind, **options):
    return Sampler(SamplerOptions(kind, **options), EXAMPLES, BATCH, seed=3)


@pytest.mark.parametrize("kind", samplers.SAMPLER_KINDS)
@pytest.mark.parametrize("epoch", [0, 4])
def test_every_kind_gives_the_batches_it_announces_and_no_example_twice(kind, epoch):
    one = sampler(kind, candidates=3, pace_epochs=8)
    batches = one.batches(epoch, SCORES)
    assert batches.shape == (one.steps(epoch), BATCH * (3 if kind == "rho" else 1))
    assert batches.dtype == np.int32
    assert len(np.unique(batches)) == batches.size > 0
    assert 0 <= batches.min() <= batches.max() < EXAMPLES
    np.testing.assert_array_equal(batches, one.batches(epoch, SCORES))


def test_full_is_the_plain_order():
    expected = samplers.epoch_batches(EXAMPLES, BATCH, seed=3, epoch=5)
    np.testing.assert_array_equal(sampler("full").batches(5), expected)


def test_random_keeps_its_subset_until_it_is_drawn_anew():
    one = sampler("random", fraction=0.3, scoring_epochs=2)
    subsets = [set(one.batches(epoch).ravel()) for epoch in range(4)]
    assert [one.steps(epoch) for epoch in range(4)] == [3] * 4
    # 31 examples are drawn and 30 fit into batches: another order leaves out another one.
    assert len(subsets[0] & subsets[1]) >= 29
    assert len(subsets[1] & subsets[2]) < 20
    assert len(subsets[2] & subsets[3]) >= 29
    once = sampler("random", fraction=0.3, scoring_epochs=0)
    assert len(set(once.batches(0).ravel()) & set(once.batches(99).ravel())) >= 29


def test_rdx_goes_from_the_easiest_to_the_hardest_of_the_easy():
    batches = sampler("rdx", fraction=0.4).batches(7, SCORES)
    np.testing.assert_array_equal(SCORES[batches.ravel()], np.arange(40))


def test_rdx_shuffled_visits_the_same_examples_in_another_order_each_epoch():
    ordered = sampler("rdx", fraction=0.4).batches(7, SCORES)
    shuffled = [sampler("rdx", fraction=0.4, shuffle=True).batches(epoch, SCORES) for epoch in (7, 8)]
    # 41 examples are chosen and 40 fit into batches: another order leaves out another one.
    assert all(len(set(batches.ravel()) - set(ordered.ravel())) <= 1 for batches in shuffled)
    assert (np.diff(SCORES[shuffled[0].ravel()]) < 0).any()
    assert (shuffled[0] != shuffled[1]).any()


@pytest.mark.parametrize("kind", samplers.RANKED_KINDS)
def test_balanced_the_easiest_of_each_class_are_chosen_in_its_share_of_the_set(kind):
    # Class 0 has 61 examples and the lowest scores, class 1 has 32, class 2 has 10 and the highest.
    labels = np.repeat([0, 1, 2], [61, 32, 10]).astype(np.int32)
    scores = np.random.default_rng(1).permutation(EXAMPLES).astype(np.float32) + 1000 * labels
    one = Sampler(SamplerOptions(kind, fraction=0.4, start_fraction=0.4, balance=True), EXAMPLES, 1)
    chosen = one.batches(0, scores, labels).ravel()
    for label, count in ((0, 24), (1, 13), (2, 4)):
        own = np.flatnonzero(labels == label)
        assert set(chosen[labels[chosen] == label]) == set(own[np.argsort(scores[own])[:count]])
    unbalanced = one._replace(options=replace(one.options, balance=False)).batches(0, scores, labels).ravel()
    assert set(labels[unbalanced]) == {0}
    if kind == "rdx":
        assert (np.diff(scores[chosen]) > 0).all()


def test_rdx_may_go_through_all_of_them():
    one = sampler("rdx", fraction=1.0)
    assert one.scores_are_due(0)
    np.testing.assert_array_equal(SCORES[one.batches(0, SCORES).ravel()], np.arange(100))


def test_a_curriculum_grows_linearly_from_the_easiest_to_all():
    one = sampler("curriculum", start_fraction=0.3, pace_epochs=7)
    sizes = [one.steps(epoch) for epoch in range(9)]
    assert sizes == [3, 4, 5, 6, 7, 8, 9, 10, 10]
    for epoch, steps in enumerate(sizes[:7]):
        seen = SCORES[one.batches(epoch, SCORES).ravel()]
        assert seen.max() < 10 * steps + 10
        assert (np.diff(seen) < 0).any()


@pytest.mark.parametrize(
    ("kind", "scoring_epochs", "due"),
    [
        ("full", 2, []),
        ("random", 2, []),
        ("rho", 2, []),
        ("rdx", 2, [0, 2, 4, 6, 8]),
        ("rdx", 0, [0]),
        ("curriculum", 2, [0, 2, 4]),
        ("curriculum", 0, [0]),
    ],
)
def test_scores_are_due_where_they_are_used(kind, scoring_epochs, due):
    one = sampler(kind, scoring_epochs=scoring_epochs, pace_epochs=5)
    assert [epoch for epoch in range(9) if one.scores_are_due(epoch)] == due


def test_even_and_odd_share_the_examples():
    even, odd = (set(sampler(kind).batches(0).ravel()) for kind in ("even", "odd"))
    assert {example % 2 for example in even} == {0}
    assert {example % 2 for example in odd} == {1}


def test_epoch_order_is_a_permutation_keyed_by_seed_and_epoch():
    order = samplers.epoch_order(1000, seed=3, epoch=5)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, samplers.epoch_order(1000, seed=3, epoch=5))
    for seed, epoch in ((3, 6), (4, 5), (5, 3)):
        assert (order != samplers.epoch_order(1000, seed, epoch)).any()


def test_epoch_batches_drop_the_remainder():
    batches = samplers.epoch_batches(103, 10, seed=0, epoch=1)
    assert batches.shape == (10, 10)
    assert batches.dtype == np.int32
    np.testing.assert_array_equal(batches.ravel(), samplers.epoch_order(103, seed=0, epoch=1)[:100])
    assert samplers.epoch_batches(103, 103, seed=0, epoch=1).shape == (1, 103)


@pytest.mark.parametrize("batch_size", [0, -1, 104])
def test_impossible_batch_size(batch_size):
    with pytest.raises(ValueError, match="between 1 and the 103 examples"):
        samplers.epoch_batches(103, batch_size, seed=0, epoch=0)
