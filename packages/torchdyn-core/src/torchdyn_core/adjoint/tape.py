"""Tapes: which states of a forward pass are kept, and how the others come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import comb

from torchdyn_core.adjoint.slab import Slabs
from torchdyn_core.loop.problem import Problem, Record
from torchdyn_core.tree import Tree, tree_map

__all__ = ["BoundedTape", "FullTape", "StepTape", "binomial_split"]

Advance = Callable[[Record, Tree, Tree], tuple[Tree, Tree]]
Held = tuple[Tree, Tree]


class StepTape(ABC):
    """Takes down accepted steps and gives them back from last to first.

    Attributes:
        records: All steps, without their states.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []

    def push(self, record: Record, y: Tree, carry: Tree) -> None:
        """A step from `y` and `carry` was accepted."""
        self._keep(len(self.records), y, carry)
        self.records.append(record)

    def end(self, problem: Problem, y: Tree, carry: Tree) -> None:  # noqa: B027 - most tapes know what they need by then
        """The last step was taken, and led to `y` and `carry`; what was solved is `problem`."""

    @abstractmethod
    def _keep(self, index: int, y: Tree, carry: Tree) -> None:
        """Keep the first state of a step, or not."""

    @abstractmethod
    def backwards(self, advance: Advance) -> Iterator[tuple[int, Record, Tree, Tree]]:
        """Steps with their first states, last step first; `advance` recomputes the state behind a step."""


class FullTape(StepTape):
    """Keeps the first state of every step."""

    def __init__(self) -> None:
        super().__init__()
        self._states: list[Held] = []
        self._slabs = Slabs()

    def _keep(self, index: int, y: Tree, carry: Tree) -> None:
        keep = self._slabs.keep
        self._states.append((tree_map(keep, y), tree_map(keep, carry)))

    def backwards(self, advance: Advance) -> Iterator[tuple[int, Record, Tree, Tree]]:
        for index in range(len(self.records) - 1, -1, -1):
            yield index, self.records[index], *self._states[index]


class BoundedTape(StepTape):
    """Keeps so few states that, with the two at work and the last one, no more than `memory` are ever alive.

    Forwards it keeps every k-th state, and doubles k whenever it runs out of room. Backwards each stretch
    between two kept states is undone by the binomial schedule, with all the room that is free by then.

    Arguments:
        memory: Most states alive at any time.

    References:
        Griewank, Walther (2000), Algorithm 799: revolve. doi:10.1145/347837.347846
    """

    def __init__(self, memory: int) -> None:
        super().__init__()
        self._room = memory - 3  # the state being advanced, the one it becomes, and the solution's last
        self._stride = 1
        self._kept: dict[int, Held] = {}

    def _keep(self, index: int, y: Tree, carry: Tree) -> None:
        while index % self._stride == 0:
            if not index or len(self._kept) < self._room:
                self._kept[index] = (y, carry)
                return
            self._stride *= 2
            self._kept = {i: held for i, held in self._kept.items() if i % self._stride == 0}

    def backwards(self, advance: Advance) -> Iterator[tuple[int, Record, Tree, Tree]]:
        end = len(self.records)
        for start in sorted(self._kept, reverse=True):
            # states make room as they are used up; the first one stays, for a second backward pass
            held = [self._kept.pop(start) if start else self._kept[0]]
            room = self._room - len(self._kept) - (1 if start else 0)
            yield from self._undo(start, end, held, room, advance)
            end = start

    def _undo(
        self, start: int, end: int, held: list[Held], room: int, advance: Advance
    ) -> Iterator[tuple[int, Record, Tree, Tree]]:
        """Undo the steps `start` to `end` from the state at `start`, with room for so many more states.

        `held` is a box with that state, so that this frame alone keeps it alive.
        """
        while end - start > 1:
            middle = start + binomial_split(end - start, room) if room > 0 else end - 1
            y, carry = held[0]
            for index in range(start, middle):
                y, carry = advance(self.records[index], y, carry)
            box = [(y, carry)]
            del y, carry
            yield from self._undo(middle, end, box, room - 1, advance)
            end = middle
        y, carry = held.pop()
        yield start, self.records[start], y, carry


def binomial_split(length: int, room: int) -> int:
    """How far to advance before the next state is kept, so that the fewest steps are recomputed.

    Arguments:
        length: Steps to undo, at least 2.
        room: States that may be kept beside the first one, at least 1.
    """
    repeats = 1
    while comb(room + 1 + repeats, repeats) < length:
        repeats += 1
    right = comb(room + repeats, repeats)  # what `room - 1` more states undo with as many repeats
    least = comb(room + 1 + repeats - 2, repeats - 2) if repeats >= 2 else 1
    return max(1, min(length - 1, max(least, length - right)))
