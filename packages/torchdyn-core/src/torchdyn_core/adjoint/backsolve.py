"""The continuous adjoint, solved backwards in time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from torchdyn_core.adjoint.base import (
    Adjoint,
    Inputs,
    Loop,
    autocast_state,
    find,
    gather_inputs,
    hooks_at_rest,
    inspector,
    refuse_forward_mode,
    under_transform,
    watched,
)
from torchdyn_core.adjoint.continuous import AdjointProblem, Augmented
from torchdyn_core.binding import BoundField, field_time
from torchdyn_core.controller import PID, Span, StepController
from torchdyn_core.errors import GradientError, IncompatibleError, IntegrationError
from torchdyn_core.layout import Shared
from torchdyn_core.leaves import reach
from torchdyn_core.loop.problem import Jumps, Outputs, Problem, Record, Rows, Trajectory
from torchdyn_core.loop.reports import assemble
from torchdyn_core.loop.transition import saved, seen_field
from torchdyn_core.solution import Status
from torchdyn_core.solver import Solver
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

__all__ = ["Backsolve"]

Adjoints = tuple[list[Tensor], list[Tensor], list[Tensor]]  # leaves of the state, their adjoints, gradients


@dataclass(frozen=True)
class Backsolve(Adjoint):
    """Solve the adjoint equation backwards: memory independent of the number of steps, gradients up to the tolerance.

    State, adjoint and gradients are integrated together from each reported time to the one before; at every reported
    time the state starts anew from the value that the forward pass stored. With steps per sample the backward solve
    shares its steps, in a time that runs from 0 to 1 for every sample. With `compile`, all solves are compiled loops.

    Arguments:
        solver: The method backwards. Default: what the method of the forward pass names: itself, or one for the adjoint
            equation of its kind of fields.
        controller: Step-size control backwards. Default: that of the forward pass.
        seminorm: Leave the gradients of parameters out of the error norm: they are integrals, which feed back into
            nothing. Applies where the controller has no norm of its own.

    References:
        | Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations. arXiv 1806.07366
        | Kidger, Chen, Lyons (2021), "Hey, that's not an ODE": faster ODE adjoints via seminorms. arXiv 2009.09457
    Example:
        >>> import torch
        >>> from torchdyn_core import Backsolve, solve
        >>> y0 = torch.tensor([1.0], requires_grad=True)
        >>> solve(lambda t, y: -y, y0, torch.tensor([0.0, 1.0]), adjoint=Backsolve()).ys[-1].backward()
        >>> round(y0.grad.item(), 3)
        0.368
    """

    solver: Solver | None = None
    controller: StepController | None = None
    seminorm: bool = True

    replays: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Raise for what a continuous adjoint has no gradient for."""
        if not torch.is_grad_enabled():
            return
        able = "adjoint='checkpointed' and adjoint='direct' can"
        for name, asked in (("dense=True", problem.dense), ("record_steps=True", problem.record_steps)):
            if asked:
                raise IncompatibleError(f"adjoint='backsolve' gives no gradient through {name}; {able}")
        if under_transform():
            raise IncompatibleError(f"adjoint='backsolve' does not go through torch.func transforms; {able}")
        if any(leaf.is_floating_point() for leaf in reach(problem.solver).leaves):
            raise IncompatibleError(
                f"adjoint='backsolve' gives no gradient to the parameters of {type(problem.solver).__name__}; {able}"
            )
        controller = self.controller or problem.controller
        solver = self.solver or problem.solver.backwards()
        if problem.solver.driven and problem.ts.requires_grad:
            raise IncompatibleError("ts requires grad, and solutions that noise drives have no derivative by time")
        if controller.adaptive and not solver.has_error_estimate:
            raise IncompatibleError(
                f"{type(solver).__name__} has no error estimate; wanted Backsolve(controller=Fixed(...)) or solver="
            )
        if isinstance(controller, PID) and (isinstance(controller.rtol, Tensor) or isinstance(controller.atol, Tensor)):
            raise IncompatibleError(
                "tolerances for each entry of the state do not fit the adjoint; wanted Backsolve(controller=PID(...)) "
                f"with numbers; {able}"
            )

    def run(self, problem: Problem, loop: Loop) -> Trajectory:
        """Run the loop without a graph, and tell autograd how to solve backwards."""
        found = find(problem)
        inputs = gather_inputs(problem, found)
        refuse_forward_mode(inputs.outer, "backsolve")
        plain = replace(inputs.problem, save=None, ts=problem.ts.detach())
        plain, guard = watched(plain, found, inspector(inputs) if torch.is_grad_enabled() else None)
        session = _Session(self, inputs, plain, loop)
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs.outer):
            flat = _Backsolved.apply(session, *inputs.outer)  # type: ignore[no-untyped-call]
        else:
            with torch.no_grad():
                flat = session.forward()
        guard.verify()
        return session.finish(problem, flat)


class _Session:
    """One solve between its forward and its backward passes."""

    def __init__(self, adjoint: Backsolve, inputs: Inputs, plain: Problem, loop: Loop) -> None:
        self.adjoint, self.inputs, self.plain, self.loop = adjoint, inputs, plain, loop
        self.context = autocast_state(plain.layout.device)
        self.trajectory: Trajectory | None = None
        self.count = len(leaves(plain.y0))

    def forward(self) -> tuple[Tensor, ...]:
        """Reported states and the integral, flat."""
        with self.context():
            trajectory = self.loop(self.plain)
        trajectory.stats.evaluations += self.plain.field.calls.count  # compiled ones are not calls, and counted there
        self.inputs.stats = trajectory.stats
        self.status = trajectory.status
        outputs = trajectory.outputs
        ys = assemble(self.plain, outputs.interior, trajectory.rows, outputs.y, trajectory.reached)
        integral, self.integral_spec = flatten(outputs.integral)
        self.trajectory = trajectory
        return (*leaves(ys), *(leaf for leaf in integral if isinstance(leaf, Tensor)))

    def finish(self, problem: Problem, flat: tuple[Tensor, ...]) -> Trajectory:
        """The trajectory with outputs that carry gradients."""
        trajectory, self.trajectory = self.trajectory, None
        assert trajectory is not None
        spec = flatten(problem.y0)[1]
        ys = unflatten(flat[: self.count], spec)
        integral = unflatten(flat[self.count :], self.integral_spec) if flat[self.count :] else None
        inner = tree_map(lambda leaf: leaf[1:-1], ys)
        count = problem.ts.shape[0] - 2
        interior: Tree = None
        if problem.layout.shared:
            inner = tree_map(lambda leaf: leaf[: trajectory.reached - 1], inner)
            if trajectory.reached > 1:
                interior = inner if problem.save is None else saved(problem, problem.ts[1 : trajectory.reached], inner)
        elif count:
            rows = leaves(ys)[0].shape[1]
            sample = problem.layout.sample_of_row()
            report = torch.arange(1, count + 1, device=sample.device).repeat_interleave(rows)
            row = torch.arange(rows, device=sample.device).repeat(count)
            trajectory.rows = [Rows(0, 0, report, row, sample[row])]
            interior = tree_map(lambda leaf: leaf.flatten(0, 1), inner)
        last = tree_map(lambda leaf: leaf[-1], ys)
        old = trajectory.outputs
        trajectory.outputs = Outputs(last, old.carry, interior, integral, old.steps, old.dense)
        return trajectory

    def backward(self, ys: list[Tensor], cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients of the inputs, interval by interval."""
        failed = self.status != Status.SUCCESS
        if bool(failed.any()) if isinstance(failed, Tensor) else failed:
            raise GradientError("the solve did not reach its last time, so its continuous adjoint is not defined")
        inputs, problem = self.inputs, self.inputs.problem
        field = problem.field.rebound(problem.field.source, problem.field.args)
        shared = [(i, t) for i, t in inputs.shared if i]  # times have their own formula
        rows, loss_cots = list(cotangents[: self.count]), list(cotangents[self.count :])
        adjoint = [torch.zeros_like(y[-1]) for y in ys]
        task = AdjointProblem(
            [t for _, t in shared], problem.integral_loss, loss_cots, None, inputs.known(), flatten(problem.y0)[1],
            problem.layout.dtype, not problem.layout.shared,
        )  # fmt: skip
        solves = _BackwardSolves(self, Augmented(field, task))
        gradients = [torch.zeros_like(t) for t in task.targets]
        times = _TimeGradients(problem, field, loss_cots)
        ts = problem.ts.detach()
        with self.context():
            for index in range(ts.shape[0] - 1, 0, -1):
                state = [y[index] for y in ys]
                jump = [None if g is None else g[index] for g in rows]
                times.arrive(index, state, jump)
                adjoint = [a if g is None else a + g for a, g in zip(adjoint, jump, strict=True)]
                recomputed, adjoint, gradients = solves(ts[index], ts[index - 1], (state, adjoint, gradients))
                if not inputs.unchanged:  # a backward solve is only so near
                    inputs.unchanged.compare(recomputed, [y[index - 1] for y in ys], 0.05)
            times.depart([y[0] for y in ys], adjoint)
        inputs.stats.backward_evaluations += field.calls.count
        sums: list[Tensor | None] = [None] * len(inputs.outer)
        sums[0] = times.total
        for offset, a in enumerate(adjoint):
            first = rows[offset]
            sums[1 + offset] = a if first is None else a + first[0]
        for index, ((position, _), g) in enumerate(zip(shared, gradients, strict=True)):
            sums[position] = g if index in task.reached else None
        return sums


class _BackwardSolves:
    """The solves of one backward pass, one for each interval between reports."""

    def __init__(self, session: _Session, field: Augmented) -> None:
        self._session, self._field, self._problem = session, field, session.inputs.problem
        self._controller = self._control(session.adjoint)

    def __call__(self, start: Tensor, end: Tensor, y: Adjoints) -> Adjoints:
        """State, adjoint and gradients at the earlier end of an interval."""
        problem, field, controller = self._problem, self._field, self._controller
        if bool((start == end).all()):
            return y
        layout = Shared(problem.layout.device, problem.layout.dtype)
        jumps = problem.jumps.times
        if problem.layout.shared or bool(((start == start[0]) & (end == end[0])).all()):
            first, last = (float(t.reshape(-1)[0]) for t in (start, end))
            span = Span(first, last, math.copysign(1.0, last - first))
            controller = controller.within(problem.span, first, last)
        else:
            rates = problem.layout.rows(start), problem.layout.rows(end - start)
            field = Augmented(field.inner, replace(field.problem, rates=rates))
            span = Span(0.0, 1.0, 1.0)
            jumps = None if jumps is None else ((jumps - start) / (end - start)).flatten()
            controller = controller.normalised(float((end - start).abs().max()))
        inner = Problem(
            field, self._session.adjoint.solver or problem.solver.backwards(), controller, layout, y,
            torch.tensor([span.start, span.end], dtype=layout.dtype, device=layout.device), span,
            Jumps(jumps, span, layout, beyond=True), max_steps=problem.max_steps,
        )  # fmt: skip
        with torch.no_grad():
            trajectory = self._session.loop(inner)
        if trajectory.status != Status.SUCCESS:
            raise IntegrationError(
                f"the backward solve of adjoint='backsolve' stopped at t = {trajectory.t:g} (from {span.start:g} to "
                f"{span.end:g}): {Status(trajectory.status).cause}"
            )
        stats = self._session.inputs.stats
        stats.replayed += trajectory.stats.steps
        stats.backward_evaluations += trajectory.stats.evaluations
        end_state: Adjoints = trajectory.outputs.y
        return end_state

    def _control(self, adjoint: Backsolve) -> StepController:
        controller = adjoint.controller or self._problem.controller
        if not isinstance(controller, PID):
            return controller
        if controller.norm is None:
            return replace(controller, norm=_seminorm) if adjoint.seminorm else controller
        if adjoint.controller is not None:
            return controller
        user, spec = controller.norm, flatten(self._problem.y0)[1]

        def norm(ratio: Tree) -> Tensor:
            # the user's norm knows the state's structure: both parts that have it are measured with it
            return torch.maximum(*(user(unflatten(part, spec)).max() for part in ratio[:2]))

        return replace(controller, norm=norm)


class _Backsolved(torch.autograd.Function):
    """Autograd's view of a solve."""

    @staticmethod
    def forward(session: _Session, *tensors: Tensor) -> tuple[Any, ...]:
        return session.forward()

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        session: _Session = inputs[0]
        ctx.session = session  # type: ignore[attr-defined]
        ctx.save_for_backward(*inputs[1:], *output[: session.count])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        session: _Session = ctx.session
        saved = ctx.saved_tensors
        ys = [y.detach() for y in saved[-session.count :]]
        with torch.no_grad(), hooks_at_rest(session.inputs):
            grads = session.backward(ys, tuple(None if c is None else c.detach() for c in cotangents))
        if torch.is_grad_enabled():  # create_graph=True: a second derivative must raise, not vanish
            graph = [t for t in (*saved, *cotangents) if t is not None and t.requires_grad]
            once: Any = _OnceOnly.apply
            grads = [None if g is None else once(g, *graph) for g in grads]
        return None, *grads


class _OnceOnly(torch.autograd.Function):
    """The identity; its derivative raises."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, *graph: Tensor) -> Tensor:
        return grad.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise GradientError(
            "adjoint='backsolve' has no second derivative; adjoint='direct' and adjoint='checkpointed' have one"
        )


class _TimeGradients:
    """Gradients of the report times: a later end moves along the slope, a later start against it."""

    def __init__(self, problem: Problem, field: BoundField, loss_cots: list[Tensor | None]) -> None:
        self._problem, self._field, self._loss_cots = problem, field, loss_cots
        self.total = torch.zeros_like(problem.ts) if problem.ts.requires_grad else None

    def arrive(self, index: int, state: list[Tensor], jump: list[Tensor | None]) -> None:
        """The cotangent of a reported state, times the slope there."""
        if self.total is None:
            return
        last = index == self.total.shape[0] - 1
        if last or any(g is not None for g in jump):
            self.total[index] += self._rate(index, state, jump, last)

    def depart(self, state: list[Tensor], adjoint: list[Tensor]) -> None:
        """The adjoint at the start, against the slope there."""
        if self.total is not None:
            self.total[0] -= self._rate(0, state, list(adjoint), True)

    def _rate(self, index: int, state: list[Tensor], cots: list[Tensor | None], loss: bool) -> Tensor:
        problem = self._problem
        layout = problem.layout
        t = problem.ts.detach()[index]
        field = self._one_sided(index)
        if not layout.shared:
            t = t[layout.sample_of_row()]
        y = unflatten(state, flatten(problem.y0)[1])
        pairs = list(zip(leaves(field(t, y)), cots, strict=True))
        if loss and problem.integral_loss is not None:
            pairs += zip(leaves(problem.integral_loss(field_time(t, y), y)), self._loss_cots, strict=True)
        products = [(out.conj() * cot).real if out.is_complex() else out * cot for out, cot in pairs if cot is not None]
        return sum((layout.sum_rows(p) for p in products), torch.zeros_like(problem.ts[0]))

    def _one_sided(self, index: int) -> BoundField:
        """The field as a step sees it that ends at a reported time, or that begins at the first one."""
        problem, layout = self._problem, self._problem.layout
        scalars = (t.item() if layout.shared else t for t in problem.ts.detach()[[0, index, -1]])
        first, here, last = scalars
        no, yes = layout.flag(False), layout.flag(True)
        jumps = problem.jumps
        if index:
            record = Record(first, here, yes, yes, no, jumps.holds(here), no)
        else:
            record = Record(here, last, yes, yes, jumps.holds(here), no, no)
        return seen_field(replace(problem, field=self._field), record)


def _seminorm(ratio: Tree) -> Tensor:
    """Root mean square over state and adjoint alone."""
    parts = [p for part in ratio[:2] for p in leaves(part)]
    total = sum(p.abs().double().square().sum() for p in parts)
    return torch.as_tensor(total / max(1, sum(p.numel() for p in parts))).sqrt()
