"""The comparison of anchors with everything, on embeddings small enough to count by hand; and its command line."""

import json
import sys

import numpy as np
import pytest

from experiments import anchors
from rdd_jax import rdx

N, POOL = 60, 5


@pytest.fixture(scope="module")
def embeddings():
    return np.random.default_rng(0).normal(size=(2, N, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def rows(embeddings):
    return anchors.compare(*embeddings, [N, 20], pool_size=POOL, seed=0)


def test_everything_as_anchors_is_exact(rows):
    exact, few = rows
    assert (exact["anchors"], exact["share"]) == (N, 1.0)
    for figure in ("recall", "recall_among_anchors", "quantile_precision", "positive_affinity"):
        assert exact[figure] == 1.0
        assert 0 < few[figure] <= 1
    assert exact["confusion_correlation"] == pytest.approx(1.0, abs=1e-12)
    assert few["recall"] < 0.7
    assert few["recall"] < few["recall_among_anchors"]
    assert 0 < few["confusion_correlation"] < 0.999


def test_figures_are_what_they_say(embeddings, monkeypatch):
    """Counted pair by pair; in blocks that do not divide the rows."""
    monkeypatch.setattr(anchors, "_BLOCK", 16)
    columns = np.arange(0, N, 3)
    exact, table = (rdx.mine(*embeddings, pool_size=POOL, anchors=each) for each in (None, columns))
    ranks = [np.asarray(rdx.ranked(each).ranks) for each in embeddings]
    figures = anchors.agreement(table, exact, columns, *ranks)

    rank_s, rank_t = (each.astype(np.float64) for each in ranks)
    ratio = np.float32((rank_s - rank_t) / (np.minimum(rank_s, rank_t) + 1))
    found, among, within, affinity = [], [], [], []
    for i in range(N):
        others = sorted(set(range(N)) - {i}, key=lambda j, i=i: (ratio[i, j], j))
        pool = set(np.asarray(table.negatives[i]).tolist())
        found += [j in pool for j in others[:POOL]]
        among += [j in pool for j in others[:POOL] if j % 3 == 0]
        within += [others.index(j) < 3 * POOL for j in pool]
        a01 = np.exp(0.8 * np.tanh(0.1 * ratio[i]))
        affinity.append(a01[table.positives[i]] / a01[others].max())
    assert figures["recall"] == pytest.approx(np.mean(found))
    assert figures["recall_among_anchors"] == pytest.approx(np.mean(among))
    assert figures["quantile_precision"] == pytest.approx(np.mean(within))
    assert figures["positive_affinity"] == pytest.approx(np.mean(affinity), rel=1e-5)
    correlation = np.corrcoef(table.confusion, exact.confusion)[0, 1]
    assert figures["confusion_correlation"] == pytest.approx(correlation)
    assert 0 < np.mean(found) < np.mean(among) < 1  # Else the scene would show nothing.


@pytest.mark.parametrize("count", [POOL, N + 1])
def test_impossible_numbers_of_anchors(embeddings, count):
    with pytest.raises(ValueError, match=f"got {count}$"):
        anchors.compare(*embeddings, [20, count], pool_size=POOL, seed=0)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["anchors", *arguments])
    anchors.main()


def test_figures_are_printed_and_kept(tmp_path, monkeypatch, capsys, embeddings):
    monkeypatch.setattr(anchors, "load_embeddings", lambda workdirs, num_examples: embeddings[:, :num_examples])
    path = tmp_path / "anchors.json"
    options = [f"--examples={N}", f"--pool_size={POOL}", f"--anchors=20,{N}", f"--save={path}"]
    run(monkeypatch, "--teacher=t", "--student=s", *options)
    kept = json.loads(path.read_text())
    assert [row["anchors"] for row in kept["rows"]] == [20, N]
    assert (kept["examples"], kept["pool_size"]) == (N, POOL)
    printed = capsys.readouterr().out
    assert printed.strip() == anchors.markdown(kept["rows"])
    assert [line.count("|") for line in printed.splitlines()] == [10] * 4


@pytest.mark.parametrize(
    ("other", "arguments", "words"),
    [
        ("none", [], "there is no run in"),
        ("unfinished", [], "is not finished"),
        ("elsewhere", [], "is of mnist and"),
        ("same", ["--examples=1438", "--anchors=300"], "examples must be in [1, 1437]"),
        ("same", ["--anchors=many"], "many"),
        ("none", ["--anchors=500,256"], "got 256"),
    ],
)
def test_mistakes_are_told(tmp_path, monkeypatch, capsys, other, arguments, words):
    for name in ("run", "same", "unfinished", "elsewhere"):
        (tmp_path / name).mkdir()
        config = {"student": {"name": "resnet8"}, "dataset": "mnist" if name == "elsewhere" else "digits"}
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "dtype": "float32"}))
        if name != "unfinished":
            (tmp_path / name / "summary.json").write_text("{}")
    with pytest.raises(SystemExit) as exit_code:
        run(monkeypatch, f"--student={tmp_path}/run", f"--teacher={tmp_path}/{other}", *arguments)
    assert exit_code.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
