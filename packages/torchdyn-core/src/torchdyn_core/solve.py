"""`solve`: the one front door."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never

import torch
from torch import Tensor, nn

from torchdyn_core.adjoint import Adjoint, Direct
from torchdyn_core.binding import NO_ARGS, BoundField
from torchdyn_core.checks import (
    checked_args,
    checked_breakpoints,
    checked_layout,
    checked_resume,
    checked_span,
    checked_state,
    checked_times,
)
from torchdyn_core.controller import PID, StepController
from torchdyn_core.dense import dense_output, recorded_steps
from torchdyn_core.dropout import begin_layers
from torchdyn_core.errors import IncompatibleError, IntegrationError, OptionError, UnknownOptionError, close_matches
from torchdyn_core.field import VectorField
from torchdyn_core.loop import Driver, Eager, Problem, Trajectory
from torchdyn_core.loop.problem import Jumps
from torchdyn_core.loop.reports import assemble
from torchdyn_core.registry import configured
from torchdyn_core.solution import Final, Solution, Status
from torchdyn_core.solver import Solver, State
from torchdyn_core.tracing import runs_apart, tracing
from torchdyn_core.tree import Tree, leaves

__all__ = ["configured_options", "solve"]


def solve(
    field: Callable[..., Tree],
    y0: Tree | Final,
    ts: Tensor | Sequence[float],
    *,
    args: Tree = None,
    solver: Solver | str = "tsit5",
    controller: StepController | str = PID(),  # noqa: B008 - frozen, and the one place where the default stands
    adjoint: Adjoint | str = "checkpointed",
    integral_loss: Callable[[Tensor, Tree], Tree] | None = None,
    save: Callable[[Tensor, Tree], Tree] | None = None,
    record_steps: bool = False,
    dense: bool = False,
    per_sample: bool | Tensor = False,
    max_steps: int = 4096,
    compile: bool | str = False,
    throw: bool = True,
    progress: bool = False,
    **unknown: Never,
) -> Solution:
    r"""Solve the initial value problem `dy/dt = f(t, y), y(ts[0]) = y0`.

    Arguments:
        field: `f(t, y)`, or `f(t, y, args)` where `args` is given: a `VectorField` or any callable.
        y0: The state at `ts[0]`: a real or complex tensor, or a tree (tuple, list, dict) of tensors. The `final` of an
            earlier solution goes on from there.
        ts: Times to report, at least two, weakly increasing or decreasing. Steps do not stop at them.
        args: A tree passed on to the field; gradients reach its tensors under every adjoint.
        solver: The method, or its name.
        controller: Step-size control: `PID(rtol=, atol=, ...)` or `Fixed(dt=)`, or a name.
        adjoint: How gradients pass: `Checkpointed()`, `Direct()`, `Backsolve()`, or a name.
        integral_loss: `l(t, y)`, a tensor or tree, to integrate from `ts[0]` to `ts[-1]` along the solution.
        save: `g(t, y)`: report this in place of the state.
        record_steps: Keep all accepted steps in `Solution.steps`.
        dense: Make `Solution.evaluate(t)` available.
        per_sample: True: each row of the leading axis takes its own steps. A long tensor of ids `(R,)`: rows with one
            id do so together. False: all share their steps.
        max_steps: Most steps to try, rejected ones included.
        compile: True: run the whole solve, and its gradient, as compiled loops, and eagerly, with a warning that says
            why, where that cannot be done. "require": raise instead. See `docs/performance.md`.
        throw: Raise if the last time is not reached; else return what was reached, with its status.
        progress: Show a progress bar.
        **unknown: Refused.

    Shapes:
        y0: any, `(*shape)`; with `per_sample` each leaf `(R, *shape)`.
        ts: `(T,)`; with `per_sample` also `(T, B)`, where spans may be empty and differ in direction.

    Returns:
        The `Solution`; `ys` is time first, `(T, *y0.shape)`.

    Raises:
        ShapeError: If `y0`, `ts`, or what the field returns has the wrong shape, dtype, device or values.
        IncompatibleError: If solver, controller, adjoint and field do not go together.
        GradientError: If a gradient would be lost.
        IntegrationError: If the last time is not reached.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> ts = torch.linspace(0.0, 2.0, 3)
        >>> solve(lambda t, y, rate: -rate * y, torch.ones(1), ts, args=torch.tensor(0.5)).ys
        tensor([[1.0000],
                [0.6065],
                [0.3679]])
    """
    if unknown:
        _refuse_unknown(unknown)
    known, component = not tracing(), configured
    if not known:
        from torchdyn_core.untraced import apart, constant, named  # brings in torch's compilers

        options = {
            "args": args, "solver": solver, "controller": controller, "adjoint": adjoint, "save": save,
            "integral_loss": integral_loss, "record_steps": record_steps, "dense": dense, "per_sample": per_sample,
            "max_steps": max_steps, "compile": compile, "throw": throw, "progress": progress,
        }  # fmt: skip
        if runs_apart(field, y0, ts, options):
            solution: Solution = apart(solve, field, y0, ts, **options)
            return solution
        component, ts = named, [constant(t) for t in ts]
    method = component("solver", solver)
    control = component("controller", controller)
    backward = component("adjoint", adjoint)
    _check_parts(field, method, control, backward, max_steps)
    # a compiler differentiates the steps that it traces, and decides what of them to keep
    driver, backward = (_driver(compile, backward), backward) if known else (Eager(), Direct())
    _check_functions(integral_loss=integral_loss, save=save)
    _check_rows(field, per_sample)
    _check_switches(record_steps=record_steps, dense=dense, throw=throw, progress=progress)
    resume = y0 if isinstance(y0, Final) else None
    state = checked_state(y0.y if isinstance(y0, Final) else y0, known)
    layout = checked_layout(state, ts, per_sample, known)
    times = checked_times(ts, layout)
    span = checked_span(times, layout)
    if resume is not None:
        checked_resume(resume, span, (method, control))
    source = _begun(field, (method, control, backward), times, state, resume, layout)
    bound = BoundField(source, NO_ARGS if args is None else checked_args(args), known)
    breaks = source.breakpoints(times[0].detach(), times[-1].detach()) if isinstance(source, VectorField) else None
    problem = Problem(
        bound, method, control, layout, state, times, span,
        Jumps(checked_breakpoints(breaks, control.jump_ts, layout), span, layout),
        resume, save, integral_loss, dense, record_steps, max_steps, progress,
    )  # fmt: skip
    method.check(source, state)
    backward.check(problem)
    return _solution(problem, _run(problem, backward, driver), (field, source), throw)


def configured_options(field: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of `solve` with objects in place of names, checked early: where a module is built."""
    _refuse_unknown({name: value for name, value in options.items() if name not in _OPTIONS})
    parts = ("solver", "controller", "adjoint")
    whole = {name: options.get(name, option.default) for name, option in _OPTIONS.items()}
    whole |= {kind: configured(kind, whole[kind]) for kind in parts}
    _check_parts(field, *(whole[name] for name in (*parts, "max_steps")))
    _driver(whole["compile"], whole["adjoint"])
    _check_functions(**{name: whole[name] for name in ("integral_loss", "save")})
    _check_switches(**{name: whole[name] for name in ("record_steps", "dense", "throw", "progress")})
    if not isinstance(whole["per_sample"], (bool, Tensor)):
        raise OptionError(f"per_sample={whole['per_sample']!r}; wanted True, False, or a long tensor of segment ids")
    _check_rows(field, whole["per_sample"])
    return whole


_OPTIONS = {
    name: parameter
    for name, parameter in inspect.signature(solve).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}


def _refuse_unknown(unknown: Mapping[str, Any]) -> None:
    for name in unknown:
        raise UnknownOptionError(f"solve() takes no option {name!r}{close_matches(name, _OPTIONS)}")


def _check_parts(field: Any, solver: Any, controller: Any, adjoint: Any, max_steps: Any) -> None:
    if not callable(field):
        raise IncompatibleError(f"field is a {type(field).__name__}; wanted a callable f(t, y)")
    for name, part, kind in (("solver", solver, Solver), ("adjoint", adjoint, Adjoint)):
        if not isinstance(part, kind):
            got = f"the class {part.__name__}: call it" if isinstance(part, type) else repr(part)
            raise IncompatibleError(f"{name} is {got}; wanted a configured {kind.__name__}, or a name")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise OptionError(f"max_steps={max_steps!r}; wanted a whole number >= 1")
    accepts = solver.accepts if isinstance(solver.accepts, tuple) else (solver.accepts,)
    ordinary = not isinstance(field, VectorField) or type(field).forward is not VectorField.forward
    if not isinstance(field, accepts) and not (VectorField in accepts and ordinary):
        names = " or ".join(kind.__name__ for kind in accepts)
        raise IncompatibleError(f"{type(solver).__name__} steps a {names}; got a {type(field).__name__}")
    if isinstance(field, VectorField) and not ordinary and VectorField in accepts and len(accepts) == 1:
        raise IncompatibleError(
            f"{type(solver).__name__} steps ordinary differential equations; {type(field).__name__} has no forward: "
            "wanted a solver of its own kind"
        )
    _check_control(solver, controller)


def _driver(compile: Any, adjoint: Adjoint) -> Driver:
    """Who repeats the loop's body."""
    if compile is False:
        return Eager()
    if compile is not True and compile != "require":
        raise OptionError(f"compile={compile!r}; wanted True, False, or 'require'")
    if not adjoint.compiles:
        raise IncompatibleError(f"adjoint {type(adjoint).__name__} does not compile; 'checkpointed' and 'backsolve' do")
    from torchdyn_core.compiled.driver import Compiled  # brings in torch's compilers, which take a second to import

    return Compiled(require=compile == "require")


def _check_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise OptionError(f"{name}={function!r}; wanted a function of time and state, {name}(t, y)")


def _check_rows(field: Any, per_sample: Any) -> None:
    if per_sample is not False and isinstance(field, VectorField) and field.refuses_rows:
        raise IncompatibleError(f"{type(field).__name__} takes no per_sample: {field.refuses_rows}")


def _check_switches(**switches: Any) -> None:
    for name, switch in switches.items():
        if not isinstance(switch, bool):
            raise OptionError(f"{name}={switch!r}; wanted True or False")


def _check_control(solver: Any, controller: Any) -> None:
    if not isinstance(controller, StepController):
        got = f"the class {controller.__name__}: call it" if isinstance(controller, type) else repr(controller)
        raise IncompatibleError(f"controller is {got}; wanted PID(...) or Fixed(...)")
    if isinstance(solver, Solver) and controller.adaptive and not solver.has_error_estimate:
        raise IncompatibleError(
            f"{type(solver).__name__} has no error estimate, which {type(controller).__name__} needs; wanted "
            f"controller=Fixed(dt=...), or {solver.without_estimate}"
        )


def _begun(field: Any, parts: tuple[Any, ...], times: Tensor, y0: Tree, resume: Final | None, layout: Any) -> Any:
    """The field of this solve; a solve that goes on keeps what the first one drew."""
    # on autograd's graph: what a field makes of its times has a gradient to them
    t0, t1 = (time if layout.shared else layout.rows(time) for time in (times[0], times[-1]))
    if resume is not None and resume.field[0] is field:
        begun = resume.field[1]
        return begun.stepped_by(*parts).resumed(t0, t1) if isinstance(begun, VectorField) else begun
    begun = field
    if isinstance(field, VectorField):
        begun = field.stepped_by(*parts).begin(t0, t1, y0)
        if not isinstance(begun, VectorField):
            raise IncompatibleError(
                f"{type(field).__name__}.begin returned {type(begun).__name__}; wanted a field: self.replace(...)"
            )
    return begin_layers(begun) if isinstance(begun, nn.Module) else begun


def _run(problem: Problem, adjoint: Adjoint, driver: Driver) -> Trajectory:
    """Step through a problem, and tell autograd how to come back."""
    try:
        return adjoint.run(problem, driver)
    except RuntimeError as error:
        if "vmap" not in str(error) or ".item()" not in str(error):
            raise
        raise IncompatibleError(
            "something that the field uses is batched by torch.func.vmap, which cannot follow accept and reject "
            "decisions; wanted solve(..., per_sample=True) on a batch of states"
        ) from error


def _solution(problem: Problem, trajectory: Trajectory, fields: tuple[object, object], throw: bool) -> Solution:
    outputs, layout = trajectory.outputs, problem.layout
    ys = assemble(problem, outputs.interior, trajectory.rows, outputs.y, trajectory.reached)
    count = problem.ts.shape[0]
    if layout.shared:
        failed = trajectory.status != Status.SUCCESS
        status = torch.tensor(int(trajectory.status), device=layout.device)
        valid = torch.ones(count, dtype=torch.bool, device=layout.device)
        if failed:
            valid[trajectory.reached :] = False
        elif not layout.known:
            finite = torch.stack([torch.isfinite(leaf).all() for leaf in leaves(outputs.y)]).all()
            status, valid = torch.where(finite, status, int(Status.NOT_FINITE)), valid & finite
    else:
        status = trajectory.status
        reached = torch.full_like(status, count)
        reached = reached.scatter_reduce(0, layout.sample_of_row(), trajectory.reached, "amin")
        rows = torch.arange(count, device=layout.device)[:, None]
        valid = (rows < reached) | (status == Status.SUCCESS)
        failed = not bool((status == Status.SUCCESS).all())
    solution = Solution(
        problem.ts, ys, valid, status, trajectory.stats, None, outputs.integral,
        recorded_steps(problem, trajectory) if problem.record_steps else None,
        _final(problem, trajectory, fields),
        dense_output(problem, trajectory) if problem.dense else None,
    )  # fmt: skip
    if throw and failed:
        raise IntegrationError(_failure(problem, trajectory), solution)
    return solution


def _final(problem: Problem, trajectory: Trajectory, fields: tuple[object, object]) -> Final:
    outputs, span = trajectory.outputs, problem.span
    started = span.start != span.end
    if problem.resume is not None:
        started = started | problem.resume.started
    parts = problem.solver, problem.controller
    return Final(trajectory.t, outputs.y, outputs.carry, trajectory.control, started, parts, fields)


def _failure(problem: Problem, trajectory: Trajectory) -> str:
    """Which sample stopped, where, at which step size, and why."""
    dt = getattr(trajectory.control, "dt", None)
    if problem.layout.shared:
        status, t, who = trajectory.status, trajectory.t, "the solve"
        rows = _bad_rows(problem, trajectory) if status == Status.NOT_FINITE else ""
    else:
        bad = torch.nonzero(trajectory.status != Status.SUCCESS)[:, 0]
        first = int(bad[0])
        status, t, rows = Status(int(trajectory.status[first])), float(trajectory.t[first]), ""
        dt = float(dt[first]) if isinstance(dt, Tensor) else None
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        who = f"sample {first}{more} of {problem.layout.samples}"
    size = f" with step size {dt:.3g}" if dt is not None else ""
    end = problem.span.end if problem.layout.shared else float(problem.span.end[first])
    return (
        f"{who} stopped at t = {t:.6g}{size}, wanted t = {end:g}, after {trajectory.stats.steps} steps: "
        f"{Status(status).cause}{rows}"
    )


def _bad_rows(problem: Problem, trajectory: Trajectory) -> str:
    """Which rows of a shared state are to blame, from one more evaluation."""
    with torch.no_grad():
        at = problem.layout.rows(trajectory.t), trajectory.outputs.y
        slope = problem.solver.slope(problem.field, *at, State())
    for leaf in leaves(slope):
        if leaf.dim() and not bool(torch.isfinite(leaf).all()):
            rows = torch.nonzero(~torch.isfinite(leaf).reshape(leaf.shape[0], -1).all(1))[:, 0].tolist()
            return f" (rows {rows[:8]}{'...' if len(rows) > 8 else ''} of the leading axis)"
    return ""
