"""diffrax: `diffeqsolve`, the whole function with its gradient under `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import torch
from torch import Tensor

from benchmarks.compare import Contender, Count
from benchmarks.problem import Problem, Result
from benchmarks.sides.ours import first_step

Field = Callable[..., jax.Array]


def contender(problem: Problem, field: Field, *, checkpoints: int | None = None) -> Contender:
    """A problem whose field is also given in JAX, as a function of the state and of the problem's constants.

    The state is solved as one array, with one step size; per sample, the solve is mapped over the rows. The first step
    is given, since diffrax 0.7.2 starts with 0.01 whatever the problem (its rule for it sees a wrapped term). jax is
    set to the problem's precision from here on.

    Arguments:
        problem: What to solve.
        field: `f(y, *constants)`.
        checkpoints: Of `RecursiveCheckpointAdjoint`; None for its default.
    """
    jax.config.update("jax_enable_x64", problem.y0.dtype == torch.float64)
    dt0 = first_step(problem).to(problem.y0.dtype)
    given = tuple(_array(tensor) for tensor in (problem.y0, *problem.constants, dt0))
    run = jax.jit(_differentiated(problem, _solver(problem, field, checkpoints)))

    def call() -> Result:
        result, _ = jax.block_until_ready(run(*given))
        return Result(*result)

    def count() -> Count:
        _, stats = run(*given)
        return Count(int(stats["num_accepted_steps"].sum()), int(stats["num_rejected_steps"].sum()), None)

    label = "" if checkpoints is None else f", {checkpoints} checkpoints"
    return Contender(f"diffrax diffeqsolve{label}", call, count, compiles=True)


def _array(tensor: Tensor) -> jax.Array:
    return jax.numpy.asarray(tensor.detach().numpy())


def _solver(problem: Problem, field: Field, checkpoints: int | None) -> Callable[..., Any]:
    """A function of the first state, the constants and the first step: the reported states, and statistics."""
    term = diffrax.ODETerm(lambda t, y, constants: field(y, *constants))
    controller = diffrax.PIDController(rtol=problem.tolerance, atol=problem.tolerance)
    times = problem.ts.tolist()
    saveat = diffrax.SaveAt(t1=True) if len(times) == 2 else diffrax.SaveAt(ts=jax.numpy.asarray(times))

    def solve(y0: jax.Array, *rest: jax.Array) -> Any:
        *constants, dt0 = rest
        solution = diffrax.diffeqsolve(
            term, diffrax.Dopri5(), times[0], times[-1], dt0, y0, constants, saveat=saveat, max_steps=problem.max_steps,
            stepsize_controller=controller, adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints),
        )  # fmt: skip
        return solution.ys, solution.stats

    return jax.vmap(solve) if problem.per_sample else solve


def _differentiated(problem: Problem, solve: Callable[..., Any]) -> Callable[..., Any]:
    """The last state and the gradients that are wanted, and statistics."""

    def loss(*arguments: jax.Array) -> Any:
        ys, stats = solve(*arguments)
        last = ys[:, -1] if problem.per_sample else ys[-1]
        return (last**2).sum(), (ys, last, stats)

    places = range(0 if problem.y0.requires_grad else 1, 1 + len(problem.constants))

    def run(*arguments: jax.Array) -> Any:
        if problem.gradient:
            gradients, (ys, last, stats) = jax.grad(loss, argnums=tuple(places), has_aux=True)(*arguments)
        else:
            _, (ys, last, stats) = loss(*arguments)
            gradients = ()
        return (last, gradients), (stats | {"reports": ys} if len(problem.ts) > 2 else stats)

    return run
