"""`NeuralODE`: a solve as a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from torchdyn_core.errors import IncompatibleError, OptionError
from torchdyn_core.field import VectorField
from torchdyn_core.registry import configured
from torchdyn_core.solution import Solution
from torchdyn_core.solve import configured_options, solve
from torchdyn_core.tracing import breaks, must_break, numbers
from torchdyn_core.tree import Tree, tree_map

__all__ = ["Augmentation", "NeuralODE"]


@runtime_checkable
class Augmentation(Protocol):
    """How a state gets room that it has not, and gives it back: `project(lift(y))` is `y` where nothing is solved."""

    def lift(self, y: Tree) -> Tree:
        """The state to solve from."""

    def project(self, y: Tree) -> Tree:
        """The part of a solved state that the next layer sees."""


class NeuralODE(nn.Module):
    """A layer that maps `y(t0)` to `y(t1)` along a learned field.

    Arguments:
        field: The field: a `VectorField` (`autonomous(net)` lifts a network of `y` alone) or any callable.
        t0: Where depth starts.
        t1: Where it ends.
        augmentation: Lifts the input before the solve and projects the output after it; an object or a name.
        solve_options: Options of `solve` (solver, controller, adjoint, per_sample, ...), checked here.

    Shapes:
        input, output: the state, alike.

    Raises:
        UnknownOptionError: For an option that `solve` does not take.
        OptionError: If `t0` equals `t1`, or either is not finite.

    References:
        Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations. arXiv 1806.07366
    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, autonomous
        >>> field = autonomous(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)))
        >>> model = torch.nn.Sequential(NeuralODE(field, solver="dopri5"), torch.nn.Linear(2, 3))
        >>> model(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        field: Callable[..., Tree],
        *,
        t0: float = 0.0,
        t1: float = 1.0,
        augmentation: Augmentation | str | None = None,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        if isinstance(field, nn.Module) and not isinstance(field, VectorField):
            _refuse_plain_net(field)
        if not callable(field):
            raise IncompatibleError(f"field is a {type(field).__name__}; wanted a callable f(t, y)")
        if not (torch.isfinite(torch.tensor([t0, t1])).all() and t0 != t1):
            raise OptionError(f"t0={t0!r}, t1={t1!r}; wanted two finite times that differ")
        augmentation = configured("augmentation", augmentation)
        if augmentation is not None and not isinstance(augmentation, Augmentation):
            raise IncompatibleError(f"augmentation is a {type(augmentation).__name__}; wanted lift(y) and project(y)")
        whole = configured_options(field, solve_options)
        options = {name: whole[name] for name in solve_options}
        self.field = field
        self.augmentation = augmentation
        self.t0, self.t1 = float(t0), float(t1)
        self.options = options
        self._breaks = must_break(field, whole)  # one flag, so that compiled models watch no more than that
        solver = options.get("solver")
        if isinstance(solver, nn.Module):
            self.solver = solver  # a hypersolver's parameters are the layer's

    def forward(self, y0: Tree) -> Tree:
        """The state at `t1` (what `save` makes of it, where that is an option)."""
        ends = (self.t0, self.t1)
        if self._breaks and breaks():
            from torchdyn_core.untraced import apart  # brings in torch's compilers

            return apart(NeuralODE.forward, self, y0)
        if "save" in self.options:
            solution = self.trajectory(y0, ends)
            return _last(solution.ys)
        lifted = y0 if self.augmentation is None else self.augmentation.lift(y0)
        y1 = self._solve(lifted, ends).final.y
        return y1 if self.augmentation is None else self.augmentation.project(y1)

    def trajectory(self, y0: Tree, ts: Tensor | Sequence[float]) -> Solution:
        """The whole solution at times of choice, of the lifted state where there is an augmentation."""
        if breaks() and (self._breaks or not numbers(ts)):
            from torchdyn_core.untraced import apart

            solution: Solution = apart(NeuralODE.trajectory, self, y0, ts)
            return solution
        return self._solve(y0 if self.augmentation is None else self.augmentation.lift(y0), ts)

    def _solve(self, y0: Tree, ts: Tensor | Sequence[float]) -> Solution:
        return solve(self.field, y0, ts, **{**self.options, **self._solver()})

    def _solver(self) -> dict[str, Any]:
        # after deepcopy and load_state_dict the registered module is the one that counts
        return {"solver": self._modules["solver"]} if "solver" in self._modules else {}

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"t0={self.t0:g}, t1={self.t1:g}{options}"


def _last(ys: Tree) -> Tree:
    return tree_map(lambda leaf: leaf[-1], ys)


def _refuse_plain_net(field: nn.Module) -> None:
    """A layer of torch itself takes `y` alone: called with `(t, y)` it fails later, and less clearly."""
    if type(field).__module__.startswith("torch.nn.modules"):
        raise IncompatibleError(
            f"field is a {type(field).__name__}, a network of y alone; wanted f(t, y): autonomous(field)"
        )
