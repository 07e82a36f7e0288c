"""Stochastic solves against torchsde and diffrax, and what noise costs beside torch's own.

Each library has noise of its own, so that ends cannot be compared path by path. What is compared are means over
many paths: an error is told where these are further apart than chance has them be.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import torch
import torchsde
from torch import Tensor, nn

from benchmarks.measure import Bound, Comparison, Side, Work, interleaved
from torchdyn_core import Fixed, solve
from torchdyn_sde import SRK, BrownianPath, EulerMaruyama, SDEField

ROWS_OF_STATE, SIZE, WIDTH, STEPS = 128, 4, 32, 100
PATHS = 40
"""Solves whose ends are compared in law."""
OURS, NAIVE, HINTED, JITTED = "torchdyn solve", "torchsde sdeint", "torchsde, dt given to its path", "diffrax, jitted"


def _networks() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    drift, diffusion = (nn.Sequential(nn.Linear(SIZE, WIDTH), nn.Tanh(), nn.Linear(WIDTH, SIZE)) for _ in range(2))
    return drift, diffusion


class _Entrywise(nn.Module):
    """A net 1-8-1 for each entry: as many hidden units as the drift has, and noise that is diagonal.

    Roessler's method has its order where an entry's diffusion depends on no other entry; ours refuses others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias, self.outer = (nn.Parameter(part / 2) for part in torch.randn(3, SIZE, WIDTH // SIZE))

    def forward(self, y: Tensor) -> Tensor:
        return (torch.tanh(y.unsqueeze(-1) * self.weight + self.bias) * self.outer).sum(-1)


class _Theirs(nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, drift: nn.Module, diffusion: nn.Module) -> None:
        super().__init__()
        self.drift, self.diffusion = drift, diffusion

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.drift(y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.diffusion(y)


def _ours(method: Any, parts: tuple[nn.Module, nn.Module], y0: Tensor) -> Tensor:
    drift, diffusion = parts
    field = SDEField(lambda t, y: drift(y), lambda t, y: diffusion(y))
    control = Fixed(steps=STEPS)
    ys: Tensor = solve(field, y0, [0.0, 1.0], solver=method, controller=control, compile="require").ys[-1]
    return ys


def _torchsde(method: str, hinted: bool, sde: nn.Module, y0: Tensor) -> Tensor:
    ts, path = torch.tensor([0.0, 1.0]), None
    if hinted:
        area = "space-time" if method == "srk" else "none"
        options = {"size": tuple(y0.shape), "dt": 1.0 / STEPS, "levy_area_approximation": area}
        path = torchsde.BrownianInterval(0.0, 1.0, **options)
    ys: Tensor = torchsde.sdeint(sde, y0, ts, bm=path, method=method, dt=1.0 / STEPS)[-1]
    return ys


def _diffrax(parts: tuple[nn.Module, nn.Module], gradient: bool) -> Callable[[Tensor, int], Tensor]:
    """Euler's method under `jit`, each row with a virtual Brownian tree, as its documentation has it."""
    weights = [[jnp.asarray(p.detach().numpy()) for p in net.parameters()] for net in parts]

    def net(w: Any, y: Any) -> Any:
        return jnp.tanh(y @ w[0].T + w[1]) @ w[2].T + w[3]

    def end(w: Any, y0: Any, key: Any) -> Any:
        tree = diffrax.VirtualBrownianTree(0.0, 1.0, tol=0.5 / STEPS, shape=(SIZE,), key=key)
        noise = diffrax.ControlTerm(lambda t, y, args: lineax.DiagonalLinearOperator(net(w[1], y)), tree)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: net(w[0], y)), noise)
        adjoint = diffrax.RecursiveCheckpointAdjoint()
        return diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, 1.0, 1.0 / STEPS, y0, adjoint=adjoint).ys[0]

    every = jax.vmap(end, (None, 0, 0))
    run = jax.jit(jax.value_and_grad(lambda w, y0, k: every(w, y0, k).sum()) if gradient else every)

    def call(y0: Tensor, seed: int) -> Any:
        found = run(weights, jnp.asarray(y0.numpy()), jax.random.split(jax.random.key(seed), ROWS_OF_STATE))
        return jax.block_until_ready(found)

    return call


def _compared(kind: str, gradient: bool, fast: bool, targets: dict[str, float]) -> list[Comparison]:
    parts: tuple[nn.Module, nn.Module] = _networks()
    y0 = torch.linspace(-1.0, 1.0, ROWS_OF_STATE * SIZE).reshape(ROWS_OF_STATE, SIZE)
    if kind == "srk":
        parts = parts[0], _Entrywise()
    theirs, method = _Theirs(*parts), {"euler": EulerMaruyama(), "srk": SRK()}[kind]
    solves: dict[str, Callable[[], Tensor]] = {
        OURS: partial(_ours, method, parts, y0),
        NAIVE: partial(_torchsde, kind, False, theirs, y0),
        HINTED: partial(_torchsde, kind, True, theirs, y0),
    }
    solves = {name: made for name, made in solves.items() if name == OURS or name in targets}
    calls: dict[str, Callable[[], object]] = {
        name: partial(_backward if gradient else _forward, made) for name, made in solves.items()
    }
    if JITTED in targets:
        jitted = _diffrax(parts, gradient)
        calls[JITTED] = lambda: jitted(y0, 0)
        ends = _diffrax(parts, False)
        solves[JITTED] = lambda: torch.as_tensor(ends(y0, time.perf_counter_ns() % 2**31).__array__().copy())
    first = {name: _timed(call) for name, call in calls.items()}
    errors = _errors(solves, 2 if fast else PATHS)
    seconds = interleaved(calls, fast=fast, rounds=9)
    sides = {
        name: Side(
            name, Work(STEPS, 0, None, errors[name]), seconds[name], first[name] if name in (OURS, JITTED) else None
        )
        for name in calls
    }
    named, nets = (
        ("Euler-Maruyama", "nets") if kind == "euler" else ("SRK", f"drift, {SIZE} diffusions 1-{WIDTH // SIZE}-1")
    )
    done = "training step" if gradient else "forward"
    what = f"SDE, {SIZE}-{WIDTH}-{SIZE} {nets}, batch {ROWS_OF_STATE}, {named}, {done}"
    return [
        Comparison(what, f"{STEPS} steps, float32", sides[OURS], sides[name], "call", target)
        for name, target in targets.items()
    ]


def _forward(run: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        run()


def _backward(run: Callable[[], Tensor]) -> None:
    run().sum().backward()


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _errors(solves: dict[str, Callable[[], Tensor]], count: int) -> dict[str, float]:
    """How far means of ends are from those of the others, where that is more than chance has them be."""
    found = {}
    with torch.no_grad():
        for name, run in solves.items():
            ends = torch.stack([run() for _ in range(count)])
            found[name] = ends.mean(0), ends.std(0)
    errors = {}
    for name, (mean, deviation) in found.items():
        others = [value for other, value in found.items() if other != name]
        apart = torch.stack([mean - other for other, _ in others]).mean(0)
        # of all entries together: single ones are apart by chance
        size = float((apart / (deviation * math.sqrt(2.0 / count))).square().mean().sqrt())
        errors[name] = 0.0 if size < 1.5 or count < 10 else float(apart.abs().max())
    return errors


def euler_forward(*, fast: bool) -> list[Comparison]:
    """Euler and Maruyama, forward."""
    return _compared("euler", False, fast, {NAIVE: 100.0, HINTED: 4.0, JITTED: 6.0})


def euler_gradient(*, fast: bool) -> list[Comparison]:
    """Euler and Maruyama, forward and gradient."""
    return _compared("euler", True, fast, {NAIVE: 80.0, HINTED: 4.0, JITTED: 6.0})


def srk_forward(*, fast: bool) -> list[Comparison]:
    """Roessler's method, forward."""
    return _compared("srk", False, fast, {HINTED: 10.0})


def queries(*, fast: bool) -> list[Bound]:
    """What compiled queries of a Brownian path cost beside `torch.randn` of the same size."""
    size = (1000, 64)
    found = []
    for name, levels, options, limit in (
        ("on a grid, a query", 1, {"grid": 100}, 4.0),
        ("in a tree of 10 levels, a level and end", 20, {"levels": 10}, 3.0),
    ):
        path = BrownianPath(0.0, 1.0, size, seed=0, **options)
        if "grid" in options:
            from torchdyn_sde.brownian import Plan

            path = path.begun(torch.tensor(0.0), torch.tensor(1.0), Plan("none", Fixed(steps=100)), True)
        query = torch.compile(lambda a, b, path=path: path(a, b), fullgraph=True)
        a, b = torch.tensor(0.31, dtype=torch.float64), torch.tensor(0.32, dtype=torch.float64)
        calls = {"path": partial(query, a, b), "randn": partial(torch.randn, size)}
        query(a, b)
        seconds = interleaved(calls, fast=fast, rounds=15)
        medians = {key: sorted(values)[len(values) // 2] for key, values in seconds.items()}
        listed = ", ".join(f"{key} {1e3 * value:.3g} ms" for key, value in medians.items())
        found.append(
            Bound(
                what=f"noise of 64000 float32 numbers {name}, in units of torch.randn",
                value=medians["path"] / medians["randn"] / levels,
                limit=limit,
                form="{:.2f}",
                detail=listed,
            )
        )
    return found


ROWS: dict[str, Callable[..., Any]] = {
    "noise-euler-forward": euler_forward,
    "noise-euler-gradient": euler_gradient,
    "noise-srk-forward": srk_forward,
    "noise-queries": queries,
}
