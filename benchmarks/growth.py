"""How the cost of a compiled solve grows, with the number of steps and with the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from benchmarks import lotka_volterra, mlp_training
from benchmarks.compare import Contender
from benchmarks.figures import Curve, Figure, Panel
from benchmarks.measure import Bound, exponent, fastest
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_torchdiffeq, ours

OURS, FIELD = "torchdyn-core, compiled", "compiled field alone"
LIMIT = 1.05
PATIENCE = 1.0  # seconds a peer's call may take before its curve ends
MILLISECONDS = 1e3

Peers = Mapping[str, Callable[[Problem], Contender]]


@dataclass
class Sweep:
    """Measured curves: for each name, sizes and seconds.

    Arguments:
        peers: How to make each peer.
        fast: Only try whether everything runs.
    """

    peers: Peers
    fast: bool
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def measure(self, size: float, given: Problem, side: Contender, **more: Callable[[], object]) -> None:
        """One size: ours, the peers that were not too slow at the last one, and more, in turns."""
        calls: dict[str, Callable[[], object]] = {OURS: side.call}
        calls |= {name: make(given).call for name, make in self.peers.items() if self._last(name) < PATIENCE} | more
        for call in calls.values():
            call()  # compiles
        for name, time in fastest(calls, fast=self.fast).items():
            self.points.setdefault(name, []).append((size, time))

    def seconds(self, name: str) -> list[float]:
        """The times of one curve."""
        return [time for _, time in self.points[name]]

    def curves(self) -> list[Curve]:
        """As they are drawn."""
        return [Curve(name, [x for x, _ in p], [MILLISECONDS * y for _, y in p]) for name, p in self.points.items()]

    def _last(self, name: str) -> float:
        return self.points[name][-1][1] if name in self.points else 0.0


def horizon(*, fast: bool) -> list[Bound | Figure]:
    """Lotka and Volterra over longer and longer spans."""
    peers: Peers = {
        "torchdiffeq": by_torchdiffeq.direct,
        "diffrax": partial(by_diffrax.contender, field=lotka_volterra.in_jax),
    }
    bounds, panels = [], []
    for gradient in (False, True):
        sweep, steps = Sweep(peers, fast), []
        for t1 in (10.0, 30.0) if fast else (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0):
            given = lotka_volterra.problem(gradient=gradient, t1=t1)
            if t1 > 300:  # diffrax makes room for that many: no more than needed
                given = replace(given, max_steps=12 * int(t1))
            side = ours.compiled(given)
            count = side.count()
            steps.append(count.accepted + count.rejected)
            sweep.measure(t1, given, side)
        what = "forward and gradient" if gradient else "forward"
        seconds = sweep.seconds(OURS)
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
        peers: Peers = {
            "torchdiffeq": by_torchdiffeq.direct,
            "diffrax": partial(by_diffrax.contender, field=in_jax),
        }
        sweep, evaluations = _batches(make, Sweep(peers, fast))
        bounds.append(_against_field(name, sweep, evaluations))
        sweep.points[FIELD] = [(b, n * time) for (b, time), n in zip(sweep.points[FIELD], evaluations, strict=True)]
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


def _batches(make: Callable[[int], Problem], sweep: Sweep) -> tuple[Sweep, list[int]]:
    """The sweep, and the field evaluations of our solve at each size."""
    evaluations = []
    for size in (2, 8) if sweep.fast else (1, 10, 100, 1000, 10_000, 20_000, 50_000, 100_000):
        given = make(size)
        side = ours.compiled(given)
        evaluations.append(side.count().evaluations)
        bare = partial(torch.compile(given.field, dynamic=False), given.ts[0], given.y0)
        sweep.measure(size, given, side, **{FIELD: bare})
    return sweep, evaluations


def _against_field(name: str, sweep: Sweep, evaluations: Sequence[int]) -> Bound:
    """Our time against that of the field's calls, less what a call costs by itself: that of the smallest batch.

    Only batches count whose field takes markedly longer than its call.
    """
    sizes = [size for size, _ in sweep.points[OURS]]
    solves, fields = sweep.seconds(OURS), sweep.seconds(FIELD)
    call = fields[0]
    grown = [place for place, time in enumerate(fields) if time > 1.4 * call]
    if len(grown) < 2:  # only where batches are small, to try whether everything runs
        grown, call = list(range(len(sizes))), 0.0
    alone = [evaluations[place] * (fields[place] - call) for place in grown]
    listed = _listed("field alone, its call apart", [sizes[place] for place in grown], alone)
    return Bound(
        what=f"{name}, forward, compiled: exponent of time against that of the field alone, as the batch grows",
        value=exponent(alone, [solves[place] for place in grown]),
        limit=LIMIT,
        form="{:.2f}",
        detail=f"{_listed('batch', sizes, solves)}; {listed}",
    )


def _listed(what: str, sizes: Sequence[float], seconds: Sequence[float]) -> str:
    pairs = zip(sizes, seconds, strict=True)
    return f"{what}: " + ", ".join(f"{MILLISECONDS * time:.3g} ms at {size:g}" for size, time in pairs)


ROWS: dict[str, Callable[..., list[Bound | Figure]]] = {"growth-horizon": horizon, "growth-batch": batch}
