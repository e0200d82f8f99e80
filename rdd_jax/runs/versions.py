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
    """Returns the versions of this package, of Python and of the packages above, by name.

    The version of "rdd_jax" ends with "+" and the commit of its source, as of the first call in this process: the
    source may change during a long run.
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
    # A package installed inside another project's checkout is not of that project's commit.
    if not (source / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=.dirty"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # Another git may be at work in the checkout.
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
