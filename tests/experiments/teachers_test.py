"""The rows of the comparison of teachers."""

from argparse import Namespace

import pytest

from experiments.teachers import rows
from rdd_jax.core.errors import UserError


def test_each_teacher_has_a_row_and_all_together_have_one():
    members = "resnet20@a,resnet20@b.pth"
    first, second, both = rows(Namespace(method="kd", members=members))
    assert (first.label, second.label) == ("teacher 1, resnet20", "teacher 2, resnet20")
    assert {row.file for row in (first, second, both)} == {"kd"}
    assert second.settings == ("teacher.name=resnet20", "teacher.checkpoint=b.pth")
    assert (both.label, both.settings) == ("all teachers", (f"teacher.members={members}",))


def test_a_single_teacher_is_refused():
    with pytest.raises(UserError, match="of two teachers or more"):
        rows(Namespace(method="kd", members="resnet20@a"))
