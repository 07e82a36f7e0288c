"""Kernels: functions of tensors, traced with shadows and compiled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._dynamo.source import ConstantSource
from torch._inductor.compile_fx import compile_fx
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from torchdyn_core.compiled import elementary, products
from torchdyn_core.compiled.loop_memory import VERSION, kept_between_rounds
from torchdyn_core.compiled.reals import from_reals, in_reals, to_reals
from torchdyn_core.compiled.trust import Differs, agree
from torchdyn_core.errors import IncompatibleError

__all__ = ["COMPILING", "OPTIONS", "Kernel", "Shadows", "concrete", "traced"]

OPTIONS: dict[str, Any] = {
    "cpp_wrapper": True,
    "memory_planning": False,  # a user may have asked for it, and in loops it lets one round overwrite another's
    # torch keeps on disk what it compiled from operators that it knows to be given by their inputs alone; so are loops
    # over graphs of such operators, which are a part of the key
    "unsafe_marked_cacheable_functions": {"torch.ops.higher_order.while_loop": VERSION},
}

aten = torch.ops.aten

COMPILING = threading.RLock()
"""Held while anything is traced or compiled: torch's compilers keep their modes and settings for all threads."""


class Shadows:
    """Fake tensors that stand for real ones while kernels are built: sizes that may change are symbols.

    What building a kernel assumed of the symbols is kept, to be asked of each new set of sizes.
    """

    def __init__(self) -> None:
        # `export` keeps the values of scalar inputs out of the graph: times are numbers that change with every call
        self.mode = FakeTensorMode(shape_env=ShapeEnv(), export=True)
        self._symbols: dict[Any, tuple[int, int]] = {}
        self._count = 0

    def of(self, real: Tensor, moving: Sequence[bool]) -> Tensor:
        """The shadow of a tensor, whose `moving` sizes are symbols."""
        sizes = [DimDynamic.DYNAMIC if moves else DimDynamic.STATIC for moves in moving]
        # parts of one tensor share their storage, which what enters a loop must not: shadows of them do not
        alone = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device=real.device)
        shadow = self.mode.from_tensor(
            alone,
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes),
            source=ConstantSource(f"input_{self._count}"),
        )
        for axis, size in enumerate(shadow.shape):
            if isinstance(size, torch.SymInt):
                self._symbols.setdefault(size.node.expr, (self._count, axis))
        self._count += 1
        return shadow

    def constant(self, real: Tensor) -> Tensor:
        """The shadow of a tensor whose sizes are those of every call."""
        return self.mode.from_tensor(real, static_shapes=True)

    def size(self, name: str) -> Any:
        """A size that may change, of no input in particular."""
        context: Any = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])
        return self.mode.from_tensor(torch.empty(64), symbolic_context=context, source=ConstantSource(name)).shape[0]

    def values(self, tensors: Sequence[Tensor]) -> dict[Any, int]:
        """What the symbols are for tensors, given in the order in which their shadows were made."""
        return {symbol: tensors[index].shape[axis] for symbol, (index, axis) in self._symbols.items()}

    def admits(self, values: dict[Any, int]) -> bool:
        """Whether what was assumed of the symbols holds for these values."""
        environment = self.mode.shape_env
        assert environment is not None
        return all(bool(guard.expr.subs(values)) for guard in environment.guards)


def concrete(shape: Sequence[Any], values: dict[Any, int]) -> tuple[int, ...]:
    """The sizes of a shadow for values of the symbols."""
    return tuple(int(size.node.expr.subs(values)) if isinstance(size, torch.SymInt) else size for size in shape)


def traced(
    function: Callable[..., Any], inputs: Sequence[Tensor], more: Mapping[Any, Callable[..., Any]] | None = None
) -> tuple[fx.GraphModule, list[Tensor]]:
    """A function as a graph of aten operators, and the literals that the graph takes behind its inputs.

    Arguments:
        function: Of real tensors; complex ones are views of them, and their parts in the graph.
        inputs: Shadows of them.
        more: What operators are replaced by, beside those that are replaced in every kernel.
    """
    table = elementary.DECOMPOSITIONS | products.DECOMPOSITIONS | dict(more or {})
    graph: fx.GraphModule = make_fx(function, decomposition_table=table)(*inputs)
    literals = _lifted(graph)
    return in_reals(graph, table), literals


def _lifted(graph: fx.GraphModule) -> list[Tensor]:
    """Make inputs of a graph's literals, as `torch.tensor([1.0, 2.0])` in a field: loops take no constants.

    Equal ones share an input, since every stage of a step has the same. What a literal is made of, Dynamo has guarded.
    """
    nodes, found = list(graph.graph.nodes), dict[Any, tuple[Tensor, fx.Node]]()
    behind = next(node for node in nodes if node.op != "placeholder")
    for node in nodes:
        if node.op != "get_attr" or not isinstance(value := getattr(graph, node.target), Tensor):
            continue
        for copy in list(node.users):
            if copy.target is not aten.lift_fresh_copy.default:
                raise IncompatibleError(f"the field reads a tensor of shape {tuple(value.shape)} unseen by its trace")
            key = value.dtype, value.shape, str(value.tolist())
            if key not in found:
                with graph.graph.inserting_before(behind):
                    made = graph.graph.placeholder(f"literal_{len(found)}")
                (made.meta["val"],) = to_reals([copy.meta["val"]])
                with unset_fake_temporarily():
                    found[key] = to_reals([value])[0], made
            with graph.graph.inserting_before(copy):
                mine = found[key][1]
                if value.is_complex():
                    mine = graph.graph.call_function(aten.view_as_complex.default, (mine,))
                    mine.meta["val"] = copy.meta["val"]
                mine = graph.graph.call_function(aten.clone.default, (mine,))  # the field may write to it
            mine.meta["val"] = copy.meta["val"]
            copy.replace_all_uses_with(mine)
            graph.graph.erase_node(copy)
        graph.graph.erase_node(node)
    graph.recompile()
    return [value for value, _ in found.values()]


class Kernel:
    """A function of tensors, compiled: of real ones, as which it shows complex ones.

    Arguments:
        function: Takes and returns tensors; traced once.
        shadows: The mode that `inputs` belong to.
        inputs: Fake tensors, each of its own.
        literals: What the function takes behind its inputs, the same at every call.
        options: Of the compiler.
        given: Which results are complex, where the function itself has real tensors in their place, and in place of
            inputs; None where it has not.

    Attributes:
        complex: Whether there are complex numbers among inputs and results. The rules by which they become real ones
            are ours, so that results are compared once with those of the function itself.
    """

    complex = False

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], shadows: Shadows, inputs: list[Tensor],
        literals: Sequence[Tensor] = (), options: dict[str, Any] = OPTIONS, given: list[bool] | None = None,
    ) -> None:  # fmt: skip
        self._taken, self._given = [tensor.is_complex() for tensor in inputs], given or []
        self._original = function if given is None else None
        places: dict[Any, tuple[int, int]] = {}
        for index, tensor in enumerate(inputs):
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, torch.SymInt):
                    places.setdefault(size.node.expr, (index, axis))
        # sizes that are symbols are inputs too: torch's cache on disk keeps what a kernel assumes of its inputs alone
        self._sizes = [place for expression, place in places.items() if expression.is_Symbol]
        assert all(expression.free_symbols <= places.keys() for expression in places)
        with torch.no_grad(), shadows.mode:
            taken: list[Any] = [*self._sizes_of(inputs), *to_reals(inputs), *map(shadows.constant, literals)]
            graph, own = traced(lambda *tensors: self._on_reals(function, tensors[len(self._sizes) :]), taken)
        for node in graph.graph.find_nodes(op="placeholder"):
            # torch would take a graph with values for an exported one, and leave sizes aside
            node.meta.pop("val", None)
        self.complex = any(self._taken) or any(self._given)
        self._literals = (*literals, *own)
        # the graph has all casts that there are to be
        with torch.autocast("cpu", enabled=False), kept_between_rounds():
            self._call: Any = compile_fx(graph, [*taken, *map(shadows.constant, own)], config_patches=options)

    def _on_reals(self, function: Callable[..., Sequence[Tensor]], reals: Sequence[Tensor]) -> Sequence[Tensor]:
        if self._original is None:
            return function(*reals)
        found = function(*from_reals(reals, self._taken))
        self._given = [tensor.is_complex() for tensor in found]
        return to_reals(found)

    def _sizes_of(self, inputs: Sequence[Tensor]) -> list[int]:
        return [inputs[index].shape[axis] for index, axis in self._sizes]

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Run it; no graph is recorded.

        Raises:
            Differs: If complex results are not those of the function, which is seen when it is first run.
        """
        sizes = self._sizes_of(inputs)
        if not self.complex:
            result: Sequence[Tensor] = self._call(*sizes, *inputs, *self._literals)
            return result
        found = from_reals(self._call(*sizes, *to_reals(inputs), *self._literals), self._given)
        if self._original is not None:
            with torch.no_grad():
                pairs = zip(found, self._original(*inputs), strict=True)
            if not agree([(a, b) for a, b in pairs if a.is_complex()]):
                raise Differs("complex numbers: what is compiled has other results than its operators have")
            self._original = None
        return found
