"""What a finished student is worth beside its accuracy: how near it came to its teacher, and what else it is good for.

The agreement with the teacher is that of `rdd_jax.analysis.similarity`, of the embeddings of the test images. The
transfer is the accuracy of a linear probe: logistic regression on the frozen student's embeddings of another data set,
in the spirit of the transfer experiments of Tian et al. 2020 (CRD).
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

Measures = dict[str, float | str]
# (images uint8[n,h,w,c]) -> embeddings f32[n,d]
Embed = Callable[[np.ndarray], np.ndarray]

_FILE = "measures.json"
_AGREEMENTS = {
    "cka": similarity.linear_cka,
    "rank_agreement": similarity.rank_correlation,
    "neighbors_shared": similarity.mutual_knn,
}
# All of MNIST raises the probe by less than a point, and takes several times as long.
_PROBE_IMAGES = 10_000


def keep(workdir: Path) -> None:
    """Measures a finished run and leaves the result in its workdir, unless that is done already. Errors of `measure`.

    What could not be measured then is not measured later: remove workdir/measures.json for that.
    """
    if not (workdir / _FILE).exists():
        io.write_json(workdir / _FILE, measure(workdir))


def kept(workdir: Path) -> Measures:
    """What `keep` left in the workdir, {} where it was not called."""
    path = workdir / _FILE
    return io.read_json(path, "delete it, and the same command measures again") if path.exists() else {}


def measure(workdir: Path) -> Measures:
    """Compares the student of a finished run with its teacher, and probes it on another data set.

    Returns:
        {"cka", "rank_agreement", "neighbors_shared": as in `agreement`, of the test images, where the run has a
        teacher; "transfer": percent of the test images that the probe classifies correctly; "transfer_dataset": of
        which data set, "mnist" for a student of the digits and "digits" for any other}. The transfer is left out where
        its data is not prepared, and so is all of a network that tells no images apart, as one that has diverged.

    Raises:
        UserError: where the run is not finished, or it, its data or its teacher is missing or damaged.
    """
    config = records.read_config(workdir)
    if not records.is_finished(workdir):
        raise UserError(f"the run in {workdir} is not finished: finish it first")
    dataset = loading.load(config.data)
    embed = _embedder(load_student(workdir, config.dtype), dataset)
    student = embed(dataset.test_images)
    if not _tells_apart(student):
        return {}
    measures = {}
    if network := load_teacher(config, workdir):
        teacher = _embedder(network, dataset)(dataset.test_images)
        if _tells_apart(teacher):
            measures |= {name: float(agree(student, teacher)) for name, agree in _AGREEMENTS.items()}
    other = "mnist" if loading.dataset_name(config.data) == "digits" else "digits"
    if datasets.is_prepared(other):
        image_shape = loading.describe(config.data).image_shape
        measures |= {"transfer": transfer(embed, image_shape, datasets.load(other)), "transfer_dataset": other}
    return measures


def transfer(embed: Embed, image_shape: tuple[int, int, int], dataset: datasets.Dataset) -> float:
    """The accuracy, in percent of the test images, of a linear probe on another data set.

    The probe is scikit-learn's multinomial logistic regression on standardised embeddings with an L2 penalty of C = 1,
    the same for all networks, and up to 1,000 iterations of L-BFGS: convex, so that no seed and no learning rate plays
    a part. It learns from the training images, of a large data set from the first 10,000.

    Args:
        embed: the frozen network.
        image_shape: height, width and channels of the images that it takes.
        dataset: the other data set.
    """
    # Imported here because it takes seconds, and only this needs it.
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
    """Images uint8[n,h,w,c] as uint8[n,*image_shape]: resized bilinearly, smoothed first where they shrink.

    Where the channels are others, each becomes the mean of those there are.
    """
    height, width, channels = image_shape
    fitted = jnp.asarray(images, jnp.float32)
    if images.shape[-1] != channels:
        fitted = jnp.repeat(jnp.mean(fitted, axis=-1, keepdims=True), channels, axis=-1)
    fitted = jax.image.resize(fitted, (len(images), height, width, channels), "bilinear")
    return np.asarray(jnp.round(fitted), np.uint8)


def _embedder(network: TrainedModel, dataset: datasets.Dataset) -> Embed:
    """The network in evaluation mode, of images normalised as those that it was trained on."""
    embed = make_embed(network.model, make_input_normalizer(dataset))
    return lambda images: np.asarray(embed(network.variables, pipeline.place(images)), np.float32)


def _tells_apart(embeddings: np.ndarray) -> bool:
    """Whether embeddings f32[n,d] are finite and not all the same.

    Of a network that has diverged they may be either: some compiled programs make zeros of its NaNs.
    """
    ranges = np.ptp(embeddings, axis=0)
    return bool(np.isfinite(ranges).all() and ranges.any())
