"""The losses of feature maps, against the authors' numbers and against what their definitions promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import LOSSES, assert_close, assert_same_gradient, normal, value_and_grad

from rdd_jax.losses import features


def information(student, teacher):
    return features.variational_information(student, jnp.full(student.shape[-1], 0.5), teacher)


MAP_LOSSES = [features.attention_transfer, features.neuron_selectivity]


@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize(("name", "loss"), [("at", features.attention_transfer), ("nst", features.neuron_selectivity)])
def test_matches_golden(name, loss, layer):
    value, (gradient, _) = value_and_grad(loss)(LOSSES[f"map_s{layer}"], LOSSES[f"map_t{layer}"])
    assert_close(value, LOSSES[f"{name}_loss{layer}"])
    assert_same_gradient(gradient, LOSSES[f"{name}_grad{layer}"])


def test_hint_matches_golden():
    value, (gradient, _) = value_and_grad(features.hint)(LOSSES["emb_s"], LOSSES["cc_emb_t"])
    assert_close(value, LOSSES["hint_loss"])
    assert_same_gradient(gradient, LOSSES["hint_grad"])


def test_variational_information_is_a_gaussian_likelihood():
    mean, teacher, variance = normal(0, 2, 3, 3, 4), normal(1, 2, 3, 3, 4), np.float32([0.5, 1.0, 2.0, 3.0])
    density = np.exp(-np.square(np.float64(mean - teacher)) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    expected = -np.mean(np.log(density)) - 0.5 * np.log(2 * np.pi)
    assert_close(features.variational_information(mean, variance, teacher), expected)


@pytest.mark.parametrize(("large", "small"), [((8, 8), (4, 4)), ((7, 5), (3, 4)), ((5, 6), (1, 6)), ((4, 4), (4, 4))])
def test_maps_are_averaged_to_the_smaller(large, small):
    big, little = normal(0, 2, *large, 3), normal(1, 2, *small, 2)
    expected = np.zeros((2, *small, 3))
    for row, column in np.ndindex(small):
        # Torch's adaptive pooling: from floor(i * inputs / outputs) to ceil((i + 1) * inputs / outputs).
        window = [
            slice(i * inputs // outputs, -(-(i + 1) * inputs // outputs))
            for i, inputs, outputs in zip((row, column), large, small, strict=True)
        ]
        expected[:, row, column] = np.float64(big)[:, *window].mean(axis=(1, 2))
    for first, second in ((big, little), (little, big)):
        student_map, teacher_map = features.match_sizes(first, second)
        pooled, kept = (student_map, teacher_map) if first is big else (teacher_map, student_map)
        np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(kept, little)


def test_height_and_width_are_matched_separately():
    student_map, teacher_map = features.match_sizes(normal(0, 2, 8, 3, 4), normal(1, 2, 5, 6, 4))
    assert student_map.shape == teacher_map.shape == (2, 5, 3, 4)


@pytest.mark.parametrize("loss", [*MAP_LOSSES, features.hint])
def test_loss_and_gradient_are_zero_if_student_equals_teacher(loss):
    value, (gradient, _) = value_and_grad(loss)(normal(0, 4, 3, 3, 5), normal(0, 4, 3, 3, 5))
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
    assert value_and_grad(loss)(normal(0, 4, 3, 3, 5), normal(1, 4, 3, 3, 5))[0] > 1e-3


@pytest.mark.parametrize("loss", MAP_LOSSES)
def test_the_order_of_channels_and_the_scale_do_not_matter(loss):
    student, teacher = normal(0, 4, 6, 6, 5), normal(1, 4, 3, 3, 7)
    shuffled = 3 * student[..., [4, 2, 0, 1, 3]], 0.5 * teacher[..., ::-1]
    assert_close(value_and_grad(loss)(*shuffled)[0], value_and_grad(loss)(student, teacher)[0])


@pytest.mark.parametrize("power", [2, 4, 1000])
def test_attention_is_invariant_to_scale_down_to_tiny_activations(power):
    student, teacher = normal(0, 4, 3, 3, 5), normal(1, 4, 3, 3, 5)
    loss = functools.partial(features.attention_transfer, power=power)
    expected = loss(student, teacher)
    assert expected > 1e-3
    np.testing.assert_allclose(loss(1e-4 * student, 1e4 * teacher), expected, rtol=1e-4)


def test_neuron_selectivity_is_the_same_by_products_of_positions():
    """The kernel is summed over places or over channels, whichever are fewer: the same number."""
    few = [normal(seed, 4, 2, 2, 9) for seed in (0, 1)]
    more = [np.pad(x, ((0, 0), (0, 2), (0, 0), (0, 0))) for x in few]  # Zeros add nothing to a product.
    assert_close(
        features.neuron_selectivity(*few), features.neuron_selectivity(*(np.tile(x, (1, 1, 2, 1)) for x in few))
    )
    assert_close(features.neuron_selectivity(*few), features.neuron_selectivity(*more))


def test_neuron_selectivity_decreases_towards_the_teacher():
    """The squared distance of two means is never negative, and moving towards the teacher lessens it."""
    student, teacher = normal(0, 4, 3, 3, 5), normal(1, 4, 3, 3, 5)
    values = [value_and_grad(features.neuron_selectivity)((1 - t) * student + t * teacher, teacher)[0] for t in (0, 1)]
    assert values[0] > values[1] > -1e-6


@pytest.mark.parametrize("maps", ["duplicated", "zero", "constant", "one place", "one channel", "one image"])
@pytest.mark.parametrize("loss", [*MAP_LOSSES, features.hint, information])
def test_gradient_is_finite(loss, maps):
    student = {
        "duplicated": normal(0, 4, 3, 3, 5)[np.array([0, 1, 0, 1])],
        "zero": np.zeros((4, 3, 3, 5), np.float32),
        "constant": np.ones((4, 3, 3, 5), np.float32),
        "one place": normal(0, 4, 1, 1, 5),
        "one channel": normal(0, 4, 3, 3, 1),
        "one image": normal(0, 1, 3, 3, 5),
    }[maps]
    for teacher in (student, normal(1, *student.shape)):
        value, (gradient, _) = value_and_grad(loss)(student, teacher)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [*MAP_LOSSES, features.hint, information])
def test_eager_jit_and_vmap_agree_and_no_gradient_reaches_the_teacher(loss):
    student, teacher = normal(0, 3, 4, 3, 3, 5), normal(1, 3, 4, 3, 3, 5)
    values, (gradients, _) = jax.jit(jax.vmap(value_and_grad(loss)))(student, teacher)
    value, (gradient, to_teacher) = value_and_grad(loss)(student[1], teacher[1])
    assert_close(loss(student[1], teacher[1]), value)
    assert_close(values[1], value)
    assert_same_gradient(gradients[1], gradient)
    assert np.abs(gradient).max() > 0
    assert not to_teacher.any()


@pytest.mark.parametrize("loss", MAP_LOSSES)
def test_half_precision_is_summed_in_float32(loss):
    maps = [jnp.asarray(normal(seed, 2, 4, 4, 5), jnp.bfloat16) for seed in (0, 1)]
    assert value_and_grad(loss)(*maps)[0] == value_and_grad(loss)(*(x.astype(jnp.float32) for x in maps))[0]


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (
            lambda: features.match_sizes(np.zeros((2, 4, 4, 3)), np.zeros((3, 4, 4, 3))),
            ["(2, 4, 4, 3)", "(3, 4, 4, 3)"],
        ),
        (lambda: features.attention_transfer(np.zeros((2, 3)), np.zeros((2, 3))), ["(2, 3)"]),
        (lambda: features.hint(np.zeros((2, 3)), np.zeros((2, 4))), ["(2, 3)", "(2, 4)"]),
        (
            lambda: features.variational_information(np.zeros((2, 1, 1, 3)), np.ones(4), np.zeros((2, 1, 1, 3))),
            ["(2, 1, 1, 3)", "(4,)"],
        ),
    ],
)
def test_error_messages_name_the_shapes(call, shapes):
    with pytest.raises(ValueError, match="got") as error:
        call()
    assert all(shape in str(error.value) for shape in shapes)
