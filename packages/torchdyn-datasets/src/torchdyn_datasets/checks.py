"""Checks of what generators are given, and the random numbers they draw from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import OptionError
from torchdyn_core.errors import close_matches

__all__ = ["checked_choice", "checked_count", "checked_number", "checked_range", "generator", "normal", "uniform"]


def checked_count(name: str, value: int, least: int = 1) -> int:
    """A whole number of at least `least`.

    Raises:
        OptionError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name}={value!r}; wanted a whole number >= {least}")
    return value


def checked_number(name: str, value: float, *, positive: bool = False) -> float:
    """A finite number >= 0, or with `positive` > 0.

    Raises:
        OptionError: If it is anything else.
    """
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fine or value < 0 or (positive and value == 0):
        raise OptionError(f"{name}={value!r}; wanted a finite number {'> 0' if positive else '>= 0'}")
    return float(value)


def checked_range(name: str, value: tuple[float, float], least: float = -math.inf) -> tuple[float, float]:
    """A pair of finite numbers, the smaller first.

    Raises:
        OptionError: If it is anything else.
    """
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name}={value!r}; wanted a pair of numbers, (low, high)") from error
    if not (math.isfinite(low) and math.isfinite(high) and least <= low <= high):
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


def generator(seed: int) -> torch.Generator:
    """A source of random numbers of its own: torch's global one is left as it is.

    Raises:
        OptionError: If the seed is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise OptionError(f"seed={seed!r}; wanted a whole number")
    return torch.Generator().manual_seed(seed)


def uniform(shape: tuple[int, ...], low: float, high: float, source: torch.Generator) -> Tensor:
    """Numbers in `[low, high)`, in double precision: what is asked for in another one is the same, rounded."""
    return low + (high - low) * torch.rand(shape, generator=source, dtype=torch.float64)


def normal(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal numbers, in double precision."""
    return torch.randn(shape, generator=source, dtype=torch.float64)
