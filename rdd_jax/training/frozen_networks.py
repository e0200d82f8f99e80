"""The functions of the frozen networks of a run: its teacher, and the holdout models of RHO-LOSS."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from rdd_jax import methods
from rdd_jax.core import devices, user_code
from rdd_jax.core.types import Array, OnBatch
from rdd_jax.data.augmentation import Augmentation, Normalize
from rdd_jax.data.pipeline import DeviceDataset, PipelineDataset
from rdd_jax.runs import naming
from rdd_jax.runs.config import RunConfig
from rdd_jax.runs.network_options import StudentOptions
from rdd_jax.runs.trained_models import TrainedModel, load_student
from rdd_jax.steps import train_state
from rdd_jax.steps.embedding import logits_of, make_embed
from rdd_jax.steps.ensemble_teacher import ensemble_teacher, prepare_ensemble
from rdd_jax.steps.teacher import PrepareTeacher, TeacherFn, cached_teacher, constant_teacher, forward_teacher
from rdd_jax.steps.teacher_cache import TeacherOutputCache, cache_path
from rdd_jax.steps.teacher_precompute import TeacherPrecompute


def make_teacher(
    config: RunConfig,
    teachers: Sequence[TrainedModel],
    train: PipelineDataset,
    augmentation: Augmentation,
    folder: Path,
) -> tuple[TeacherFn | None, PrepareTeacher]:
    """Makes the functions that find the teacher's outputs in a step, and prepare them before an epoch.

    Args:
        config: of the run.
        teachers: one, several, or none.
        train: the training images.
        augmentation: of the training images.
        folder: of the cached outputs of teachers.
    """
    if not teachers or not methods.reads_teacher(config.distill):
        return None, constant_teacher({})
    networks = naming.teacher_networks(config)
    made = [
        _make_one(config, network, teacher, train, augmentation, folder)
        for network, teacher in zip(networks, teachers, strict=True)
    ]
    if len(made) == 1:
        return made[0]
    functions, prepares = zip(*made, strict=True)
    return ensemble_teacher(functions, config.teacher), prepare_ensemble(prepares)


def _make_one(
    config: RunConfig,
    network: StudentOptions,
    teacher: TrainedModel,
    train: PipelineDataset,
    augmentation: Augmentation,
    folder: Path,
) -> tuple[TeacherFn, PrepareTeacher]:
    """Does what `make_teacher` does, for one teacher."""
    if config.teacher.cache == "none":
        return forward_teacher(teacher.network), constant_teacher(teacher.variables)
    assert isinstance(train, DeviceDataset), "config_checks refuses a cache of streamed images"
    shapes = train_state.output_shapes(teacher.network, train.image_shape)
    sizes = {
        "num_examples": len(train),
        "num_augmentations": augmentation.num_augmentations,
        "num_values": shapes.logits.shape[-1] + shapes.embedding.shape[-1],
        "dtype": config.teacher.cache_dtype,
    }
    path = cache_path(
        folder,
        naming.network_name(network),
        (teacher.variables, train.images, augmentation.apply(train.images[:1], jnp.zeros(1, jnp.int32))),
        augment=dataclasses.asdict(config.augment),
        # Rounding may differ between programs, and with the rows of a batch.
        computed=[config.dtype, config.batch_size, jax.local_device_count(), jax.default_backend(), jax.__version__],
        **({"network": user_code.fingerprint(network.name)} if user_code.is_reference(network.name) else {}),
        **sizes,
    )
    cache = TeacherOutputCache(path, **sizes)
    precompute = TeacherPrecompute(teacher.network, teacher.variables, train, augmentation, cache, config.seed)
    return cached_teacher, precompute


def irreducible_losses(
    config: RunConfig,
    shared: Path,
    train: PipelineDataset,
    normalize: Normalize,
    on_batch: OnBatch,
) -> Array:
    """Computes the cross-entropy f32[n] of every training image by the network trained on the other half of them."""
    losses = {}
    for part in ("even", "odd"):
        workdir = shared / naming.run_name(naming.holdout_model_config(config, part))
        trained = load_student(workdir, config.dtype, config.student)
        embed_logits = make_embed(trained.network, normalize, logits_of)
        logits = embed_logits(trained.variables, train, on_batch)
        losses[part] = optax.losses.softmax_cross_entropy_with_integer_labels(logits, train.labels)
    is_even = jnp.arange(len(train)) % 2 == 0
    return devices.replicate(jnp.where(is_even, losses["odd"], losses["even"]))
