"""The batches that the pipeline hands to the devices, from device memory and streamed."""

import itertools

import jax
import numpy as np

from rdd_jax.core import devices
from rdd_jax.data import datasets, pipeline
from rdd_jax.data.sources import ArraySource
from rdd_jax.data.streaming import Stream

DIGITS = datasets.load("digits")
BATCHES = np.random.default_rng(0).permutation(1437)[:192].reshape(6, 32)


def stream(**options):
    return Stream(ArraySource("digits", DIGITS.train_images, DIGITS.train_labels), (8, 8, 1), **options)


def datasets_of(**options):
    """The digits on the devices, and streamed."""
    return pipeline.put(DIGITS.train_images, DIGITS.train_labels), pipeline.put(stream(**options), DIGITS.train_labels)


def batch_of(batches, step, device):
    """What a compiled function on that device reads."""
    if isinstance(batches, pipeline.IndexedBatches):
        batches = batches._replace(indices=batches.indices[device])
    else:
        batches = jax.tree.map(lambda leaf: leaf[device], batches)
    return batches.batch(step)


def test_streamed_batches_are_those_on_the_devices(num_devices):
    resident, streamed = datasets_of()
    calls = [BATCHES[:3], BATCHES[3:5]]
    pairs = zip(resident.train_batches(calls, 0, 3), streamed.train_batches(calls, 0, 3), strict=True)
    for call, (expected, read) in zip(calls, pairs, strict=True):
        assert read.stacked.inputs.shape == (num_devices, 3, 32 // num_devices, 8, 8, 1)
        for step, device in itertools.product(range(len(call)), range(num_devices)):
            batch = batch_of(read, step, device)
            np.testing.assert_array_equal(batch.indices, devices.split_over_devices(call)[device, step])
            jax.tree.map(np.testing.assert_array_equal, batch, batch_of(expected, step, device))
        assert not read.stacked.inputs[:, len(call) :].any()


def test_evaluation_reads_every_image_once_in_order(num_devices, monkeypatch):
    monkeypatch.setattr(pipeline, "EVALUATION_BATCH", 600)
    reported = []
    for dataset in datasets_of():
        indices = []
        for batches in dataset.evaluation_batches(lambda done, total: reported.append((done, total))):
            for device in range(num_devices):
                batch = batch_of(batches, 0, device)
                real = batch.indices >= 0
                indices += batch.indices[real].tolist()
                np.testing.assert_array_equal(batch.inputs[real], DIGITS.train_images[batch.indices[real]])
                np.testing.assert_array_equal(batch.labels[real], DIGITS.train_labels[batch.indices[real]])
        assert indices == list(range(1437))
    assert reported == 2 * [(479, 1437), (958, 1437), (1437, 1437)]


def test_some_images_are_put_on_the_devices():
    for dataset in datasets_of(resized_crop=True):
        some = dataset.take(np.array([7, 3]))
        np.testing.assert_array_equal(some.images, DIGITS.train_images[[7, 3]])
        np.testing.assert_array_equal(some.labels, DIGITS.train_labels[[7, 3]])


def test_only_streamed_images_limit_the_steps_of_a_call():
    resident, streamed = datasets_of()
    assert resident.limit_steps(5000, 1024) == 5000
    assert streamed.limit_steps(5000, 1024) == 1024  # Of 64 KiB each: 64 MiB.
    assert streamed.limit_steps(10, 1024) == 10
    assert streamed.limit_steps(10, 2**22) == 1


def test_random_crops_are_the_same_however_many_devices_there_are(num_devices):
    images = stream(resized_crop=True)
    sent = next(pipeline.put(images, DIGITS.train_labels).train_batches([BATCHES[:1]], 7, 1)).stacked.inputs
    whole = next(images.train_batches(BATCHES[:1], 7, np.arange(32)))
    np.testing.assert_array_equal(sent.reshape(whole.shape), whole)
