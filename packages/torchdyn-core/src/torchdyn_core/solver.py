"""The solver contract: what one step of a method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor

from torchdyn_core.field import VectorField
from torchdyn_core.tree import Tree

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField

__all__ = ["Solver", "State", "Step"]


class State(NamedTuple):
    """What a method remembers between steps.

    Arguments:
        carry: History that cannot be rebuilt from time and state (an auxiliary state, past slopes): differentiable,
            kept by checkpoints. A tree of tensors or None.
        cache: What `Solver.init` rebuilds from time and state (a first slope). A tree of tensors or None.
    """

    carry: Tree = None
    cache: Tree = None


class Step(NamedTuple):
    """One step tried.

    Arguments:
        y: The new state.
        error: Estimate of the local error, a tree like `y`, or None where the method has none.
        state: What the next step starts from, should this one be accepted.
        dense: What `Solver.interpolate` needs, a tree of tensors whose leading axes are those of the state.
        ok: False rejects the step whatever the error (an inner iteration failed); a bool, or `(B,)` per sample.
        cost: Evaluations of the field that this step made. The eager loop counts calls itself; a compiled one, which
            cannot, adds these up.
    """

    y: Tree
    error: Tree | None
    state: State
    dense: Tree
    ok: bool | Tensor = True
    cost: int = 0


class Solver(ABC):
    """A one-step method, or a method with a history that it carries itself.

    A solver is frozen (a dataclass without fields that change), or an `nn.Module`, whose parameters then get gradients.
    Its methods are pure functions of tensors: no state on `self`, no `.item()`, no change of an input in place.

    Shapes:
        t0, t1: float64, `()` where all samples share their steps, else `(R,)`: one time for each row of the leading
            axis. `t1 < t0` steps backwards; `t1 == t0` marks a row that is finished, which must come out as it went in.
        y: The state as the user gave it: a tensor or a tree of tensors; with steps per sample each has a leading
            axis `R`. `torchdyn_core.tree` has the arithmetic that serves both.

    Attributes:
        order: Order of convergence.
        dense_order: The local error of `interpolate` is of order `dense_order + 1` in the step size.
        accepts: The class, or classes, of fields that the method steps.
        has_error_estimate: Whether `step` estimates its error, which step-size control needs.
        reversible: Whether `reverse` undoes a step algebraically.
        driven: Whether noise drives the solutions: they have no slope to choose a first step size by.
        without_estimate: What to do for step-size control with a method that has no error estimate.
    """

    order: ClassVar[int]
    dense_order: ClassVar[int]
    accepts: ClassVar[type | tuple[type, ...]] = VectorField
    has_error_estimate: ClassVar[bool] = False
    reversible: ClassVar[bool] = False
    driven: ClassVar[bool] = False
    without_estimate: ClassVar[str] = "a method that has one: tsit5, dopri5, dopri8, bosh3"

    def check(self, field: VectorField, y: Tree) -> None:  # noqa: B027 - most methods take any field
        """Raise `IncompatibleError` for a field that the method cannot step, by its values (noise type, parts)."""

    def meet(self, field: BoundField, t0: Tensor, y0: Tree) -> None:  # noqa: B027 - most methods take fields as they are
        """Look at a field with real values, before a solve with it is compiled: where it is traced there are none."""

    @abstractmethod
    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        """The state to start from at `t0`, heading for `t1`, the end of the solve. Rebuilds the cache at any time."""

    @abstractmethod
    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        """Step from `t0` to `t1`."""

    @abstractmethod
    def interpolate(self, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
        """The state at `t0 + theta * (t1 - t0)`.

        The axes of `theta` are the leading axes of every leaf of `y0`, `y1` and `dense` (of size one where they only
        broadcast): `align(theta, leaf)` lines them up. `t0` and `t1` have the shape of `theta`.
        """

    def advance(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        """`step` where neither error, cache nor dense output is wanted: a replayed step. May be cheaper."""
        return self.step(field, t0, t1, y, state)

    def extend(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, step: Step) -> Tree:
        """The `dense` that `interpolate` takes: `step.dense`, and the stages that only dense output needs."""
        return step.dense

    def slope(self, field: BoundField, t0: Tensor, y: Tree, state: State) -> Tree:
        """dy/dt at `t0`, for the first step size; from the cache where it is there."""
        return field(t0, y)

    def backwards(self) -> Solver:
        """The method that `Backsolve` solves the adjoint equation with, unless it is given one."""
        return self

    def reverse(self, field: BoundField, t0: Tensor, t1: Tensor, y1: Tree, state: State) -> tuple[Tree, State]:
        """The state at `t0` whose step to `t1` gave `y1`; only where `reversible`."""
        raise NotImplementedError(f"{type(self).__name__} is not reversible")
