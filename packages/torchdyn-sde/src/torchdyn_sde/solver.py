"""What solvers of stochastic differential equations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError, Solver, State, Step, VectorField
from torchdyn_core.field import cast, real_dtype
from torchdyn_core.tracing import tracing
from torchdyn_core.tree import Tree, align, leaves, tree_map
from torchdyn_sde.brownian import Area, BrownianIncrement
from torchdyn_sde.declared import check_additive, check_commutes, check_rows
from torchdyn_sde.field import Interpretation, SDEField

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField

__all__ = ["SDESolver", "StrongOrder", "at", "source_of"]


class StrongOrder(NamedTuple):
    """Powers of the step size that the error of paths falls with, for each kind of noise; None where it is not served.

    Example:
        >>> from torchdyn_sde import StrongOrder
        >>> StrongOrder(additive=1.5).served()
        ['additive']
    """

    additive: float | None = None
    diagonal: float | None = None
    scalar: float | None = None
    commutative: float | None = None
    general: float | None = None

    def served(self) -> list[str]:
        """Kinds of noise that are served."""
        return [name for name, order in self._asdict().items() if order is not None]


class SDESolver(Solver):
    """A method that steps an `SDEField`: subclass it, and ask for drift, diffusion and noise with its methods.

    The state between two steps is taken to be on the straight line between them.

    Attributes:
        order: What step-size control takes the error of a step to fall with.
        strong_order: For each kind of noise that the method serves.
        weak_order: Power that the error of means falls with.
        interpretation: Whose solution the method converges to; with additive noise there is but one.
        commuting: Whether its order rests on noises that commute where they are declared to: that is then tried.
        area: What it asks to know of the Brownian path beside increments: "none", "space-time", "space-time-time".
        pathwise: Whether its errors on a step are small for each path, not for the mean of paths alone: only then do
            steps that are chosen by looking at the noise converge to the right limit.
        divides_steps: Whether it asks about parts of a step.
        serves_adjoint: Whether it steps the adjoint of an equation: it is meant in Stratonovich's sense, and does no
            more with a diffusion than let it act on noise.

    Example:
        >>> from torchdyn_sde import SDESolver, StrongOrder
        >>> class MyMethod(SDESolver):
        ...     order, strong_order, weak_order, interpretation = 1, StrongOrder(additive=1.0), 1.0, "ito"
        ...     def step(self, field, t0, t1, y, state):
        ...         g = self.diffusion(field, t0, y)
        ...         dy = self.add(self.scaled(t1 - t0, self.drift(field, t0, y)), self.noise(field, t0, t1, y, g))
        ...         return self.stepped(self.add(y, dy), cost=2)
    """

    order: ClassVar[int] = 1
    dense_order: ClassVar[int] = 1
    accepts = SDEField
    driven = True
    without_estimate = "StepDoubling({}()), or a method that has one: heun, midpoint, ralston, srk, sra1, shark, spark"
    pathwise: ClassVar[bool] = True
    divides_steps: ClassVar[bool] = False
    serves_adjoint: ClassVar[bool] = False
    strong_order: ClassVar[StrongOrder]
    weak_order: ClassVar[float]
    interpretation: ClassVar[Interpretation]
    area: ClassVar[Area] = "none"
    commuting: ClassVar[bool] = False

    def check(self, field: VectorField, y: Tree) -> None:
        assert isinstance(field, SDEField)
        name = field.noise.name
        if name not in self.strong_order.served():
            raise IncompatibleError(
                f"{type(self).__name__} serves {', '.join(self.strong_order.served())} noise; the field has "
                f"noise={name!r}. "
                f"{_alternatives(name, field.interpretation)}"
            )
        if field.interpretation != self.interpretation and not field.noise.constant:
            other = "to_stratonovich" if self.interpretation == "stratonovich" else "to_ito"
            raise IncompatibleError(
                f"{type(self).__name__} converges to the {_SENSE[self.interpretation]} solution; the field is meant in "
                f"the {_SENSE[field.interpretation]} sense. Wanted field.{other}(), or a method of its sense. "
                f"{_alternatives(name, field.interpretation)}"
            )

    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        self.try_declared(field, t0, y0)
        return State()

    def try_declared(self, field: BoundField, t: Tensor, y: Tree) -> None:
        """Try, once a solve, whether the diffusion is what its kind of noise says; not where values cannot be seen.

        Raises:
            IncompatibleError: If it is not.
        """
        source = source_of(field)
        if source.tried or tracing() or t.is_meta or not all(bool(leaf.isfinite().all()) for leaf in leaves(y)):
            return
        source.tried.append(True)

        def diffusion(z: Tree) -> Tree:
            return field.evaluate(source.diffusion, t, z, source.noise.checked)

        with torch.no_grad():
            if source.noise.constant:
                check_additive(diffusion, y)
                return
            if self.commuting:
                check_commutes(source.noise, diffusion, y, type(self).__name__)
            if source.converts:
                check_rows(diffusion, y, "what makes Ito's drift of Stratonovich's, or the other way round,")
            elif self.commuting:
                check_rows(diffusion, y, type(self).__name__)

    def meet(self, field: BoundField, t0: Tensor, y0: Tree) -> None:
        source = source_of(field)
        key = type(self), source.converts, *((leaf.shape, leaf.dtype) for leaf in leaves(y0))
        if key not in source.met:
            self.try_declared(field, t0, y0)
            source.met.add(key)

    def interpolate(self, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
        def between(start: Tensor, end: Tensor) -> Tensor:
            return torch.lerp(start, end, cast(align(theta, start), real_dtype(start)).to(start.dtype))

        return tree_map(between, y0, y1)

    def slope(self, field: BoundField, t0: Tensor, y: Tree, state: State) -> Tree:
        return self.drift(field, t0, y)

    def backwards(self) -> Solver:
        if self.serves_adjoint:
            return self
        from torchdyn_sde.methods.heun import Heun  # which is a subclass of this class

        return Heun()

    def drift(self, field: BoundField, t: Tensor, y: Tree) -> Tree:
        """The drift, a tree like the state."""
        return field.evaluate(source_of(field).drift, t, y)

    def diffusion(self, field: BoundField, t: Tensor, y: Tree) -> Tree:
        """The diffusion, of the shape that the kind of noise has."""
        source = source_of(field)
        return field.evaluate(source.diffusion, t, y, source.noise.checked)

    def increment(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, g: Tree) -> BrownianIncrement:
        """What is known of the noise in a step: increment and areas."""
        found = source_of(field).increment(t0, t1, y, g)
        dtype = real_dtype(leaves(y)[0])
        return BrownianIncrement(*(tree_map(lambda leaf: cast(leaf, dtype), part) for part in found))

    def acted(self, field: BoundField, g: Tree, dw: Tree) -> Tree:
        """A diffusion times a noise, a tree like the state."""
        return source_of(field).noise.act(g, dw)

    def noise(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, g: Tree) -> Tree:
        """The diffusion times the path's increment."""
        return self.acted(field, g, self.increment(field, t0, t1, y, g).w)

    @staticmethod
    def scaled(factor: Tensor, tree: Tree) -> Tree:
        """A tree times a factor, `()` or one for each row."""
        return tree_map(lambda leaf: cast(align(factor, leaf), real_dtype(leaf)) * leaf, tree)

    @staticmethod
    def part(factor: float, tree: Tree) -> Tree:
        """A tree times a number."""
        return tree_map(lambda leaf: leaf * factor, tree)

    @staticmethod
    def add(*trees: Tree) -> Tree:
        """The sum of trees."""
        return tree_map(lambda first, *rest: sum(rest, first), *trees)

    @staticmethod
    def stepped(y: Tree, *, cost: int, state: State | None = None, error: Tree = None) -> Step:
        """A step's result."""
        return Step(y, error, State() if state is None else state, (), True, cost)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


def at(t0: Tensor, t1: Tensor, node: float) -> Tensor:
    """A time within a step; its ends are the ends themselves, never a rounding beyond them."""
    return t0 if node == 0.0 else t1 if node == 1.0 else torch.lerp(t0, t1, node)


_SENSE = {"ito": "Ito", "stratonovich": "Stratonovich"}


def source_of(field: BoundField) -> SDEField:
    """The stochastic field that was bound."""
    source = field.source
    assert isinstance(source, SDEField)
    return source


def _alternatives(noise: str, interpretation: str) -> str:
    """Which methods serve a field."""
    from torchdyn_sde.methods import METHODS  # which are subclasses of what is here

    serving = [
        method.__name__
        for method in METHODS
        if noise in method.strong_order.served() and (method.interpretation == interpretation or noise == "additive")
    ]
    return f"Methods that serve it: {', '.join(serving)}."
