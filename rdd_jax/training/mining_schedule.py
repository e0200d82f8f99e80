"""The epochs before which the training set is mined."""

KINDS = ("once", "every", "adaptive")


def is_due(epoch: int, *, kind: str, start_epoch: int, epochs: int) -> bool:
    """Whether the table is mined before epoch `epoch` (from 0) in any case: at `start_epoch`, and "every" so many."""
    since = epoch - start_epoch
    return since == 0 or (kind == "every" and since > 0 and since % epochs == 0)
