"""Several seeds in one program, by `vmap` over their states, against one seed after the other."""

from typing import Any

from experiments import timing, workloads


def measure(methods: list[str], *, preset: str, batch_size: int, seeds: list[int], rounds: int) -> list[dict[str, Any]]:
    """A row for each method and number of seeds.

    Returns:
        [{"method", "preset", "batch_size", "seeds", "alone": seconds of one seed's step, "together": seconds of a step
        of all of them, "speedup": seeds * alone / together; above 1 it pays to train them together}].
    """
    rows = []
    for method in methods:
        options = {"preset": preset, "batch_size": batch_size}
        steps = {("1", "jax"): workloads.train_step(method, **options)}
        steps |= {(str(count), "jax"): workloads.train_step(method, **options, seeds=count) for count in seeds}
        found = {row["work"]: row["seconds"]["jax"]["median"] for row in timing.seconds(steps, rounds)}
        for count in seeds:
            times = {"alone": found["1"], "together": found[str(count)]}
            speedup = count * times["alone"] / times["together"]
            rows.append({"method": method, **options, "seeds": count, **times, "speedup": speedup})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each."""
    lines = ["| step | seeds | one alone, ms | all together, ms | speedup |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        work = f"{row['method']}, {row['preset']}, batch {row['batch_size']}"
        times = f"{1000 * row['alone']:.1f} | {1000 * row['together']:.1f} | {row['speedup']:.2f}"
        lines.append(f"| {work} | {row['seeds']} | {times} |")
    return "\n".join(lines)
