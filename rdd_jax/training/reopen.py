"""The configuration of a finished run for evaluation, export and explanation: the run's own, but for what has moved."""

from pathlib import Path

import ml_collections

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.runs import records
from rdd_jax.training import validation

# Places and costs: they change nothing about a run.
MOVABLE = ("data.folder", "data.workers", "teacher.checkpoint")


def configuration(workdir: Path, asked: ml_collections.ConfigDict, mode: str, named: bool) -> ml_collections.ConfigDict:
    """Returns the run's own configuration with the places that were asked for.

    Args:
        workdir: of the run.
        asked: what the command line says.
        mode: the program's, for messages.
        named: whether `asked` is from a configuration file that named the run. Then all but its places is left aside;
            else `asked` is the run's own configuration with keys changed by the command line.

    Raises:
        UserError: if another key was changed, if a value is impossible, or if the data in the new place are not the
            run's.
    """
    own = records.read_config(workdir)
    differences = {key: here for key, (_, here) in records.differences(own, asked).items()}
    changed = {key: here for key, here in differences.items() if key in MOVABLE and (here or not named)}
    refused = [] if named else sorted(differences.keys() - set(MOVABLE))
    if refused:
        raise UserError(
            f"--mode={mode} reads the run's own configuration; only {', '.join(MOVABLE)} can be given, not {refused[0]}"
        )
    own.update_from_flattened_dict(changed)
    if not loading.is_streamed(own):
        own.data.workers = 0  # No worker reads images that are in memory.
    try:
        loading.check_options(own)
    except ValueError as error:
        raise UserError(str(error)) from error
    if "data.folder" in changed:
        validation.check_same_data(own, workdir)
    return own
