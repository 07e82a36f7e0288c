"""The engine of one capture: kernels for start, loop, new cache and gradient, each built when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, fx

from torchdyn_core.adjoint.base import autocast_state
from torchdyn_core.compiled.body import Inputs, Shapes
from torchdyn_core.compiled.buffers import Buffers, Counters, Plan
from torchdyn_core.compiled.kernel import COMPILING, Kernel, Shadows, concrete
from torchdyn_core.compiled.marks import Piece, cut, mark, marked
from torchdyn_core.compiled.places import Splitter, leaf_of, pick, pick_indices, places
from torchdyn_core.compiled.watch import Watch
from torchdyn_core.loop.body import Cursor
from torchdyn_core.tree import leaves

if TYPE_CHECKING:
    from torchdyn_core.compiled.backward import Backward, Wanted
    from torchdyn_core.compiled.forward import Forward

__all__ = ["Engine", "Signature"]

_MARKS = ("in", "begin", "step", "try", "seen", "dense", "cache", "from", "to", "toseen", "todense")
_TOLD = 5  # marks `try.*`: accepted, t1, jumped, wild, stuck


class Signature(NamedTuple):
    """The inputs of a captured graph.

    Arguments:
        moving: Which sizes of each of them may change from call to call.
        sizes: Those that are sizes themselves: of which input, along which axis.
    """

    moving: list[list[bool]]
    sizes: dict[int, tuple[int, int]]


class Engine:
    """Kernels over the pieces of one captured graph, for one set of sizes, or for all where sizes are symbols.

    Arguments:
        captured: The graph, with marks.
        signature: Its inputs.
        shapes: The structure of what the solve carries.
        inputs: The solve's own inputs.
        flat: The inputs of the captured graph at the first call.

    Attributes:
        costs: Evaluations of the field.
        reached: Which targets of a continuous adjoint the field uses; None where none is solved.
    """

    def __init__(
        self, captured: fx.GraphModule, signature: Signature, shapes: Shapes, inputs: Inputs, flat: Sequence[Any]
    ) -> None:
        self._captured, self._sizes = captured, signature.sizes
        # what Dynamo guards and a graph does not hold: kernels are made later, under whatever holds then
        self._dtype, self._autocast = torch.get_default_dtype(), autocast_state(torch.device("cpu"))
        self.costs, self.reached = shapes.costs, shapes.reached
        self.place: Cursor = places(shapes.cursor)
        self.integral_place, self.dense_place = places(shapes.integral), places(shapes.dense)
        self.y0_place = places(inputs).y0
        self.width = len(leaves(shapes.cursor))
        self.names = {name: marked(captured, name) for name in _MARKS}
        self.own = _own_inputs(captured, self.names["in"])
        pieces = [self.start, self._step, self._cache, self.replay]
        needed = {index for piece in pieces for index in piece.environment}
        needed |= {self._sizes[index][0] for index in needed if index in self._sizes}
        self.environment = sorted(needed - self._sizes.keys() - set(self.own))
        self.shadows = Shadows()
        self.inputs, self.surroundings = (
            [self.shadows.of(flat[index], signature.moving[index]) for index in part]
            for part in (self.own, self.environment)
        )
        self.differentiable = [
            place for place, index in enumerate(self.environment)
            if flat[index].requires_grad and (flat[index].is_floating_point() or flat[index].is_complex())
        ]  # fmt: skip
        self.moves = any(any(axes) for axes in signature.moving)
        self._fixed = None if self.moves else self._shapes(flat)
        self._forwards: dict[tuple[Plan, int | None], Forward] = {}
        self._backwards: dict[tuple[Wanted, int | None], Backward] = {}

    def admits(self, flat: Sequence[Any], rows: int) -> bool:
        """Whether what the kernels built so far assume of sizes holds for these inputs."""
        if not self.moves:
            return self._fixed == self._shapes(flat)
        return self.shadows.admits(self.values(flat, rows))

    def _shapes(self, flat: Sequence[Any]) -> list[torch.Size]:
        return [flat[i].shape for i in (*self.own, *self.environment)]

    def values(self, flat: Sequence[Any], rows: int) -> dict[Any, int]:
        """What the symbols are for these inputs of the captured graph."""
        if not self.moves:
            return {}
        found = self.shadows.values([flat[i] for i in (*self.own, *self.environment)])
        return found | {self.rows.node.expr: rows}

    @cached_property
    def start(self) -> Piece:
        """The first cursor, from the inputs."""
        return cut(self._captured, self.names["in"], self.names["begin"])

    @cached_property
    def _step(self) -> Piece:
        wanted = [tag for name in ("step", "try", "seen", "dense") for tag in self.names[name]]
        return cut(self._captured, self.names["in"] + self.names["begin"], wanted)

    @cached_property
    def _cache(self) -> Piece:
        return cut(self._captured, self.names["in"] + self.names["begin"], self.names["cache"])

    @cached_property
    def replay(self) -> Piece:
        """A step done again, from times, state and carry to state and carry, the integral's increment, dense output."""
        wanted = [tag for name in ("to", "toseen", "todense") for tag in self.names[name]]
        return cut(self._captured, self.names["in"] + self.names["from"], wanted)

    def graph(
        self, piece: Piece, inputs: Sequence[Tensor], given: Sequence[Tensor], environment: Sequence[Tensor]
    ) -> list[Tensor]:
        """Run a piece."""
        own = dict(zip(self.own, inputs, strict=True)) | dict(zip(self.environment, environment, strict=True))

        def value(index: int) -> Any:
            if index in self._sizes:
                tensor, axis = self._sizes[index]
                return own[tensor].shape[axis]
            return own[index]

        # by `forward`, or FX writes a traceback of its own beside an error
        with self.ambient():
            return list(piece.graph.forward(*inputs, *given, *(value(index) for index in piece.environment)))

    @contextmanager
    def ambient(self) -> Iterator[None]:
        """The default dtype and the autocast setting that the graph was captured under."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(self._dtype)
        try:
            with self._autocast():
                yield
        finally:
            torch.set_default_dtype(before)

    def _detached(
        self, piece: Piece, inputs: Sequence[Tensor], given: Sequence[Tensor], environment: Sequence[Tensor]
    ) -> list[Tensor]:
        """Run a piece on leaves of its own, since fields may differentiate inside; what comes out has no graph."""
        with torch.enable_grad():
            own = [leaf_of(t) if i in self.differentiable else t for i, t in enumerate(environment)]
            outs = self.graph(piece, [leaf_of(t) for t in inputs], [leaf_of(t) for t in given], own)
        return [out.detach() for out in outs]

    @cached_property
    def begin(self) -> Kernel:
        """The first cursor, from inputs and environment."""
        return self._straight(self.start, [])

    @cached_property
    def renew(self) -> Kernel:
        """The cursor with its cache made anew, from inputs, cursor and environment."""
        return self._straight(self._cache, self.cursor)

    @cached_property
    def again(self) -> Kernel:
        """State and carry behind a step that is done again, from inputs, times, state, carry and environment."""
        t, place = self.cursor[self.place.t], self.place
        with self.shadows.mode, torch.no_grad():
            given = [t.clone(), t.clone(), *(leaf.clone() for leaf in pick(self.cursor, (place.y, place.state.carry)))]
        bare = cut(self._captured, self.names["in"] + self.names["from"], self.names["to"])
        return self._straight(bare, given)

    def _straight(self, piece: Piece, given: list[Tensor]) -> Kernel:
        split = Splitter(len(self.inputs), len(given), len(self.surroundings))

        def run(*tensors: Tensor) -> list[Tensor]:
            return [out.clone() for out in self._detached(piece, *split(tensors))]

        with COMPILING, self.ambient():
            return Kernel(run, self.shadows, [*self.inputs, *given, *self.surroundings])

    @cached_property
    def cursor(self) -> list[Tensor]:
        """Shadows of a cursor's leaves."""
        with torch.no_grad(), self.shadows.mode:
            made = self._detached(self.start, self.inputs, [], self.surroundings)
            return [leaf.clone() for leaf in made]

    @cached_property
    def _stepped(self) -> list[Sequence[Tensor]]:
        """Shadows of what a step tried gives."""
        watch = Watch([*self.inputs, *self.cursor, *self.surroundings])
        with torch.no_grad(), self.shadows.mode, watch:
            return self.attempt(self.inputs, self.cursor, self.surroundings)

    def attempt(
        self, inputs: Sequence[Tensor], cursor: Sequence[Tensor], environment: Sequence[Tensor]
    ) -> list[Sequence[Tensor]]:
        """Try a step: the cursor behind it, what a loop has to know of it, the integral's increment, dense output."""
        split = Splitter(self.width, _TOLD, len(self.names["seen"]), len(self.names["dense"]))
        return split(self._detached(self._step, inputs, cursor, environment))

    def inspect(self) -> None:
        """Look at every operator of a step.

        Raises:
            IncompatibleError: If the field draws random numbers or writes to what it reads.
        """
        _ = self._stepped

    @property
    def integral(self) -> Sequence[Tensor]:
        """Shadows of the running loss's integral."""
        return self._stepped[2]

    @property
    def dense(self) -> Sequence[Tensor]:
        """Shadows of a step's dense output."""
        return self._stepped[3]

    @cached_property
    def rows(self) -> Any:
        """The number of rows of a buffer: a symbol where sizes are, else left to `buffers`."""
        return self.shadows.size("rows")

    @property
    def stops_at_jumps(self) -> bool:
        """Whether the loop has to be left behind a jump: where there is a cache, of the field before it."""
        return self.place.state.cache is not None and bool(self.names["cache"])

    def counters(self, t: Tensor) -> Counters:
        """Counters at zero, for times like `t`."""
        zero = torch.zeros((), dtype=torch.int64, device=t.device)
        many, flag = torch.zeros_like(t, dtype=torch.int64), torch.zeros_like(t, dtype=torch.bool)
        return Counters(zero, zero.clone(), many, many.clone(), flag, flag.clone(), flag.clone())

    def integral_of(self, values: dict[Any, int]) -> list[Tensor]:
        """The running loss's integral at the start."""
        device = self.cursor[0].device
        return [torch.zeros(concrete(part.shape, values), dtype=part.dtype, device=device) for part in self.integral]

    def dense_of(self, values: dict[Any, int]) -> list[Tensor]:
        """What one step's dense output looks like."""
        device = self.cursor[0].device
        return [torch.empty(concrete(part.shape, values), dtype=part.dtype, device=device) for part in self.dense]

    def buffers(self, cursor: Sequence[Tensor], dense: Sequence[Tensor], plan: Plan, rows: Any) -> list[Tensor]:
        """Buffers for a plan, not yet written, for tensors like these: times, first state, carry, dense output."""
        if not plan.states:
            return []
        place, t = self.place, cursor[self.place.t]
        like = [*pick(cursor, place.y), *pick(cursor, place.state.carry), *(dense if plan.dense else ())]
        shapes = [(2, *t.shape), *(leaf.shape for leaf in like)]
        return [
            torch.empty((rows, *shape), dtype=leaf.dtype, device=leaf.device)
            for shape, leaf in zip(shapes, (t, *like), strict=True)
        ]

    def arranged(self, flat: Sequence[Tensor]) -> Buffers:
        """A flat list of buffers by what they hold."""
        states, carries = len(pick_indices(self.place.y)), len(pick_indices(self.place.state.carry))
        head, y, carry, dense = Splitter(1, states, carries, len(flat) - 1 - states - carries)(flat)
        return Buffers(head[0], list(y), list(carry), list(dense))

    def forward(self, plan: Plan, capacity: int) -> Forward:
        """The loop over steps, for one plan."""
        from torchdyn_core.compiled.forward import Forward  # it is built over an engine

        key = (plan, None if self.moves else capacity)
        with COMPILING:
            if key not in self._forwards:
                with self.ambient():
                    self._forwards[key] = Forward(self, plan, capacity)
        return self._forwards[key]

    def backward(self, wanted: Wanted, capacity: int) -> Backward:
        """The backward loop for one set of things that are wanted."""
        from torchdyn_core.compiled.backward import Backward  # it is built over an engine

        key = (wanted, None if self.moves else capacity)
        with COMPILING:
            if key not in self._backwards:
                with self.ambient():
                    self._backwards[key] = Backward(self, wanted, capacity)
        return self._backwards[key]


def _own_inputs(captured: fx.GraphModule, tags: list[str]) -> list[int]:
    """Positions, among the inputs of a captured graph, of those that are marked as the solve's own."""
    position = {node: i for i, node in enumerate(n for n in captured.graph.nodes if n.op == "placeholder")}
    source = {node.args[1]: node.args[0] for node in captured.graph.nodes if node.target is mark}
    return [position[source[tag]] for tag in tags]
