"""The adjoint contract: how a solve is run so that gradients flow, and what it depends on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from torchdyn_core.binding import NO_ARGS, Inspect, RandomnessGuard
from torchdyn_core.errors import GradientError, IncompatibleError
from torchdyn_core.leaves import Reach, check_known, isolate, reach
from torchdyn_core.loop.driver import Driver
from torchdyn_core.loop.problem import Problem, Trajectory
from torchdyn_core.solution import Stats
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

__all__ = ["Adjoint", "Inputs", "Loop", "gather_inputs", "graph_roots", "under_transform", "watched"]

Loop = Driver


class Adjoint(ABC):
    """How gradients pass through a solve. Frozen; it is handed the loop and knows nothing of fields and solvers.

    Attributes:
        replays: Whether the field is evaluated again in backward passes.
        compiles: Whether it can be asked for with `compile`. The loop that it is handed is then a compiled one, which
            keeps no tape for it, and its results carry the gradient of `Checkpointed` where autograd records them.
    """

    replays: ClassVar[bool]
    compiles: ClassVar[bool] = False

    @property
    def unrolls(self) -> bool:
        """Whether a compiler that traces the steps may differentiate them in its place.

        Its gradient is then that of the steps taken, and it promises nothing of memory.
        """
        return False

    @abstractmethod
    def run(self, problem: Problem, loop: Loop) -> Trajectory:
        """Run the loop so that the trajectory's outputs carry gradients."""

    def check(self, problem: Problem) -> None:  # noqa: B027 - most adjoints do whatever is asked
        """Raise `IncompatibleError` where the adjoint cannot do what is asked, naming those that can."""


def graph_roots(problem: Problem) -> tuple[object, ...]:
    """Everything whose tensors a step can depend on."""
    return problem.field.source, problem.solver, problem.integral_loss, problem.save


def watched(problem: Problem, found: Reach, inspect: Inspect | None) -> tuple[Problem, RandomnessGuard]:
    """The problem with a guard on its first evaluation."""
    args = [] if problem.field.args is NO_ARGS else leaves(problem.field.args)
    guard = RandomnessGuard(found, inspect, args)
    return replace(problem, field=problem.field.rebound(problem.field.source, problem.field.args, guard)), guard


def under_transform() -> bool:
    """Whether a `torch.func` transform is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None


class Unchanged:
    """Tells, in a backward pass, whether the field is still the one that was solved.

    Buffers and closed-over tensors that carry no gradient may have been written to since, modules may have changed
    their mode. That need not concern the field, so it is not refused as such: recomputed states are then compared with
    those that were kept.

    Arguments:
        found: What a walk from the field found.
    """

    def __init__(self, found: Reach) -> None:
        self._found, self._marks = found, found.marks()

    def __bool__(self) -> bool:
        return self._found.marks() == self._marks

    def compare(self, got: Tree, kept: Tree, tolerance: float) -> None:
        """Raise `GradientError` if states differ by more than a tolerance, relative to the largest entry."""
        for a, b in zip(leaves(got), leaves(kept), strict=True):
            if a.numel() and not bool((a - b).abs().max() <= tolerance * b.abs().max()):
                raise GradientError(
                    "the field has changed since it was solved: a buffer or a closed-over tensor was written to, or a "
                    "module changed its mode. Its gradient would be that of another field; wanted backward() before "
                    "such changes"
                )


@dataclass(eq=False)
class Inputs:
    """What a solve is differentiated with respect to, and the problem that computes with stand-ins for it.

    Arguments:
        problem: The problem with its own leaves in place of whatever carries a graph.
        outer: What autograd is told of: times, state, carry, arguments, derived tensors and leaves.
        inner: The stand-in for each of them in `problem` (the leaf itself for leaves; None for state and carry, which
            every step has of its own).
        stats: Where backward passes count what they cost.
        unchanged: Whether the field still is what it was.
    """

    problem: Problem
    outer: list[Tensor]
    inner: list[Tensor | None]
    stats: Stats
    unchanged: Unchanged

    @property
    def shared(self) -> list[tuple[int, Tensor]]:
        """Positions and stand-ins of the inputs that every step sees and that require grad."""
        return [(i, t) for i, t in enumerate(self.inner) if t is not None and t.requires_grad]

    def known(self) -> set[int]:
        """Identities of the stand-ins."""
        return {id(t) for t in self.inner if t is not None}


def gather_inputs(problem: Problem, found: Reach) -> Inputs:
    """Split a problem into what autograd sees and what replayed steps compute with.

    Raises:
        GradientError: If a function closes over a tensor that was computed from something that requires grad.
    """
    source: Any = problem.field.source
    originals: list[Tensor] = []
    proxies: list[Tensor] = []
    if found.derived and isinstance(source, nn.Module):
        source, originals, proxies = isolate(source)
    isolated = {id(t) for t in originals}
    for name, tensor in found.derived:
        if id(tensor) not in isolated:
            raise GradientError(
                f"{name} is used by the field, requires grad and was computed outside the solve; steps are replayed "
                "without its graph. Pass it through args=, or use adjoint='direct'."
            )
    args, args_spec = flatten(problem.field.args)
    inner_args = [stand_in(a) if isinstance(a, Tensor) else a for a in args]
    carry = problem.resume.carry if problem.resume is not None else None
    ts = stand_in(problem.ts)
    inner = replace(
        problem,
        field=problem.field.rebound(source, unflatten(inner_args, args_spec)),
        ts=ts,
        y0=tree_map(Tensor.detach, problem.y0),
        resume=None if problem.resume is None else replace(problem.resume, carry=tree_map(Tensor.detach, carry)),
    )
    own = [*leaves(problem.y0), *leaves(carry)]
    pairs: list[tuple[Tensor, Tensor | None]] = [(problem.ts, ts), *((t, None) for t in own)]
    pairs += [(a, i) for a, i in zip(args, inner_args, strict=True) if isinstance(a, Tensor)]
    pairs += list(zip(originals, proxies, strict=True))
    # a leaf that is also an argument has its stand-in there, and is itself wherever the field holds it
    pairs += [(leaf, leaf) for leaf in found.leaves]
    return Inputs(inner, [p[0] for p in pairs], [p[1] for p in pairs], Stats(), Unchanged(found))


@contextmanager
def hooks_at_rest(inputs: Inputs) -> Iterator[None]:
    """Hooks on the user's tensors rest while steps are replayed: they are for the gradient of the whole solve."""
    held: list[tuple[Any, dict[int, Any]]] = []
    for tensor in [*inputs.outer, *inputs.inner]:
        if tensor is not None and tensor._backward_hooks:
            held.append((tensor._backward_hooks, dict(tensor._backward_hooks)))
            tensor._backward_hooks.clear()
    try:
        yield
    finally:
        for hooks, kept in held:
            hooks.update(kept)


def refuse_forward_mode(outer: list[Tensor], name: str) -> None:
    """Raise where an input carries a tangent: a replayed solve has none to give."""
    if forward_ad._current_level < 0:
        return
    if any(forward_ad.unpack_dual(t).tangent is not None for t in outer):
        raise IncompatibleError(f"adjoint={name!r} does not go through forward mode; adjoint='direct' does")


def stand_in(tensor: Tensor) -> Tensor:
    """A leaf with the same values that requires grad where the tensor does."""
    return (
        tensor.detach().requires_grad_(tensor.requires_grad)
        if tensor.is_floating_point() or tensor.is_complex()
        else tensor
    )


def inspector(inputs: Inputs) -> Callable[[Tree, set[int], int], None]:
    """Checks, on the first evaluation, that every leaf in its graph is known."""
    known = inputs.known()

    def inspect(out: Tree, own: set[int], sequence: int) -> None:
        times = inputs.problem.field.take_times()
        check_known(leaves(out), known | own | {id(time) for time in times}, sequence)

    return inspect


def find(problem: Problem) -> Reach:
    """Walk everything that a step can depend on."""
    return reach(*graph_roots(problem))


def autocast_state(device: torch.device) -> Any:
    """A context that brings back the present autocast setting, for steps replayed in a backward pass.

    Its weight cache is off: a cast made without a graph would be reused with one, and lose the weight's gradient.
    """
    kind = device.type
    enabled = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind)
    return lambda: torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)
