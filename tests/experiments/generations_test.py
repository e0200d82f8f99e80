"""Born-again networks: the runs of the generations, and the table of their ensembles."""

from argparse import Namespace

import pytest

from experiments import generations
from rdd_jax.core.errors import UserError

ARGUMENTS = Namespace(method="rkd", preset="digits")


def test_each_generation_has_the_network_and_the_one_before_as_its_teacher(tmp_path):
    first, second, third = (generations.point(n, 4, ARGUMENTS, ["epochs=3"], tmp_path) for n in (1, 2, 3))
    assert (first.label, first.config.teacher.is_given) == ("generation 1", False)
    for generation, before in ((second, first), (third, second)):
        assert generation.config.teacher.name == generation.config.student.name == first.config.student.name
        assert generation.config.teacher.checkpoint == str(before.workdir)
        assert generation.config.distill["rkd"]["weight"] == 1.0
    assert {(point.config.epochs, point.config.seed, point.seed) for point in (first, second, third)} == {(3, 4, 4)}
    assert len({point.workdir for point in (first, second, third)}) == 3


def test_an_unknown_key_is_refused(tmp_path):
    with pytest.raises(UserError, match="epoks"):
        generations.point(1, 0, ARGUMENTS, ["epoks=3"], tmp_path)


def test_the_table_has_a_row_for_each_number_of_generations():
    rows = generations.table({2: {0: 50.0, 1: 52.0}, 3: {0: 53.0, 1: 53.0}}).splitlines()
    assert rows[2:] == ["| 2 | 2 | 51.00 ± 1.41 |", "| 3 | 2 | 53.00 ± 0.00 |"]
