"""What all suites share: one thing to fill in, failures that are expected by name, tests that cannot be lost."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from torchdyn_core.errors import IncompatibleError, close_matches

__all__ = ["Suite"]

C = TypeVar("C")

_PARAM: Any = type(pytest.param())


class Suite(Generic[C]):
    """A set of tests that a component has to pass: subclass one of the suites, name it `Test...`, give `make`.

    A test of a suite can be neither overridden nor removed: what a component cannot do stands in
    `expected_failures`, with the reason, and then has to fail; a test that is skipped has not failed.

    A suite of your own is a class made with `suite=True`: its tests, and whatever of it begins with an underscore, are
    then kept from being overridden as those of the suites here are.

    Attributes:
        expected_failures: Reasons by the name of the test, `"test_order"`, or of one of its cases,
            `"test_dtype_and_device_are_kept[bfloat16]"`.

    Raises:
        IncompatibleError: When the class is made, if it overrides a test or names one that does not exist.

    Example:
        >>> from torchdyn_core import Heun
        >>> from torchdyn_core.testing import SolverSuite
        >>> class TwoStageSuite(SolverSuite, suite=True):
        ...     def test_two_stages(self):
        ...         assert len(self.make().tableau.c) == 2
        >>> class TestHeun(TwoStageSuite):
        ...     def make(self):
        ...         return Heun()
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    _tests: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, *, suite: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__own = {name: value for name, value in vars(cls).items() if _is_kept(name)} if suite else {}
        kept = {name: (base, value) for base in cls.__mro__[::-1] for name, value in _own(base).items()}
        cls._tests = {name: value for name, (_, value) in kept.items() if name.startswith("test_")}
        for base in cls.__mro__:
            for name, value in _own(base).items():
                _refuse_override(cls, base, name, value)
        _check_expectations(cls)

    def make(self) -> C:
        """The component under test, freshly made."""
        raise NotImplementedError(f"{type(self).__name__} has no make(); wanted one that returns the component to test")

    @pytest.fixture(autouse=True)
    def _expectation(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """What is expected to fail, has to."""
        item: Any = request.node
        failures, test = self.expected_failures, item.obj
        reason = failures.get(item.name, failures.get(item.originalname))
        if reason is not None and not request.config.getoption("runxfail"):
            item.obj = _has_to_fail(test, reason)
        yield
        item.obj = test

    __own: ClassVar[Mapping[str, Any]] = {"_expectation": _expectation}  # what a suite keeps from being overridden


def _has_to_fail(test: Callable[..., None], reason: str) -> Callable[..., None]:
    @functools.wraps(test)
    def tried(*arguments: Any, **options: Any) -> None:
        try:
            test(*arguments, **options)
        except pytest.skip.Exception as skipped:
            pytest.fail(f"expected to fail ({reason}), but it was skipped: {skipped}; wanted no expectation of it")
        except (Exception, pytest.fail.Exception):
            pytest.xfail(reason)
        pytest.fail(f"expected to fail ({reason}), but it passed; wanted no expectation of it")

    return tried


def _is_kept(name: str) -> bool:
    """Tests and private helpers; what is public is there to be filled in."""
    return name.startswith("test_") or (name.startswith("_") and not name.startswith("__"))


def _own(base: type) -> Mapping[str, Any]:
    own: Mapping[str, Any] = vars(base).get("_Suite__own", {})
    return own


def _refuse_override(cls: type, suite: type, name: str, value: Any) -> None:
    if inspect.getattr_static(cls, name) is value:
        return
    culprit = next(base for base in cls.__mro__ if name in vars(base))
    whose = cls.__name__ if culprit is cls else f"{cls.__name__}, by {culprit.__name__},"
    if _own(culprit):
        raise IncompatibleError(
            f"{whose} overrides {name} of {suite.__name__}: two suites have that name; wanted a class for each suite"
        )
    instead = f", or expected_failures = {{{name!r}: reason}}" if name.startswith("test_") else ""
    raise IncompatibleError(f"{whose} overrides {name} of its suite; wanted another name{instead}")


def _check_expectations(cls: type[Suite[Any]]) -> None:
    failures: Any = cls.expected_failures
    if not isinstance(failures, Mapping):
        raise IncompatibleError(
            f"{cls.__name__}.expected_failures is a {type(failures).__name__}; wanted a dict of names and reasons"
        )
    for name, reason in failures.items():
        test, bracket, case = str(name).partition("[")
        if test not in cls._tests:
            raise IncompatibleError(
                f"{cls.__name__}.expected_failures names {name!r}, which its suite does not have"
                f"{close_matches(test, cls._tests)}"
            )
        cases = _cases(cls._tests[test])
        if bracket and case.removesuffix("]") not in cases:
            raise IncompatibleError(
                f"{cls.__name__}.expected_failures names {name!r}, a case that the test does not have; wanted one of "
                f"{sorted(cases) or 'none: it has no cases'}"
            )
        if not isinstance(reason, str) or not reason.strip():
            raise IncompatibleError(f"{cls.__name__}.expected_failures[{name!r}] gives no reason; wanted one")


def _cases(test: Any) -> list[str]:
    """The names of a parametrised test's cases, as pytest makes them."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    return ["-".join(parts) for parts in itertools.product(*map(_ids, marks))] if marks else []


def _ids(mark: pytest.Mark) -> list[str]:
    """Names of the values of one parameter, or of several that go together."""
    names, values = mark.args[:2]
    alone = isinstance(names, str) and "," not in names
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    given = mark.kwargs.get("ids")
    if given is not None and not callable(given):
        return [str(name) for name in given]

    def name_of(index: int, name: str, value: Any) -> str:
        made = None if given is None else given(value)
        value = value if made is None else made
        if value is None or isinstance(value, (str, bool, int, float, complex)):
            return str(value)
        return str(getattr(value, "__name__", f"{name}{index}"))

    def case(index: int, value: Any) -> str:
        if isinstance(value, _PARAM):
            if value.id is not None:
                return str(value.id)
            value = value.values[0] if alone else value.values
        parts = zip(names, (value,) if alone else value, strict=True)
        return "-".join(name_of(index, name, part) for name, part in parts)

    return [case(index, value) for index, value in enumerate(values)]
