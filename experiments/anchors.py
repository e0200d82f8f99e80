"""How near mining against a few anchors comes to mining against everything, between two trained networks.

    python -m experiments.anchors --teacher=WORKDIR --student=WORKDIR [--anchors=500,1000,2000] [--examples=10000]

Recall is the share of the exact pool that the approximate one found, among all examples and among the anchors, which
alone could be found. An approximate pool reaches further down the exact order: precision is the share of it within the
first pool_size * examples / anchors. Positives are judged by their A01 over the best there is, confusion by its Pearson
correlation with the exact one.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rdd_jax import parallel, rdx, runs
from rdd_jax.data import datasets
from rdd_jax.errors import UserError
from rdd_jax.networks import load_network, normalizer
from rdd_jax.refresh import make_embed
from rdd_jax.sorting import ranks
from rdd_jax.types import Array

Figures = dict[str, float]

_GAMMA, _BETA = 0.1, 0.8
_BLOCK = 512
_COLUMNS = {
    "anchors": "{:,}",
    "share": "{:.0%}",
    "exact_seconds": "{:.2f}",
    "seconds": "{:.2f}",
    "recall": "{:.3f}",
    "recall_among_anchors": "{:.3f}",
    "quantile_precision": "{:.3f}",
    "positive_affinity": "{:.3f}",
    "confusion_correlation": "{:.3f}",
}


def compare(
    student: np.ndarray, teacher: np.ndarray, anchor_counts: Sequence[int], *, pool_size: int, seed: int
) -> list[Figures]:
    """One row of figures for each number of anchors, which are drawn at random.

    Args:
        student: f32[n,ds].
        teacher: f32[n,dt].
        anchor_counts: how many anchors; each above pool_size and at most n.
        pool_size: hard negatives an example.
        seed: of the draws.

    Raises:
        ValueError: if the shapes do not fit each other or the sizes.
    """
    n = len(student)
    check_counts(anchor_counts, pool_size, n)
    student, teacher = jnp.asarray(student), jnp.asarray(teacher)
    mine = partial(rdx.mine, student, teacher, gamma=_GAMMA, beta=_BETA, pool_size=pool_size, block_size=_BLOCK)
    exact, exact_seconds = _timed(mine)
    both_ranks = [rdx.ranked(embeddings, block_size=_BLOCK).ranks for embeddings in (student, teacher)]
    rows = []
    for count in anchor_counts:
        anchors = np.sort(np.random.default_rng([seed, count]).choice(n, count, replace=False)).astype(np.int32)
        table, seconds = _timed(partial(mine, anchors=anchors))
        figures = {"anchors": count, "share": count / n, "exact_seconds": exact_seconds, "seconds": seconds}
        rows.append(figures | agreement(table, exact, anchors, *both_ranks))
    return rows


def check_counts(anchor_counts: Sequence[int], pool_size: int, num_examples: int) -> None:
    """Raises ValueError, in one line, where one of the numbers of anchors is impossible."""
    for count in anchor_counts:
        if not 1 <= pool_size < count <= num_examples:
            raise ValueError(f"anchors must be above pool_size and at most examples, {num_examples}; got {count}")


def agreement(
    table: rdx.ContrastTable, exact: rdx.ContrastTable, anchors: np.ndarray, student_ranks: Array, teacher_ranks: Array
) -> Figures:
    """How well a table mined against anchors i32[m] agrees with the exact one; ranks [n,n] are the exact ones."""
    n, pool_size = exact.negatives.shape
    is_anchor = np.zeros(n, bool)
    is_anchor[anchors] = True
    of_anchors = is_anchor[exact.negatives]
    found = np.zeros((n, pool_size), bool)
    within, affinity = np.zeros((n, pool_size), bool), np.zeros(n)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        positions, affinity[block] = _exact_places(
            np.arange(n)[block],
            student_ranks[block],
            teacher_ranks[block],
            table.negatives[block],
            table.positives[block],
        )
        within[block] = positions < pool_size * n / len(anchors)
        chosen = np.zeros((len(positions), n), bool)
        np.put_along_axis(chosen, np.asarray(table.negatives[block]), True, axis=1)
        found[block] = np.take_along_axis(chosen, np.asarray(exact.negatives[block]), axis=1)
    return {
        "recall": float(found.mean()),
        "recall_among_anchors": float(found[of_anchors].mean()) if of_anchors.any() else 1.0,
        "quantile_precision": float(within.mean()),
        "positive_affinity": float(affinity.mean()),
        "confusion_correlation": float(np.corrcoef(table.confusion, exact.confusion)[0, 1]),
    }


@jax.jit
def _exact_places(
    rows: Array, student_ranks: Array, teacher_ranks: Array, negatives: Array, positives: Array
) -> tuple[Array, Array]:
    """Where the negatives i32[b,pool] stand in the exact order of A10, and the positives' A01 over the best, f32[b]."""
    is_self = rows[:, None] == jnp.arange(student_ranks.shape[1])
    ratio = rdx.relative_difference(student_ranks, teacher_ranks)
    places = ranks(jnp.where(is_self, jnp.inf, ratio)).astype(jnp.int32)
    best = jnp.max(ratio, axis=1, initial=-jnp.inf, where=~is_self)
    ends = jnp.stack([jnp.take_along_axis(ratio, positives[:, None], axis=1)[:, 0], best])
    chosen, best = rdx.affinities(jnp.tanh(_GAMMA * ends), _BETA).teacher_unique
    return jnp.take_along_axis(places, negatives, axis=1), chosen / best


def _timed(work) -> tuple[rdx.ContrastTable, float]:
    """What it returns, as NumPy arrays, and the seconds it takes once compiled."""
    jax.block_until_ready(work())
    started = time.perf_counter()
    result = jax.block_until_ready(work())
    return jax.tree.map(np.asarray, result), time.perf_counter() - started


def markdown(rows: list[Figures]) -> str:
    """The figures as a Markdown table."""
    lines = [[name.replace("_", " ") for name in _COLUMNS], ["---"] * len(_COLUMNS)]
    lines += [[form.format(row[name]) for name, form in _COLUMNS.items()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load_embeddings(workdirs: Sequence[Path], num_examples: int) -> list[np.ndarray]:
    """Each run's network on the first training images of their data set, f32[num_examples,d].

    Raises:
        UserError: where a run is missing, damaged or not finished, or their data sets differ or are too small.
    """
    configs = [runs.read_config(workdir) for workdir in workdirs]
    for workdir, config in zip(workdirs, configs, strict=True):
        if not runs.is_finished(workdir):
            raise UserError(f"the run in {workdir} is not finished: finish it first")
        if config.dataset != configs[0].dataset:
            raise UserError(
                f"{workdir} is of {config.dataset} and {workdirs[0]} of {configs[0].dataset}: give two of one data set"
            )
    dataset = datasets.load(configs[0].dataset)
    if not 1 <= num_examples <= len(dataset.train_images):
        raise UserError(
            f"examples must be in [1, {len(dataset.train_images)}], the training images; got {num_examples}"
        )
    images = parallel.replicate(dataset.train_images[:num_examples])
    embeddings = []
    for workdir, config in zip(workdirs, configs, strict=True):
        model, variables = load_network(workdir, config.dtype)
        embeddings.append(np.asarray(make_embed(model, normalizer(dataset))(variables, images), np.float32))
    return embeddings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="the workdir of a finished run")
    parser.add_argument("--student", type=Path, required=True, help="the workdir of a finished run")
    parser.add_argument("--anchors", default="500,1000,2000", help="numbers of anchors, by commas")
    parser.add_argument("--examples", type=int, default=10000, help="the first training images, so many")
    parser.add_argument("--pool_size", type=int, default=256, help="hard negatives an example")
    parser.add_argument("--seed", type=int, default=0, help="of the anchors")
    parser.add_argument("--save", type=Path, help="a JSON file for the figures")
    return parser


def main() -> None:
    """Prints the table; with --save, keeps the figures."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        counts = [int(count) for count in arguments.anchors.split(",")]
        check_counts(counts, arguments.pool_size, arguments.examples)
        student, teacher = load_embeddings([arguments.student, arguments.teacher], arguments.examples)
        rows = compare(student, teacher, counts, pool_size=arguments.pool_size, seed=arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    if arguments.save:
        kept = {"examples": arguments.examples, "pool_size": arguments.pool_size, "seed": arguments.seed, "rows": rows}
        arguments.save.write_text(json.dumps(kept, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
