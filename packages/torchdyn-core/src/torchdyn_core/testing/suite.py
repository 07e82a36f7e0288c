"""What all suites share: one thing to fill in, failures that are expected by name, tests that cannot be lost."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from torchdyn_core.errors import IncompatibleError, close_matches

__all__ = ["Suite"]

C = TypeVar("C")


class Suite(Generic[C]):
    """A set of tests that a component has to pass: subclass one of the suites, name it `Test...`, give `make`.

    A test of a suite can be neither overridden nor removed: what a component cannot do stands in
    `expected_failures`, with the reason, and is then a strict xfail: it has to fail.

    Attributes:
        expected_failures: Reasons by the name of the test.

    Raises:
        IncompatibleError: When the class is made, if it overrides a test or names one that does not exist.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    _tests: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {name: value for name, value in vars(cls).items() if name.startswith("test_")}
        if cls.__module__.startswith(f"{__package__}."):
            cls._tests = {**cls._tests, **own}
            return
        for name in own:
            if name in cls._tests:
                raise IncompatibleError(
                    f"{cls.__name__} overrides {name}, a test of its suite; wanted another name, or "
                    f"expected_failures = {{{name!r}: reason}}"
                )
        for name, reason in cls.expected_failures.items():
            if name not in cls._tests:
                raise IncompatibleError(
                    f"{cls.__name__}.expected_failures names {name!r}, which its suite does not have"
                    f"{close_matches(name, cls._tests)}"
                )
            if not isinstance(reason, str) or not reason.strip():
                raise IncompatibleError(f"{cls.__name__}.expected_failures[{name!r}] gives no reason; wanted one")
        for name, test in cls._tests.items():
            setattr(cls, name, _expected_to_fail(test, cls.expected_failures.get(name)))

    def make(self) -> C:
        """The component under test, freshly made."""
        raise NotImplementedError(f"{type(self).__name__} has no make(); wanted one that returns the component to test")


def _expected_to_fail(test: Any, reason: str | None) -> Any:
    """The test itself, or a copy that has to fail: a mark on the function would reach every other subclass."""
    if reason is None:
        return test
    copied = types.FunctionType(test.__code__, test.__globals__, test.__name__, test.__defaults__, test.__closure__)
    functools.update_wrapper(copied, test)
    del copied.__wrapped__  # type: ignore[attr-defined]
    copied.pytestmark = list(getattr(test, "pytestmark", []))  # type: ignore[attr-defined]
    return pytest.mark.xfail(reason=reason, strict=True)(copied)
