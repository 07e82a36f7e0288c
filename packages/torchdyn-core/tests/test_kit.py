"""The kit itself: its tests cannot be lost, and what is expected to fail has to."""

import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest
import torch

from torchdyn_core import Heun, IncompatibleError
from torchdyn_core.testing import (
    AdjointSuite,
    AugmentationSuite,
    ControllerSuite,
    FieldSuite,
    PathSuite,
    SolverSuite,
)
from torchdyn_core.testing.suite import _cases


def make(name, bases, **attributes):
    return type(name, bases if isinstance(bases, tuple) else (bases,), {"__module__": "mine", **attributes})


class Own(SolverSuite, suite=True):
    """A third party's suite."""

    limit = 3

    def test_mine(self):
        assert self._helped() < self.limit

    def _helped(self):
        return 7


@pytest.mark.parametrize("value", [None, lambda self: None], ids=["removed", "replaced"])
@pytest.mark.parametrize("name", ["test_order", "test_a_step_is_pure", "_expectation"])
def test_a_test_of_a_suite_cannot_be_overridden(name, value):
    with pytest.raises(IncompatibleError, match=f"TestMine overrides {name}"):
        make("TestMine", SolverSuite, **{name: value})


@pytest.mark.parametrize("name", ["test_mine", "_helped", "test_order"])
def test_nor_can_one_of_a_third_partys_suite(name):
    with pytest.raises(IncompatibleError, match=f"TestMine overrides {name}"):
        make("TestMine", Own, **{name: None})


@pytest.mark.parametrize("name", ["test_order", "_expectation"])
@pytest.mark.parametrize("first", [True, False])
def test_nor_can_it_be_by_a_mixin_or_a_base(name, first):
    mixin = type("Mixin", (), {name: None})
    with pytest.raises(IncompatibleError, match=f"TestMine, by Mixin, overrides {name}"):
        make("TestMine", (mixin, SolverSuite))
    plain = make("TestPlain", SolverSuite)
    with pytest.raises(IncompatibleError, match=f"TestMine, by Mixin, overrides {name}"):
        make("TestMine", (mixin, plain) if first else (type("Between", (mixin,), {}), plain))


def test_nor_can_it_be_by_another_suite():
    with pytest.raises(IncompatibleError, match="two suites have that name"):
        make("TestMine", (FieldSuite, AugmentationSuite))
    with pytest.raises(IncompatibleError, match="two suites have that name"):

        class Loose(Own, suite=True):
            def test_mine(self):
                pass


def test_a_class_of_two_suites_has_the_tests_of_both():
    both = make("TestBoth", (SolverSuite, PathSuite), expected_failures={"test_increments_add_up": "they do not"})
    assert set(both._tests) == set(SolverSuite._tests) | set(PathSuite._tests)
    for name in ("test_order", "test_increments_add_up", "_times"):
        with pytest.raises(IncompatibleError, match=f"overrides {name}"):
            make("TestMine", (SolverSuite, PathSuite), **{name: None})


def test_what_is_public_may_be_filled_in_and_tests_added():
    made = make("TestMine", Own, test_another=lambda self: 7, limit=8, problem=lambda self: None)
    assert made().test_another() == 7 and made.test_order is SolverSuite.test_order
    made().test_mine()
    make("TestTheirs", made, test_another=None)  # a class of tests is no suite


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ({"test_ordr": "x"}, "did you mean 'test_order'"),
        ({"test_order": ""}, "no reason"),
        ({"test_order": None}, "no reason"),
        ({"test_order[float64]": "x"}, "none: it has no cases"),
        ({"test_dtype_and_device_are_kept[half]": "x"}, r"wanted one of \['bfloat16', 'float32', 'float64'\]"),
        (["test_order"], "is a list; wanted a dict"),
        ("test_order", "is a str; wanted a dict"),
        ({7: "x"}, "names 7, which"),
    ],
)
def test_expected_failures_name_tests_and_give_reasons(failures, words):
    with pytest.raises(IncompatibleError, match=words):
        make("TestMine", SolverSuite, expected_failures=failures)


@pytest.mark.parametrize("suite", [SolverSuite, AdjointSuite, ControllerSuite, PathSuite], ids=lambda s: s.__name__)
def test_cases_are_named_as_pytest_names_them(suite, pytester_names):
    for name, test in suite._tests.items():
        assert [f"{name}[{case}]" for case in _cases(test)] == [n for n in pytester_names(test) if "[" in n]


@pytest.fixture
def pytester_names(request):
    """How pytest itself names the cases of a test."""

    def names(test):
        holder = type("TestHolder", (), {test.__name__: test})
        collector = pytest.Class.from_parent(request.node.getparent(pytest.Module), name="TestHolder", obj=holder)
        collector._getobj = lambda: holder
        return [item.name for item in collector.collect()]

    return names


class Parameters:
    @pytest.mark.parametrize(("a", "b"), [(1, None), pytest.param(2.5, "x"), pytest.param(1, 2, id="both")])
    @pytest.mark.parametrize("c", [Heun, torch.float64, pytest.param([], id="empty")])
    @pytest.mark.parametrize("d", [3, torch.ones], ids=lambda value: "three" if value == 3 else None)
    @pytest.mark.parametrize(["e"], [(True,)], ids=["yes"])
    def test_many(self, a, b, c, d, e):
        pass


def test_cases_of_all_kinds_are_named_as_pytest_names_them(pytester_names):
    names = pytester_names(Parameters.test_many)
    assert len(names) == 18 and [f"test_many[{case}]" for case in _cases(Parameters.test_many)] == names


def test_make_is_asked_for():
    with pytest.raises(NotImplementedError, match="TestMine has no make"):
        make("TestMine", SolverSuite)().make()


EXPECTED = """
    import pytest
    from torchdyn_core.testing import Suite

    class CanSuite(Suite, suite=True):
        def make(self):
            return ()

        def test_one(self):
            assert "one" in self.make()

        @pytest.mark.parametrize("what", ["a", "b"])
        def test_all(self, what):
            if what not in self.make():
                pytest.fail(f"cannot do {what}")

        def test_more(self):
            pytest.skip("more is not claimed")

    class TestNothing(CanSuite):
        expected_failures = {"test_one": "no one", "test_all": "none"}

    class TestInherited(TestNothing):
        pass

    class TestRestored(TestNothing):
        expected_failures = {}

    class TestA(CanSuite):
        expected_failures = {"test_all[b]": "no b", "test_one": "no one"}
        def make(self):
            return "a", "one"

    class TestAStill(CanSuite):
        expected_failures = {"test_all": "no b", "test_more": "no more"}
        def make(self):
            return "a"
"""


def run_expected(folder, *options):
    """The outcomes of a run of pytest's own, by class and case."""
    module, report = folder / "test_expected.py", folder / "report.xml"
    module.write_text(textwrap.dedent(EXPECTED))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *options]
    out = subprocess.run([*command, "--rootdir", str(folder), str(module)], capture_output=True, text=True).stdout
    # what is printed depends on the terminal, and on whether this is a CI run
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        where, name = case.get("classname").rpartition(".")[2], case.get("name").removeprefix("test_")
        children = [(child.tag, child.get("message").partition("; wanted")[0].partition("\n")[0]) for child in case]
        outcomes.setdefault(where, {})[name] = children[0] if children else "passed"
    assert outcomes, out
    return outcomes


def test_an_expected_failure_has_to_fail(tmp_path):
    """For the class that names it and those that inherit it, in the cases that it names; a skip is no failure."""
    skipped = ("skipped", "more is not claimed")
    unsaid = {
        "one": ("failure", "AssertionError: assert 'one' in ()"),
        "all[a]": ("failure", "Failed: cannot do a"),
        "all[b]": ("failure", "Failed: cannot do b"),
        "more": skipped,
    }
    nothing = {
        "one": ("skipped", "no one"),
        "all[a]": ("skipped", "none"),
        "all[b]": ("skipped", "none"),
        "more": skipped,
    }
    assert run_expected(tmp_path) == {
        "TestNothing": nothing,
        "TestInherited": nothing,
        "TestRestored": unsaid,
        "TestA": {
            "one": ("failure", "Failed: expected to fail (no one), but it passed"),
            "all[a]": "passed",
            "all[b]": ("skipped", "no b"),
            "more": skipped,
        },
        "TestAStill": {
            "one": ("failure", "AssertionError: assert 'one' in 'a'"),
            "all[a]": ("failure", "Failed: expected to fail (no b), but it passed"),
            "all[b]": ("skipped", "no b"),
            "more": ("failure", "Failed: expected to fail (no more), but it was skipped: more is not claimed"),
        },
    }


def test_expected_failures_run_as_they_are_when_pytest_is_told_so(tmp_path):
    outcomes = run_expected(tmp_path, "--runxfail")
    assert outcomes["TestA"]["one"] == "passed"
    assert outcomes["TestNothing"]["all[a]"] == ("failure", "Failed: cannot do a")
