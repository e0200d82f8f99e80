"""Tests of several teachers as one, with the authors' weights and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS, assert_close, assert_same_gradient, normal

from rdd_jax.core.types import Batch, ModelOutput
from rdd_jax.losses.logits import distillation_kl
from rdd_jax.models import Network
from rdd_jax.steps.ensemble import EnsembleOptions, combine, member_weights
from rdd_jax.steps.ensemble_teacher import (
    ensemble_network,
    ensemble_teacher,
    join_variables,
    prepare_ensemble,
    split_variables,
)

TEACHERS = dict(np.load(GOLDENS / "teachers.npz"))
LABELS = TEACHERS["labels"]
LOGITS = TEACHERS["teachers"]


def outputs(logits=LOGITS, dimensions=(4, 6, 8)):
    """One output for each teacher, with embeddings of different sizes."""
    return [
        ModelOutput(jnp.asarray(each), jnp.asarray(normal(seed, len(each), size)))
        for seed, (each, size) in enumerate(zip(logits, dimensions, strict=True))
    ]


@pytest.mark.parametrize("weights", ["confidence", "entropy"])
def test_the_weights_are_the_authors(weights):
    assert_close(member_weights(LOGITS, weights, LABELS), TEACHERS[f"{weights}_weights"])


@pytest.mark.parametrize("weights", ["equal", "confidence", "entropy"])
def test_the_divergence_to_the_combined_output_has_the_gradient_of_the_weighted_sum(weights):
    combined = combine(outputs(), LABELS, weights=weights, temperature=4.0)
    gradient = jax.grad(distillation_kl)(jnp.asarray(TEACHERS["logits_s"]), combined.logits, 4.0)
    assert_same_gradient(gradient, TEACHERS[f"multi_{weights}_T4_grad"])


def test_numbers_are_normalised_and_a_weight_of_zero_leaves_a_teacher_out():
    np.testing.assert_allclose(member_weights(LOGITS, (1.0, 0.0, 3.0)), [[0.25], [0], [0.75]])
    combined = combine(outputs(), weights=(1.0, 0.0, 3.0))
    first, _, third = jax.nn.softmax(LOGITS / 4)
    np.testing.assert_allclose(jax.nn.softmax(combined.logits / 4), 0.25 * first + 0.75 * third, rtol=1e-5)


def test_logits_are_averaged_at_no_temperature():
    combined = combine(outputs(), weights=(1.0, 1.0, 2.0), combination="logits")
    np.testing.assert_allclose(combined.logits, np.tensordot([0.25, 0.25, 0.5], LOGITS, axes=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "shares"), [("confidence", (1 / 3, 1 / 3, 1 / 3)), ((1.0, 0.0, 3.0), (0.25, 0, 0.75))]
)
def test_cosines_of_the_embeddings_are_the_mean_of_the_teachers(weights, shares):
    members = outputs()
    combined = combine(members, LABELS, weights=weights).embedding
    units = [member.embedding / jnp.linalg.norm(member.embedding, axis=1, keepdims=True) for member in members]
    expected = sum(share * unit @ unit.T for share, unit in zip(shares, units, strict=True))
    np.testing.assert_allclose(combined @ combined.T, expected, atol=1e-6)


def test_certain_teachers_have_equal_weights_by_entropy():
    certain = jnp.stack([100.0 * jax.nn.one_hot(jnp.zeros(2, int), 5)] * 2)
    np.testing.assert_allclose(member_weights(certain, "entropy"), np.full((2, 2), 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"members": "resnet8@a"}, "NAME@CHECKPOINT,NAME@CHECKPOINT"),
        ({"members": "resnet8@a,resnet20"}, "NAME@CHECKPOINT,NAME@CHECKPOINT"),
        ({"members": "resnet8@a,@b"}, "NAME@CHECKPOINT,NAME@CHECKPOINT"),
        ({"members": "a@a,b@b", "weights": "0.5"}, "a number for each of the 2 members"),
        ({"members": "a@a,b@b", "weights": "1,-1"}, "a number for each of the 2 members"),
        ({"members": "a@a,b@b", "weights": "0,0"}, "a number for each of the 2 members"),
        ({"members": "a@a,b@b", "weights": "1,inf"}, "a number for each of the 2 members"),
        ({"members": "a@a,b@b", "weights": "best"}, "equal, entropy, confidence"),
        ({"combine": "votes"}, 'unknown teacher.combine "votes"'),
        ({"combine_temperature": 0.0}, "teacher.combine_temperature must be above 0"),
    ],
)
def test_options_that_fit_no_teachers_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        EnsembleOptions(**keys)


def test_members_are_named_with_their_checkpoints():
    options = EnsembleOptions(members="resnet8@runs/a, mine.py:network@b.safetensors", weights="1,3")
    assert options.parsed_members() == (("resnet8", "runs/a"), ("mine.py:network", "b.safetensors"))
    assert options.parsed_weights() == (1.0, 3.0)
    assert EnsembleOptions().parsed_members() == EnsembleOptions().parsed_weights() == ()


def linear(classes, dimension):
    """A network of one matrix product, whose statistics would change in training."""

    def init(rng, example, /):
        return {"params": {"kernel": jax.random.normal(rng, (example.shape[-1], dimension))}, "statistics": {"n": 0.0}}

    def apply(variables, inputs, *, train, rngs=None):
        assert not train
        embedding = inputs @ variables["params"]["kernel"]
        return ModelOutput(embedding[:, :classes], embedding), {}

    return Network(init, apply)


def test_the_network_of_several_teachers_gives_their_combined_output():
    networks, images = (linear(3, 4), linear(3, 5)), jnp.asarray(normal(0, 2, 6))
    variables = [network.init(jax.random.key(seed), images) for seed, network in enumerate(networks)]
    options = EnsembleOptions(members="a@a,b@b", weights="1,3")
    network = ensemble_network(networks, options)
    joined = join_variables(variables)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, split_variables(joined, 2), variables))
    assert jax.tree.structure(network.init(jax.random.key(0), images)) == jax.tree.structure(joined)
    output, updated = network.apply(joined, images, train=True)
    members = [each.apply(own, images, train=False)[0] for each, own in zip(networks, variables, strict=True)]
    expected = combine(members, weights=(1.0, 3.0))
    assert updated == {}
    np.testing.assert_array_equal(output.logits, expected.logits)
    np.testing.assert_array_equal(output.embedding, expected.embedding)


def test_in_a_step_the_confidence_of_each_teacher_is_that_in_the_label():
    members = outputs(LOGITS[:2], (4, 6))
    teacher = ensemble_teacher(
        [lambda given, batch: given] * 2, EnsembleOptions(members="a@a,b@b", weights="confidence")
    )
    batch = Batch(None, jnp.asarray(LABELS), jnp.arange(len(LABELS)))
    expected = combine(members, LABELS, weights="confidence")
    np.testing.assert_array_equal(teacher(tuple(members), batch).logits, expected.logits)
    assert not np.allclose(expected.logits, combine(members).logits)


def test_each_teacher_is_prepared_and_their_seconds_are_summed():
    def prepare(name):
        return lambda first_step, batches, on_batch=None: ((name, first_step), {"teacher_seconds": 2.0})

    prepared = prepare_ensemble([prepare("a"), prepare("b")])(7, np.zeros((1, 2), np.int32))
    assert prepared == ((("a", 7), ("b", 7)), {"teacher_seconds": 4.0})
