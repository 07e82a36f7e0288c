"""The kit's compiled solves: what they find, where they are tried, and where they are not."""

import shutil

import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from torchdyn_core import PID, Direct, Euler, Heun, OptionError, solve
from torchdyn_core.compiled import driver
from torchdyn_core.loop.driver import Eager
from torchdyn_core.testing import AdjointSuite, SolverSuite
from torchdyn_core.testing.compiled import agree_on_steps, skip_unless_tried
from torchdyn_core.testing.solver_compiled import CompiledSuite
from torchdyn_core.testing.solver_order import OrderSuite
from torchdyn_core.tree import tree_map

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)


class Compiled:
    """A step that comes out otherwise where it is compiled: one part of it by a factor."""

    part = "y"
    factor = 1 + 1e-9

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        factor = self.factor if torch.compiler.is_compiling() else 1.0
        return step._replace(**{self.part: tree_map(lambda leaf: leaf * factor, getattr(step, self.part))})


class Otherwise(Compiled, Euler):
    """Steps elsewhere."""


class OtherwiseWithinTolerance(Compiled, Heun):
    """Takes as many steps, to a state that is off by less than the tolerance."""


class JudgesOtherwise(Compiled, Heun):
    """Finds its error a hundred times smaller."""

    part = "error"
    factor = 0.01


class ReplaysOtherwise(Euler):
    """Its gradient is one per cent too large where it is compiled."""

    def advance(self, field, t0, t1, y, state):
        step = super().advance(field, t0, t1, y, state)
        part = 0.01 if torch.compiler.is_compiling() else 0.0
        return step._replace(y=tree_map(lambda leaf: (1 + part) * leaf - (part * leaf).detach(), step.y))


class Reads(Euler):
    """Looks at values, which no compiler can follow."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step if float(t1) < 1e9 else step._replace(y=y)


class NeverCompiles(Direct):
    """Says that it compiles, and runs eagerly whatever is asked for."""

    compiles = True

    def run(self, problem, loop):
        return super().run(problem, Eager())


class WrongCompiled(NeverCompiles):
    """Gradients one per cent too large where the solve is compiled."""

    def run(self, problem, loop):
        trajectory = super().run(problem, loop)
        if isinstance(loop, driver.Compiled):
            tree_map(lambda a: a.register_hook(lambda grad: 1.01 * grad), trajectory.outputs.y)
            driver._count.entries = driver.entries() + 1
        return trajectory


BROKEN = [
    (SolverSuite, Otherwise, "test_compiled_solves_are_eager_ones", "fixed"),
    (SolverSuite, JudgesOtherwise, "test_compiled_solves_are_eager_ones", "adaptive"),
    (SolverSuite, OtherwiseWithinTolerance, "test_compiled_solves_are_eager_ones", "adaptive"),
    (SolverSuite, Reads, "test_compiled_solves_are_eager_ones", "fixed"),
    (SolverSuite, ReplaysOtherwise, "test_gradients_of_compiled_solves", True),
    (AdjointSuite, NeverCompiles, "test_gradients_of_compiled_solves", "adaptive"),
    (AdjointSuite, WrongCompiled, "test_gradients_of_compiled_solves", "adaptive"),
]


@needs_compiler
@pytest.mark.parametrize("row", BROKEN, ids=lambda row: f"{row[1].__name__}-{row[2]}")
def test_what_is_broken_where_it_is_compiled_is_found_out(fails, monkeypatch, row):
    monkeypatch.setenv("TORCHDYN_COMPILED_CASES", "all")
    fails(*row)


def test_every_compiled_test_of_the_kit_finds_something():
    assert {row[2] for row in BROKEN} == set(CompiledSuite._tests) - set(OrderSuite._tests)
    assert {row[2] for row in BROKEN if row[0] is AdjointSuite} < set(AdjointSuite._tests)


def tried(usual):
    try:
        skip_unless_tried(usual)
    except pytest.skip.Exception as skipped:
        return str(skipped)
    return ""


@needs_compiler
def test_one_case_is_tried_unless_all_are_asked_for(monkeypatch):
    monkeypatch.delenv("TORCHDYN_COMPILED_CASES", raising=False)
    assert not tried(True) and "TORCHDYN_COMPILED_CASES=all" in tried(False)
    monkeypatch.setenv("TORCHDYN_COMPILED_CASES", "all")
    assert not tried(True) and not tried(False)


def test_a_choice_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHDYN_COMPILED_CASES", "many")
    with pytest.raises(OptionError, match=r"TORCHDYN_COMPILED_CASES='many'; wanted 'all', or 'usual'"):
        skip_unless_tried(True)


def test_nothing_is_tried_where_nothing_compiles(monkeypatch):
    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    assert "no C++ compiler" in tried(True)
    monkeypatch.setattr(driver, "TESTED", ("1.0",))
    assert "tested with torch 1.0" in tried(True)


def test_a_solver_that_does_not_compile_may_say_so():
    made = type("TestMine", (SolverSuite,), {"make": lambda self: Reads(), "compiles": False})
    with pytest.raises(pytest.skip.Exception, match="Reads is not compiled in this suite"):
        made().test_compiled_solves_are_eager_ones("fixed")


def test_numbers_of_steps_may_differ_by_one_per_cent_where_steps_are_chosen():
    def solution(steps):
        got = solve(lambda t, y: -y, torch.ones(2), [0.0, 1.0], controller=PID())
        got.stats.steps = got.stats.accepted = steps
        return got

    assert agree_on_steps(solution(200), solution(200), fixed=True)
    assert not agree_on_steps(solution(201), solution(200), fixed=False)
    for got, fixed in ((201, True), (203, False)):
        with pytest.raises(AssertionError, match="steps compiled"):
            agree_on_steps(solution(got), solution(200), fixed=fixed)
