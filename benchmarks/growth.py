"""How the cost of a compiled solve grows, with the number of steps and with the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from benchmarks import lotka_volterra, mlp_training
from benchmarks.compare import Contender
from benchmarks.figures import Curve, Figure, Panel
from benchmarks.measure import Bound, fastest
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_torchdiffeq, ours

OURS, FIELD = "torchdyn-core, compiled", "compiled field alone"
LIMIT = 1.05
MANY = 10**6  # steps
PATIENCE = 1.0  # seconds a peer's call may take before its curve ends
MILLISECONDS = 1e3


@dataclass
class Sweep:
    """Measured curves: for each name, sizes and seconds.

    Arguments:
        fast: Only try whether everything runs.
    """

    fast: bool
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _slow: set[str] = field(default_factory=set)

    def measure(self, size: float, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """One size: time the calls in turns; each is called once before."""
        for call in calls.values():
            call()
        seconds = fastest(dict(calls), fast=self.fast)
        for name, time in seconds.items():
            self.points.setdefault(name, []).append((size, time))
            if time > PATIENCE:
                self._slow.add(name)
        return seconds

    def patient(self, peers: Mapping[str, Callable[[], Contender]]) -> dict[str, Callable[[], object]]:
        """The calls of those peers that were not too slow at the last size."""
        return {name: make().call for name, make in peers.items() if name not in self._slow}

    def curves(self) -> list[Curve]:
        """As they are drawn."""
        return [
            Curve(name, [x for x, _ in points], [MILLISECONDS * y for _, y in points])
            for name, points in self.points.items()
        ]


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def horizon(*, fast: bool) -> list[Bound | Figure]:
    """Lotka and Volterra over longer and longer spans."""
    bounds, panels = [], []
    for gradient in (False, True):
        sweep, steps = Sweep(fast), []
        for t1 in (10.0, 30.0) if fast else (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0):
            given = replace(lotka_volterra.problem(gradient=gradient, t1=t1), max_steps=MANY if t1 > 300 else 4096)
            side = ours.compiled(given)
            peers = sweep.patient(
                {
                    "torchdiffeq": lambda given=given: by_torchdiffeq.direct(given),
                    "diffrax": lambda given=given: by_diffrax.contender(given, lotka_volterra.in_jax),
                }
            )
            steps.append(sum(side.count()[:2]))
            sweep.measure(t1, {OURS: side.call, **peers})
        what = "forward and gradient" if gradient else "forward"
        seconds = [time for _, time in sweep.points[OURS]]
        bounds.append(
            Bound(
                what=f"Lotka-Volterra, one trajectory, {what}, compiled: exponent of time against the number of steps",
                value=exponent(steps, seconds),
                limit=LIMIT,
                form="{:.2f}",
                detail=_listed("steps", steps, seconds),
            )
        )
        panels.append(Panel(f"One trajectory, {what}", "horizon t1", "time of a call, ms", sweep.curves()))
    caption = "Cost against horizon: Lotka-Volterra, float64, dopri5, rtol = atol = 1e-6, t in [0, t1]"
    return [*bounds, Figure("cost_against_horizon", caption, panels)]


def batch(*, fast: bool) -> list[Bound | Figure]:
    """Two fields, one cheap and one not, on batches that share one step size."""
    families = {
        "Lotka-Volterra": (lambda size: lotka_volterra.problem(batch=size), lotka_volterra.in_jax),
        "MLP 2-64-64-2": (_network, mlp_training.in_jax),
    }
    bounds, panels = [], []
    for name, (make, in_jax) in families.items():
        sweep, evaluations = _batches(make, in_jax, fast)
        bounds.append(_against_field(name, sweep, evaluations))
        panels.append(Panel(f"{name}, forward", "batch size", "time of a call, ms", sweep.curves()))
    caption = (
        "Cost against batch size: dopri5, forward, one step size for the batch; Lotka-Volterra in float64 to 1e-6, "
        "t in [0, 20], the network in float32 to 1e-5, t in [0, 3]. Dashed: the field alone, compiled and called from "
        "Python, times the evaluations of our solve"
    )
    return [*bounds, Figure("cost_against_batch", caption, panels)]


def _network(size: int) -> Problem:
    given = mlp_training.problem(2, 64, size)
    return replace(given, field=given.field.requires_grad_(False), gradient=False)


def _batches(make: Callable[[int], Problem], in_jax: Any, fast: bool) -> tuple[Sweep, list[int]]:
    sweep, evaluations = Sweep(fast), []
    for size in (2, 8) if fast else (1, 10, 100, 1000, 10_000, 20_000, 50_000, 100_000):
        given = make(size)
        side, bare = ours.compiled(given), torch.compile(given.field, dynamic=False)
        peers = sweep.patient(
            {
                "torchdiffeq": lambda given=given: by_torchdiffeq.direct(given),
                "diffrax": lambda given=given: by_diffrax.contender(given, in_jax),
            }
        )
        evaluations.append(side.count().evaluations)
        calls = {OURS: side.call, **peers, FIELD: lambda bare=bare, given=given: bare(given.ts[0], given.y0)}
        sweep.measure(size, calls)
    return sweep, evaluations


def _against_field(name: str, sweep: Sweep, evaluations: list[int]) -> Bound:
    """Time against that of the field itself: its calls less what a call costs, which one row shows.

    Only batches count whose field takes markedly longer than its call.
    """
    sizes = [size for size, _ in sweep.points[OURS]]
    solves = [time for _, time in sweep.points[OURS]]
    fields = [time for _, time in sweep.points[FIELD]]
    call = fields[0]
    sweep.points[FIELD] = [(size, n * time) for size, n, time in zip(sizes, evaluations, fields, strict=True)]
    rows = zip(sizes, solves, evaluations, fields, strict=True)
    grown = [(size, solve, n * (time - call)) for size, solve, n, time in rows if time > 1.4 * call] or [
        (size, solve, n * time) for size, solve, n, time in zip(sizes, solves, evaluations, fields, strict=True)
    ]
    return Bound(
        what=f"{name}, forward, compiled: exponent of time against that of the field alone, as the batch grows",
        value=exponent([field for *_, field in grown], [solve for _, solve, _ in grown]),
        limit=LIMIT,
        form="{:.2f}",
        detail=f"{_listed('batch', sizes, solves)}; field alone, its call apart: "
        + ", ".join(f"{MILLISECONDS * field:.3g} ms at {size:g}" for size, _, field in grown),
    )


def _listed(what: str, sizes: Sequence[float], seconds: Sequence[float]) -> str:
    pairs = zip(sizes, seconds, strict=True)
    return f"{what}: " + ", ".join(f"{MILLISECONDS * time:.3g} ms at {size:g}" for size, time in pairs)


ROWS: dict[str, Callable[..., list[Bound | Figure]]] = {"growth-horizon": horizon, "growth-batch": batch}
