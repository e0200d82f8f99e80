"""The reader of published curves."""

import pytest

from experiments.compare.published import read_curves
from rdd_jax.core.errors import UserError


def test_published_curves_are_the_test_accuracies(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(
        "method,epoch,metric,value\nkd,1,test_acc,14.5\nkd,1,test_loss,3.6\nkd,2,test_acc,20\nsp,1,test_acc,9\n"
    )
    assert read_curves(path) == {"kd": {1: 14.5, 2: 20.0}, "sp": {1: 9.0}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no line whose metric is test_acc"),
        (b"method,epoch,value\nkd,1,2\n", "no column 'metric'"),
        (b"method,epoch,metric,value\nkd,one,test_acc,2\n", "'one'"),
        (b"method,epoch,metric,value\nkd,1,test_acc\n", "NoneType"),
        (b"method,epoch,metric,value\nk\xff,1,test_acc,2\n", "decode"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "curves.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_curves(path)
    assert str(path) in str(error.value)
