"""Where the time of a training step goes on the CPU: thread-milliseconds by what the instructions are for."""

import collections
import math
import statistics
import tempfile
import time
from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from experiments import fresh_process, program_text, thread_time, workloads
from experiments.program_text import Instruction

FLAG = "--xla_cpu_enable_xprof_traceme=true"  # Without it the threads do not write down their instructions.
STEPS = 3
_FREE = {"bitcast", "reshape", "parameter"}
_MOVING = {"copy", "transpose", "reverse", *_FREE}
_HEAVY = {"convolution", "dot", "custom-call"}


class Group(StrEnum):
    """What an instruction is for, in the table's order."""

    AUGMENT = "augment"
    TEACHER = "teacher forward"
    STUDENT = "student forward"
    KERNEL_GRADIENTS = "student backward: kernel gradients"
    INPUT_GRADIENTS = "student backward: input gradients"
    BACKWARD_REST = "student backward: the rest (batch norm, relu)"
    DISTILL = "distill: the loss, forward and backward, and its state"
    OPTIMIZER = "optimizer"
    OUTSIDE = "outside all scopes: random keys, metrics, mean of the gradients"
    MOVING = "copies, transposes, reversals, and what is fused into them"
    UNNAMED = "unnamed: neither it nor its neighbours bear a name of the step's"
    EXECUTOR = "executor, between the instructions"
    OTHER = "other: not in the program's text"


_BY_SCOPE = {
    None: Group.OUTSIDE,
    "augment": Group.AUGMENT,
    "teacher": Group.TEACHER,
    "student": Group.STUDENT,
    "distill": Group.DISTILL,
    "optimizer": Group.OPTIMIZER,
}

Shape = tuple[int, ...]


def measure(methods: list[str], *, preset: str, batch_size: int) -> list[dict[str, Any]]:
    """A row of `trace` for each method, each in a fresh process, because the flag is read when it starts."""
    environment = fresh_process.with_xla_flag(FLAG)
    return [
        fresh_process.call(
            "experiments.measure_profile:trace",
            {"method": method, "preset": preset, "batch_size": batch_size},
            environment,
        )
        for method in tqdm(methods, unit="method")
    ]


def trace(method: str, *, preset: str, batch_size: int) -> dict[str, Any]:
    """Traces some steps of one method; this process must have been started with FLAG among its XLA_FLAGS.

    Returns:
        {"method", "preset", "batch_size", "wall": median milliseconds a step while it is traced,
        "groups": {a Group: thread-milliseconds a step}, "largest": the 20 instructions that took most, as
        [{"instruction", "group", "op_name", "milliseconds"}]}.

    Raises:
        RuntimeError: where the trace names no instruction.
    """
    step = workloads.train_step(method, preset=preset, batch_size=batch_size)
    text = step.compile().as_text()
    kernels = {leaf.shape for leaf in jax.tree.leaves(step.state.student["params"]) if leaf.ndim > 1}
    for _ in range(2):
        step()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    walls = []
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            for _ in range(STEPS):
                started = time.perf_counter()
                step()
                walls.append(time.perf_counter() - started)
        module = text.partition(",")[0].removeprefix("HloModule ").split()[0]
        nanoseconds = thread_time.by_instruction(thread_time.read(Path(folder), module))
    if not nanoseconds.keys() - {thread_time.EXECUTOR}:
        raise RuntimeError(f"the trace names no instruction: is {FLAG} among XLA_FLAGS, and the backend cpu?")
    milliseconds = {name: spent / STEPS / 1e6 for name, spent in nanoseconds.items()}
    program = Program(text, kernels)
    groups = dict.fromkeys(Group, 0.0)
    for name, spent in milliseconds.items():
        groups[program.group(name)] += spent
    largest = sorted(milliseconds.items(), key=lambda item: -item[1])[:20]
    return {
        "method": method,
        "preset": preset,
        "batch_size": batch_size,
        "wall": 1e3 * statistics.median(walls),
        "groups": groups,
        "largest": [
            {"instruction": name, "group": program.group(name), "op_name": program.op_name(name), "milliseconds": spent}
            for name, spent in largest
        ],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: the groups of each method, and their total beside the time that passed."""
    lines = ["| method | what | thread ms a step | share |", "| --- | --- | --- | --- |"]
    for row in rows:
        total = math.fsum(row["groups"].values())
        for group, spent in row["groups"].items():
            lines.append(f"| {row['method']} | {group} | {spent:.2f} | {spent / total:.1%} |")
        lines.append(f"| {row['method']} | total, in {row['wall']:.1f} ms of wall time | {total:.2f} | 100.0% |")
    return "\n".join(lines)


class Program:
    """The instructions of a compiled training step, and what each is for.

    Args:
        text: of the compiled program.
        kernels: the shapes of the student's kernels.
    """

    def __init__(self, text: str, kernels: Collection[Shape]):
        self._instructions = program_text.parse(text)
        # The compiler permutes axes as it likes.
        self._kernels = {tuple(sorted(shape)) for shape in kernels}
        self._members: dict[str, list[Instruction]] = collections.defaultdict(list)
        self._users: dict[str, list[str]] = collections.defaultdict(list)
        self._operands = {name: instruction.operands for name, instruction in self._instructions.items()}
        for instruction in self._instructions.values():
            self._members[instruction.computation].append(instruction)
            for operand in instruction.operands:
                self._users[operand].append(instruction.name)

    def group(self, name: str) -> Group:
        """What an instruction, or thread_time.EXECUTOR, is for."""
        instruction = self._instructions.get(name)
        if not instruction:
            return Group.EXECUTOR if name == thread_time.EXECUTOR else Group.OTHER
        if self._moves(instruction):
            return Group.MOVING
        op_name = self.op_name(name)
        if not op_name:
            return Group.UNNAMED
        group = _BY_SCOPE[program_text.scope(op_name)]
        if group is Group.STUDENT and program_text.is_backward(op_name):
            return self._backward(instruction, op_name)
        return group

    def op_name(self, name: str) -> str:
        """JAX's name of an instruction; where the compiler dropped it, that of what it serves, else of what it reads.

        The convolutions that compute kernel gradients have lost theirs, and the transposition after them has it.
        """
        return self._nearest(name, self._users) or self._nearest(name, self._operands)

    def _nearest(self, name: str, neighbors: dict[str, Sequence[str]], distance: int = 8) -> str:
        reached, seen = [name], {name}
        for _ in range(distance):
            for near in reached:
                if found := self._own_name(near):
                    return found
            reached = [far for near in reached for far in neighbors.get(near, ()) if far not in seen]
            seen.update(reached)
        return ""

    def _own_name(self, name: str) -> str:
        instruction = self._instructions.get(name)
        if not instruction:
            return ""
        inside = self._inside(instruction)
        # The CPU compiler fuses a network's last layers with the loss: such a fusion is for what it works at most.
        heavy = [member.op_name for member in inside if member.opcode in _HEAVY and "/" in member.op_name]
        if heavy:
            (scope, _), *_ = collections.Counter(map(program_text.scope, heavy)).most_common(1)
            return next(found for found in heavy if program_text.scope(found) == scope)
        names = [instruction.op_name, *(member.op_name for member in inside if member.is_root)]
        # Arguments are called after their places, "state[0]", and say nothing of what is done to them.
        return next((found for found in names if "/" in found), "")

    def _inside(self, instruction: Instruction) -> list[Instruction]:
        """The instructions of the computations that it runs."""
        return [member for called in instruction.called for member in self._members[called]]

    def _moves(self, instruction: Instruction) -> bool:
        if instruction.opcode != "fusion":
            return instruction.opcode.partition("-")[0] in _MOVING
        inside = self._inside(instruction)
        ends_moving = any(member.is_root and member.opcode in _MOVING - _FREE for member in inside)
        return ends_moving or all(member.opcode in _MOVING for member in inside)

    def _backward(self, instruction: Instruction, op_name: str) -> Group:
        works = instruction.opcode in _HEAVY or any(member.opcode in _HEAVY for member in self._inside(instruction))
        if not works or op_name.rpartition("/")[2] not in ("conv_general_dilated", "dot_general"):
            return Group.BACKWARD_REST
        ours = {tuple(sorted(shape)) for shape in program_text.shapes(instruction.result)}
        return Group.KERNEL_GRADIENTS if ours & self._kernels else Group.INPUT_GRADIENTS
