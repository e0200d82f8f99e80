"""Reads a compiled program's text (`compiled.as_text()`): its instructions, its collectives, and what each is for."""

import math
import re
from typing import Any, NamedTuple

# Of a training step, as it names them; whatever of a step stands in none of them is bookkeeping and reductions.
SCOPES = ("augment", "teacher", "student", "distill", "optimizer")
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast")

_SCOPE = re.compile(rf"(?:^|/)(?:\w+\()*({'|'.join(SCOPES)})\)*(?=/|$)")
_HEAD = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{$")
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_ARRAY = re.compile(r"([a-z]+)(\d*)\w*\[([\d,]*)\]")


class Instruction(NamedTuple):
    """One line of the text.

    result: its type as it is written, "f32[64,8]{1,0}" or a tuple of such.
    operands: names of the instructions that it reads.
    called: names of the computations that it runs, as a fusion or a loop does.
    op_name: the path of JAX's names, "jit(f)/jvp(student)/dot_general"; "" where the compiler kept none.
    computation: the name of the one that it stands in.
    is_root: whether its result is that computation's.
    """

    name: str
    opcode: str
    result: str
    operands: tuple[str, ...]
    called: tuple[str, ...]
    op_name: str
    computation: str
    is_root: bool


def parse(text: str) -> dict[str, Instruction]:
    """All instructions of the program, of every computation, by name: a name occurs but once in a program."""
    instructions, computation = {}, ""
    for line in text.splitlines():
        head = _HEAD.match(line)
        if not head:
            header = _COMPUTATION.match(line)
            computation = header[1] if header else computation
            continue
        result, rest = _split_type(line[head.end() :])
        opcode, _, rest = rest.partition("(")
        operands, attributes = _split_balanced(f"({rest}")
        op_name = _OP_NAME.search(attributes)
        instructions[head[1]] = Instruction(
            name=head[1],
            opcode=opcode.strip(),
            result=result,
            operands=tuple(re.findall(r"%([\w.\-]+)", operands)),
            called=tuple(_CALLED.findall(attributes)),
            op_name=op_name[1] if op_name else "",
            computation=computation,
            is_root=line.lstrip().startswith("ROOT "),
        )
    return instructions


def scope(op_name: str) -> str | None:
    """Which of SCOPES an operation stands in, the outermost one, or None."""
    found = _SCOPE.search(op_name)
    return found[1] if found else None


def is_backward(op_name: str) -> bool:
    """Whether it computes gradients: transposed by JAX's autodiff."""
    return "transpose(" in op_name


def shapes(result: str) -> list[tuple[int, ...]]:
    """The shape of each array in a type."""
    return [tuple(map(int, filter(None, found[2].split(",")))) for found in _ARRAY.findall(result)]


def num_bytes(result: str) -> int:
    """Bytes of a type: of all arrays of a tuple together. A predicate takes one byte."""
    return sum(
        math.prod(shape) * (max(8, int(bits or 8)) // 8)
        for (_, bits, _), shape in zip(_ARRAY.findall(result), shapes(result), strict=True)
    )


def collectives(text: str) -> list[dict[str, Any]]:
    """[{"kind", "bytes", "scope"}], one for each in the program; bytes are those of its result on one device.

    An asynchronous one, which the text has as a start and a done, counts once, by what is done. One inside a loop
    counts once, however often it runs.
    """
    instructions, found = parse(text), []
    for instruction in instructions.values():
        kind = instruction.opcode.removesuffix("-done")
        if kind not in COLLECTIVES:
            continue
        starts = [instructions[name].op_name for name in instruction.operands if name in instructions]
        op_name = instruction.op_name or (starts[0] if kind != instruction.opcode and starts else "")
        found.append({"kind": kind, "bytes": num_bytes(instruction.result), "scope": scope(op_name)})
    return found


def _split_type(text: str) -> tuple[str, str]:
    """ "type opcode(..." -> the type, and what follows: a tuple's type has blanks and brackets of its own."""
    if text.startswith("("):
        inside, rest = _split_balanced(text)
        return f"({inside})", rest
    result, _, rest = text.partition(" ")
    return result, rest


def _split_balanced(text: str) -> tuple[str, str]:
    """ "(inside)rest" -> the two, whatever brackets there are inside."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return text[1:position], text[position + 1 :]
    return text[1:], ""
