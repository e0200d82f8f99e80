"""The numbers in the notes of a comparison."""

import pytest
from comparisons import COMPLETE, TEACHER, make_results, make_run

from experiments.compare import notes


@pytest.mark.parametrize(("seeds", "words"), [(2, "± 8.98"), (3, "± 2.48"), (5, "± 1.24"), (1, "no intervals")])
def test_the_width_of_intervals_is_given_for_the_number_of_seeds(seeds, words):
    runs = [make_run("kd", seed, 95.0 + seed / 2) for seed in range(seeds)]
    assert words in notes.accuracy_note(make_results(*runs, labels=("kd",), seeds=seeds))


def test_the_note_says_which_images_pick_the_best_epoch():
    assert "picked on the test set" in notes.accuracy_note(COMPLETE)
    assert "picked on held-out training images" in notes.accuracy_note(COMPLETE | {"validation": 0.2})


def test_conditions_name_the_teachers_and_the_binomial_error_of_the_test_set():
    # sqrt(0.94 * 0.06 / 360) and sqrt(0.971 * 0.029 / 360).
    assert "1.25 points at 94.00 % and 0.88 points at 97.10 %" in notes.conditions(COMPLETE)
    assert "0.24 points at 94.00 %" in notes.conditions(COMPLETE | {"test_images": 10_000})
    runs = [make_run("kd", seed, 96.0, teacher=TEACHER | {"accuracy": 98.0 + seed}) for seed in range(2)]
    assert "2 teachers (resnet20, 98.00 %; resnet20, 99.00 %)" in notes.conditions(make_results(*runs))
    assert notes.conditions(make_results()) == ""


def test_the_commits_that_trained_the_runs_are_listed():
    def versions(*trained):
        runs = [
            make_run(label, seed, 96.0, versions={"rdd_jax": version}, finished=f"{day}T23:59:00+00:00")
            for seed, (label, version, day) in enumerate(trained)
        ]
        return notes.versions(make_results(*runs, seeds=len(runs)))

    first, later = ("ce", "0.1.0+aaa", "2026-11-20"), ("ce", "0.1.0+aaa", "2026-11-21")
    assert versions(later, first).endswith("rdd_jax 0.1.0+aaa (2026-11-20 to 2026-11-21).")
    listed = versions(first, ("kd", "0.1.0+bbb", "2026-11-20"), later)
    assert listed.endswith("rdd_jax 0.1.0+aaa: ce (2 runs); rdd_jax 0.1.0+bbb: kd (1 run).")
