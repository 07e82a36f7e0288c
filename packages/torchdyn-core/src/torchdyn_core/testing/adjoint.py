"""What every adjoint has to do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from torchdyn_core.adjoint import Adjoint, Direct
from torchdyn_core.controller import PID, Fixed, StepController
from torchdyn_core.errors import TorchdynError
from torchdyn_core.field import VectorField, autonomous
from torchdyn_core.solve import solve
from torchdyn_core.testing.compiled import skip_unless_tried
from torchdyn_core.testing.problems import Problem, complex_rotation, rotation, tree_rotation
from torchdyn_core.testing.suite import Suite
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["AdjointSuite"]

DTYPE = torch.float64
CONTROL: dict[str, StepController] = {"fixed": Fixed(steps=24), "adaptive": PID(rtol=1e-7, atol=1e-7)}
COMPILED: dict[str, dict[str, Any]] = {
    "adaptive": {"controller": CONTROL["adaptive"]},
    "fixed, backwards": {"controller": CONTROL["fixed"], "flip": True},
    "per sample": {"controller": CONTROL["adaptive"], "per_sample": True},
    "running loss": {"controller": CONTROL["adaptive"], "integral_loss": lambda t, y: (t * y.square()).sum()},
    "tree": {"controller": CONTROL["adaptive"]},
}


class AdjointSuite(Suite[Adjoint], suite=True):
    """The gradients of `Direct`, for everything that a solve can depend on; what cannot be given raises.

    Attributes:
        compiles: Whether compiled solves are tried, where the adjoint itself says that it compiles.
        exact: Whether gradients are those of the steps taken, to rounding.
        tolerance: How far from those of `Direct` they may be where they are not exact, relative to the largest entry.
        double_backward: Whether there are second derivatives; where not, asking for one has to raise.

    Example:
        >>> from torchdyn_core import Checkpointed
        >>> from torchdyn_core.testing import AdjointSuite
        >>> class TestCheckpointed(AdjointSuite):
        ...     def make(self):
        ...         return Checkpointed()
    """

    compiles: ClassVar[bool] = True
    exact: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-5
    double_backward: ClassVar[bool] = True

    @pytest.mark.parametrize("control", CONTROL)
    @pytest.mark.parametrize("problem", [rotation, complex_rotation, tree_rotation])
    def test_gradients_of_state_parameters_and_times(self, problem: Any, control: str) -> None:
        """For real, complex and tree states, with reports on the way."""
        self._compare(problem(), controller=CONTROL[control])

    @pytest.mark.parametrize("control", CONTROL)
    def test_gradients_with_steps_per_sample(self, control: str) -> None:
        """Each row with steps of its own."""
        self._compare(rotation(), controller=CONTROL[control], per_sample=True)

    @pytest.mark.parametrize("case", COMPILED)
    def test_gradients_of_compiled_solves(self, case: str) -> None:
        """Those of an eager solve, where the adjoint compiles.

        Tried is the adaptive case; all of them are with `TORCHDYN_COMPILED_CASES=all` in the environment, since each
        takes seconds to compile.
        """
        if not (self.compiles and self.make().compiles):
            pytest.skip(f"{type(self.make()).__name__} does not compile")
        skip_unless_tried(case == "adaptive")
        from torchdyn_core.compiled.driver import entries  # brings in torch's compilers

        before = entries()
        self._compare((tree_rotation if case == "tree" else rotation)(), compile="require", **COMPILED[case])
        assert entries() > before, "no compiled loop was entered"

    def test_gradients_backwards_in_time(self) -> None:
        """From the end of the span to its start."""
        self._compare(rotation(), flip=True)

    @pytest.mark.parametrize("per_sample", [False, True])
    def test_gradients_of_a_running_loss(self, per_sample: bool) -> None:
        """The integral of a loss along the solution."""
        self._compare(
            rotation(), controller=CONTROL["adaptive"], per_sample=per_sample,
            integral_loss=lambda t, y: y.square().sum(-1) if per_sample else (t * y.square()).sum(),
        )  # fmt: skip

    def test_gradients_of_arguments(self) -> None:
        """What is passed through `args`, also where it was computed from something else."""

        def gradient(adjoint: Adjoint) -> list[Tensor]:
            root = torch.tensor(0.7, dtype=DTYPE, requires_grad=True)
            solution = solve(
                lambda t, y, args: -args["rate"] * y, torch.ones(3, dtype=DTYPE), [0.0, 1.0],
                args={"rate": root.square()}, adjoint=adjoint, solver="dopri5", controller=CONTROL["adaptive"],
            )  # fmt: skip
            return list(torch.autograd.grad(solution.ys[-1].sum(), root))

        self._assert_close(gradient(self.make()), gradient(Direct()))

    def test_gradients_of_what_a_function_closes_over(self) -> None:
        """Leaves are found in closures; a tensor with a graph of its own gets its gradient or is refused."""

        def gradient(adjoint: Adjoint, derived: bool) -> list[Tensor]:
            root = torch.tensor(0.7, dtype=DTYPE, requires_grad=True)
            rate = root * 1.0 if derived else root
            solution = solve(
                lambda t, y: -rate * y, torch.ones(3, dtype=DTYPE), [0.0, 1.0], adjoint=adjoint,
                solver="dopri5", controller=CONTROL["adaptive"],
            )  # fmt: skip
            return list(torch.autograd.grad(solution.ys[-1].sum(), root))

        self._assert_close(gradient(self.make(), False), gradient(Direct(), False))
        try:
            got = gradient(self.make(), True)
        except TorchdynError as error:
            assert "args" in str(error)
        else:
            self._assert_close(got, gradient(Direct(), True))

    def test_a_leaf_that_is_used_late_gets_its_gradient(self) -> None:
        """Also one that the first evaluations never touch."""

        class Late(VectorField):
            def __init__(self) -> None:
                super().__init__()
                self.early, self.late = (nn.Parameter(torch.tensor(v, dtype=DTYPE)) for v in (0.5, 0.8))

            def forward(self, t: Tensor, y: Tensor) -> Tensor:
                return -self.early * y if float(t.detach().max()) <= 0.9 else -self.early * y - self.late * y * y

        def gradient(adjoint: Adjoint) -> list[Tensor]:
            field = Late()
            solution = solve(
                field, torch.ones(2, dtype=DTYPE), [0.0, 0.9, 1.0], adjoint=adjoint, solver="rk4",
                controller=Fixed(steps=400),
            )  # fmt: skip
            return list(torch.autograd.grad(solution.ys[-1].sum(), [field.early, field.late]))

        self._assert_close(gradient(self.make()), gradient(Direct()), slack=100)

    def test_a_field_that_differentiates_inside(self) -> None:
        """Energy networks: by `torch.autograd.grad` and by `torch.func.grad`."""

        class Gradient(VectorField):
            def __init__(self, functional: bool) -> None:
                super().__init__()
                self.functional = functional
                self.weight = nn.Parameter(torch.tensor(0.6, dtype=DTYPE))

            def energy(self, y: Tensor) -> Tensor:
                return (self.weight * y.sin()).sum()

            def forward(self, t: Tensor, y: Tensor) -> Tensor:
                if self.functional:
                    return torch.func.grad(self.energy)(y)  # type: ignore[no-any-return]
                (slope,) = torch.autograd.grad(self.energy(y), y, create_graph=True)
                return slope

        def gradient(adjoint: Adjoint, functional: bool) -> list[Tensor]:
            field, y0 = Gradient(functional), torch.linspace(0, 1, 3, dtype=DTYPE).requires_grad_()
            solution = solve(field, y0, [0.0, 1.0], adjoint=adjoint, solver="dopri5", controller=CONTROL["adaptive"])
            return list(torch.autograd.grad(solution.ys[-1].square().sum(), [y0, field.weight]))

        for functional in (False, True):
            self._assert_close(gradient(self.make(), functional), gradient(Direct(), functional))

    def test_frozen_and_unused_parameters(self) -> None:
        """Frozen ones are left alone, unused ones have no gradient, the rest theirs."""

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.frozen, self.spare, self.used = (nn.Linear(2, 2, dtype=DTYPE) for _ in range(3))
                self.frozen.requires_grad_(False)

            def forward(self, y: Tensor) -> Tensor:
                out: Tensor = self.used(torch.tanh(self.frozen(y)))
                return out

        net = Net()
        solution = solve(
            autonomous(net), torch.ones(3, 2, dtype=DTYPE), [0.0, 1.0], adjoint=self.make(), solver="dopri5",
            controller=CONTROL["adaptive"],
        )  # fmt: skip
        solution.ys[-1].sum().backward()
        assert net.frozen.weight.grad is None
        assert net.spare.weight.grad is None or not bool(net.spare.weight.grad.any())
        assert net.used.weight.grad is not None and bool(net.used.weight.grad.any())

    def test_no_gradient_where_none_is_asked_for(self) -> None:
        """No graph under `no_grad`, nor where nothing requires one."""
        problem = rotation()
        with torch.no_grad():
            unwanted = self._solve(problem, self.make())
        problem.field.requires_grad_(False)
        for solution in (unwanted, self._solve(problem, self.make())):
            assert not solution.ys.requires_grad and not solution.final.y.requires_grad

    def test_single_precision(self) -> None:
        """Gradients in float32 are those of float64 to single precision."""

        def gradient(dtype: torch.dtype) -> list[Tensor]:
            problem = rotation()
            y0 = problem.y0.to(dtype).requires_grad_()
            field = problem.field.to(dtype)
            solution = solve(field, y0, [0.0, 1.0], adjoint=self.make(), solver="rk4", controller=CONTROL["fixed"])
            return list(torch.autograd.grad(solution.ys[-1].square().sum(), [y0, *field.parameters()]))

        for got, want in zip(gradient(torch.float32), gradient(torch.float64), strict=True):
            torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-3)

    def test_two_backward_passes(self) -> None:
        """With `retain_graph` the second gives what the first gave."""
        problem = rotation()
        y0 = problem.y0.requires_grad_()
        loss = self._solve(problem, self.make(), y0=y0).ys.square().sum()
        first, second = (torch.autograd.grad(loss, y0, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)

    def test_second_derivatives_are_right_or_refused(self) -> None:
        """Never zero."""

        def second(adjoint: Adjoint) -> list[Tensor]:
            problem = rotation()
            y0 = problem.y0.requires_grad_()
            loss = self._solve(problem, adjoint, y0=y0, solver="rk4", controller=Fixed(steps=6)).ys[-1].pow(3).sum()
            (first,) = torch.autograd.grad(loss, y0, create_graph=True)
            return list(torch.autograd.grad(first.square().sum(), [y0, *problem.field.parameters()]))

        if self.double_backward:
            self._assert_close(second(self.make()), second(Direct()))
        else:
            with pytest.raises(TorchdynError):
                second(self.make())

    def test_an_input_that_depends_on_another_counts_once(self) -> None:
        """A weight that the field uses and the state was computed from: in the first and the second derivative."""

        def derivatives(adjoint: Adjoint) -> list[Tensor]:
            w = torch.tensor(0.7, dtype=DTYPE, requires_grad=True)
            last = solve(
                lambda t, y, args: -w * args * y, w * torch.ones(2, dtype=DTYPE), [0.0, 1.0], args=2 * w,
                adjoint=adjoint, solver="dopri5", controller=CONTROL["adaptive"],
            ).ys[-1].sum()  # fmt: skip
            (first,) = torch.autograd.grad(last, w, create_graph=self.double_backward)
            return [first.detach(), *(torch.autograd.grad(first, w) if self.double_backward else ())]

        self._assert_close(derivatives(self.make()), derivatives(Direct())[: 1 + self.double_backward])

    def test_hooks_fire_once(self) -> None:
        """A hook on a parameter sees the gradient of the whole solve, not those of its parts."""
        problem = rotation()
        seen: list[Tensor] = []
        (rate,) = problem.field.parameters()
        rate.register_hook(seen.append)
        self._solve(problem, self.make()).ys.pow(3).sum().backward()
        assert len(seen) == 1 and rate.grad is not None and torch.equal(seen[0], rate.grad)

    def _solve(self, problem: Problem, adjoint: Adjoint, y0: Tree = None, **options: Any) -> Any:
        options = {"solver": "dopri5", "controller": CONTROL["adaptive"], **options}
        ts = options.pop("ts", torch.linspace(problem.t0, problem.t1, 4, dtype=DTYPE))
        return solve(problem.field, problem.y0 if y0 is None else y0, ts, adjoint=adjoint, **options)

    def _compare(self, problem: Problem, *, flip: bool = False, compile: bool | str = False, **options: Any) -> None:
        """Gradients of a loss that sees everything, beside those of an eager solve with `Direct`."""

        def gradients(adjoint: Adjoint, compile: bool | str) -> list[Tensor]:
            y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), problem.y0)
            ts = torch.tensor([0.0, 0.4, 1.1, 1.5], dtype=DTYPE)
            ts = (ts.flip(0) if flip else ts).requires_grad_()
            solution = self._solve(problem, adjoint, y0=y0, ts=ts, compile=compile, **options)
            loss = torch.stack([(leaf.abs() ** 3).sum() + leaf.real.sum() for leaf in leaves(solution.ys)]).sum()
            if solution.integral is not None:
                loss = loss + solution.integral.sum()
            return list(torch.autograd.grad(loss, [*leaves(y0), ts, *problem.field.parameters()]))

        self._assert_close(gradients(self.make(), compile), gradients(Direct(), False))

    def _assert_close(self, got: list[Tensor], want: list[Tensor], slack: float = 1.0) -> None:
        for a, b in zip(got, want, strict=True):
            scale = float(b.abs().max())
            assert scale > 0, "a gradient of zero tests nothing"
            gap = float((a - b).abs().max()) / scale
            assert gap <= (1e-10 if self.exact else slack * self.tolerance)
