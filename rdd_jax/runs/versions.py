"""The versions of this package and of the packages that decide what a run computes."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import rdd_jax

_SOURCE = Path(__file__).parent.parent.parent
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions by package, "python" among them; "rdd_jax" has its commit behind a "+".

    The commit is looked up once a process, by the first call: the source may change under a long run.
    """
    own = "+".join(filter(None, (rdd_jax.__version__, commit(_SOURCE))))
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"rdd_jax": own, "python": platform.python_version(), **packages}


def commit(source: Path) -> str | None:
    """Finds the git commit of a source tree.

    Args:
        source: the folder that the package is in.

    Returns:
        The first 12 digits of the commit, followed by ".dirty" where tracked files differ from it. None where the
        folder is not the top of a git checkout, as of an installed package, or git cannot read it.
    """
    # A package that is installed inside of somebody else's checkout is not of their commit.
    if not (source / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=.dirty"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # Only reads, whatever else is at work in the checkout.
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
