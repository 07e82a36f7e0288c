"""Bounded checkpoints: how many states `Checkpointed(memory=...)` keeps alive, and how much it recomputes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Bound
from torchdyn_core import PID, Checkpointed, DormandPrince5, Solution, VectorField, solve

MEMORY = 32
TOLERANCE = 1e-6


class Oscillators(VectorField):
    """Van der Pol oscillators with a stiffness to be learned; as many steps as the span is long."""

    def __init__(self) -> None:
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        x, v = y.unbind(-1)
        return torch.stack((v, self.stiffness * (1 - x * x) * v - x), -1)


class Observer:
    """Counts the steps that a solver is asked for, and the states that are alive meanwhile.

    A state is counted from the step that takes or gives it until its memory is free, whoever holds it and in whatever
    view: not the tensor is watched but what it is stored in.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.most = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def see(self, *states: Tensor) -> None:
        """A step took or gave these states."""
        for state in states:
            storage = state.untyped_storage()
            key = storage.data_ptr()
            self._alive[key] = weakref.ref(storage)
        self._alive = {key: ref for key, ref in self._alive.items() if ref() is not None}
        self.most = max(self.most, len(self._alive))

    def watch(self) -> DormandPrince5:
        """A solver that reports here."""
        observer = self

        class Watched(DormandPrince5):
            def step(self, field: Any, t0: Tensor, t1: Tensor, y: Tensor, state: Any) -> Any:
                return observer._step(super().step, field, t0, t1, y, state)

            def advance(self, field: Any, t0: Tensor, t1: Tensor, y: Tensor, state: Any) -> Any:
                return observer._step(super().advance, field, t0, t1, y, state)

        return Watched()

    def _step(self, step: Any, field: Any, t0: Tensor, t1: Tensor, y: Tensor, state: Any) -> Any:
        self.steps += 1
        self.see(y)
        result = step(field, t0, t1, y, state)
        self.see(result.y)
        return result


def differentiate(t1: float, solver: DormandPrince5, memory: int | None) -> tuple[Solution, list[Tensor]]:
    """A solve and the gradients of its last state."""
    torch.manual_seed(0)
    field, y0 = Oscillators(), torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    ts = torch.tensor([0.0, t1], dtype=torch.float64)
    controller = PID(rtol=TOLERANCE, atol=TOLERANCE)
    sol = solve(field, y0, ts, solver=solver, controller=controller, adjoint=Checkpointed(memory=memory))
    return sol, list(torch.autograd.grad(sol.ys[-1].sum(), (y0, field.stiffness)))


def run(*, fast: bool) -> list[Bound]:
    """Measure."""
    t1 = 10.0 if fast else 85.5
    observer = Observer()
    sol, gradients = differentiate(t1, observer.watch(), MEMORY)
    recomputed = observer.steps - sol.stats.steps
    _, exact = differentiate(t1, DormandPrince5(), None)
    gap = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, exact, strict=True))
    work = (
        f"Van der Pol, dopri5, rtol = atol = {TOLERANCE:g}, {sol.stats.accepted} accepted steps; gradient within "
        f"{gap:.0e} of that of Checkpointed()"
    )
    return [
        Bound(
            what=f"Checkpointed(memory={MEMORY}): states alive at any time, forward and backward",
            value=observer.most,
            limit=MEMORY,
            form="{:.0f}",
            detail=work,
        ),
        Bound(
            what=f"Checkpointed(memory={MEMORY}): steps recomputed in the backward pass, differentiated ones included",
            value=recomputed,
            limit=3 * sol.stats.accepted if fast else 3000,
            form="{:.0f}",
            detail=f"{work}; {sol.stats.replayed} by the solution's own statistics",
        ),
    ]


ROWS: dict[str, Callable[..., list[Bound]]] = {"bounded-memory": run}
