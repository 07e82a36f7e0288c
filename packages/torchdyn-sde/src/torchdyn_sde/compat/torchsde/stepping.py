"""Step sizes and solver states as torchsde has them."""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import Tensor

from torchdyn_core import PID, Adjoint, Fixed, OptionError, Solution, VectorField, solve
from torchdyn_core.controller import StepController
from torchdyn_core.controller.contract import Verdict
from torchdyn_core.controller.fixed import FixedState
from torchdyn_core.controller.pid import PIDState, RevisitingState
from torchdyn_core.controller.revisiting import DEPTH
from torchdyn_core.scalars import Flag, Scalar, absolute, is_finite, minimum, where
from torchdyn_core.solution import Final
from torchdyn_core.tree import Tree
from torchdyn_sde.compat.torchsde.contract import Prepared
from torchdyn_sde.methods.reversible_heun import Carry, ReversibleHeun
from torchdyn_sde.methods.step_doubling import StepDoubling
from torchdyn_sde.solver import SDESolver

__all__ = ["Doubling", "Stubborn", "controller_of", "returned", "solved", "stepper_of"]

_MOST_STEPS = 2**31 - 1


class Doubling(StepDoubling):
    """Step doubling for every method: torchsde warns where its steps do not converge, and takes them all the same.

    Arguments:
        method: Which method to step with.

    Example:
        >>> from torchdyn_sde import EulerMaruyama
        >>> from torchdyn_sde.compat.torchsde.stepping import Doubling
        >>> Doubling(EulerMaruyama())
        StepDoubling(EulerMaruyama())
    """

    def check(self, field: VectorField, y: Tree) -> None:
        self.method.check(field, y)


class Stubborn(PID):
    """Step-size control that accepts steps of the smallest size whatever their error, and says so.

    Arguments are those of `PID`.

    Example:
        >>> from torchdyn_sde.compat.torchsde.stepping import Stubborn
        >>> Stubborn(dt_min=0.01).dt_min
        0.01
    """

    def decide(self, control: PIDState, t0: Scalar, t1: Scalar, cut: Flag, error: Scalar, order: int) -> Verdict:
        smallest = absolute(t1 - t0) <= self.dt_min * (1.0 + 1e-9)
        if isinstance(error, float) and smallest and error > 1.0:
            warnings.warn(f"a step of the smallest size, dt_min={self.dt_min:g}, misses its tolerance", stacklevel=2)
        error = where(smallest & is_finite(error), minimum(error, 1.0), error)
        return super().decide(control, t0, t1, cut, error, order)


def controller_of(adaptive: bool, dt: Any, rtol: Any, atol: Any, dt_min: Any) -> StepController:
    """The step sizes that torchsde's settings mean.

    Example:
        >>> from torchdyn_sde.compat.torchsde.stepping import controller_of
        >>> controller_of(False, 0.1, 1e-3, 1e-3, 1e-5).dt
        0.1
    """
    if not adaptive:
        return Fixed(dt=float(dt))
    return Stubborn(rtol=float(rtol), atol=float(atol), dt0=float(dt), dt_min=float(dt_min))


def stepper_of(solver: SDESolver, adaptive: bool) -> SDESolver:
    """The method, with an error estimate where step sizes are chosen: torchsde's, but for steps that can be undone.

    Example:
        >>> from torchdyn_sde import Heun, ReversibleHeun
        >>> from torchdyn_sde.compat.torchsde.stepping import stepper_of
        >>> stepper_of(Heun(), True), stepper_of(ReversibleHeun(), True), stepper_of(Heun(), False)
        (StepDoubling(Heun()), ReversibleHeun(), Heun())
    """
    return Doubling(solver) if adaptive and not solver.reversible else solver


def solved(task: Prepared, controller: StepController, adjoint: Adjoint, extra: Any) -> Solution:
    """Solve, from a given state of the method where there is one.

    Arguments:
        task: What to solve.
        controller: Step sizes.
        adjoint: How gradients pass.
        extra: Drift, diffusion and second state of `reversible_heun`; None or empty otherwise.

    Raises:
        OptionError: If a method that keeps no state is given one.
    """
    y0: Tensor | Final = task.y0
    if extra is not None and len(extra):
        y0 = _gone_on(task, controller, extra)
    steps, solver = _MOST_STEPS, stepper_of(task.solver, controller.adaptive)
    if isinstance(controller, Fixed) and controller.dt is not None:
        steps = math.ceil(float(task.ts[-1] - task.ts[0]) / controller.dt) + 2
    return solve(
        task.field, y0, task.ts, solver=solver, controller=controller, adjoint=adjoint, max_steps=steps,
        compile=task.compile,
    )  # fmt: skip


def returned(task: Prepared, solution: Solution, extra: bool) -> Any:
    """What torchsde returns of a solution."""
    ys = solution.ys
    parts: list[Any] = [ys]
    if task.logqp:
        parts = [ys[..., :-1], ys[..., -1].diff(dim=0)]
    if extra:
        parts.append(_extra(task, solution.final.carry))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _extra(task: Prepared, carry: Tree) -> tuple[Tensor, ...]:
    """Drift, diffusion and second state of the one method that has them, in torchsde's shapes."""
    if not isinstance(task.solver, ReversibleHeun):
        return ()
    z, f, g = carry
    return f, g.unsqueeze(-1) if task.noise_type == "scalar" else g, z


def _gone_on(task: Prepared, controller: StepController, extra: Any) -> Final:
    if not isinstance(task.solver, ReversibleHeun) or len(extra) != 3:
        raise OptionError(
            f"extra_solver_state has {len(extra)} parts for method={task.method!r}; wanted the three that "
            "method='reversible_heun' returns with extra=True, or None"
        )
    f, g, z = extra
    start, end = float(task.ts[0]), float(task.ts[-1])
    carry = Carry(z, f, g.squeeze(-1) if task.noise_type == "scalar" else g)
    control: Any = FixedState(start, end, 0.0)
    if isinstance(controller, PID):
        control = PIDState(controller.dt0, 1.0, 1.0, False)
        if task.field.revisits_rejected:
            control = RevisitingState(*control, *(math.inf,) * DEPTH)
    return Final(start, task.y0, carry, control, True, (task.solver, controller), (None, None))
