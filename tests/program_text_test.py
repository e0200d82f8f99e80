"""Reading compiled programs: on a few lines as XLA writes them, and on a program that it really compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import program_text
from rdd_jax import parallel

TEXT = """
HloModule jit__fun, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias) }

FileNames
1 "train_step.py"

%region_0.0 (psum.0: f32[], psum.1: f32[]) -> f32[] {
  %psum.0 = f32[] parameter(0), metadata={op_name="psum"}
  %psum.1 = f32[] parameter(1), metadata={op_name="psum"}
  ROOT %add.0 = f32[] add(%psum.0, %psum.1), metadata={op_name="add" stack_frame_id=3}
}

%fused_computation.1 (param_0: f32[4]) -> f32[4] {
  %param_0 = f32[4]{0} parameter(0)
  ROOT %negate.2 = f32[4]{0} negate(%param_0), metadata={op_name="jit(f)/jvp(student)/neg"}
}

ENTRY %main (p: f32[4], q: bf16[2,3]) -> (f32[4], f32[]) {
  %p = f32[4]{0} parameter(0), metadata={op_name="state[\\"params\\"]"}
  %q = bf16[2,3]{1,0:T(8,128)(2,1)} parameter(1)
  %fusion.1 = f32[4]{0} fusion(%p), kind=kLoop, calls=%fused_computation.1, metadata={op_name="jit(f)/jvp(student)/neg"}
  %psum.7 = f32[4]{0} all-reduce(%fusion.1), to_apply=%region_0.0, metadata={op_name="jit(f)/jvp(student)/psum"}
  %both = (f32[4]{0}, /*index=1*/bf16[2,3]{1,0:T(8,128)(2,1)}) all-reduce(%psum.7, %q), to_apply=%region_0.0
  %ag-start = (f32[4]{0}, f32[8]{0}) all-gather-start(%p), metadata={op_name="jit(f)/transpose(jvp(distill))/gather"}
  %ag-done = f32[8]{0} all-gather-done(%ag-start)
  ROOT %out = (f32[4]{0}, f32[]) tuple(%psum.7, %p)
}
"""


def test_instructions():
    program = program_text.parse(TEXT)
    assert len(program) == 13
    fusion = program["fusion.1"]
    assert (fusion.opcode, fusion.operands, fusion.called) == ("fusion", ("p",), ("fused_computation.1",))
    assert (fusion.result, fusion.op_name) == ("f32[4]{0}", "jit(f)/jvp(student)/neg")
    assert [name for name, instruction in program.items() if instruction.is_root] == ["add.0", "negate.2", "out"]
    assert program["negate.2"].computation == "fused_computation.1"
    assert program["both"].operands == ("psum.7", "q")


def test_collectives_count_once_by_their_result():
    assert program_text.collectives(TEXT) == [
        {"kind": "all-reduce", "bytes": 16, "scope": "student"},
        {"kind": "all-reduce", "bytes": 16 + 12, "scope": None},
        {"kind": "all-gather", "bytes": 32, "scope": "distill"},
    ]


@pytest.mark.parametrize(
    ("result", "expected"),
    [("f32[]", 4), ("bf16[2,3]{1,0}", 12), ("(s32[2], pred[3], c64[1])", 8 + 3 + 8), ("f32[0,5]", 0), ("s4[2]", 2)],
)
def test_bytes(result, expected):
    assert program_text.num_bytes(result) == expected


@pytest.mark.parametrize(
    ("op_name", "scope", "backward"),
    [
        ("jit(f)/transpose(jvp(student))/ResNet/conv1/conv_general_dilated", "student", True),
        ("jit(f)/augment/vmap(jit(_randint))/while", "augment", False),
        ("jit(f)/jvp(distill)/teacher/mul", "distill", False),
        ("jit(f)/psum", None, False),
        ("jit(f)/my_teacher/add", None, False),
    ],
)
def test_what_an_operation_is_for(op_name, scope, backward):
    assert (program_text.scope(op_name), program_text.is_backward(op_name)) == (scope, backward)


def test_a_compiled_program(devices):
    def fn(x):
        with jax.named_scope("student"):
            total = jax.lax.psum(x.sum(axis=0), parallel.AXIS)
        with jax.named_scope("distill"):
            return total, jax.lax.all_gather(x, parallel.AXIS, tiled=True)

    rows = np.ones((devices, 6, 5), np.float32)
    text = parallel.data_parallel(fn, in_axes=(0,)).lower(rows).compile().as_text()
    found = {entry["kind"]: entry for entry in program_text.collectives(text)}
    assert found == {
        "all-reduce": {"kind": "all-reduce", "bytes": 5 * 4, "scope": "student"},
        "all-gather": {"kind": "all-gather", "bytes": devices * 6 * 5 * 4, "scope": "distill"},
    }


def test_a_loop_calls_its_body():
    text = jax.jit(lambda x: jax.lax.fori_loop(0, x, lambda i, y: y + jnp.sin(y), 1.0)).lower(3).compile().as_text()
    program = program_text.parse(text)
    loops = [instruction for instruction in program.values() if instruction.opcode == "while"]
    assert len(loops) == 1
    computations = {instruction.computation for instruction in program.values()}
    assert len(loops[0].called) == 2
    assert set(loops[0].called) <= computations
