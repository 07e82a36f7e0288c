"""Memory of the default adjoint: how much every further step adds to the peak of a forward and backward pass."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import Bound
from torchdyn_core import RK4, Checkpointed, Fixed, VectorField, solve

N = 2**18  # numbers in the state: a megabyte, so that nothing else of a step counts beside it
TIMES = 2 * 8  # a step's record: where it starts and ends, in float64


class Decay(VectorField):
    """Exponential decay at a rate to be learned."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.5))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        return -self.rate * y


def peak() -> int:
    """Most memory that this process has held so far, in bytes."""
    # Linux hands getrusage's figure down from parent to child; the status file knows this process alone.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def one_run(steps: int) -> None:
    """Solve and differentiate with that many steps, and print the peak."""
    torch.set_num_threads(1)
    field, y0 = Decay(), torch.ones(N, requires_grad=True)
    sol = solve(
        field, y0, torch.tensor([0.0, 1.0]), solver=RK4(), controller=Fixed(steps=steps), adjoint=Checkpointed()
    )
    sol.ys[-1].sum().backward()
    assert sol.stats.accepted == steps
    print(peak())


def peak_of(steps: int) -> int:
    """The peak of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.backward_memory", str(steps)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(*, fast: bool) -> list[Bound]:
    """Measure."""
    few, many = (50, 200) if fast else (500, 2000)
    low, high = peak_of(few), peak_of(many)
    step = 4 * N + TIMES  # explicit Runge-Kutta methods carry nothing from step to step
    slope = (high - low) / (many - few)
    return [
        Bound(
            what="Checkpointed(): memory that each further step adds to the peak of forward and backward, in units of "
            "one state, its carry and its times",
            value=slope / step,
            limit=1.2,
            form="{:.3f}",
            detail=f"rk4, a state of {4 * N} bytes, peak {low / 2**20:.0f} MiB with {few} steps and "
            f"{high / 2**20:.0f} MiB with {many}, each in a process of its own",
        )
    ]


ROWS: dict[str, Callable[..., list[Bound]]] = {"backward-memory": run}


if __name__ == "__main__":
    one_run(int(sys.argv[1]))
