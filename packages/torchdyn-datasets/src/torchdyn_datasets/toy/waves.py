"""Periodic series, observed now and then."""

from __future__ import annotations

import math

import torch

from torchdyn_core import IrregularSeries, OptionError
from torchdyn_datasets.checks import (
    checked_count,
    checked_dtype,
    checked_number,
    checked_range,
    generator,
    normal,
    uniform,
)
from torchdyn_datasets.records import Series

__all__ = ["periodic"]


def periodic(
    n: int = 1000,
    *,
    points: int = 100,
    observed: int | None = None,
    t1: float = 5.0,
    frequency: tuple[float, float] = (0.4, 0.8),
    noise: float = 0.01,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Series:
    """Sine waves of frequencies of their own, observed at irregular times that all of them share.

    A wave has amplitude 1 about a level of its own, which is normal about 1 with standard deviation 0.1.

    Arguments:
        n: Number of series.
        points: Number of times, the first of them 0, the others uniform up to `t1`.
        observed: How many of the times, chosen by chance for each series, it is observed at. Default: all.
        t1: The end of the time span.
        frequency: Smallest and largest frequency.
        noise: Every value but the first is raised by a number between 0 and this.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        series: `(n, observed, 1)`.

    References:
        Rubanova, Chen, Duvenaud (2019), Latent ODEs for irregularly-sampled time series, section 4.1.
        arXiv 1907.03907

    Example:
        >>> from torchdyn_datasets import periodic
        >>> periodic(5, observed=30).series.values.shape
        torch.Size([5, 30, 1])
    """
    n, points, source = checked_count("n", n), checked_count("points", points, 2), generator(seed)
    dtype = checked_dtype(dtype)
    seen = points if observed is None else checked_count("observed", observed)
    if seen > points:
        raise OptionError(f"observed={observed!r}; wanted at most points={points}")
    times = uniform((points,), 0.0, checked_number("t1", t1, positive=True), source).sort().values
    times[0] = 0.0
    pace = uniform((n, 1), *checked_range("frequency", frequency, 0.0), source)
    level = 1 + 0.1 * normal((n, 1), source)
    values = (2 * math.pi * pace * times).sin() + level
    values[:, 1:] += uniform((n, points - 1), 0.0, checked_number("noise", noise), source)
    chosen = torch.rand((n, points), generator=source).argsort(1)[:, :seen].sort(1).values
    series = IrregularSeries(times[chosen].to(dtype), values.gather(1, chosen)[..., None].to(dtype))
    return Series("periodic", "all", series, channels=("y",))
