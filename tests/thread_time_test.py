"""Whose the threads' time is, on intervals written by hand."""

import pytest

from experiments.thread_time import EXECUTOR, Interval, Kind, by_instruction, read


def instruction(name, start, stop):
    return Interval(Kind.INSTRUCTION, start, stop, name=name)


def test_an_instruction_inside_another_is_not_counted_twice():
    thread = [instruction("while", 0, 100), instruction("copy", 10, 30), instruction("add", 30, 35)]
    assert by_instruction([thread]) == {"while": 75, "copy": 20, "add": 5}


def test_the_executor_has_what_is_left_and_waiting_is_nothing():
    thread = [
        Interval(Kind.EXECUTOR, 0, 50),
        instruction("add", 5, 45),
        Interval(Kind.WAITING, 50, 500),
        instruction("mul", 60, 70),
    ]
    assert by_instruction([thread]) == {EXECUTOR: 10, "add": 40, "mul": 10}


def test_work_handed_to_other_threads_is_that_of_the_instruction():
    first = [instruction("conv", 0, 10), Interval(Kind.HANDED_OVER, 5, 5, task=1)]
    # Half of it is handed on; at its end the thread goes on with the next instruction.
    second = [
        Interval(Kind.TASK, 20, 100, task=1),
        Interval(Kind.HANDED_OVER, 25, 25, task=2),
        Interval(Kind.EXECUTOR, 70, 100),
        instruction("add", 75, 95),
    ]
    third = [Interval(Kind.TASK, 30, 60, task=2)]
    expected = {"conv": 10 + 50 + 30, "add": 20, EXECUTOR: 10}
    assert by_instruction([first, second, third]) == expected
    assert by_instruction([third[::-1], second[::-1], first[::-1]]) == expected


def test_a_task_of_unknown_origin_is_the_executors():
    threads = [
        [Interval(Kind.TASK, 0, 10, task=7)],
        [Interval(Kind.EXECUTOR, 0, 4), Interval(Kind.HANDED_OVER, 1, 1, task=8)],
    ]
    threads.append([Interval(Kind.TASK, 5, 10, task=8)])
    assert by_instruction(threads) == {EXECUTOR: 10 + 4 + 5}


def test_a_child_that_seems_to_outlive_its_parent_is_cut():
    assert by_instruction([[instruction("outer", 0, 10), instruction("inner", 8, 11)]]) == {"outer": 8, "inner": 2}


def test_a_folder_without_a_trace(tmp_path):
    with pytest.raises(ValueError, match="one trace is wanted"):
        read(tmp_path, "jit_f")
