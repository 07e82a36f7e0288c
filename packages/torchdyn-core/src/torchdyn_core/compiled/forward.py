"""The stepping loop, compiled: steps are tried until all samples are there or something has to be looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from torchdyn_core.compiled.buffers import Counters, Plan
from torchdyn_core.compiled.engine import Engine
from torchdyn_core.compiled.pace import Pace
from torchdyn_core.compiled.places import Splitter, pick, pick_indices
from torchdyn_core.compiled.trust import Miscompiled
from torchdyn_core.compiled.while_loop import Rounds, loop

__all__ = ["Forward"]

_FIELDS = Counters._fields
_ROWS, _TRIED, _ACCEPTED = (_FIELDS.index(name) for name in ("rows", "tried", "accepted"))
_HALTS = [_FIELDS.index(name) for name in ("wild", "stuck", "jumped")]


class Forward:
    """The forward loop of an engine, for one plan.

    It goes on until all samples are there, a buffer is full, as many steps are tried as may take their time, a sample
    is wild or stuck, or a step ended at a jump behind which the cache has to be made anew.
    """

    def __init__(self, engine: Engine, plan: Plan, capacity: int) -> None:
        self._engine, self._plan, self._pace = engine, plan, Pace()
        counts = (len(_FIELDS), len(engine.integral), engine.width)
        self._parts, self._carried = Splitter(*counts), sum(counts)
        with engine.shadows.mode, torch.no_grad():
            limit = torch.zeros((), dtype=torch.int64)
            start = [
                *engine.counters(engine.cursor[engine.place.t]), *map(torch.zeros_like, engine.integral), *engine.cursor
            ]  # fmt: skip
            buffers = engine.buffers(engine.cursor, engine.dense, plan, engine.rows if engine.moves else capacity)
        self._split = Splitter(*counts, 1, len(buffers), len(engine.inputs), len(engine.surroundings))
        others = [limit, *buffers, *engine.inputs, *engine.surroundings]
        self._kernel = loop(self._goes_on, self._step, engine.shadows, start, others, range(1, 1 + len(buffers)))

    def __call__(
        self, counters: Counters, integral: Sequence[Tensor], cursor: Sequence[Tensor], most: int,
        buffers: Sequence[Tensor], outer: Sequence[Tensor],
    ) -> tuple[Counters, list[Tensor], list[Tensor]]:  # fmt: skip
        """Counters, integral and cursor behind the last step; buffers are written.

        Arguments:
            counters: What was counted so far.
            integral: The running loss's integral.
            cursor: Where the run is.
            most: Steps that the solve may try, those before included.
            buffers: Room for rows, from the first one on.
            outer: The solve's own inputs and the environment.

        Raises:
            Differs: If the loop computes something else than its steps do, which is seen when it is first run.
        """
        before = int(counters.tried)
        # a loop for sizes that move serves all of them, which is why its pace is one for so much work
        work = sum(leaf.numel() for leaf in pick(cursor, self._engine.place.y)) if self._engine.moves else 1
        limit = torch.tensor(min(before + self._pace.steps(work), most))
        tensors = [*counters, *integral, *cursor, limit, *buffers, *outer]
        if not self._kernel.trusted:
            with self._engine.ambient():
                self._compare(tensors)
        start = time.perf_counter()
        head, total, moved = self._parts(self._kernel(*tensors))
        seconds, after = time.perf_counter() - start, Counters(*head)
        self._pace.took(seconds, steps=int(after.tried) - before, work=work)
        return after, list(total), list(moved)

    def _compare(self, tensors: Sequence[Tensor]) -> None:
        """Take three steps by the loop and by its own operators, each from where the loop was; then all at once."""
        head, others = list(tensors[: self._carried]), tensors[self._carried + 1 :]
        taken, shortened = 0, False
        while taken < 3 and not self._stands(head):
            limit = head[_TRIED] + 1
            head[_ROWS] = torch.zeros_like(limit)  # buffers may have fewer rows than there are rounds
            rounds = self._one(head, limit, others)
            if rounds.turned:  # by rounding, if the error was what is tolerated; that of a far shorter step is not
                shortened = True
                rounds = self._one(self._shorter(head), limit, others)
            if rounds.turned:
                raise Miscompiled(f"torch {torch.__version__} compiles a loop that decides otherwise than its steps")
            head, taken = rounds.found, taken + 1
        if not shortened and (not self._plan.states or others[0].shape[0] >= taken):
            self._kernel.repeats([*tensors[: self._carried], head[_TRIED], *others], head, self._certain())
        self._kernel.trusted = True

    def _one(self, head: Sequence[Tensor], limit: Tensor, others: Sequence[Tensor]) -> Rounds:
        reached = self._engine.reached  # a gradient that is zero but for rounding is measured by the others
        floor = 0.0 if reached is None else 1e-3
        return self._kernel.compare([*head, limit, *others], 1, self._certain(), [_ACCEPTED, *_HALTS], floor)

    def _stands(self, head: Sequence[Tensor]) -> bool:
        """Whether the loop was left for good, or for somebody to look."""
        _, _, cursor = self._parts(head)
        return any(bool(head[index].any()) for index in _HALTS) or not bool(cursor[self._engine.place.active].any())

    def _shorter(self, head: Sequence[Tensor]) -> list[Tensor]:
        """The same place, a sixteenth of the step size ahead; as it is where the controller has none of its own."""
        place = getattr(self._engine.place.control, "dt", None)
        start = len(_FIELDS) + len(self._engine.integral)
        return [leaf / 16 if place is not None and i == start + place else leaf for i, leaf in enumerate(head)]

    def _certain(self) -> list[int]:
        """Places, among what is carried, that rounding changes little.

        Not the controller's memory: an error estimate is a difference, and may be nothing but rounding.
        """
        engine, start = self._engine, len(_FIELDS)
        control = pick_indices(engine.place.control)
        sums = range(start, start + len(engine.integral))
        return [*sums, *(sums.stop + index for index in range(engine.width) if index not in control)]

    def _step(self, *tensors: Tensor) -> list[Tensor]:
        engine, place = self._engine, self._engine.place
        count, integral, cursor, _, room, inputs, environment = self._split(tensors)
        counters = Counters(*count)
        moved, told, seen, dense = engine.attempt(inputs, cursor, environment)
        accepted, t1, jumped, wild, stuck = told
        if self._plan.states:
            rows = [torch.stack((cursor[place.t], t1)), *pick(cursor, place.y), *pick(cursor, place.state.carry)]
            rows += dense if self._plan.dense else []
            for buffer, row in zip(room, rows, strict=True):
                buffer.index_copy_(0, counters.rows.reshape(1), row.unsqueeze(0))
        after = Counters(
            counters.rows + accepted.any().to(torch.int64), counters.tried + 1, counters.accepted + accepted,
            counters.rejected + (cursor[place.active] & ~accepted), wild, stuck, jumped,
        )  # fmt: skip
        total = [a + b for a, b in zip(integral, seen, strict=True)]
        return [leaf.clone() for leaf in (*after, *total, *moved)]

    def _goes_on(self, *tensors: Tensor) -> Tensor:
        count, _, cursor, (limit,), room, _, _ = self._split(tensors)
        counters = Counters(*count)
        halt = counters.wild | counters.stuck
        halt = halt | counters.jumped if self._engine.stops_at_jumps else halt
        go: Tensor = cursor[self._engine.place.active].any() & (counters.tried < limit) & ~halt.any()
        return go & (counters.rows < room[0].shape[0]) if self._plan.states else go
