"""How the cost of a compiled stochastic solve grows with steps, batch and state, and its memory with steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.backward_memory import TIMES, N, peak
from benchmarks.measure import Bound, exponent, fastest
from torchdyn_core import Checkpointed, Fixed, solve
from torchdyn_sde import EulerMaruyama, SDEField

LIMIT = 1.05
SWEEPS: dict[str, list[tuple[int, int, int]]] = {  # steps, batch, state
    "steps": [(count, 128, 4) for count in (100, 300, 1000, 3000)],
    "batch": [(100, count, 4) for count in (128, 512, 2048, 8192)],
    "state": [(100, 128, count) for count in (4, 16, 64, 256)],
}


class Growth(nn.Module):
    """Geometric Brownian motion."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.spread = nn.Parameter(torch.tensor(-0.5)), nn.Parameter(torch.tensor(0.2))
        self.field = SDEField(lambda t, y: self.rate * y, lambda t, y: self.spread * y)

    def forward(self, y0: Tensor, steps: int, compiled: bool = True) -> Tensor:
        """The state at time 1."""
        options = {"solver": EulerMaruyama(), "controller": Fixed(steps=steps), "adjoint": Checkpointed()}
        compile = "require" if compiled else False
        ys: Tensor = solve(self.field, y0, [0.0, 1.0], compile=compile, max_steps=steps, **options).ys[-1]
        return ys


def growth(*, fast: bool) -> list[Bound]:
    """Time against steps, batch and state."""
    model, bounds = Growth(), []
    for gradient in (False, True):
        for axis, (name, sweep) in enumerate(SWEEPS.items()):
            sizes = sweep[:2] if fast else sweep
            calls: dict[str, Callable[[], object]] = {}
            for steps, batch, state in sizes:
                calls[f"{(steps, batch, state)[axis]}"] = partial(
                    _call, model, gradient, steps, torch.ones(batch, state)
                )
            for call in calls.values():
                call()  # compiles
            seconds = fastest(calls, fast=fast)
            counts = [size[axis] for size in sizes]
            times = [seconds[str(count)] for count in counts]
            listed = ", ".join(f"{count}: {1e3 * value:.3g} ms" for count, value in zip(counts, times, strict=True))
            what = "forward and gradient" if gradient else "forward"
            bounds.append(
                Bound(
                    what=f"SDE, Euler-Maruyama, diagonal noise, {what}, compiled: exponent of time against {name}",
                    value=exponent(counts, times),
                    limit=LIMIT,
                    form="{:.2f}",
                    detail=listed,
                )
            )
    return bounds


def _call(model: Growth, gradient: bool, steps: int, y0: Tensor) -> None:
    if gradient:
        model(y0, steps).sum().backward()
        return
    with torch.no_grad():
        model(y0, steps)


def one_run(steps: int) -> None:
    """Solve and differentiate with that many steps, and print the peak."""
    torch.set_num_threads(1)
    model, y0 = Growth(), torch.ones(N // 4, 4, requires_grad=True)
    model(y0, steps, compiled=False).sum().backward()
    print(peak())


def _peak_of(steps: int) -> int:
    command = [sys.executable, "-m", "benchmarks.noise_growth", str(steps)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory(*, fast: bool) -> list[Bound]:
    """Memory of the default adjoint, by the step."""
    few, many = (20, 60) if fast else (200, 800)
    low, high = _peak_of(few), _peak_of(many)
    step = 4 * N + TIMES  # no noise is kept: replayed steps draw it again
    return [
        Bound(
            what="SDE, Checkpointed(): memory that each further step adds to the peak of forward and backward, in "
            "units of one state and its times",
            value=(high - low) / (many - few) / step,
            limit=1.2,
            form="{:.3f}",
            detail=f"Euler-Maruyama, a state of {4 * N} bytes, peak {low / 2**20:.0f} MiB with {few} steps and "
            f"{high / 2**20:.0f} MiB with {many}, each in a process of its own",
        )
    ]


ROWS: dict[str, Callable[..., list[Bound]]] = {"noise-growth": growth, "noise-memory": memory}


if __name__ == "__main__":
    one_run(int(sys.argv[1]))
