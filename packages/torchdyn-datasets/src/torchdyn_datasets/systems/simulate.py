"""Many trajectories of one system in one solve, and what is observed of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdyn_core import PID, VectorField, solve
from torchdyn_datasets.checks import checked_count, checked_dtype, checked_number, normal
from torchdyn_datasets.records import Trajectories

__all__ = ["simulated", "time_grid"]

_EXACT = PID(rtol=1e-9, atol=1e-11)  # so that the error of what is learned from the data is not that of the data


def simulated(
    name: str,
    field: VectorField,
    y0: Tensor,
    times: Tensor,
    *,
    channels: tuple[str, ...],
    noise: float,
    source: torch.Generator,
    dtype: torch.dtype,
    planes: tuple[tuple[int, int], ...] = (),
    **options: Any,
) -> Trajectories:
    """Trajectories from the states `y0`, with the field's slopes; noise is added to the states and not to the slopes.

    Shapes:
        y0: `(N, D)`, double precision.  times: `(T,)`, double precision.
    """
    noise, dtype = checked_number("noise", noise), checked_dtype(dtype)
    options = {"solver": "dopri8", "controller": _EXACT, "adjoint": "direct", "max_steps": 1_000_000, **options}
    with torch.no_grad():
        states = solve(field, y0, times, **options).ys
        assert isinstance(states, Tensor)
        slopes = torch.stack([_slope(field, t, y) for t, y in zip(times, states, strict=True)])
    values = states.transpose(0, 1)
    values = values + noise * normal(tuple(values.shape), source)
    return Trajectories(
        name, "all", times.to(dtype), values.to(dtype), slopes.transpose(0, 1).to(dtype), channels, planes
    )


def time_grid(steps: int, t1: float) -> Tensor:
    """Times at equal distances, the first of them 0."""
    last = checked_number("t1", t1, positive=True)
    return torch.linspace(0.0, last, checked_count("steps", steps, 2), dtype=torch.float64)


def _slope(field: VectorField, t: Tensor, y: Tensor) -> Tensor:
    slope = field(t, y)
    assert isinstance(slope, Tensor)
    return slope
