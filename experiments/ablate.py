"""What in RDD matters: its parts changed one at a time, above all to what the authors' release does instead.

    python -m experiments.ablate --seeds=3 --out=runs/ablate-cifar100_small

The flags are those of experiments.compare, the preset is cifar100_small. Of the release's six departures from the
text, four are changes here; the fifth, one direction alone, is the default, and its row shows the other way; the sixth,
curves of single runs, is why there are seeds.
"""

from experiments import compare
from experiments.grid import Row
from rdd_jax.main import leave

# What is changed, by which settings.
_CHANGES = {
    "anchors alike": ("distill.rdd.anchor_weighting=False",),
    "mined once at the start": ("refresh.kind=once", "refresh.start_epoch=0"),
    "beta 5": ("distill.rdd.beta=5.0",),
    "hard negatives alone": ("distill.rdd.uniform_negatives=0",),
    "both directions": ("distill.rdd.both_directions=True",),
}
_RELEASE = tuple(
    setting
    for change in ("anchors alike", "mined once at the start", "beta 5", "hard negatives alone")
    for setting in _CHANGES[change]
)


def rows(_=None) -> list[Row]:
    """RDD as the paper's text has it, each change of it, and the release: all of its changes at once."""
    changed = [Row(f"rdd: {change}", "rdd", settings) for change, settings in _CHANGES.items()]
    return [Row("rdd", "rdd"), *changed, Row("rdd: as released", "rdd", _RELEASE)]


if __name__ == "__main__":
    flags = compare.parser(__doc__)
    flags.set_defaults(preset="cifar100_small")
    leave(compare.main(rows, flags, "experiments.ablate"))
