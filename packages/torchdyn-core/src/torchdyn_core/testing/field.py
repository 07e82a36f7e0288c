"""What every vector field has to do."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from torchdyn_core.adjoint import Checkpointed, Direct
from torchdyn_core.controller import Fixed
from torchdyn_core.dropout import begin_layers
from torchdyn_core.field import VectorField
from torchdyn_core.methods import RK4
from torchdyn_core.solution import Solution
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver
from torchdyn_core.testing.suite import Suite
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["FieldSuite"]

TS = torch.tensor([0.0, 0.3], dtype=torch.float64)


class FieldSuite(Suite[VectorField], suite=True):
    """Shapes, dtypes, purity, copies, gradients, rows: what solvers and adjoints rely on.

    A field of another kind than an ordinary one, which has no `forward`, gives the suite the `solver` that steps it and
    the `functions` that this solver asks.

    Attributes:
        shape: Shape of a state, rows first; override `state` for anything else.

    Example:
        >>> from torchdyn_core import autonomous
        >>> from torchdyn_core.testing import FieldSuite
        >>> class TestLinear(FieldSuite):
        ...     def make(self):
        ...         return autonomous(torch.nn.Linear(2, 2))
    """

    shape: ClassVar[tuple[int, ...]] = (4, 2)

    def state(self) -> Tree:
        """A state that the field takes, in the dtype of its parameters; the leading axis is the batch."""
        parameters = [p for p in self.make().parameters() if p.is_floating_point()]
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.shape, generator=generator, dtype=parameters[0].dtype if parameters else None)

    def solver(self) -> Solver:
        """The method that steps the field."""
        return RK4()

    def functions(self, field: VectorField) -> tuple[Callable[[Tensor, Tree], Tree], ...]:
        """What the solver asks the field for: functions of time and state (a drift, a force)."""
        return (field,)

    def test_the_slope_is_like_the_state(self) -> None:
        """Shape, dtype and device are the state's, for a shared time and for a time for each row.

        What is asked of a field of another kind has its own shape; dtype and device are the state's there too.
        """
        field, y = self._begun()
        rows = leaves(y)[0].shape[0]
        single = isinstance(y, Tensor)
        for t in (torch.tensor(0.1), torch.full((rows, *(1,) * (leaves(y)[0].dim() - 1) * single), 0.1)):
            for function in self.functions(field):
                values = leaves(function(t.to(_real(y)), y))
                if function is field:
                    assert [a.shape for a in values] == [b.shape for b in leaves(y)]
                    assert [a.dtype for a in values] == [b.dtype for b in leaves(y)]
                assert values
                for a in values:
                    assert a.device == leaves(y)[0].device and a.dtype in {b.dtype for b in leaves(y)}
                    assert bool(a.isfinite().all())

    def test_the_slope_is_a_function_of_its_inputs(self) -> None:
        """The same question has the same answer, in any order, and the state is left as it is."""
        field, y = self._begun()
        before = tree_map(torch.clone, y)
        for function in self.functions(field):
            first = function(torch.tensor(0.1, dtype=_real(y)), y)
            function(torch.tensor(0.2, dtype=_real(y)), y)
            again = function(torch.tensor(0.1, dtype=_real(y)), y)
            for a, b in zip([*leaves(y), *leaves(first)], [*leaves(before), *leaves(again)], strict=True):
                assert torch.equal(a, b)

    def test_rows_do_not_know_each_other(self) -> None:
        """A row's slope is the same alone and in the batch."""
        field, y = self._begun()
        t = torch.tensor(0.1, dtype=_real(y))
        for index, function in enumerate(self.functions(field)):
            together = leaves(function(t, y))
            for row in range(leaves(y)[0].shape[0]):
                start = tree_map(lambda leaf, row=row: leaf[row : row + 1], y)
                alone = leaves(self.functions(self.make_like(field, start))[index](t, start))
                for a, b in zip(together, alone, strict=True):
                    torch.testing.assert_close(a[row : row + 1], b)

    def make_like(self, field: VectorField, y: Tree) -> VectorField:
        """The field begun for a part of the batch; override it where what `begin` draws depends on the row."""
        return field

    def test_a_solve_runs_shared_and_per_sample(self) -> None:
        """Both kinds of steps give the same on one grid."""
        shared, each = (leaves(self._solve(per_sample=per_sample).ys) for per_sample in (False, True))
        for a, b in zip(shared, each, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    def test_gradients_reach_state_and_parameters_under_checkpoints(self) -> None:
        """Checkpointed gives the gradient of Direct, and every parameter that Direct reaches."""
        field, y = self.make(), self.state()
        parameters = [p for p in field.parameters() if p.requires_grad]

        def gradients(adjoint: Checkpointed | Direct) -> list[Tensor | None]:
            y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), y)
            torch.manual_seed(0)
            solution = self._solve(field=field, y0=y0, adjoint=adjoint)
            loss = torch.stack([leaf.abs().square().sum() for leaf in leaves(solution.ys)]).sum()
            return list(torch.autograd.grad(loss, [*leaves(y0), *parameters], allow_unused=True))

        for a, b in zip(gradients(Checkpointed()), gradients(Direct()), strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)

    def test_copies_and_state_dicts_are_the_field(self) -> None:
        """`deepcopy`, `torch.save` and `state_dict` bring the same slope back."""
        field, y = self.make(), self.state()
        saved = io.BytesIO()
        torch.save(field.state_dict(), saved)
        saved.seek(0)
        other = self.make()
        other.load_state_dict(torch.load(saved, weights_only=True))
        for twin in (copy.deepcopy(field), other):
            torch.manual_seed(0)
            want = leaves(self._solve(field=field, y0=y).ys)
            torch.manual_seed(0)
            for a, b in zip(leaves(self._solve(field=twin, y0=y).ys), want, strict=True):
                assert torch.equal(a, b)

    def test_float64_goes_through(self) -> None:
        """`field.double()` takes a state in double precision and keeps it."""
        y0 = tree_map(lambda leaf: leaf.to(torch.complex128 if leaf.is_complex() else torch.float64), self.state())
        solution = self._solve(field=self.make().double(), y0=y0)
        for a, b in zip(leaves(solution.ys), leaves(y0), strict=True):
            assert a.dtype == b.dtype

    def test_begin_returns_a_field_and_leaves_this_one_alone(self) -> None:
        """What belongs to one solve is held by a copy."""
        field, y = self.make(), self.state()
        before = set(vars(field))
        begun = field.begin(TS[0], TS[1], y)
        assert isinstance(begun, VectorField) and set(vars(field)) == before

    def _begun(self) -> tuple[VectorField, Tree]:
        y = self.state()
        return begun(self.make(), y), y

    def _solve(self, field: VectorField | None = None, y0: Tree = None, **options: object) -> Solution:
        field = self.make() if field is None else field
        start = self.state() if y0 is None else y0
        return solve(field, start, TS, solver=self.solver(), controller=Fixed(steps=3), **options)  # type: ignore[arg-type]


def begun(field: VectorField, y: Tree) -> VectorField:
    """The field as a solve sees it: what belongs to one solve is drawn."""
    started = begin_layers(field.begin(TS[0], TS[1], y))
    assert isinstance(started, VectorField)
    return started


def _real(y: Tree) -> torch.dtype:
    return leaves(y)[0].real.dtype
