"""The benchmark's measurements: what they find on small steps, where that does not depend on the machine's speed."""

import json
import os
import sys

import jax
import jax.numpy as jnp
import pytest
from clu.metrics import Average

from experiments import benchmark, fresh_process, measure_input, measure_memory, measure_profile, measure_scaling
from experiments.measure_profile import Group, Program
from experiments.thread_time import EXECUTOR
from rdd_jax.methods.rdd import RddState
from rdd_jax.train_state import TrainState

STEP = {"preset": "digits", "batch_size": 16}
ONE_DEVICE = fresh_process.with_xla_flag("--xla_force_host_platform_device_count=1")

TEXT = """
%fused_moves (param_0: f32[8,3,3,4]) -> f32[3,3,4,8] {
  %param_0 = f32[8,3,3,4]{3,2,1,0} parameter(0)
  ROOT %transpose.1 = f32[3,3,4,8]{3,2,1,0} transpose(%param_0), dimensions={1,2,3,0}
}

%fused_root (param_1: f32[2]) -> f32[2] {
  %param_1 = f32[2]{0} parameter(0)
  ROOT %tanh.1 = f32[2]{0} tanh(%param_1), metadata={op_name="jit(f)/jvp(distill)/tanh"}
}

%fused_tail (param_2: f32[64,8,8,8]) -> f32[2] {
  %param_2 = f32[64,8,8,8]{3,2,1,0} parameter(0)
  %last = f32[2]{0} convolution(%param_2), metadata={op_name="jit(f)/jvp(teacher)/layer/conv_general_dilated"}
  ROOT %maximum.1 = f32[2]{0} maximum(%last, %last), metadata={op_name="jit(f)/jvp(distill)/reduce_max"}
}

%fused_view (param_3: f32[64,8,8,4]) -> f32[4,8,8,64] {
  %param_3 = f32[64,8,8,4]{3,2,1,0} parameter(0)
  %relu = f32[64,8,8,4]{3,2,1,0} maximum(%param_3, %param_3), metadata={op_name="jit(f)/jvp(student)/max"}
  ROOT %transpose.2 = f32[4,8,8,64]{3,2,1,0} transpose(%relu), dimensions={3,1,2,0}
}

ENTRY %main (images: f32[64,8,8,4]) -> f32[3,3,4,8] {
  %images = f32[64,8,8,4]{3,2,1,0} parameter(0), metadata={op_name="flat_args[0]"}
  %seen = f32[64,8,8,8]{3,2,1,0} convolution(%images), metadata={op_name="jit(f)/jvp(teacher)/conv_general_dilated"}
  %out = f32[64,8,8,8]{3,2,1,0} convolution(%images), metadata={op_name="jit(f)/jvp(student)/conv_general_dilated"}
  %kernel = f32[8,3,3,4]{3,2,1,0} convolution(%out, %images)
  %moved = f32[3,3,4,8]{3,2,1,0} fusion(%kernel), calls=%fused_moves, metadata={op_name="PATH/c/conv_general_dilated"}
  %input = f32[64,8,8,4]{3,2,1,0} convolution(%out), metadata={op_name="PATH/c/conv_general_dilated"}
  %norm = f32[4]{0} reduce(%input), metadata={op_name="PATH/bn/reduce_sum"}
  %tail = f32[2]{0} fusion(%seen), calls=%fused_tail, metadata={op_name="jit(f)/jvp(distill)/reduce_max"}
  %view = f32[4,8,8,64]{3,2,1,0} fusion(%images), calls=%fused_view, metadata={op_name="PATH/c/conv_general_dilated"}
  %pad = f32[64,9,9,4]{3,2,1,0} pad(%images), metadata={op_name="PATH/c/conv_general_dilated"}
  %loss = f32[2]{0} fusion(%norm), kind=kLoop, calls=%fused_root
  %mean = f32[2]{0} divide(%loss), metadata={op_name="jit(f)/div"}
  %alone = f32[2]{0} rng-bit-generator(%images)
  ROOT %new = f32[3,3,4,8]{3,2,1,0} add(%moved, %mean), metadata={op_name="jit(f)/optimizer/add"}
}
""".replace("PATH", "jit(f)/transpose(jvp(student))")


@pytest.mark.parametrize(
    ("instruction", "group"),
    [
        ("seen", Group.TEACHER),
        ("out", Group.STUDENT),
        ("kernel", Group.KERNEL_GRADIENTS),  # by the name of the transposition that follows
        ("moved", Group.MOVING),
        ("input", Group.INPUT_GRADIENTS),
        ("norm", Group.BACKWARD_REST),
        ("pad", Group.BACKWARD_REST),
        ("view", Group.MOVING),
        ("tail", Group.TEACHER),  # by the convolution in it, and not by its root
        ("loss", Group.DISTILL),  # by the name of the fusion's root
        ("mean", Group.OUTSIDE),
        ("new", Group.OPTIMIZER),
        ("alone", Group.UNNAMED),
        ("never seen", Group.OTHER),
        (EXECUTOR, Group.EXECUTOR),
    ],
)
def test_what_an_instruction_is_for(instruction, group):
    assert Program(TEXT, kernels={(3, 3, 4, 8)}).group(instruction) is group


def test_state_by_parts():
    bank, table = jnp.zeros((2, 8)), jnp.zeros((3,), jnp.int32)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.zeros((), jnp.int32),
        student={"params": {"kernel": jnp.zeros((5,))}},
        heads={"rdd": {"student": jnp.zeros((2,))}},
        distiller={"ce": (), "rdd": RddState(bank, table, jnp.zeros(()), jnp.zeros(()), {})},
        optimizer=(jnp.zeros((7,)),),
        metrics={"loss": Average.empty()},
    )
    assert measure_memory.state_parts(state) == {
        "counters": 4 * 4,
        "student": 20,
        "heads": 8,
        "distiller rdd.bank": 64,
        "distiller rdd.table": 12,
        "distiller rdd.student_normalizer": 4,
        "distiller rdd.teacher_normalizer": 4,
        "optimizer": 28,
    }


def test_collectives_are_summed_by_kind_and_purpose():
    found = [
        {"kind": "all-reduce", "bytes": 10, "scope": "student"},
        {"kind": "all-reduce", "bytes": 5, "scope": "student"},
        {"kind": "all-reduce", "bytes": 100, "scope": None},
    ]
    assert measure_scaling.summarize(found) == [
        {"kind": "all-reduce", "purpose": "gradients and metrics", "count": 1, "bytes": 100},
        {"kind": "all-reduce", "purpose": "batch norm's statistics and their gradients", "count": 2, "bytes": 15},
    ]


def test_the_flag_of_a_fresh_process_replaces_the_same_flag_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_b=2 --xla_aa=3")
    assert fresh_process.with_xla_flag("--xla_a=4") == {"XLA_FLAGS": "--xla_b=2 --xla_aa=3 --xla_a=4"}
    monkeypatch.delenv("XLA_FLAGS")
    assert fresh_process.with_xla_flag("--xla_a=4") == {"XLA_FLAGS": "--xla_a=4"}


def test_a_fresh_process_has_its_own_devices_and_tells_its_failure(capfd):
    assert fresh_process.call("experiments.fresh_process:devices", {}, ONE_DEVICE) == {"backend": "cpu", "count": 1}
    with pytest.raises(RuntimeError, match="ended with code 1"):
        fresh_process.call("experiments.fresh_process:nothing", {})
    assert "has no attribute 'nothing'" in capfd.readouterr().err


@pytest.mark.slow
def test_one_copy_of_the_state_lives():
    row = fresh_process.call("experiments.measure_memory:step", {"method": "rdd", **STEP}, ONE_DEVICE)
    assert row["aliased"] == sum(row["state"].values())
    assert row["live_copies"] == pytest.approx(1.0, abs=1e-3)
    assert row["temporaries"] > 0
    assert "| 1.0000 | 1.0000 |" in measure_memory.table([row])


def test_a_minings_peak_holds_at_least_its_table():
    options = {"num_examples": 2000, "dim": 8, "pool_size": 1024}
    row = fresh_process.call("experiments.measure_memory:mining", options)
    assert row["table"] == 2000 * (4 + 4 * 1024 + 4)
    assert row["peak"] > row["table"]
    assert "| mine 2,000 x 8, pool 1,024 |" in measure_memory.table([row])


@pytest.mark.slow
def test_scaling_counts_what_two_devices_send(tmp_path, monkeypatch, capsys):
    path = tmp_path / "scaling.json"
    command = f"benchmark scaling --methods=ce --devices=2 --preset=digits --batch_size=16 --rounds=1 --save={path}"
    monkeypatch.setattr(sys, "argv", command.split())
    benchmark.main()
    (row,) = json.loads(path.read_text())["rows"]
    assert row["devices"] == 2
    sent = {entry["purpose"]: entry for entry in row["collectives"]}
    # resnet8's gradients and running statistics, in float32.
    assert sent["gradients and metrics"]["bytes"] > 70_000 * 4
    assert sent["batch norm's statistics and their gradients"]["count"] >= 9
    assert "| ce step, digits, batch 16 | 2 | all-reduce | gradients and metrics |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_profile_finds_every_part_of_a_step():
    environment = {"XLA_FLAGS": f"{ONE_DEVICE['XLA_FLAGS']} {measure_profile.FLAG}"}
    row = fresh_process.call("experiments.measure_profile:trace", {"method": "kd", **STEP}, environment)
    groups = row["groups"]
    assert groups.keys() == set(Group)
    found = {group for group, spent in groups.items() if spent > 0}
    assert found >= set(Group) - {Group.UNNAMED, Group.OTHER}
    assert groups[Group.OTHER] + groups[Group.UNNAMED] < 0.05 * sum(groups.values())
    # No more than the threads could do in the steps' time, with some room for what a trace adds at its ends.
    assert sum(groups.values()) < 1.5 * row["wall"] * (os.cpu_count() + 1)
    assert "| kd | teacher forward |" in measure_profile.table([row])


@pytest.mark.slow
def test_the_loop_and_what_is_beside_it():
    options = {"method": "rdd", "preset": "digits", "batch_size": 256, "rounds": 1}
    row = fresh_process.call("experiments.measure_input:loop", options, ONE_DEVICE)
    assert row["steps_per_epoch"] == 1437 // 256
    assert row["dispatch"] > 0
    assert row["overhead"] == pytest.approx(100 * (row["loop"] / row["bare"] - 1))
    assert {"load the data set", "one evaluation", "one mining"} <= row["parts"].keys()
    assert all(seconds > 0 for seconds in row["parts"].values())
    assert measure_input.table([row]).count("\n| rdd | ") == len(row["parts"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("memory --methods=kdd", 'unknown method "kdd"'),
        ("memory --sizes=50,many", '--sizes takes whole numbers above 0 with commas between them; got "50,many"'),
        ("memory --sizes=5000,100", "--pool_size must be in [1, 99]"),
        ("scaling --devices=2,3", "--batch_size=64 does not divide by 3 devices"),
        ("scaling --devices=0", "--devices takes whole numbers above 0"),
        ("scaling --rounds=0", "--rounds must be at least 1"),
        ("profile --preset=digitz", 'unknown preset "digitz"; did you mean "digits"?'),
        ("input --batch_size=2000", "--batch_size must be in [1, 1437]"),
    ],
)
def test_mistakes_are_told_before_anything_starts(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(fresh_process, "call", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments.split()])
    with pytest.raises(SystemExit) as exit_code:
        benchmark.main()
    assert exit_code.value.code == 2
    assert words in capsys.readouterr().err


def test_profile_is_of_the_cpu_alone(monkeypatch, capsys):
    monkeypatch.setattr(fresh_process, "call", lambda *_: {"backend": "gpu", "count": 1})
    monkeypatch.setattr(sys, "argv", ["benchmark", "profile"])
    with pytest.raises(SystemExit) as exit_code:
        benchmark.main()
    assert exit_code.value.code == 2
    assert "set JAX_PLATFORMS=cpu" in capsys.readouterr().err
    assert jax.default_backend() == "cpu"
