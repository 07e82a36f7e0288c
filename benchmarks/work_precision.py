"""What an error costs: time against error of the last state, over the range of tolerances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks import lotka_volterra
from benchmarks.compare import Contender
from benchmarks.figures import Curve, Figure, Panel
from benchmarks.measure import fastest
from benchmarks.problem import Problem, errors, reference
from benchmarks.sides import by_diffrax, by_scipy, by_torchdiffeq, by_torchode, ours


def contenders(given: Problem) -> dict[str, Contender]:
    """Every library, by the name that it has in the figure."""
    row = replace(given, y0=given.y0[None], per_sample=True)  # torchode takes batches, and errs on one row if compiled
    return {
        "torchdyn-core, compiled": ours.compiled(given),
        "torchdyn-core, eager": ours.eager(given),
        "torchdiffeq": by_torchdiffeq.direct(given),
        "torchode": by_torchode.contender(row, compile=False),
        "diffrax": by_diffrax.contender(given, lotka_volterra.in_jax),
        "SciPy": by_scipy.contender(given, lotka_volterra.in_numpy),
    }


def draw(*, fast: bool) -> list[Figure]:
    """Measure every library at every tolerance."""
    exact = reference(lotka_volterra.problem())
    found: dict[str, list[tuple[float, float]]] = {}
    for digits in (4, 7) if fast else range(3, 10):
        sides = contenders(lotka_volterra.problem(tolerance=10.0**-digits))
        error = {name: errors(side.call(), exact)[0] for name, side in sides.items()}
        seconds = fastest({name: side.call for name, side in sides.items()}, fast=fast)
        for name in sides:
            found.setdefault(name, []).append((error[name], 1e3 * seconds[name]))
    curves = [Curve(name, *zip(*points, strict=True)) for name, points in found.items()]
    panel = Panel("Lotka-Volterra, one trajectory, forward", "error of the last state", "time of a call, ms", curves)
    caption = (
        "Work and precision: Lotka-Volterra, float64, t in [0, 20], dopri5, rtol = atol = 1e-3 to 1e-9, a marker each"
    )
    return [Figure("work_precision", caption, [panel])]


ROWS: dict[str, Callable[..., list[Figure]]] = {"work-precision": draw}
