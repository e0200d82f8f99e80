"""The options of an explanation, and the name of its page."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LONGEST_NAME = 60  # Of a page's folder, in characters; longer names end with a checksum.


class Options(NamedTuple):
    """The flags of `--mode=explain`.

    against: the workdir of another run, whose student takes the teacher's place; "" for the run's own teacher.
    dataset: a name of `datasets.NAMES`; "" for the data set of the run.
    split: "train" or "test".
    classes: names or labels of the classes to compare; () for all.
    examples: the largest number of images to compare, from the first of the split on.
    clusters: the largest number of clusters in each direction.
    """

    against: str = ""
    dataset: str = ""
    split: str = "test"
    classes: tuple[str, ...] = ()
    examples: int = 2000
    clusters: int = 5


def page_name(options: Options, workdir: Path, class_names: Sequence[str]) -> str:
    """Returns the name of the page's folder, from all options that are not the default: "teacher-test-3-5-8".

    Args:
        options: of the page.
        workdir: of the run that is explained.
        class_names: the classes in `options`, in the order of their labels; () for all.
    """
    default, parts = Options(), ["teacher"]
    if options.against:
        against = Path(os.path.abspath(options.against))
        beside = against.parent == Path(os.path.abspath(workdir)).parent
        parts = ["against", against.name] if beside else ["against", against.name, _checksum(str(against))]
    parts += [options.dataset, options.split, *class_names]
    parts += [f"{options.examples}examples"] if options.examples != default.examples else []
    parts += [f"{options.clusters}clusters"] if options.clusters != default.clusters else []
    name = "-".join(filter(None, parts))
    readable = re.sub(r"[^\w.-]", "_", name)[:_LONGEST_NAME]
    return readable if readable == name else f"{readable}-{_checksum(name)}"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
