"""Configurations of runs."""

from rdd_jax.runs.config import RunConfig


def run_config(config, **keys):
    """The configuration that the program makes of a ConfigDict, with other values of dotted keys."""
    return RunConfig.from_dict(config.to_dict()).replaced(keys)
