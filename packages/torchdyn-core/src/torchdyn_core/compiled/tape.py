"""Which states of a compiled solve are kept for its gradient, and how the others come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.adjoint.tape import BoundedTape
from torchdyn_core.compiled.buffers import Buffers
from torchdyn_core.compiled.reports import Reading
from torchdyn_core.compiled.run import Chunk, Session, needs_dense
from torchdyn_core.errors import IncompatibleError

__all__ = ["Bounded", "Chunks", "Kept", "chunks_for", "rows_for"]


class Chunks(ABC):
    """Takes down the chunks of a forward pass and gives them back from last to first.

    Attributes:
        taken: All chunks; without states where those are not kept.
        recomputed: Steps taken again so far, since the states behind them were not kept.
    """

    def __init__(self) -> None:
        self.taken: list[Chunk] = []
        self.recomputed = 0

    @abstractmethod
    def take(self, chunk: Chunk) -> None:
        """Steps were accepted."""

    @abstractmethod
    def backwards(self) -> Iterator[Chunk]:
        """Chunks with their states, last steps first."""


class Kept(Chunks):
    """Keeps every state."""

    def take(self, chunk: Chunk) -> None:
        self.taken.append(chunk)

    def backwards(self) -> Iterator[Chunk]:
        yield from reversed(self.taken)


class Bounded(Chunks):
    """Keeps so few states that, with those of one entry into the loop, no more than `memory` are ever alive.

    Backwards each step is a chunk of its own; the states between those that were kept are computed again.

    Arguments:
        session: The solve.
        memory: Most states alive at any time, at least 8: two of a chunk and those behind it, and four of the tape.

    Raises:
        IncompatibleError: If that is too few, or more than states would have to be kept.
    """

    def __init__(self, session: Session, memory: int) -> None:
        super().__init__()
        if memory < _LEAST:
            raise IncompatibleError(f"memory={memory}; compiled solves need at least {_LEAST}")
        if session.problem.ts.shape[0] > 2 and needs_dense(session.problem):
            raise IncompatibleError("memory= with gradients that need the dense output of every step")
        self._session = session
        self._tape = BoundedTape(memory - max(session.rows, 4))

    def take(self, chunk: Chunk) -> None:
        used = chunk.used
        times = Buffers(used.times.clone(), [], [], [])
        bare = chunk._replace(buffers=times, used=times, end=[], carry=[])
        for index in range(chunk.rows):
            step: Any = (times.times[index], _part(bare, index))
            self._tape.push(
                step, [leaf[index].clone() for leaf in used.y], [leaf[index].clone() for leaf in used.carry]
            )
        self.taken.append(bare)
        self._end, self._carry = chunk.end, chunk.carry

    def backwards(self) -> Iterator[Chunk]:
        end, end_carry = self._end, self._carry
        for _, (times, part), y, carry in self._tape.backwards(self._advance):  # type: ignore[misc]
            # a second row, since a size of one is not a symbol
            buffers = Buffers(torch.stack([times, times]), _two(y), _two(carry), [])
            used = Buffers(
                buffers.times[:1], [leaf[:1] for leaf in buffers.y], [leaf[:1] for leaf in buffers.carry], []
            )
            yield part._replace(buffers=buffers, used=used, end=end, carry=end_carry)
            end, end_carry = y, carry

    def _advance(self, step: Any, y: Sequence[Tensor], carry: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        session, engine = self._session, self._session.engine
        environment = [t.detach() for t in session.environment]
        t0, t1 = (t.clone() for t in step[0].unbind(0))
        self.recomputed += 1
        out = list(engine.again(*session.inputs, t0, t1, *y, *carry, *environment))
        return out[: len(y)], out[len(y) :]


_LEAST = 8


def rows_for(memory: int | None) -> int | None:
    """The most rows of a buffer under a bound on memory; never one, a size that is no symbol."""
    return None if memory is None else max(2, (memory - 4) // 4)


def chunks_for(session: Session, memory: int | None) -> Kept | Bounded:
    """The chunks for a bound on memory."""
    return Kept() if memory is None else Bounded(session, memory)


def _part(chunk: Chunk, index: int) -> Chunk:
    """One step of a chunk, without its states."""
    reading = chunk.reading
    if reading is not None:
        here = reading.step == index
        step = torch.zeros_like(reading.step[here])
        row, sample = (None if part is None else part[here] for part in (reading.row, reading.sample))
        reading = Reading(reading.report[here], step, row, sample) if len(step) else None
    dense = [leaf[index : index + 1].clone() for leaf in chunk.dense]
    return chunk._replace(rows=1, reading=reading, dense=dense)


def _two(leaves: Sequence[Tensor]) -> list[Tensor]:
    return [torch.stack([leaf, leaf]) for leaf in leaves]
