"""Checks of what generators are given, and the random numbers they draw from."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable

import torch
from torch import Tensor

from torchdyn_core import OptionError
from torchdyn_core.errors import close_matches

__all__ = [
    "checked_between",
    "checked_choice",
    "checked_count",
    "checked_dtype",
    "checked_number",
    "checked_numbers",
    "checked_range",
    "generator",
    "normal",
    "uniform",
]


def checked_count(name: str, value: int, least: int = 1) -> int:
    """A whole number of at least `least`, numpy's among them.

    Raises:
        OptionError: If it is anything else.
    """
    count = _whole(value)
    if count is None or count < least:
        raise OptionError(f"{name}={value!r}; wanted a whole number >= {least}")
    if count >= 1 << 63:
        raise OptionError(f"{name}={value!r}; wanted a whole number below 2^63")
    return count


def checked_number(name: str, value: float, *, positive: bool = False, least: float = 0.0) -> float:
    """A finite number >= `least`, or with `positive` > 0; with `least=-math.inf` any finite number.

    Raises:
        OptionError: If it is anything else.
    """
    number = _finite(value)
    if number is None or number < least or (positive and number == 0):
        bound = " > 0" if positive else f" >= {least:g}" if least > -math.inf else ""
        raise OptionError(f"{name}={value!r}; wanted a finite number{bound}")
    return number


def checked_between(name: str, value: float, low: float = 0.0, high: float = 1.0, *, inside: bool = False) -> float:
    """A number from `low` to `high`, a share unless these are given; with `inside` it is neither of them.

    Raises:
        OptionError: If it is anything else.
    """
    number = _finite(value)
    if number is None or not low <= number <= high or (inside and number in (low, high)):
        raise OptionError(f"{name}={value!r}; wanted a number between {low:g} and {high:g}")
    return number


def checked_numbers(name: str, value: Iterable[float], count: int, least: float = -math.inf) -> tuple[float, ...]:
    """So many finite numbers, in any order, each at least `least`.

    Raises:
        OptionError: If it is anything else.
    """
    parts = [] if isinstance(value, str) or not isinstance(value, Iterable) else [_finite(part) for part in value]
    found = tuple(part for part in parts if part is not None and part >= least)
    if len(parts) != count or len(found) != count:
        floor = f", each at least {least:g}" if least > -math.inf else ""
        many = "a pair of numbers" if count == 2 else f"{count} numbers"
        raise OptionError(f"{name}={value!r}; wanted {many}, all finite{floor}")
    return found


def checked_range(name: str, value: tuple[float, float], least: float = -math.inf) -> tuple[float, float]:
    """A pair of finite numbers, the smaller first.

    Raises:
        OptionError: If it is anything else.
    """
    low, high = checked_numbers(name, value, 2)
    if not least <= low <= high:
        floor = f" and at least {least:g}" if least > -math.inf else ""
        raise OptionError(f"{name}={value!r}; wanted (low, high) with low <= high, both finite{floor}")
    return low, high


def checked_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """One of a few words.

    Raises:
        OptionError: If it is another one; the close matches are named.
    """
    if value not in choices:
        raise OptionError(f"{name}={value!r}{close_matches(str(value), choices)}")
    return value


def checked_dtype(dtype: torch.dtype) -> torch.dtype:
    """A dtype of real floating-point numbers, before anything is computed that another one would cut off.

    Raises:
        OptionError: If it is anything else.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise OptionError(f"dtype={dtype!r}; wanted one of real floating-point numbers, such as torch.float32")
    return dtype


def generator(seed: int) -> torch.Generator:
    """A source of random numbers of its own: torch's global one is left as it is.

    Raises:
        OptionError: If the seed is no whole number, or not one of 64 bits.
    """
    number = _whole(seed)
    if number is None or not -(1 << 63) <= number < 1 << 64:
        raise OptionError(f"seed={seed!r}; wanted a whole number of at most 64 bits")
    return torch.Generator().manual_seed(number)


def uniform(shape: tuple[int, ...], low: float, high: float, source: torch.Generator) -> Tensor:
    """Numbers in `[low, high)`, in double precision: what is asked for in another one is the same, rounded."""
    return low + (high - low) * torch.rand(shape, generator=source, dtype=torch.float64)


def normal(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal numbers, in double precision."""
    return torch.randn(shape, generator=source, dtype=torch.float64)


def _whole(value: object) -> int | None:
    if isinstance(value, (bool, Tensor)):  # a truth value may be one by mistake, a tensor need not be one number
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type] # which is what is tried
    except TypeError:
        return None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
