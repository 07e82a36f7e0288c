"""An error estimate for any method: a step, and the same step in two halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError, State, Step, VectorField
from torchdyn_core.binding import BoundField
from torchdyn_core.field import cast, real_dtype
from torchdyn_core.tree import Tree, align, tree_map
from torchdyn_sde.field import SDEField
from torchdyn_sde.solver import SDESolver

__all__ = ["StepDoubling"]


@dataclass(frozen=True, eq=False, repr=False)
class StepDoubling(SDESolver):
    """Takes each step whole and in two halves on the same path: the difference is its error estimate.

    It goes on from the halves. A step costs three of the method's.

    Arguments:
        method: Which method to step with.

    Raises:
        IncompatibleError: If `method` is no method for stochastic equations; if its errors on steps are small on
            average alone and the noise is not additive: with steps that are chosen by looking at the noise it would
            converge to something else.

    References:
        | Gaines, Lyons (1997), Variable step size control in the numerical solution of stochastic differential
          equations. doi:10.1137/S0036139995286515
        | Foster, Jelincic (2023), On the convergence of adaptive approximations for stochastic differential equations.
          arXiv 2311.14201

    Example:
        >>> import torch
        >>> from torchdyn_core import PID, solve
        >>> from torchdyn_sde import Milstein, SDEField, StepDoubling
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y)
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=StepDoubling(Milstein()), controller=PID(rtol=1e-2)).ys.shape
        torch.Size([2, 3])
    """

    method: SDESolver
    has_error_estimate = True
    divides_steps = True

    def __post_init__(self) -> None:
        method = self.method
        if not isinstance(method, SDESolver) or isinstance(method, StepDoubling):
            raise IncompatibleError(f"method is {method!r}; wanted a method without doubling: StepDoubling(Milstein())")
        for name in ("order", "strong_order", "weak_order", "interpretation", "area", "commuting", "pathwise"):
            object.__setattr__(self, name, getattr(method, name))

    def check(self, field: VectorField, y: Tree) -> None:
        super().check(field, y)
        self.method.check(field, y)
        assert isinstance(field, SDEField)
        if not (self.pathwise or field.noise.constant):
            raise IncompatibleError(
                f"{self!r} serves additive noise; the field has noise={field.noise.name!r}. Wanted Fixed steps, or "
                f"{self.method.without_estimate}"
            )

    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        return self.method.init(field, t0, t1, y0)

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        whole, halves = self.method.step(field, t0, t1, y, state), self.advance(field, t0, t1, y, state)
        error = tree_map(torch.sub, halves.y, whole.y)
        return halves._replace(error=error, cost=whole.cost + halves.cost)

    def advance(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        middle = torch.lerp(t0, t1, 0.5)
        first = self.method.step(field, t0, middle, y, state)
        second = self.method.step(field, middle, t1, first.y, first.state)
        return second._replace(error=None, dense=first.y, cost=first.cost + second.cost)

    def interpolate(self, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
        def between(start: Tensor, middle: Tensor, end: Tensor) -> Tensor:
            place = cast(align(2.0 * theta, start), real_dtype(start)).to(start.dtype)
            late = align(theta, start) > 0.5
            return torch.where(late, torch.lerp(middle, end, place - 1.0), torch.lerp(start, middle, place))

        return tree_map(between, y0, dense, y1)

    def __repr__(self) -> str:
        return f"StepDoubling({self.method!r})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, StepDoubling) and self.method == other.method

    def __hash__(self) -> int:
        return hash((StepDoubling, self.method))
