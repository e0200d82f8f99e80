"""Metrics of a finished student other than its accuracy: similarity to its teacher, and transfer to other data.

The similarities are those of `rdd_jax.analysis.similarity`, between the embeddings of the test images. The transfer is
the accuracy of a linear probe: logistic regression on the frozen student's embeddings of another data set, after the
transfer experiments of Tian et al. 2020 (CRD).
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax.analysis import similarity
from rdd_jax.core import io
from rdd_jax.core.errors import UserError
from rdd_jax.data import datasets, loading, pipeline
from rdd_jax.runs import records
from rdd_jax.runs.trained_models import TrainedModel, load_student, load_teacher, make_input_normalizer
from rdd_jax.steps.embedding import make_embed

Metrics = dict[str, float | str]
# (images uint8[n,h,w,c]) -> embeddings f32[n,d]
Embed = Callable[[np.ndarray], np.ndarray]

_FILE = "student_metrics.json"
_SIMILARITIES = {
    "cka": similarity.linear_cka,
    "rank_correlation": similarity.rank_correlation,
    "mutual_knn": similarity.mutual_knn,
}
# All of MNIST raises the accuracy of the probe by less than a point and takes several times as long.
_PROBE_IMAGES = 10_000


def compute_if_missing(workdir: Path) -> None:
    """Computes the metrics of a finished run and saves them in its workdir, unless they are there. Errors of `compute`.

    A metric whose data were missing then is not added later; delete workdir/student_metrics.json to compute all again.
    """
    if not (workdir / _FILE).exists():
        io.write_json(workdir / _FILE, compute(workdir))


def load_if_saved(workdir: Path) -> Metrics:
    """Reads the metrics that `compute_if_missing` has saved; {} where there are none."""
    path = workdir / _FILE
    return io.read_json(path, "delete it, and the same command computes it again") if path.exists() else {}


def compute(workdir: Path) -> Metrics:
    """Compares the student of a finished run with its teacher, and trains a linear probe on another data set.

    Returns:
        {"cka", "rank_correlation", "mutual_knn": as in `rdd_jax.analysis.similarity`, where the run has a teacher;
        "transfer": accuracy of the linear probe in percent; "transfer_dataset": "mnist" for a student of the digits,
        else "digits"}. The transfer is left out where its data set is not prepared. {} where the student's embeddings
        are degenerate, and no similarities where the teacher's are.

    Raises:
        UserError: the run is not finished, or it, its data or its teacher is missing or damaged.
    """
    config = records.read_config(workdir)
    if not records.is_finished(workdir):
        raise UserError(f"the run in {workdir} is not finished: finish it first")
    dataset = loading.load(config.data)
    embed = _embedder(load_student(workdir, config.dtype), dataset)
    student = embed(dataset.test_images)
    if _is_degenerate(student):
        return {}
    metrics: Metrics = {}
    if trained := load_teacher(config, workdir):
        teacher = _embedder(trained, dataset)(dataset.test_images)
        if not _is_degenerate(teacher):
            metrics |= {name: float(similar(student, teacher)) for name, similar in _SIMILARITIES.items()}
    other = "mnist" if loading.dataset_name(config.data) == "digits" else "digits"
    if datasets.is_prepared(other):
        image_shape = loading.describe(config.data).image_shape
        metrics |= {"transfer": transfer(embed, image_shape, datasets.load(other)), "transfer_dataset": other}
    return metrics


def transfer(embed: Embed, image_shape: tuple[int, int, int], dataset: datasets.Dataset) -> float:
    """Returns the test accuracy in percent of a linear probe trained on another data set.

    The probe is scikit-learn's multinomial logistic regression on standardised embeddings, with an L2 penalty of C = 1
    and up to 1,000 iterations of L-BFGS. The problem is convex, so no seed or learning rate affects the result. It
    trains on the first 10,000 training images.

    Args:
        embed: the frozen network.
        image_shape: height, width and channels of the network's inputs; the images are resized to it.
        dataset: the other data set.
    """
    # Imported here because it takes seconds.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = dataset.train_labels[:_PROBE_IMAGES]
    images = np.concatenate([dataset.train_images[:_PROBE_IMAGES], dataset.test_images])
    embeddings = embed(fit_images(images, image_shape))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    probe.fit(embeddings[: len(labels)], labels)
    return 100 * float(probe.score(embeddings[len(labels) :], dataset.test_labels))


def fit_images(images: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Resizes images uint8[n,h,w,c] to uint8[n,*image_shape], bilinearly with antialiasing.

    Where the number of channels differs, every new channel is the mean of the old ones.
    """
    height, width, channels = image_shape
    fitted = jnp.asarray(images, jnp.float32)
    if images.shape[-1] != channels:
        fitted = jnp.repeat(jnp.mean(fitted, axis=-1, keepdims=True), channels, axis=-1)
    fitted = jax.image.resize(fitted, (len(images), height, width, channels), "bilinear")
    return np.asarray(jnp.round(fitted), np.uint8)


def _embedder(trained: TrainedModel, dataset: datasets.Dataset) -> Embed:
    """Returns the network in evaluation mode, for images normalised as its training images were."""
    embed = make_embed(trained.network, make_input_normalizer(dataset))
    return lambda images: np.asarray(embed(trained.variables, pipeline.put(images)), np.float32)


def _is_degenerate(embeddings: np.ndarray) -> bool:
    """Tells whether embeddings f32[n,d] are not finite or all equal, as those of a diverged network are.

    All equal as well, because some compiled programs turn NaN into zeros.
    """
    ranges = np.ptp(embeddings, axis=0)
    return not (np.isfinite(ranges).all() and ranges.any())
