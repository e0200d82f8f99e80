"""Times minings of the contrast table, in JAX and in PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments.benchmark import workloads
from experiments.benchmark.timing import Row, Work
from experiments.benchmark.train_step import TorchWorkloads


def prepare(
    sizes: Sequence[int], *, dim: int, pool_size: int, torch: TorchWorkloads | None = None
) -> dict[Work, Callable[[], Any]]:
    """Prepares a mining for each number of examples, with and without ranking the teacher's embeddings again.

    Args:
        sizes: numbers of examples.
        dim: width of the embeddings.
        pool_size: hard negatives of an example.
        torch: None to time JAX alone.
    """
    candidates: dict[Work, Callable[[], Any]] = {}
    for size in sizes:
        work = f"mining {size:,} x {dim}, pool {pool_size:,}"
        options = {"num_examples": size, "dim": dim, "pool_size": pool_size}
        if torch:
            candidates[Work(work, "torch")] = torch.mine(**options)
        candidates[Work(work, "jax")] = workloads.mine(**options)
        candidates[Work(f"{work}, teacher already ranked", "jax")] = workloads.mine(**options, ranked=True)
    return candidates


def table(rows: Sequence[Row]) -> str:
    """Formats the rows as Markdown, with PyTorch's median over JAX's where both were timed."""
    lines = ["| work | jax, s | compilation, s | torch, s | torch / jax |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ours, theirs = row["seconds"]["jax"], row["seconds"].get("torch")
        compilation = max(0.0, ours["first"] - ours["median"])
        cells = [row["work"], f"{ours['median']:.2f}", f"{compilation:.1f}"]
        cells += [f"{theirs['median']:.2f}", f"{theirs['median'] / ours['median']:.2f}"] if theirs else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
