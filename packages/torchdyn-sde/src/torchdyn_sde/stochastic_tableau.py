"""Coefficients of stochastic Runge-Kutta methods that know of a path its increment and its space-time area."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SLOW_RK", "SPARK", "StochasticTableau"]

_Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class StochasticTableau:
    """One method: stage `i` is `y + h a_ij f_j + a^W_ij g_j W + a^H_ij g_j H`, and the step likewise with weights `b`.

    Arguments:
        nodes: Times of stages, as parts of the step.
        a: Weights of earlier drifts in each stage.
        a_w: Weights of what earlier diffusions do with the increment.
        a_h: Of what they do with the area.
        b: Weights of drifts in the step.
        b_w: Of diffusions with the increment.
        b_h: Of diffusions with the area.
        error: Weights of drifts, and of diffusions with the increment, in the error estimate; None where it has none.
    """

    nodes: tuple[float, ...]
    a: _Rows
    a_w: _Rows
    a_h: _Rows
    b: tuple[float, ...]
    b_w: tuple[float, ...]
    b_h: tuple[float, ...]
    error: tuple[float, ...] | None = None

    def asks(self, stage: int, weights: tuple[float, ...], *rows: _Rows) -> bool:
        """Whether a slope at a stage has a weight anywhere."""
        return bool(weights[stage]) or any(row[stage] for table in rows for row in table[stage + 1 :])


_ROOT_3 = 3.0**0.5
_END = (3.0 - _ROOT_3) / 6.0

SPARK = StochasticTableau(
    nodes=(0.0, 0.5, 1.0),
    a=((), (0.5,), (0.0, 1.0)),
    a_w=((), (0.5,), (0.0, 1.0)),
    a_h=((), (_ROOT_3,), (0.0, 0.0)),
    b=(_END, _ROOT_3 / 3.0, _END),
    b_w=(_END, _ROOT_3 / 3.0, _END),
    b_h=(1.0, 0.0, -1.0),
    error=(_END - 0.5, _ROOT_3 / 3.0, _END - 0.5),
)
"""Foster and Jelincic 2023, definition 1.6; the estimate is the distance from Heun's method."""

SLOW_RK = StochasticTableau(
    nodes=(0.0, 0.5, 0.5, 0.5, 0.5, 0.75, 1.0),
    a=(
        (),
        (0.5,),
        (0.5, 0.0),
        (0.5, 0.0, 0.0),
        (0.5, 0.0, 0.0, 0.0),
        (0.75, 0.0, 0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    a_w=(
        (),
        (0.0,),
        (0.0, 0.5),
        (0.0, 0.0, 0.5),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 0.0, 0.0, 0.75, 0.0),
        (0.0, 0.0, 0.5, 0.0, 0.0, 0.0),
    ),
    a_h=(
        (),
        (0.0,),
        (0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 1.5, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    b=(1.0 / 3.0, 0.0, 0.0, 0.0, 0.0, 2.0 / 3.0, 0.0),
    b_w=(0.0, 1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0, 0.0, 0.0),
    b_h=(0.0, 0.0, 0.0, 2.0, 0.0, 0.0, -2.0),
)
"""Foster, dos Reis and Strange 2024, equation 6.2."""
