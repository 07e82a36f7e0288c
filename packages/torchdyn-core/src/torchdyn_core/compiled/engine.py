"""The engine of one capture: kernels for start, loop, new cache and gradient, each built when it is first needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

from torchdyn_core.compiled.body import Inputs, Shapes
from torchdyn_core.compiled.kernel import COMPILING, Kernel, Loop, Shadows, concrete, loop
from torchdyn_core.compiled.marks import Piece, cut, mark, marked
from torchdyn_core.errors import IncompatibleError
from torchdyn_core.loop.body import Cursor
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

if TYPE_CHECKING:
    from torchdyn_core.compiled.gradient import Backward, Wanted

__all__ = ["Buffers", "Counters", "Engine", "Plan", "Signature", "pick", "put"]

_MARKS = ("in", "begin", "step", "try", "seen", "dense", "cache", "from", "to", "toseen", "todense")
_TOLD = 5  # marks `try.*`: accepted, t1, jumped, wild, stuck


class Plan(NamedTuple):
    """What a run of the loop keeps of its steps: nothing; times and first states; dense output too."""

    states: bool
    dense: bool


class Counters(NamedTuple):
    """What the loop counts: rows written, steps tried, accepted, rejected; and which samples made it stop."""

    rows: Tensor
    tried: Tensor
    accepted: Tensor
    rejected: Tensor
    wild: Tensor
    stuck: Tensor
    jumped: Tensor


class Buffers(NamedTuple):
    """What the loop writes, a row for each accepted step: times `(N, 2)` or `(N, 2, B)`, first state, carry, dense."""

    times: Tensor
    y: list[Tensor]
    carry: list[Tensor]
    dense: list[Tensor]


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
    """

    def __init__(
        self, captured: fx.GraphModule, signature: Signature, shapes: Shapes, inputs: Inputs, flat: Sequence[Any]
    ) -> None:
        self._captured, self._sizes = captured, signature.sizes
        self.costs = shapes.costs
        self.place: Cursor = _places(shapes.cursor)
        self.integral_place, self.dense_place = _places(shapes.integral), _places(shapes.dense)
        self.y0_place = _places(inputs).y0
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
        self._fixed = None if self.moves else [flat[i].shape for i in (*self.own, *self.environment)]
        self._forwards: dict[tuple[Plan, int | None], Loop] = {}
        self._backwards: dict[tuple[Wanted, int | None], Backward] = {}

    def admits(self, flat: Sequence[Any], rows: int) -> bool:
        """Whether what the kernels built so far assume of sizes holds for these inputs."""
        if not self.moves:
            return self._fixed == [flat[i].shape for i in (*self.own, *self.environment)]
        return self.shadows.admits(self.values(flat, rows))

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

        return list(piece.graph(*inputs, *given, *(value(index) for index in piece.environment)))

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

        with COMPILING:
            return Kernel(run, self.shadows, [*self.inputs, *given, *self.surroundings])

    @cached_property
    def cursor(self) -> list[Tensor]:
        """Shadows of a cursor's leaves."""
        with torch.no_grad(), self.shadows.mode:
            made = self._detached(self.start, self.inputs, [], self.surroundings)
            return [leaf.clone() for leaf in made]

    @cached_property
    def _stepped(self) -> list[Tensor]:
        """Shadows of what a step tried gives."""
        watch = _Watch([*self.inputs, *self.cursor, *self.surroundings])
        with torch.no_grad(), self.shadows.mode, watch:
            return self._detached(self._step, self.inputs, self.cursor, self.surroundings)

    def inspect(self) -> None:
        """Look at every operator of a step.

        Raises:
            IncompatibleError: If the field draws random numbers or writes to what it reads.
        """
        _ = self._stepped

    @property
    def integral(self) -> list[Tensor]:
        """Shadows of the running loss's integral."""
        start = self.width + _TOLD
        return self._stepped[start : start + len(self.names["seen"])]

    @property
    def dense(self) -> list[Tensor]:
        """Shadows of a step's dense output."""
        return self._stepped[self.width + _TOLD + len(self.names["seen"]) :]

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

    def forward(self, plan: Plan, capacity: int) -> Loop:
        """The loop: takes counters, integral, cursor, the limit of steps, buffers, inputs, environment.

        It goes on until all samples are there, a buffer is full, the limit is reached, a sample is wild or stuck, or
        a step ended at a jump behind which the cache has to be made anew.
        """
        key = (plan, None if self.moves else capacity)
        with COMPILING:
            if key not in self._forwards:
                self._forwards[key] = self._build_forward(plan, capacity)
        return self._forwards[key]

    @property
    def certain(self) -> list[int]:
        """Places, among what the forward loop carries, that rounding changes little.

        Not the controller's memory: an error estimate is a difference, and may be nothing but rounding.
        """
        start = len(Counters._fields)
        control = pick_indices(self.place.control)
        sums = range(start, start + len(self.integral))
        return [*sums, *(sums.stop + index for index in range(self.width) if index not in control)]

    def backward(self, wanted: Wanted, capacity: int) -> Backward:
        """The backward loop for one set of things that are wanted."""
        from torchdyn_core.compiled.gradient import Backward  # it is built over an engine

        key = (wanted, None if self.moves else capacity)
        with COMPILING:
            if key not in self._backwards:
                self._backwards[key] = Backward(self, wanted, capacity)
        return self._backwards[key]

    def _build_forward(self, plan: Plan, capacity: int) -> Loop:
        place, width, seen = self.place, self.width, len(self.integral)
        with self.shadows.mode, torch.no_grad():
            limit = torch.zeros((), dtype=torch.int64)
            start = [*self.counters(self.cursor[place.t]), *(torch.zeros_like(p) for p in self.integral), *self.cursor]
            buffers = self.buffers(self.cursor, self.dense, plan, self.rows if self.moves else capacity)
        carried = len(Counters._fields), seen, width
        split = Splitter(*carried, 1, len(buffers), len(self.inputs), len(self.surroundings))

        def step(*tensors: Tensor) -> list[Tensor]:
            count, integral, cursor, _, room, inputs, environment = split(tensors)
            counters = Counters(*count)
            outs = self._detached(self._step, inputs, cursor, environment)
            moved, told, seen_now, dense = Splitter(width, _TOLD, seen, len(self.dense))(outs)
            accepted, t1, jumped, wild, stuck = told
            if plan.states:
                rows = [torch.stack((cursor[place.t], t1)), *pick(cursor, place.y), *pick(cursor, place.state.carry)]
                rows += dense if plan.dense else []
                for buffer, row in zip(room, rows, strict=True):
                    buffer.index_copy_(0, counters.rows.reshape(1), row.unsqueeze(0))
            after = Counters(
                counters.rows + accepted.any().to(torch.int64), counters.tried + 1, counters.accepted + accepted,
                counters.rejected + (cursor[place.active] & ~accepted), wild, stuck, jumped,
            )  # fmt: skip
            total = [a + b for a, b in zip(integral, seen_now, strict=True)]
            return [leaf.clone() for leaf in (*after, *total, *moved)]

        def condition(*tensors: Tensor) -> Tensor:
            count, _, cursor, (limit,), room, _, _ = split(tensors)
            counters = Counters(*count)
            halt = counters.wild | counters.stuck
            halt = halt | counters.jumped if self.stops_at_jumps else halt
            go: Tensor = cursor[place.active].any() & (counters.tried < limit) & ~halt.any()
            return go & (counters.rows < room[0].shape[0]) if plan.states else go

        others = [limit, *buffers, *self.inputs, *self.surroundings]
        return loop(condition, step, self.shadows, start, others, range(1, 1 + len(buffers)))


class Splitter:
    """Cuts a flat list of tensors into runs of known lengths."""

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    def __call__(self, tensors: Sequence[Any]) -> list[Sequence[Any]]:
        parts, start = [], 0
        for length in self._lengths:
            parts.append(tensors[start : start + length])
            start += length
        return parts


class _Watch(TorchDispatchMode):
    """Refuses random numbers, and writing to what was there before."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = {t.untyped_storage()._cdata for t in given}

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise IncompatibleError(f"the field draws random numbers while it is evaluated ({function})")
        for argument, value in zip(function._schema.arguments, args, strict=False):
            info = argument.alias_info
            written = info is not None and info.is_write and isinstance(value, Tensor)
            if written and value.untyped_storage()._cdata in self._given:
                raise IncompatibleError(f"the field writes to what it reads while it is evaluated ({function})")
        return function(*args, **(kwargs or {}))


def _own_inputs(captured: fx.GraphModule, tags: list[str]) -> list[int]:
    """Positions, among the inputs of a captured graph, of those that are marked as the solve's own."""
    position = {node: i for i, node in enumerate(n for n in captured.graph.nodes if n.op == "placeholder")}
    source = {node.args[1]: node.args[0] for node in captured.graph.nodes if node.target is mark}
    return [position[source[tag]] for tag in tags]


def _places(tree: Tree) -> Tree:
    """A tree with numbers, from 0, in place of its tensors."""
    count = itertools.count()
    return tree_map(lambda _: next(count), tree)


def put(leaves: Sequence[Tensor], place: Tree) -> Tree:
    """A tree with tensors in place of the numbers that stand for them."""
    if place is None or isinstance(place, int):  # most trees are a lone tensor, and Python is what small solves cost
        return None if place is None else leaves[place]
    parts, spec = flatten(place)
    return unflatten([leaves[part] if isinstance(part, int) else part for part in parts], spec)


def pick_indices(part: Any) -> list[int]:
    """The places of a part of a cursor, in order."""
    return [] if part is None else [part] if isinstance(part, int) else [i for i in flatten(part)[0] if i is not None]


def pick(cursor: Sequence[Tensor], part: Any) -> list[Tensor]:
    """The leaves of a cursor that stand at the places of a part."""
    return [cursor[index] for index in pick_indices(part)]


def leaf_of(tensor: Tensor) -> Tensor:
    """A leaf of a graph of its own."""
    tensor = tensor.detach()
    return tensor.requires_grad_() if tensor.is_floating_point() or tensor.is_complex() else tensor
