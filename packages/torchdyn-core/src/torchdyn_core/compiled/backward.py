"""The exact gradient as a compiled loop: steps from last to first, each done again and differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.compiled.engine import Engine
from torchdyn_core.compiled.places import Splitter, leaf_of, pick, pick_indices
from torchdyn_core.compiled.while_loop import loop

__all__ = ["Backward", "Wanted"]


class Wanted(NamedTuple):
    """What a backward loop differentiates with respect to, and what has cotangents beside the last state.

    Arguments:
        environment: Positions in the engine's environment.
        times: Whether step times are among it.
        nodes: Whether states between the steps have cotangents of their own.
        dense: Whether dense output has.
        integral: Whether the running loss's integral has.
    """

    environment: tuple[int, ...]
    times: bool
    nodes: bool
    dense: bool
    integral: bool


class Backward:
    """The backward loop of an engine, for one set of things that are wanted.

    It takes the number of steps, cotangents of the last state and carry, then buffers: sums of the environment's
    gradients and the steps' time gradients (both written), times, states and carries, cotangents of states and dense
    output, then cotangents of the integral, inputs, environment. It gives cotangents of the first state and carry.

    Attributes:
        reached: Which of the environment wanted is used at all: the others have no gradient, rather than zero.
    """

    def __init__(self, engine: Engine, wanted: Wanted, capacity: int) -> None:
        self._engine, self.wanted = engine, wanted
        self.reached: list[bool] = []
        place = engine.place
        self._states, self._carries = len(pick_indices(place.y)), len(pick_indices(place.state.carry))
        with engine.shadows.mode, torch.no_grad():
            arguments = self._arguments(engine.rows if engine.moves else capacity)
        self._split = Splitter(*(len(part) for part in arguments))
        carried, others = ([leaf for part in parts for leaf in part] for parts in (arguments[:3], arguments[3:]))
        written = range(len(arguments[3]) + len(arguments[4]))
        self._kernel = loop(lambda left, *_: left > 0, self._step, engine.shadows, carried, others, written)

    def __call__(self, *parts: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Cotangents of the first state and of the first carry.

        Raises:
            Differs: If the loop computes something else than its steps do, which is seen when it is first run.
        """
        tensors = [leaf for part in parts for leaf in part]
        if not self._kernel.trusted:
            rounds = min(int(tensors[0]), 3)
            told = range(1, 1 + self._states + self._carries)
            # a gradient that is zero but for rounding is none of these: it is measured by the others
            with self._engine.ambient():
                self._kernel.compare([torch.tensor(rounds), *tensors[1:]], rounds, told, floor=1e-3)
            self._kernel.trusted = True
        out = self._kernel(*tensors)
        _, y, carry = Splitter(1, self._states, self._carries)(out)
        return list(y), list(carry)

    def _arguments(self, rows: Any) -> list[list[Tensor]]:
        """Shadows of everything that the kernel takes."""
        engine, wanted, place = self._engine, self.wanted, self._engine.place
        y, carry = pick(engine.cursor, place.y), pick(engine.cursor, place.state.carry)
        t = engine.cursor[place.t]

        def room(leaves: Sequence[Tensor]) -> list[Tensor]:
            return [torch.empty((rows, *leaf.shape), dtype=leaf.dtype) for leaf in leaves]

        times = [torch.empty((rows, 2, *t.shape), dtype=t.dtype)]
        return [
            [torch.zeros((), dtype=torch.int64)], [leaf.clone() for leaf in y], [leaf.clone() for leaf in carry],
            [torch.zeros_like(engine.surroundings[i]) for i in wanted.environment],
            [leaf.clone() for leaf in times] if wanted.times else [],
            times, room(y), room(carry),
            room(y) if wanted.nodes else [], room(engine.dense) if wanted.dense else [],
            [leaf.clone() for leaf in engine.integral] if wanted.integral else [],
            engine.inputs, engine.surroundings,
        ]  # fmt: skip

    def _step(self, *tensors: Tensor) -> list[Tensor]:
        (left,), y_bar, carry_bar, sums, time_bars, times, ys, carries, nodes, dense, integral, inputs, environment = (
            self._split(tensors)
        )
        index = (left - 1).reshape(1)

        def row(buffer: Tensor) -> Tensor:
            return buffer.index_select(0, index).squeeze(0)

        grads = self._pull_back(
            row(times[0]), [row(y) for y in ys], [row(c) for c in carries],
            [*y_bar, *carry_bar, *integral, *(row(part) for part in dense)], inputs, environment,
        )  # fmt: skip
        y_bar, carry_bar, own, at = Splitter(self._states, self._carries, len(sums), len(time_bars))(grads)
        for total, grad in zip(sums, own, strict=True):
            if grad is not None:
                total.add_(grad)
        for total, grad in zip(time_bars, at, strict=True):
            total.index_copy_(0, index, grad.unsqueeze(0))
        y_bar = [a + row(node) for a, node in zip(y_bar, nodes, strict=True)] if nodes else y_bar
        return [leaf.clone() for leaf in (left - 1, *y_bar, *carry_bar)]

    def _pull_back(
        self, times: Tensor, y: list[Tensor], carry: list[Tensor], cotangents: list[Tensor],
        inputs: Sequence[Tensor], environment: Sequence[Tensor],
    ) -> list[Any]:  # fmt: skip
        """Cotangents of a step's first state and carry, of the environment, and of its times."""
        engine, wanted = self._engine, self.wanted
        with torch.enable_grad():
            t0, t1 = (leaf_of(t) for t in times.unbind(0))
            y, carry = [leaf_of(leaf) for leaf in y], [leaf_of(leaf) for leaf in carry]
            own = [leaf_of(t) if i in engine.differentiable else t for i, t in enumerate(environment)]
            outs = engine.graph(engine.replay, [leaf_of(t) for t in inputs], [t0, t1, *y, *carry], own)
            last, seen, dense = Splitter(self._states + self._carries, len(engine.integral), len(engine.dense))(outs)
            given = [*last, *(seen if wanted.integral else ()), *(dense if wanted.dense else ())]
            pairs = [(o, c) for o, c in zip(given, cotangents, strict=True) if o.requires_grad]
            targets = [*y, *carry, *(own[i] for i in wanted.environment), *((t0, t1) if wanted.times else ())]
            found: Sequence[Tensor | None] = torch.autograd.grad(
                [out for out, _ in pairs], targets, [cotangent for _, cotangent in pairs], allow_unused=True
            ) if pairs else [None] * len(targets)  # fmt: skip
        states, reached, at = Splitter(len(y) + len(carry), len(wanted.environment), len(targets))(found)
        self.reached = [grad is not None for grad in reached]
        result: list[Any] = [torch.zeros_like(t) if g is None else g for t, g in zip([*y, *carry], states, strict=True)]
        result += reached
        if wanted.times:
            result.append(
                torch.stack([torch.zeros_like(t) if g is None else g for t, g in zip((t0, t1), at, strict=True)])
            )
        return result
