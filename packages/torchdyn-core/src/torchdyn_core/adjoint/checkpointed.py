"""Checkpointed discrete adjoint: the gradient of the steps taken, at one state a step or fewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

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
from torchdyn_core.adjoint.direct import Direct
from torchdyn_core.adjoint.reattach import reattach
from torchdyn_core.adjoint.tape import BoundedTape, FullTape, StepTape
from torchdyn_core.binding import autograd_sequence
from torchdyn_core.errors import OptionError, warn_once
from torchdyn_core.leaves import check_known
from torchdyn_core.loop.driver import Eager
from torchdyn_core.loop.problem import Outputs, Packing, Problem, Record, Trajectory
from torchdyn_core.loop.transition import Outcome, first_carry, replay
from torchdyn_core.tree import Tree, flatten, leaves, tree_map

__all__ = ["Checkpointed", "Recorded", "Replayed", "run_replayed", "run_under_transform"]

Pair = tuple[Tensor, Tensor | None]  # an output and its cotangent


@dataclass(frozen=True)
class Checkpointed(Adjoint):
    """Replay each accepted step backwards, from its kept first state: the exact gradient of the discrete steps.

    The forward pass keeps (time, state, carry) of each accepted step and no graph; the backward pass replays the steps
    from last to first and differentiates one at a time. Under double backward the steps are replayed as one graph.

    Arguments:
        memory: Keep at most this many states at any time, those of the recomputation included (at least 4). Steps are
            then recomputed in a binomial schedule, their number unknown in advance. None keeps one for each step.

    Raises:
        OptionError: If `memory` is not None and below 4.

    References:
        | Gholami, Keutzer, Biros (2019), ANODE: unconditionally accurate memory-efficient gradients for neural ODEs.
          arXiv 1902.10298
        | Griewank, Walther (2000), Algorithm 799: revolve. doi:10.1145/347837.347846
    Example:
        >>> import torch
        >>> from torchdyn_core import Checkpointed, solve
        >>> y0 = torch.tensor([1.0], requires_grad=True)
        >>> sol = solve(lambda t, y: -y, y0, torch.tensor([0.0, 1.0]), adjoint=Checkpointed(memory=4))
        >>> sol.ys[-1].backward()
        >>> round(y0.grad.item(), 3)
        0.368
    """

    memory: int | None = None

    replays: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    @property
    def unrolls(self) -> bool:
        return self.memory is None

    def __post_init__(self) -> None:
        if self.memory is not None and not (isinstance(self.memory, int) and self.memory >= 4):
            raise OptionError(
                f"memory={self.memory!r}; wanted None or a whole number >= 4: the first, the last, two at work"
            )

    def run(self, problem: Problem, loop: Loop) -> Trajectory:
        """Run the loop without a graph, and tell autograd how to replay it."""
        if under_transform():
            return run_under_transform(problem, "checkpointed")
        compiled = loop.checkpointed(problem, self.memory)
        if compiled is not None:
            return compiled
        return run_replayed(problem, FullTape() if self.memory is None else BoundedTape(self.memory), "checkpointed")


def run_under_transform(problem: Problem, name: str) -> Trajectory:
    """Run a solve inside a `torch.func` transform, under whatever adjoint it was asked for."""
    warn_once(
        f"adjoint={name!r} inside a torch.func transform runs as 'direct': transforms keep the graph of every backward "
        "pass, so nothing would be saved. The gradient is the same."
    )
    return Direct().run(problem, Eager())


def run_replayed(problem: Problem, tape: StepTape, name: str) -> Trajectory:
    """Run the eager loop without a graph, and tell autograd how to replay its steps, whose states a tape has.

    Arguments:
        problem: What to solve.
        tape: Told of every accepted step; gives back the state that each began with.
        name: Of the adjoint, for messages.
    """
    loop = Eager()
    found = find(problem)
    inputs = gather_inputs(problem, found)
    refuse_forward_mode(inputs.outer, name)
    graph = torch.is_grad_enabled()
    inputs.problem, guard = watched(inputs.problem, found, inspector(inputs) if graph else None)
    if not graph or not any(t.requires_grad for t in inputs.outer):
        with torch.no_grad():
            trajectory = _evaluate(inputs.problem, loop, None)
        guard.verify()
        return trajectory
    session = _Session(inputs, loop, tape)
    outputs = Replayed.apply(session, *inputs.outer)  # type: ignore[no-untyped-call]
    guard.verify()
    finished, session.trajectory = session.trajectory, None
    assert finished is not None
    finished.outputs = Outputs.unpacked(outputs, session.packing)
    return finished


def _evaluate(problem: Problem, loop: Loop, tape: Any) -> Trajectory:
    trajectory = loop(problem, tape)
    trajectory.stats.evaluations = problem.field.calls.count
    return trajectory


class _Session:
    """One solve between its forward and its backward passes."""

    def __init__(self, inputs: Inputs, loop: Loop, tape: StepTape) -> None:
        self.inputs, self.loop, self.tape = inputs, loop, tape
        self.trajectory: Trajectory | None = None
        self.packing: Packing = []
        self.context = autocast_state(inputs.problem.layout.device)

    def forward(self) -> tuple[Tensor, ...]:
        """Run the loop; the flat differentiable outputs."""
        with self.context():
            plain = replace(self.inputs.problem, ts=self.inputs.problem.ts.detach())
            self.trajectory = _evaluate(plain, self.loop, self.tape)
        self.inputs.stats = self.trajectory.stats
        flat, self.packing = self.trajectory.outputs.packed()
        outputs = self.trajectory.outputs
        self.last = tree_map(Tensor.detach, outputs.y)  # the outputs themselves will lead back here
        self.tape.end(self.inputs.problem, self.last, tree_map(Tensor.detach, outputs.carry))
        self.state_leaves = len(leaves(outputs.y)) + len(leaves(outputs.carry))
        problem = self.inputs.problem
        self.inputs.problem = replace(problem, field=problem.field.rebound(problem.field.source, problem.field.args))
        return tuple(flat)

    def gradients(self, tensors: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients of the inputs, with a graph of their own where one is wanted."""
        with hooks_at_rest(self.inputs):
            if torch.is_grad_enabled():
                return self._recorded().differentiable(tensors, cotangents)
            return self._backward(cotangents)

    def _backward(self, cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients of the inputs, step by step."""
        inputs, problem = self.inputs, self.inputs.problem
        wanted = _Cotangents(self.tape.records, Outputs.unpacked(cotangents, self.packing))
        known, sequence = inputs.known(), autograd_sequence()
        sums: list[Tensor | None] = [None] * len(inputs.outer)
        state = list(cotangents[: self.state_leaves])  # the last state and carry come first
        before = problem.field.calls.count
        expected = None if inputs.unchanged else self.last
        for index, record, y, carry in self.tape.backwards(self._advance):
            y, carry = tree_map(_alive, y), tree_map(_alive, carry)
            own = [*leaves(y), *leaves(carry)]
            live = self._replay(record, y, carry, state, partial(wanted.read, index), expected)
            expected = None if expected is None else y
            inside = [*own, *problem.field.take_times()]
            check_known([out for out, _ in live], known | {id(leaf) for leaf in inside}, sequence)
            state = self._pull_back(live, own, sums)
            del y, carry, own, inside, live  # or they would stay while the tape recomputes the states of the next step
        count = len(leaves(problem.y0))
        fresh = problem.resume is None or problem.resume.control is None
        if fresh and any(cot is not None for cot in state[count:]):
            state = self._through_first_carry(state, sums)
        inputs.stats.backward_evaluations += problem.field.calls.count - before
        sums[1 : 1 + len(state)] = state
        return sums

    def _replay(
        self,
        record: Record,
        y: Tree,
        carry: Tree,
        state: list[Tensor | None],
        read: Callable[[Outcome], list[Pair]],
        expected: Tree,
    ) -> list[Pair]:
        """Do a step again, with a graph; what it gives to what comes after, and the cotangents of that."""
        with torch.enable_grad(), self.context():
            outcome = replay(self.inputs.problem, record, y, carry)
        self.inputs.stats.replayed += 1
        if expected is not None:
            rounding = torch.finfo(leaves(y)[0].dtype).eps
            self.inputs.unchanged.compare(outcome.y, expected, tolerance=0.1 * rounding**0.5)
        pairs = [*zip([*leaves(outcome.y), *leaves(outcome.carry)], state, strict=True), *read(outcome)]
        return [(out, cot) for out, cot in pairs if cot is not None and out.requires_grad]

    def _pull_back(self, live: list[Pair], own: list[Tensor], sums: list[Tensor | None]) -> list[Tensor | None]:
        """Cotangents of a step's first state and carry; adds to `sums` those of the inputs that all steps share."""
        if not live:
            return [None] * len(own)
        shared = self.inputs.shared
        targets = [leaf for leaf in own if leaf.requires_grad]
        grads = torch.autograd.grad(
            [out for out, _ in live],
            [*targets, *(t for _, t in shared)],
            [cot for _, cot in live],
            allow_unused=True,
        )
        found = iter(grads[: len(targets)])
        for (position, _), grad in zip(shared, grads[len(targets) :], strict=True):
            sums[position] = _sum(sums[position], grad)
        return [next(found) if leaf.requires_grad else None for leaf in own]

    def _through_first_carry(self, state: list[Tensor | None], sums: list[Tensor | None]) -> list[Tensor | None]:
        """Cotangents of the first carry, passed on to what it was made of; returns those of the first state."""
        problem = self.inputs.problem
        with torch.enable_grad(), self.context():
            y = tree_map(_alive, problem.y0)
            carry = leaves(first_carry(replace(problem, y0=y)))
        pairs = zip(carry, state[len(leaves(y)) :], strict=True)
        live: list[Pair] = [(out, cot) for out, cot in pairs if cot is not None and out.requires_grad]
        first = self._pull_back(live, leaves(y), sums)
        return [_sum(cot, grad) for cot, grad in zip(state, first, strict=False)]

    def _recorded(self) -> Recorded:
        """All steps, to be replayed as one graph."""
        made = Recorded(self.inputs, self.tape.records, self.packing, len(leaves(self.inputs.problem.y0)))
        made.context = self.context
        return made

    def _advance(self, record: Record, y: Tree, carry: Tree) -> tuple[Tree, Tree]:
        """Recompute the state behind a step that was not kept."""
        problem = self.inputs.problem
        bare = replace(problem, integral_loss=None, dense=False, ts=problem.ts.detach())
        with torch.no_grad(), self.context():
            outcome = replay(bare, record._replace(rows=None), y, carry)
        self.inputs.stats.replayed += 1
        return outcome.y, outcome.carry


class Recorded:
    """Accepted steps, to be replayed as one graph: what derivatives of higher order are made of.

    Arguments:
        inputs: What the solve is differentiated with respect to.
        records: The steps.
        packing: The structure of the solve's outputs.
        states: How many leaves the last state has.
    """

    def __init__(self, inputs: Inputs, records: list[Record], packing: Packing, states: int) -> None:
        self.inputs, self.records, self.packing, self._states = inputs, records, packing, states
        self.context = autocast_state(inputs.problem.layout.device)

    def differentiable(self, tensors: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """The same gradients with a graph of their own: all steps replayed as one, on stand-ins for all inputs."""
        inputs, before, sequence = self.inputs, self.inputs.problem.field.calls.count, autograd_sequence()
        y = tree_map(_alive, inputs.problem.y0)
        problem = replace(inputs.problem, y0=y)
        if problem.resume is not None:
            problem = replace(problem, resume=replace(problem.resume, carry=tree_map(_alive, problem.resume.carry)))
        own = iter([*leaves(y), *leaves(None if problem.resume is None else problem.resume.carry)])
        inner = [next(own) if leaf is None else leaf for leaf in inputs.inner]
        given = [(i, cot) for i, cot in enumerate(cotangents) if cot is not None]
        alive: list[Tensor | None] = [None] * len(cotangents)
        for i, cot in given:
            alive[i] = _alive(cot)
        wanted = _Cotangents(self.records, Outputs.unpacked(alive, self.packing))
        pairs: list[Pair] = []
        with self.context():
            carry = first_carry(problem)
            for index, record in enumerate(self.records):
                outcome = replay(problem, record, y, carry)
                pairs += wanted.read(index, outcome)
                y, carry = outcome.y, outcome.carry
        pairs += zip([*leaves(y), *leaves(carry)], alive[: self._states + len(leaves(carry))], strict=True)
        live = [(out, cot) for out, cot in pairs if cot is not None and out.requires_grad]
        inside = [*inner, *problem.field.take_times()]
        check_known([out for out, _ in live], {id(leaf) for leaf in inside}, sequence)
        inputs.stats.backward_evaluations += problem.field.calls.count - before
        results: list[Tensor | None] = [None] * len(inner)
        targets = [i for i, leaf in enumerate(inner) if leaf.requires_grad]
        if live:
            found = torch.autograd.grad(
                [out for out, _ in live], [inner[i] for i in targets], [cot for _, cot in live],
                create_graph=True, allow_unused=True,
            )  # fmt: skip
            for i, grad in zip(targets, found, strict=True):
                results[i] = grad if tensors[i].requires_grad else None
        stand_ins = [*inner, *(cot for cot in alive if cot is not None)]
        return reattach(results, stand_ins, [*tensors, *(cot for _, cot in given)])


class Replays(Protocol):
    """A solve between its forward and its backward passes, as autograd sees it."""

    def forward(self) -> tuple[Tensor, ...]:
        """Solve; the flat differentiable outputs."""

    def gradients(self, tensors: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients of the inputs, with a graph of their own where one is wanted."""


class Replayed(torch.autograd.Function):
    """Autograd's view of a solve that is replayed, eagerly or compiled."""

    @staticmethod
    def forward(ctx: Any, session: Replays, *tensors: Tensor) -> tuple[Any, ...]:
        # without `setup_context`, for which torch inspects a signature at every call; under torch.func this is not run
        ctx.session = session
        ctx.save_for_backward(*tensors)  # their versions are checked: a weight changed in place raises
        ctx.set_materialize_grads(False)
        return session.forward()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        session: Replays = ctx.session
        return None, *session.gradients(ctx.saved_tensors, cotangents)


class _Cotangents:
    """The cotangents of a run's outputs, handed out step by step."""

    def __init__(self, records: list[Record], total: Outputs) -> None:
        self._total = total
        self._offsets = [0]
        for record in records:
            self._offsets.append(self._offsets[-1] + (0 if record.rows is None else len(record.rows)))

    def read(self, index: int, outcome: Outcome) -> list[Pair]:
        """Pairs of what was read off a replayed step and its cotangent."""
        rows = slice(self._offsets[index], self._offsets[index + 1])
        total, seen = self._total, outcome.observed
        parts = [
            (outcome.y, total.steps, index),
            (seen.interior, total.interior, rows),
            (seen.integral, total.integral, ...),
            (seen.dense, total.dense, index),
        ]
        return [
            (out, cot[where])
            for outs, cots, where in parts
            if outs is not None and cots is not None
            for out, cot in zip(flatten(outs)[0], flatten(cots)[0], strict=True)
            if isinstance(out, Tensor) and cot is not None
        ]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _alive(leaf: Tensor) -> Tensor:
    """A leaf of a graph of its own."""
    leaf = leaf.detach()
    return leaf.requires_grad_() if leaf.is_floating_point() or leaf.is_complex() else leaf
