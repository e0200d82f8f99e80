"""The configuration of a finished run for the modes that read it: the run's own, with the paths of moved data."""

from pathlib import Path

from rdd_jax.core.errors import UserError
from rdd_jax.data import loading
from rdd_jax.data.own_data import is_own
from rdd_jax.runs import records
from rdd_jax.runs.config import RunConfig, differences
from rdd_jax.training.same_run import check_same_data

# The keys that do not change the results of a run. The folder of a file with a network may be another as well.
MOVABLE = ("data.folder", "data.workers", "teacher.checkpoint", "teacher.members")


def configuration(workdir: Path, given: RunConfig, mode: str, named: bool) -> RunConfig:
    """Returns a run's own configuration with the paths that the command line gives.

    Args:
        workdir: of the run.
        given: the configuration that the command line makes.
        mode: the program's, for messages.
        named: True where the workdir was found by the name of a configuration file's run, without --workdir: then
            `given` is that file's configuration, and only its paths are used. False where --workdir was given: then
            `given` is the run's own configuration with the changes of the command line.

    Raises:
        UserError: if another key was changed, if a value is impossible, or if the data in the new place are not the
            run's.
    """
    own = records.read_config(workdir)
    differing = {key: here for key, (_, here) in differences(own, given).items()}
    movable = MOVABLE
    if is_own(own.dataset) and is_own(given.dataset):
        movable = ("dataset", *MOVABLE)
    for role, network in (("student", given.student.name), ("teacher", given.teacher.name)):
        if f"{role}.name" in differing and records.is_recorded_network(network, workdir, role):
            movable = (f"{role}.name", *movable)
    changed = {key: here for key, here in differing.items() if key in movable and (here or not named)}
    refused = [] if named else sorted(differing.keys() - set(movable))
    if refused:
        raise UserError(
            f"--mode={mode} reads the run's own configuration; only {', '.join(movable)} can be given, not {refused[0]}"
        )
    if not loading.is_streamed(own.data):
        changed["data.workers"] = 0  # Images in memory are not read by workers.
    own = own.replaced(changed)
    if changed.keys() & {"dataset", "data.folder"}:
        check_same_data(own, workdir)
    return own
