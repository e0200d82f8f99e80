"""The metrics of calls to the devices, which are read some calls later."""

import math

import numpy as np

from rdd_jax.training.pending_metrics import PendingMetrics


class Shown:
    """A progress bar that keeps the losses shown and the number of images done."""

    def __init__(self):
        self.losses, self.num_images = [], 0

    def show_metrics(self, epoch, *, loss, accuracy):
        self.losses.append(loss)

    def advance(self, num_images):
        self.num_images += num_images


def add(pending, *losses):
    for loss in losses:
        pending.add("1/2", 8, {"loss": np.float32(loss), "accuracy": np.float32(50)})


def test_a_loss_is_read_as_many_calls_later_as_the_lag():
    shown = Shown()
    pending = PendingMetrics(shown, lag=2)
    add(pending, 3, 2)
    assert (shown.losses, pending.loss, shown.num_images) == ([], 0, 0)
    add(pending, 1)
    assert (shown.losses, pending.loss, shown.num_images) == ([3], 3, 8)
    pending.flush()
    assert (shown.losses, pending.loss, shown.num_images) == ([3, 2, 1], 1, 24)


def test_discarded_calls_count_as_done_and_their_losses_are_not_read():
    shown = Shown()
    pending = PendingMetrics(shown, lag=1)
    add(pending, math.nan, 4, 5)
    assert pending.loss == 4
    pending.discard()
    pending.flush()
    assert len(shown.losses) == 2
    assert (pending.loss, shown.num_images) == (0, 24)
