"""The kit itself: its tests cannot be lost, and each of them fails on something that is broken in its way."""

import subprocess
import sys
import textwrap
from typing import ClassVar
from xml.etree import ElementTree

import pytest
import torch

from torchdyn_core import PID, BogackiShampine3, Direct, Heun, IncompatibleError, Path, State, VectorField
from torchdyn_core.registry import Registry
from torchdyn_core.testing import (
    AdjointSuite,
    AugmentationSuite,
    ControllerSuite,
    FieldSuite,
    PathSuite,
    Rotation,
    SolverSuite,
    check_plugin,
)
from torchdyn_core.testing.docstrings import docstring_problems
from torchdyn_core.tree import tree_map


def test_a_test_of_a_suite_cannot_be_overridden():
    with pytest.raises(IncompatibleError, match="overrides test_order"):
        type("TestMine", (SolverSuite,), {"test_order": lambda self: None, "__module__": "mine"})


def test_a_test_of_a_suite_cannot_be_removed():
    with pytest.raises(IncompatibleError, match="overrides test_order"):
        type("TestMine", (SolverSuite,), {"test_order": None, "__module__": "mine"})


def test_a_test_of_ones_own_may_be_added():
    made = type("TestMine", (SolverSuite,), {"test_mine": lambda self: 7, "__module__": "mine"})
    assert made().test_mine() == 7 and made.test_order is SolverSuite.test_order


@pytest.mark.parametrize(
    ("failures", "words"), [({"test_ordr": "x"}, "did you mean 'test_order'"), ({"test_order": ""}, "no reason")]
)
def test_expected_failures_name_tests_and_give_reasons(failures, words):
    with pytest.raises(IncompatibleError, match=words):
        type("TestMine", (SolverSuite,), {"expected_failures": failures, "__module__": "mine"})


def test_make_is_asked_for():
    suite = type("TestMine", (SolverSuite,), {"__module__": "mine"})
    with pytest.raises(NotImplementedError, match="TestMine has no make"):
        suite().make()


def test_an_expected_failure_has_to_fail(tmp_path):
    """A strict xfail for the class that names it alone; in a run of pytest's own."""
    module = tmp_path / "test_expected.py"
    module.write_text(
        textwrap.dedent("""
        from torchdyn_core import Heun
        from torchdyn_core.testing import SolverSuite

        class Wrong(Heun):
            order = 3

        class TestWrong(SolverSuite):
            error_order = 2
            expected_failures = {"test_order": "it is of order 2"}
            def make(self):
                return Wrong()

        class TestRight(SolverSuite):
            expected_failures = {"test_order": "it is not, really"}
            def make(self):
                return Heun()

        class TestPlain(SolverSuite):
            def make(self):
                return Heun()
    """)
    )
    report = tmp_path / "report.xml"  # what is printed depends on the terminal, and on whether this is a CI run
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", "-k", "test_order"]
    out = subprocess.run([*command, "--rootdir", str(tmp_path), str(module)], capture_output=True, text=True).stdout
    outcomes = {
        case.get("classname").rpartition(".")[2]: [(child.tag, child.get("message")) for child in case]
        for case in ElementTree.parse(report).iter("testcase")
        if case.get("name") == "test_order"
    }
    assert outcomes == {
        "TestWrong": [("skipped", "it is of order 2")],
        "TestRight": [("failure", "[XPASS(strict)] it is not, really")],
        "TestPlain": [],
    }, out


# Each breaks one clause of the contract; the test that has to notice stands beside it.


class WrongOrder(BogackiShampine3):
    order = 4


class WrongDense(BogackiShampine3):
    dense_order = 4


class NoErrorOrder(BogackiShampine3):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(error=tree_map(lambda e: e.abs().sqrt(), step.error))


class Impure(Heun):
    def __init__(self):
        object.__setattr__(self, "calls", [])

    def step(self, field, t0, t1, y, state):
        self.calls.append(1)
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: a + 1e-9 * len(self.calls), step.y))


class InPlace(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        tree_map(lambda a: a.detach().mul_(1.0 + 1e-12), y)
        return step


class StaleCache(BogackiShampine3):
    """Keeps in its cache what only the last step knew."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(state=State(cache=tree_map(lambda a: a * 1.001, step.state.cache)))


class AlwaysDouble(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: a.to(torch.complex128 if a.is_complex() else torch.float64), step.y))


class Mixing(Heun):
    """Lets rows know each other."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: a + 1e-6 * a.mean(0), step.y))


class MovesTheFinished(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: a + 1e-12, step.y))


class LooksAhead(Heun):
    def step(self, field, t0, t1, y, state):
        field(t1 + (t1 - t0), y)
        return super().step(field, t0, t1, y, state)


class CutsTheGraph(Heun):
    def step(self, field, t0, t1, y, state):
        return (
            super()
            .step(field, t0, t1, tree_map(lambda a: a + 0 * a.detach().round(), y), state)
            ._replace(y=tree_map(torch.Tensor.detach, super().step(field, t0, t1, y, state).y))
        )


class NotReversible(Heun):
    reversible = True

    def reverse(self, field, t0, t1, y1, state):
        return super().step(field, t1, t0, y1, state).y, state


SOLVERS = [
    (WrongOrder, "test_order"),
    (WrongDense, "test_dense_order"),
    (NoErrorOrder, "test_error_estimate_order"),
    (Impure, "test_a_step_is_pure"),
    (InPlace, "test_a_step_is_pure"),
    (StaleCache, "test_the_cache_can_be_rebuilt"),
    (AlwaysDouble, "test_dtype_and_device_are_kept"),
    (Mixing, "test_a_sample_alone_and_in_a_batch"),
    (MovesTheFinished, "test_a_finished_row_comes_out_as_it_went_in"),
    (LooksAhead, "test_the_field_is_asked_within_the_step_only"),
    (CutsTheGraph, "test_gradients_are_those_of_the_steps"),
    (NotReversible, "test_a_reversible_step_can_be_undone"),
]


def fails(suite, component, test, *arguments):
    """Runs a test of a suite on a component; it has to fail, and not to skip."""
    made = type("TestMine", (suite,), {"make": lambda self: component(), "__module__": "mine"})
    with pytest.raises(Exception) as caught:
        getattr(made(), test)(*arguments)
    assert not isinstance(caught.value, pytest.skip.Exception), caught.value


@pytest.mark.parametrize(("solver", "test"), SOLVERS, ids=lambda x: getattr(x, "__name__", x))
def test_a_broken_solver_is_found_out(solver, test):
    fails(SolverSuite, solver, test, *([torch.float32] if "dtype" in test else []))


class Field(VectorField):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))


class WrongShape(Field):
    def forward(self, t, y):
        return self.weight * y.sum(-1)


class Counts(Field):
    calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.weight * y * self.calls


class KnowsTheBatch(Field):
    def forward(self, t, y):
        return self.weight * (y - y.mean(0))


class HidesItsWeight(Field):
    def __init__(self):
        super().__init__()
        self.secret = [torch.rand(2)]

    def forward(self, t, y):
        return self.weight * y * self.secret[0]


class StaysSingle(Field):
    def forward(self, t, y):
        return self.weight.float() * y.float()


class BeginsInPlace(Field):
    def begin(self, t0, t1, y0):
        self.start = y0
        return self

    def forward(self, t, y):
        return self.weight * y


FIELDS = [
    (WrongShape, "test_the_slope_is_like_the_state"),
    (Counts, "test_the_slope_is_a_function_of_its_inputs"),
    (KnowsTheBatch, "test_rows_do_not_know_each_other"),
    (HidesItsWeight, "test_copies_and_state_dicts_are_the_field"),
    (StaysSingle, "test_float64_goes_through"),
    (BeginsInPlace, "test_begin_returns_a_field_and_leaves_this_one_alone"),
]


@pytest.mark.parametrize(("field", "test"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_a_broken_field_is_found_out(field, test):
    fails(FieldSuite, field, test)


class Forgetful(Direct):
    """An adjoint without gradients."""

    def run(self, problem, loop):
        with torch.no_grad():
            return super().run(problem, loop)


@pytest.mark.parametrize("test", ["test_gradients_of_arguments", "test_gradients_backwards_in_time"])
def test_a_broken_adjoint_is_found_out(test):
    fails(AdjointSuite, Forgetful, test)


class Reckless(PID):
    """Accepts everything."""

    def decide(self, control, t0, t1, cut, error, order):
        return super().decide(control, t0, t1, cut, 0.0 * error + 1e-6, order)


def test_a_broken_controller_is_found_out():
    fails(ControllerSuite, Reckless, "test_a_step_that_is_too_long_is_rejected")


class Drifting(Path):
    def __init__(self):
        super().__init__()
        self.asked = 0
        self.loose = torch.zeros(1)

    def forward(self, ta, tb):
        self.asked += 1
        return (tb - ta) ** 2 + 1e-3 * self.asked

    def derivative(self, t):
        return torch.ones_like(t)

    def knots(self, t0, t1):
        return torch.tensor([7.0])


@pytest.mark.parametrize("test", sorted(set(PathSuite._tests) - {"test_a_time_for_each_row"}))
def test_a_broken_path_is_found_out(test):
    fails(PathSuite, Drifting, test)


class Lossy:
    def lift(self, y):
        return torch.cat((y.detach().round(), y.mean(0, keepdim=True).expand_as(y).detach()), -1).float()

    def project(self, y):
        return y[..., :1]


@pytest.mark.parametrize("test", sorted(AugmentationSuite._tests))
def test_a_broken_augmentation_is_found_out(test):
    fails(AugmentationSuite, Lossy, test)


PLUGIN = """
{extra}
from torchdyn_core.plugin import Component, hookimpl

@hookimpl
def torchdyn_components():
    return (Component("field", "a", "{target}", "{summary}"),)
"""

GOOD = '''
from torchdyn_core import VectorField

class Good(VectorField):
    """A field of nothing.

    Example:
        >>> 1 + 1
        2
    """

class Bare(VectorField):
    pass
'''


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"extra": "import scipy.integrate"}, "imports scipy"),
        ({"summary": ""}, "no summary"),
        ({"target": "some_fields:Nothing"}, "has no attribute 'Nothing'"),
        ({"target": "some_fields:Bare"}, "has no docstring"),
        ({"extra": "1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_check_plugin_finds_what_keeps_a_plugin_from_being_published(site, monkeypatch, options, words):
    source = PLUGIN.format(**{"extra": "", "target": "some_fields:Good", "summary": "Nothing", **options})
    site.install("torchdyn-checked", {"checked": "checked_plugin"}, checked_plugin=source, some_fields=GOOD)
    monkeypatch.setenv("PYTHONPATH", str(site.folder), prepend=":")
    registry = Registry()
    if words is None:
        check_plugin("checked", registry)
    else:
        with pytest.raises(AssertionError, match=words):
            check_plugin("checked", registry)
    with pytest.raises(AssertionError, match="no plugin 'unheard'"):
        check_plugin("unheard", registry)


def test_core_is_fit_to_be_published():
    check_plugin("core", Registry(entry_points=tuple))


class Documented:
    """A class.

    Example:
        >>> 1

    Arguments:
        a: One.
    """

    scale: ClassVar[float] = 1.0

    def __init__(self, a, b):
        pass


def test_docstrings_are_held_to_the_template():
    said = " ".join(docstring_problems(Documented))
    assert "['b']" in said and "order" in said
    assert docstring_problems(Rotation) == []
    assert docstring_problems(type("None", (), {})) == ["has no docstring"]
