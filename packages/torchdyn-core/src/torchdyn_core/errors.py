"""Every error that torchdyn raises on purpose, on one page.

Each class is also the builtin that a caller would already catch. A message says what was got, what was wanted, and
what to do.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdyn_core.solution import Solution

__all__ = [
    "FallbackWarning",
    "GradientError",
    "IncompatibleError",
    "IntegrationError",
    "MissingExtraError",
    "OptionError",
    "PluginError",
    "PluginWarning",
    "ShapeError",
    "TorchdynError",
    "UnknownComponentError",
    "UnknownOptionError",
]


class TorchdynError(Exception):
    """Root of the tree: ``except TorchdynError`` catches whatever torchdyn raises on purpose."""


class ShapeError(TorchdynError, ValueError):
    """A tensor has the wrong shape, dtype, device or values.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> solve(lambda t, y: -y, torch.ones(2), torch.tensor([0.0]))
        Traceback (most recent call last):
        torchdyn_core.errors.ShapeError: ts has 1 time; wanted at least two: the start, ..., the end
    """


class OptionError(TorchdynError, ValueError):
    """An option has a value that makes no sense, such as a negative tolerance.

    Example:
        >>> from torchdyn_core import PID
        >>> PID(rtol=-1.0)
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: rtol=-1.0; wanted a finite number >= 0
    """


class UnknownOptionError(TorchdynError, TypeError):
    """A keyword that nobody takes; the message names the closest one that exists."""


class IncompatibleError(TorchdynError, TypeError):
    """Two parts that are each fine do not work together: the message names those that do."""


class GradientError(TorchdynError, RuntimeError):
    """A gradient that was asked for cannot be delivered, and would otherwise be silently zero."""


class UnknownComponentError(TorchdynError, LookupError):
    """No component has this name; the message lists the close matches.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> solve(lambda t, y: -y, torch.ones(2), torch.tensor([0.0, 1.0]), solver="tist5")
        Traceback (most recent call last):
        torchdyn_core.errors.UnknownComponentError: no solver is named 'tist5'; did you mean 'tsit5'?
    """

    def __str__(self) -> str:
        # LookupError's family quotes its argument; a sentence should stay one.
        return str(self.args[0]) if self.args else ""


class PluginError(TorchdynError, ImportError):
    """A plugin, or an optional dependency, is missing or broken."""


class MissingExtraError(PluginError):
    """An optional dependency is not installed; the message gives the command that installs it."""


class IntegrationError(TorchdynError, ArithmeticError):
    """The integration stopped before the last time.

    Arguments:
        message: Which sample, at which time and step size, and the likely cause.
        solution: What was reached: ``solution.valid`` tells which rows hold values.
    """

    def __init__(self, message: str, solution: Solution | None = None) -> None:
        super().__init__(message)
        self.solution = solution


class FallbackWarning(UserWarning):
    """Something works, but not in the way that was asked for; said once, with the reason."""


class PluginWarning(UserWarning):
    """An installed plugin is broken and was left out; said once, with what to do."""


_said: set[str] = set()


def warn_once(message: str) -> None:
    """Say a fallback's reason once a process."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, FallbackWarning, stacklevel=3)


def close_matches(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what there is. A name without its plugin is close to the whole one."""
    known = sorted(known)
    bare: dict[str, list[str]] = {}
    for whole in known:
        bare.setdefault(whole if "." in name else whole.rpartition(".")[2], []).append(whole)
    near = [whole for part in difflib.get_close_matches(name, bare, n=3, cutoff=0.6) for whole in bare[part]][:3]
    if near:
        return "; did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "; there are: " + ", ".join(known)
