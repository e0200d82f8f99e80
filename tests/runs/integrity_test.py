"""The detection of damaged checkpoints."""

import json

import numpy as np

from rdd_jax.runs import integrity

TREE = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}


def test_what_was_saved_matches():
    assert integrity.find_mismatch(TREE, TREE, integrity.checksums(TREE), "student") is None


def test_a_flipped_bit_is_found():
    expected, damaged = integrity.checksums(TREE), {**TREE, "bias": TREE["bias"].copy()}
    damaged["bias"].view(np.uint8)[5] ^= 1
    found = integrity.find_mismatch(damaged, TREE, expected, "student")
    assert found == "1 arrays are not what was saved, the first is student['bias']"


def test_another_shape_is_found():
    wanted = {**TREE, "bias": np.zeros(4, np.float32)}
    found = integrity.find_mismatch(TREE, wanted, integrity.checksums(TREE), "student")
    assert found == "student['bias'] is float32(3,), and float32(4,) is wanted"


def test_a_damaged_checkpoint_is_renamed_to_a_free_name(tmp_path):
    for count in range(2):
        (tmp_path / "7").mkdir()
        assert integrity.quarantine(tmp_path / "7") == tmp_path / f"damaged-7-{count}"
    assert {path.name for path in tmp_path.iterdir()} == {"damaged-7-0", "damaged-7-1"}


def test_only_damaged_metrics_are_deleted(tmp_path, capsys):
    for step, content in (("1", json.dumps({"accuracy": 50.0})), ("2", '{"accur'), ("3", "[]"), ("4", "{}")):
        (tmp_path / step / "metrics").mkdir(parents=True)
        (tmp_path / step / "metrics" / "metrics").write_text(content)
    integrity.delete_damaged_metrics(tmp_path)
    assert [(tmp_path / step / "metrics" / "metrics").exists() for step in "1234"] == [True, False, False, False]
    assert capsys.readouterr().err.count("cannot be ranked by its accuracy") == 3
