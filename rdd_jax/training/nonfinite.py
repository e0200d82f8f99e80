"""The policies for a loss or state that is not finite."""

WAYS = ("stop", "skip", "rollback")  # What `on_nan` may be.


class NonFinite(Exception):
    """The state after update `step` must not be saved: its loss, or one of its arrays, is not finite."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step
