"""Fields that wrap a field: what belongs to the inner one in a solve reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

from torchdyn_core import Adjoint, IncompatibleError, Path, Solver, StepController, VectorField
from torchdyn_core.tree import Tree

__all__ = ["WrappedField"]


class WrappedField(VectorField):
    """A field that sees another one's state differently; whatever else there is to a field is the inner one's.

    Arguments:
        field: A `VectorField`, or any callable `f(t, y)`.

    Raises:
        IncompatibleError: If it is neither, or a network of `y` alone.

    Example:
        >>> import torch
        >>> from torchdyn_augment import WrappedField
        >>> class Squared(WrappedField):
        ...     def seen(self, t, y):
        ...         return y * y
        >>> Squared(lambda t, y: -y)(torch.tensor(0.0), torch.tensor([3.0]))
        tensor([-9.])
    """

    def __init__(self, field: Callable[..., Tree]) -> None:
        super().__init__()
        if not callable(field) or isinstance(field, type):
            raise IncompatibleError(f"field is {field!r}; wanted a vector field or a callable f(t, y)")
        if type(field).__module__.startswith("torch.nn.modules"):
            raise IncompatibleError(
                f"field is a {type(field).__name__}, a network of y alone; wanted f(t, y): autonomous(field)"
            )
        self.field = field
        self.refuses_rows = field.refuses_rows if isinstance(field, VectorField) else ""

    def forward(self, t: Tensor, y: Any, *args: Tree) -> Any:
        """The inner field's slope."""
        return self.field(t, self.seen(t, y), *args)

    def stepped_by(self, solver: Solver, controller: StepController, adjoint: Adjoint) -> Self:
        field = self.field
        return self._with(field.stepped_by(solver, controller, adjoint)) if isinstance(field, VectorField) else self

    def begin(self, t0: Tensor, t1: Tensor, y0: Any) -> Self:
        field = self.field
        return self._with(field.begin(t0, t1, self.seen(t0, y0))) if isinstance(field, VectorField) else self

    def seen(self, t: Tensor, y: Any) -> Any:
        """The state as the inner field sees it."""
        return y

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        return self.field.breakpoints(t0, t1) if isinstance(self.field, VectorField) else None

    def driven_by(self, path: Path) -> Self:
        if not isinstance(self.field, VectorField):
            raise IncompatibleError(f"{type(self).__name__} wraps a function, which is driven by no path")
        return self._with(self.field.driven_by(path))

    def _with(self, field: nn.Module) -> Self:
        return self if field is self.field else self.replace(field=field)
