"""Kernels that are loops: what enters them, how they are made, and when their results are believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._higher_order_ops.while_loop import while_loop_op

from torchdyn_core.compiled import vectors
from torchdyn_core.compiled.columns import in_columns
from torchdyn_core.compiled.kernel import OPTIONS, Kernel, Shadows, traced
from torchdyn_core.compiled.packing import Packing
from torchdyn_core.compiled.places import Splitter
from torchdyn_core.compiled.reals import from_reals, to_reals
from torchdyn_core.compiled.trust import Differs, Miscompiled, agree
from torchdyn_core.compiled.wide_products import turned

__all__ = ["Loop", "Rounds", "loop"]

COLUMNS = {"cpp.enable_tiling_heuristics": False}
"""For loops over columns: these stand apart in memory, where torch's heuristics would give vector instructions up."""

FEW = 64
"""Entries of all tensors of a loop, buffers aside, up to which it is a small one."""

SMALL = {"realize_reads_threshold": 8, "realize_opcount_threshold": 100}
"""For small loops: to allocate what is kept between two operators takes longer than to compute it once more."""


class Rounds(NamedTuple):
    """Rounds of a loop, done both ways.

    Arguments:
        found: What the loop gave.
        turned: Whether most decisions are others: rounding turns few, and then there is nothing to compare.
    """

    found: list[Tensor]
    turned: bool


class Loop(Kernel):
    """A kernel that is a `while` loop.

    `torch.while_loop` is a prototype, and writing to buffers from within it is new: so a loop is compared with its own
    step, run by torch operator by operator, before its results are believed.

    Arguments:
        function: The loop, of real tensors.
        shadows, inputs, literals, options: As of a kernel.
        step: One round of the loop, on tensors of any kind.
        carried: How many of the inputs are carried.
        written: Which of the inputs it writes to.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], shadows: Shadows, inputs: list[Tensor],
        literals: Sequence[Tensor], options: dict[str, Any], step: Callable[..., Sequence[Tensor]], carried: int,
        written: Sequence[int],
    ) -> None:  # fmt: skip
        given = [tensor.is_complex() for tensor in inputs[:carried]]
        super().__init__(function, shadows, inputs, literals, options, given)
        self._step, self._carried, self._written = step, carried, written
        self.trusted = False

    def compare(
        self, tensors: Sequence[Tensor], rounds: int, told: Sequence[int], same: Sequence[int] = (), floor: float = 0.0
    ) -> Rounds:
        """Do a few rounds both ways; the results may differ by rounding only.

        Arguments:
            tensors: What the loop takes, such that it ends after `rounds`; nothing of it is changed.
            rounds: How many.
            told: Which of the carried tensors to compare, beside what is written to.
            same: Which tell of decisions: where rounding has turned one, there is nothing to compare.
            floor: Least size of entries, as a part of the largest one, that rounding is measured by.

        Raises:
            Differs: If they differ by more; `Miscompiled` where that is the compiler's doing.
        """
        mine, theirs = self._clean(tensors), self._clean(tensors)
        found = list(self(*mine))
        with torch.no_grad():
            for _ in range(rounds):
                theirs[: self._carried] = self._step(*theirs)
        other = [(found[index] != theirs[index]).double().mean() for index in same]
        if not any(other):
            pairs = [(found[index], theirs[index]) for index in told]
            pairs += [(mine[index], theirs[index]) for index in self._written]
            self._believe(agree(pairs, floor), "those of its steps")
        return Rounds(found, any(part > 0.5 for part in other))

    def repeats(self, tensors: Sequence[Tensor], found: Sequence[Tensor], told: Sequence[int]) -> None:
        """Do the rounds at once that were done one by one: what a round leaves behind is no other's business.

        Arguments:
            tensors: What the loop takes, such that it ends after as many rounds; nothing of it is changed.
            found: What it gave, one by one.
            told: Which of the carried tensors to compare.

        Raises:
            Differs: If the results differ by more than rounding.
        """
        again = self(*self._clean(tensors))
        self._believe(agree([(again[index], found[index]) for index in told]), "those of its rounds one by one")

    def _clean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Buffers come with whatever was in memory; a copy of the others might lie in memory otherwise than they do."""
        return [torch.zeros_like(t) if i in self._written else t for i, t in enumerate(tensors)]

    def _believe(self, agreed: bool, whose: str) -> None:
        if agreed:
            return
        if self.complex:
            raise Differs(f"complex numbers: the compiled loop has results that are not {whose}")
        raise Miscompiled(f"torch {torch.__version__} compiles a loop whose results are not {whose}")


def loop(
    condition: Callable[..., Tensor], step: Callable[..., Sequence[Tensor]], shadows: Shadows,
    carried: Sequence[Tensor], others: Sequence[Tensor], written: Sequence[int],
) -> Loop:  # fmt: skip
    """A kernel that is a `while` loop: it takes the carried tensors and the others, and returns the carried ones.

    Every tensor that enters the loop costs a handle or two in every iteration, so numbers of one dtype travel as one
    tensor, and what neither condition nor step reads stays outside.

    Arguments:
        condition: Of the carried tensors and the others: whether to go on.
        step: The next carried tensors.
        shadows: The mode that the tensors belong to.
        carried: Shadows of what is carried.
        others: Shadows of what the step reads; none shares its storage with anything carried.
        written: Which of the others, by position, the step may write to in place: these cost no copy.
    """
    with torch.no_grad(), shadows.mode:
        first, second = to_reals(carried), to_reals(others)
    moving, standing = Packing(first), Packing(second, apart=written)
    count, complexes = len(moving), [tensor.is_complex() for tensor in (*carried, *others)]
    inside = [count + standing.place(index) for index in written]

    def unpacked(tensors: Sequence[Tensor]) -> list[Tensor]:
        reals = [*moving.unpack(tensors[:count]), *standing.unpack(tensors[count : count + len(standing)])]
        return from_reals(reals, complexes)

    with torch.no_grad(), shadows.mode:
        # traced before they enter the loop, which hides autograd from what is traced within
        inputs = [tensor.clone() for tensor in (*moving.pack(first), *standing.pack(second))]
        small = _small(tensor for index, tensor in enumerate(inputs) if index not in inside)
        table = vectors.DECOMPOSITIONS if small else {}
        body, literals = traced(lambda *tensors: _own(moving.pack(to_reals(step(*unpacked(tensors))))), inputs, table)
        both = [*inputs, *map(shadows.constant, literals)]
        test, _ = traced(lambda *tensors: condition(*unpacked(tensors)), both, table)
        turns = turned(body, test, count)
        options = OPTIONS | (COLUMNS if in_columns(body) else {}) | (SMALL if small else {})
    read = _read(test, body, since=count)
    places = ",".join(str(count + read.index(place)) for place in inside if place in read)
    writes: dict[str, Any] = {"mutated_arg_indices": places} if places else {}
    repeat: Any = while_loop_op

    def run(*tensors: Tensor) -> Sequence[Tensor]:
        start, rest, own = Splitter(len(carried), len(others), len(literals))(tensors)
        start, rest = _own(moving.pack(start)), [*standing.pack(rest), *own]
        rest += [rest[index - count].t().contiguous() for index in turns]
        result: Sequence[Tensor] = repeat(test, body, start, tuple(rest[index - count] for index in read), **writes)
        return _own(moving.unpack(result))

    return Loop(run, shadows, [*carried, *others], literals, options, step, len(carried),
                [len(carried) + index for index in written])  # fmt: skip


def _small(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors have few entries together, and always will."""
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    return all(isinstance(size, int) for size in sizes) and sum(sizes) <= FEW


def _own(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors with storage of their own: what enters or leaves a loop shares none."""
    return tuple(tensor.clone() for tensor in tensors)


def _read(test: fx.GraphModule, body: fx.GraphModule, *, since: int) -> list[int]:
    """Positions, from `since` on, of the inputs that either graph reads; the others are taken out of both."""
    pairs = list(zip(*([n for n in g.graph.nodes if n.op == "placeholder"] for g in (test, body)), strict=True))
    read = [index for index, pair in enumerate(pairs) if index >= since and any(node.users for node in pair)]
    for index, pair in enumerate(pairs[since:], start=since):
        if index not in read:
            for graph, node in zip((test, body), pair, strict=True):
                graph.graph.erase_node(node)
    for graph in (test, body):
        graph.recompile()
    return read
