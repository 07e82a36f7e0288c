"""Vector fields: the right-hand sides `f` of `dy/dt = f(t, y)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor, nn

from torchdyn_core.errors import IncompatibleError
from torchdyn_core.path import Path
from torchdyn_core.tree import Tree, align

if TYPE_CHECKING:
    from torchdyn_core.adjoint import Adjoint
    from torchdyn_core.adjoint.continuous import AdjointProblem
    from torchdyn_core.binding import BoundField
    from torchdyn_core.controller import StepController
    from torchdyn_core.solver import Solver

__all__ = ["VectorField", "autonomous", "per_row"]

M = TypeVar("M", bound=nn.Module)


class VectorField(nn.Module):
    """A right-hand side with a life beyond its formula; a plain function `f(t, y)` serves where that is all there is.

    Subclass it to draw something once a solve (`begin`), to make steps end at known times (`breakpoints`), or to be a
    field of another kind, which solvers of that kind accept.

    Shapes:
        t: The state's real dtype; `()` with shared steps; with steps per sample `(B, 1, ..., 1)` of the rank of `y`, so
            that `t * y` is right, or `(B,)` where the state is a tree (`per_row(t, leaf)` lines it up).
        y: The state as it was given to `solve`.

    Example:
        >>> import torch
        >>> from torchdyn_core import VectorField, solve
        >>> class Decay(VectorField):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rate = torch.nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, t, y):
        ...         return -self.rate * y
        >>> solve(Decay(), torch.ones(1), torch.tensor([0.0, 0.5])).ys[-1].detach()
        tensor([0.3679])
    """

    refuses_rows: str = ""
    """Why rows cannot take steps of their own, where they cannot: `per_sample` is then refused with this reason."""

    revisits_rejected: bool = False
    """Whether step-size control has to end a step wherever a rejected one did (see `PID`)."""

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The slope `dy/dt`, a tree like `y`; `args` comes as one more argument where `solve` was given it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(t, y)")

    def stepped_by(self, solver: Solver, controller: StepController, adjoint: Adjoint) -> VectorField:
        """The field as a method, a step-size control and an adjoint will use it, before it begins.

        A field that draws its own noise learns here what the method wants to know of it, and on which steps. Default:
        itself. A wrapper passes it on to what it wraps.
        """
        return self

    def begin(self, t0: Tensor, t1: Tensor, y0: Tree) -> VectorField:
        """The field of one solve: draw here what belongs to the solve as a whole.

        Return `self.replace(name=tensor, ...)`: a copy that shares parameters. What it holds are tensors (a seed, a
        mask, the control `y0`), never Python numbers; gradients flow through them, to the times `t0` and `t1`, too:
        `()`, or with steps per sample or in segments one for each row, `(R,)`. A wrapper begins what it wraps.
        """
        return self

    def resumed(self, t0: Tensor, t1: Tensor) -> VectorField:
        """The field, which an earlier solve began, as a solve that goes on from `t0` to `t1` takes it."""
        return self

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        """Times at which the field jumps, `(K,)` or `(K, B)`: steps end there. Times outside the span are left out."""
        return None

    def driven_by(self, path: Path) -> VectorField:
        """The field driven by a given path."""
        raise IncompatibleError(f"{type(self).__name__} is driven by no path")

    def adjoint_field(self, bound: BoundField, problem: AdjointProblem) -> VectorField:
        """The field of the continuous adjoint, which `Backsolve` integrates backwards."""
        from torchdyn_core.adjoint.continuous import AdjointField  # the adjoints build on fields

        return AdjointField(bound, problem)

    def replace(self, **attributes: Any) -> Self:
        """A copy with these attributes, sharing every other one: parameters, buffers, submodules."""
        new = shallow_copy(self)
        for name, value in attributes.items():
            for store in ("_parameters", "_buffers", "_modules"):
                new.__dict__[store].pop(name, None)
            new.__dict__.pop(name, None)  # a plain attribute would hide a module of the same name
            if isinstance(value, nn.Module):
                new.__dict__["_modules"][name] = value
            else:
                new.__dict__[name] = value
        return new


class _Autonomous(VectorField):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        return self.net(y, *args)


class _AutonomousFunction(VectorField):
    def __init__(self, function: Callable[..., Tree]) -> None:
        super().__init__()
        self.function = function

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        return self.function(y, *args)


def autonomous(net: Callable[..., Tree]) -> VectorField:
    """Lift a network of the state alone to a vector field.

    Arguments:
        net: A module or function of `y` (and of `args`, where `solve` is given them).

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, autonomous
        >>> NeuralODE(autonomous(torch.nn.Linear(2, 2)))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """
    return _Autonomous(net) if isinstance(net, nn.Module) else _AutonomousFunction(net)


def per_row(t: Tensor, leaf: Tensor) -> Tensor:
    """A time `()` or `(B,)` with trailing axes, so that it multiplies the rows of a leaf of a tree.

    Example:
        >>> import torch
        >>> per_row(torch.zeros(3), torch.ones(3, 3)).shape
        torch.Size([3, 1])
    """
    return align(t, leaf)


def shallow_copy(module: M) -> M:
    """A module of the same class that shares all tensors and submodules, with registries of its own."""
    new = module.__class__.__new__(module.__class__)
    new.__dict__ = dict(module.__dict__)
    for store in ("_parameters", "_buffers", "_modules"):
        new.__dict__[store] = dict(module.__dict__[store])
    return new


def real_dtype(leaf: Tensor) -> torch.dtype:
    """The dtype of the leaf's real part."""
    return _REAL.get(leaf.dtype, leaf.dtype)


_REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)`, without the call where nothing changes: it costs as much as an addition."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)
