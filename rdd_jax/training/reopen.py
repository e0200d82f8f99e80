"""The configuration of a finished run for evaluation, export and explanation: the run's own, but for what has moved."""

from pathlib import Path

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.runs import records
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.training import validation

# Places and costs: they change nothing about a run.
MOVABLE = ("data.folder", "data.workers", "teacher.checkpoint")


def configuration(workdir: Path, asked: RunConfig, mode: str, named: bool) -> RunConfig:
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
    given = {key: here for key, (_, here) in differences(own, asked).items()}
    changed = {key: here for key, here in given.items() if key in MOVABLE and (here or not named)}
    refused = [] if named else sorted(given.keys() - set(MOVABLE))
    if refused:
        raise UserError(
            f"--mode={mode} reads the run's own configuration; only {', '.join(MOVABLE)} can be given, not {refused[0]}"
        )
    if not loading.is_streamed(own.data):
        changed["data.workers"] = 0  # No worker reads images that are in memory.
    own = own.replaced(changed)
    if "data.folder" in changed:
        validation.check_same_data(own, workdir)
    return own
