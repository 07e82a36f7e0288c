"""Stochastic vector fields: drift and diffusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import Tensor

from torchdyn_core import (
    Adjoint,
    Backsolve,
    Fixed,
    IncompatibleError,
    OptionError,
    Path,
    ShapeError,
    Solver,
    StepController,
    VectorField,
)
from torchdyn_core.field import real_dtype
from torchdyn_core.leaves import reach
from torchdyn_core.tree import Tree, leaves
from torchdyn_sde.brownian import AREAS, Area, BrownianIncrement, BrownianPath, Plan
from torchdyn_sde.conversion import CorrectedDrift
from torchdyn_sde.noise import Noise, noise_named

if TYPE_CHECKING:
    from torchdyn_core.adjoint.continuous import AdjointProblem
    from torchdyn_core.binding import BoundField

__all__ = ["Interpretation", "SDEField"]

Interpretation = Literal["ito", "stratonovich"]


class SDEField(VectorField):
    """The right-hand side of a stochastic differential equation: `dy = drift(t, y) dt + diffusion(t, y) dW`.

    A solve draws a seed from torch's generator when it begins, and the Brownian path is a function of it: `manual_seed`
    repeats a solve. `driven_by(path)` takes a path of yours. With decreasing times the same path is run through
    backwards, and Ito's sense is that of the direction in which the solve goes.

    A report between the ends of a step lies on the straight line between them, and spreads less than the solution does
    there: a controller with `jump_ts=ts[1:-1]` has steps end at the reports.

    Arguments:
        drift: `f(t, y)`, or `f(t, y, args)`: a tree like `y`.
        diffusion: `g(t, y)`, or `g(t, y, args)`.
        noise: "diagonal": each entry has a noise of its own; methods of an order above that of Euler and Maruyama ask
            that it depends on its own entry of the state alone. "scalar": one noise for all components. "additive":
            the same in all states. "general": a matrix, a column for each noise. "commutative": a matrix whose columns
            commute.
        interpretation: "ito" or "stratonovich".

    Shapes:
        y: any, `(*, d)`; noises are independent along all axes but the last.
        diffusion: diagonal and scalar `(*, d)`; general and commutative `(*, d, m)`; additive either. Of a tree, a
            tree; noise other than diagonal is one for all of its leaves.

    Raises:
        OptionError: If noise or interpretation are no known ones.
        IncompatibleError: If drift or diffusion are no functions.
        ShapeError: If the diffusion does not fit the state, when a solve begins.

    References:
        | Kloeden, Platen (1992), Numerical Solution of Stochastic Differential Equations.
        | Tzen, Raginsky (2019), Neural stochastic differential equations. arXiv 1905.09883

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import EulerMaruyama, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.5 * torch.ones_like(y))
        >>> _ = torch.manual_seed(0)
        >>> ends = solve(field, torch.zeros(2000, 1), [0.0, 4.0], solver=EulerMaruyama(), controller=Fixed(dt=0.1)).ys
        >>> round(float(ends[-1].var()), 2)
        0.13
    """

    drift: Callable[..., Tree]
    diffusion: Callable[..., Tree]

    def __init__(
        self,
        drift: Callable[..., Tree],
        diffusion: Callable[..., Tree],
        *,
        noise: str = "diagonal",
        interpretation: Interpretation = "ito",
    ) -> None:
        super().__init__()
        for name, part in (("drift", drift), ("diffusion", diffusion)):
            if not callable(part) or isinstance(part, type):
                raise IncompatibleError(f"{name} is {part!r}; wanted a function {name}(t, y)")
        if interpretation not in ("ito", "stratonovich"):
            raise OptionError(f"interpretation={interpretation!r}; wanted 'ito' or 'stratonovich'")
        self.drift, self.diffusion = drift, diffusion
        self.noise: Noise = noise_named(noise)
        self.interpretation = interpretation
        self.path: Path | None = None
        self._plan = Plan()
        self._direction: Tensor | None = None
        self.converts = self._trusted = False
        self.tried: list[bool] = []
        self.met: set[object] = set()

    @property
    def revisits_rejected(self) -> bool:  # type: ignore[override]
        """Whether step-size control has to end a step wherever a rejected one did: where noises need not commute.

        Those of entries commute where the diffusion is elementwise, which only methods that rest on it try.
        """
        if self.noise.elementwise:
            return not self._trusted
        return not (self.noise.commutes or self.noise.constant)

    def driven_by(self, path: Path) -> Self:
        """The field driven by a given path."""
        if not isinstance(path, Path):
            raise IncompatibleError(f"path is {path!r}; wanted a Path: BrownianPath(t0, t1, shape, seed=...)")
        return self.replace(path=path)

    def to_ito(self) -> SDEField:
        """The field in Ito's sense that has the same solutions: its drift takes in what noise adds on average."""
        return self._in_sense("ito", 0.5)

    def to_stratonovich(self) -> SDEField:
        """The field in Stratonovich's sense that has the same solutions."""
        return self._in_sense("stratonovich", -0.5)

    def _in_sense(self, interpretation: Interpretation, factor: float) -> SDEField:
        if interpretation == self.interpretation:
            return self
        if self.noise.constant:
            return self.replace(interpretation=interpretation)
        drift = CorrectedDrift(self.drift, self.diffusion, self.noise, factor, self._direction)
        return self.replace(drift=drift, interpretation=interpretation)

    def stepped_by(self, solver: Solver, controller: StepController, adjoint: Adjoint) -> Self:
        area: Area = getattr(solver, "area", "none")
        steps, divided = controller if isinstance(controller, Fixed) else None, getattr(solver, "divides_steps", False)
        converts = isinstance(self.drift, CorrectedDrift)
        if isinstance(adjoint, Backsolve):
            converts = converts or self.interpretation == "ito"
            held = [] if self.path is None or isinstance(self.path, BrownianPath) else reach(self.path).leaves
            if any(leaf.requires_grad for leaf in held):
                raise IncompatibleError(
                    "adjoint='backsolve' gives no gradient to what the path holds; adjoint='checkpointed' and "
                    "adjoint='direct' do"
                )
            back = adjoint.solver or solver.backwards()
            if not getattr(back, "serves_adjoint", False):
                raise IncompatibleError(
                    f"{type(back).__name__} does not step the adjoint of stochastic equations, whose noise is no tensor"
                    " and which is meant in Stratonovich's sense; wanted Backsolve(solver=Heun()), or Midpoint, "
                    "Ralston, EulerHeun, SPaRK, SlowRK"
                )
            area, divided = max(area, getattr(back, "area", "none"), key=AREAS.index), True
            if adjoint.controller is not None:
                steps = None  # backwards the path is asked about other steps than forwards, which may be longer
        trusted = bool(getattr(solver, "commuting", False))
        return self.replace(_plan=Plan(area, steps, divided), converts=converts, _trusted=trusted, tried=[])

    def begin(self, t0: Tensor, t1: Tensor, y0: Tree) -> Self:
        if t0.requires_grad or t1.requires_grad:
            raise IncompatibleError(
                "ts requires grad, and a Brownian path has no derivative by time; wanted times without: ts.detach()"
            )
        plan, direction = self._plan, torch.where(t1 >= t0, 1.0, -1.0)
        drift = self.drift.directed(direction) if isinstance(self.drift, CorrectedDrift) else self.drift
        begun = self.replace(_direction=direction, drift=drift)
        if self.path is None:
            return begun.replace(path=BrownianPath.drawn(t0, t1, real_dtype(leaves(y0)[0]), plan))
        if isinstance(self.path, BrownianPath):
            return begun.replace(path=self.path.begun(t0, t1, plan, self.breakpoints(t0, t1) is None))
        if plan.area != "none":
            raise IncompatibleError(
                f"{type(self.path).__name__} gives increments alone, and the method asks for {plan.area} areas; wanted "
                f"a BrownianPath(..., area={plan.area!r})"
            )
        return begun

    def resumed(self, t0: Tensor, t1: Tensor) -> Self:
        direction = torch.where(t1 >= t0, 1.0, -1.0)
        drift = self.drift.directed(direction) if isinstance(self.drift, CorrectedDrift) else self.drift
        begun, path = self.replace(_direction=direction, drift=drift), self.path
        if isinstance(path, BrownianPath) and path.shape is not None:  # of the user's, who may ask about it elsewhere
            return begun.replace(path=path.begun(t0, t1, self._plan, self.breakpoints(t0, t1) is None))
        return begun

    def increment(self, t0: Tensor, t1: Tensor, y: Tree, g: Tree) -> BrownianIncrement:
        """What is known of the noise in a step, once the field has begun: increment and areas.

        Arguments:
            t0: Where the step begins.
            t1: Where it ends.
            y: The state.
            g: A diffusion that fits it.
        """
        path = self.path
        if isinstance(path, BrownianPath):
            shape = self.noise.shape(y, g)
            if t0.dim() and any(size[:1] != t0.shape for size in shape.sizes):
                raise ShapeError(
                    f"the noise has shape {[tuple(size) for size in shape.sizes]} and rows have times of their own; "
                    f"wanted a noise for each of {len(t0)} rows: a state of shape (rows, ..., d)"
                )
            return path.increment(t0, t1, shape)
        assert path is not None, "a solve gives its field a path when it begins"
        return BrownianIncrement(path(t0, t1))

    def adjoint_field(self, bound: BoundField, problem: AdjointProblem) -> VectorField:
        from torchdyn_sde.adjoint_field import StochasticAdjointField  # which is a field of this kind

        return StochasticAdjointField(bound, problem)
