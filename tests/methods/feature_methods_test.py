"""The methods that look at maps: which maps they pair, and what their adapters learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import STUDENT, TEACHER, compiled, create, outputs, refreshed, start

from rdd_jax.losses import features as feature
from rdd_jax.losses import relational
from rdd_jax.methods._feature_pairs import pair_feature_maps
from rdd_jax.methods._linear import apply_linear

assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("depths", "pairs"),
    [
        ((4, 4), [(1, 1), (2, 2), (3, 3)]),
        ((5, 4), [(1, 1), (3, 2), (4, 3)]),
        ((4, 6), [(1, 1), (2, 3), (3, 5)]),
        ((2, 4), [(1, 3)]),
    ],
)
def test_feature_maps_are_paired_by_depth_with_the_deepest(depths, pairs):
    student, teacher = (outputs(0, 6, side=32, depth=depth) for depth in depths)
    # A tiny network's map number i is i channels wider than its first.
    assert [
        (student_map.shape[-1] - 6, teacher_map.shape[-1] - 6)
        for student_map, teacher_map in pair_feature_maps(student, teacher)
    ] == pairs


def test_a_network_without_maps_is_named():
    with pytest.raises(ValueError, match="maps after the stem of both networks; got 0 and 4"):
        pair_feature_maps(outputs(0, 6, depth=1), TEACHER)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("at", {}, lambda *maps: feature.attention_transfer(*maps)),
        ("at", {"power": 4}, lambda *maps: feature.attention_transfer(*maps, power=4)),
        ("nst", {}, feature.neuron_selectivity),
    ],
)
def test_losses_of_maps_are_summed_over_the_pairs(name, options, expected):
    value, (_, rows), _, _ = compiled(create(name, **options))(*start(create(name, **options)))
    assert_close(value, sum(expected(*maps) for maps in pair_feature_maps(STUDENT, TEACHER)))
    assert [x.any() for x in rows.feature_maps] == [False, True, True, True]
    assert not rows.embedding.any()


def test_sp_compares_the_last_maps():
    value, (_, rows), _, _ = compiled(create("sp"))(*start(create("sp")))
    assert_close(value, relational.similarity_preserving(STUDENT.feature_maps[-1], TEACHER.feature_maps[-1]))
    assert [x.any() for x in rows.feature_maps] == [False, False, False, True]


@pytest.mark.parametrize("name", ["pkt", "rkd", "cc", "itrd", "crd", "rrd", "rdd", "rdx_triplet"])
def test_embedding_methods_do_not_depend_on_maps_and_logits(name):
    _, (_, outputs), _, _ = compiled(create(name))(*refreshed(create(name)))
    assert outputs.embedding.any()
    assert not any(leaf.any() for leaf in (outputs.logits, *outputs.feature_maps))


@pytest.mark.parametrize("layer", [0, 2])
def test_fitnets_is_a_hint_at_its_layer(layer):
    distiller = create("fitnets", layer=layer)
    params, state = start(distiller)
    student_map, teacher_map = feature.match_sizes(STUDENT.feature_maps[layer], TEACHER.feature_maps[layer])
    adapted = np.float64(student_map) @ np.float64(params["conv"]["kernel"])
    adapted = (adapted - adapted.mean((0, 1, 2))) / np.sqrt(adapted.var((0, 1, 2)) + 1e-5)
    value, (gradients, rows), _, _ = compiled(distiller)(params, state)
    assert_close(value, np.mean(np.square(adapted - teacher_map)))
    assert [x.any() for x in rows.feature_maps] == [i == layer for i in range(4)]
    assert all(leaf.any() for leaf in jax.tree.leaves(gradients))


def test_fitnets_names_a_missing_layer():
    with pytest.raises(ValueError, match="layer must be below 4, the maps of the network; got 4"):
        start(create("fitnets", layer=4))


@pytest.mark.parametrize("variance", [2e-5, 5.0, 1e4])
def test_vid_starts_with_any_variance(variance):
    params, _ = start(create("vid", initial_variance=variance))
    np.testing.assert_allclose(jax.nn.softplus(params["map0"]["raw_variance"]) + 1e-5, variance, rtol=1e-5)


def test_vid_is_the_likelihood_of_all_pairs():
    distiller = create("vid", initial_variance=2.0)
    params, state = start(distiller)
    pairs = [feature.match_sizes(*maps) for maps in pair_feature_maps(STUDENT, TEACHER)]
    assert len(pairs) == len(params) == 3
    expected = 0.0
    for (student_map, teacher_map), gaussian in zip(pairs, params.values(), strict=True):
        for name in ("conv0", "conv1", "conv2"):
            student_map = apply_linear(
                gaussian["regressor"][name], student_map if name == "conv0" else jax.nn.relu(student_map)
            )
        expected += 0.5 * np.mean(np.square(student_map - teacher_map) / 2.0 + np.log(2.0))
    assert_close(compiled(distiller)(params, state)[0], expected)


def test_vid_trains_the_variance_to_the_mean_squared_error():
    """The likelihood is maximal there: gradients increase a smaller variance and decrease a larger one."""
    distiller = create("vid")
    params, state = start(distiller)
    _, teacher_map = feature.match_sizes(*pair_feature_maps(STUDENT, TEACHER)[0])
    zero = jax.tree.map(jnp.zeros_like, params["map0"]["regressor"])
    error = np.mean(np.square(teacher_map), axis=(0, 1, 2))
    for factor, sign in ((0.5, -1), (1.0, 0), (2.0, 1)):
        gaussian = {"regressor": zero, "raw_variance": jnp.log(jnp.expm1(factor * error))}
        gradients = compiled(distiller)({**params, "map0": gaussian}, state)[1][0]["map0"]["raw_variance"]
        # 1e-5: the least variance, which stands on top of the trained one.
        np.testing.assert_array_equal(np.sign(np.where(np.abs(gradients) < 1e-5, 0.0, gradients)), sign)


def test_cc_trains_both_projections():
    params, state = start(create("cc"))
    gradients = compiled(create("cc"))(params, state)[1][0]
    assert set(gradients) == {"student", "teacher"}
    assert all(leaf.any() for leaf in jax.tree.leaves(gradients))
