"""Butcher tableaux: a Runge-Kutta method as data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ButcherTableau", "cubic_hermite"]

Row = tuple[float, ...]


@dataclass(frozen=True)
class ButcherTableau:
    """Coefficients of an explicit Runge-Kutta method, its error estimate and its continuous extension.

    A last stage whose row equals `b` at the node 1 is the next step's first slope (first same as last).

    Arguments:
        c: Nodes, one a stage; the first is 0.
        a: Lower triangle, a row for each stage after the first.
        b: Weights of the solution.
        error: Weights of the error estimate (`b` minus the embedded weights), or None.
        error_low: Weights of a second, lower-order error estimate, combined as Hairer's DOP853 does, or None.
        dense: Polynomials of the continuous extension: `y(theta) = y0 + dt * sum_i k_i * sum_j dense[i][j] *
        theta**(j+1)`.
            Rows beyond the stages belong to `extra` stages.
        extra: Stages that only the continuous extension needs: pairs of node and row.

    Raises:
        ValueError: If a row of `a` does not sum to its node, or `b` not to one: a mistyped coefficient.
    """

    c: Row
    a: tuple[Row, ...]
    b: Row
    error: Row | None = None
    error_low: Row | None = None
    dense: tuple[Row, ...] = ()
    extra: tuple[tuple[float, Row], ...] = ()

    def __post_init__(self) -> None:
        for node, row in [*zip(self.c[1:], self.a, strict=True), *self.extra]:
            if abs(sum(row) - node) > 1e-12 * max(1.0, sum(abs(x) for x in row)):
                raise ValueError(f"the row {row} sums to {sum(row)}, wanted its node {node}")
        if abs(sum(self.b) - 1.0) > 1e-12:
            raise ValueError(f"b sums to {sum(self.b)}, wanted 1")

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage is the first slope of the next step."""
        last = self.a[-1] if self.a else ()
        return len(self.c) > 1 and self.c[-1] == 1.0 and tuple(last) == tuple(self.b[: len(last)])


@functools.lru_cache(maxsize=64)
def nodes(c: Row, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The nodes as a tensor; made once for a device."""
    with torch.inference_mode(False):  # it outlives the solve that it is first made in
        return torch.tensor(c, dtype=dtype, device=device)


def cubic_hermite(b: Sequence[float], end: int | None = None) -> tuple[Row, ...]:
    """Cubic Hermite interpolation as a continuous extension over the stages.

    Arguments:
        b: Weights of the solution.
        end: Index of the stage that is the slope at the end; None where it is one extra stage behind the others.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.6 (6.7).
    """
    rows = [[0.0, 3.0 * weight, -2.0 * weight] for weight in b]
    if end is None:
        rows.append([0.0, 0.0, 0.0])
        end = len(rows) - 1
    for index, coefficients in ((0, (1.0, -2.0, 1.0)), (end, (0.0, -1.0, 1.0))):
        rows[index] = [x + y for x, y in zip(rows[index], coefficients, strict=True)]
    return tuple(tuple(row) for row in rows)
