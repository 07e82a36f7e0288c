"""Kernels: functions of tensors, traced with shadows and compiled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._dynamo.source import ConstantSource
from torch._inductor.compile_fx import compile_fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from torchdyn_core.compiled.elementary import DECOMPOSITIONS

__all__ = ["COMPILING", "OPTIONS", "Kernel", "Shadows", "concrete", "traced"]

OPTIONS: dict[str, Any] = {
    "cpp_wrapper": True,
    # torch keeps on disk what it compiled from operators that it knows to be given by their inputs alone; so are loops
    # over graphs of such operators, which are a part of the key
    "unsafe_marked_cacheable_functions": {"torch.ops.higher_order.while_loop": ""},
}

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
        shadow = self.mode.from_tensor(
            real.detach(),
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes),
            source=ConstantSource(f"input_{self._count}"),
        )
        for axis, size in enumerate(shadow.shape):
            if isinstance(size, torch.SymInt):
                self._symbols.setdefault(size.node.expr, (self._count, axis))
        self._count += 1
        return shadow

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


def traced(function: Callable[..., Any], inputs: Sequence[Tensor]) -> fx.GraphModule:
    """A function as a graph of aten operators."""
    graph: fx.GraphModule = make_fx(function, decomposition_table=DECOMPOSITIONS)(*inputs)
    return graph


class Kernel:
    """A function of tensors, compiled.

    Arguments:
        function: Takes and returns tensors; traced once.
        shadows: The mode that `inputs` belong to.
        inputs: Fake tensors, each of its own.
        options: Of the compiler.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], shadows: Shadows, inputs: list[Tensor],
        options: dict[str, Any] = OPTIONS,
    ) -> None:  # fmt: skip
        places: dict[Any, tuple[int, int]] = {}
        for index, tensor in enumerate(inputs):
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, torch.SymInt):
                    places.setdefault(size.node.expr, (index, axis))
        # sizes that are symbols are inputs too: torch's cache on disk keeps what a kernel assumes of its inputs alone
        self._sizes = [place for expression, place in places.items() if expression.is_Symbol]
        assert all(expression.free_symbols <= places.keys() for expression in places)
        given: list[Any] = [*self._sizes_of(inputs), *inputs]
        with torch.no_grad(), shadows.mode:
            graph = traced(lambda *all: function(*all[len(self._sizes) :]), given)
        for node in graph.graph.find_nodes(op="placeholder"):
            del node.meta["val"]  # torch would take a graph with values for an exported one, and leave sizes aside
        self._call: Any = compile_fx(graph, given, config_patches=options)

    def _sizes_of(self, inputs: Sequence[Tensor]) -> list[int]:
        return [inputs[index].shape[axis] for index, axis in self._sizes]

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Run it; no graph is recorded."""
        result: Sequence[Tensor] = self._call(*self._sizes_of(inputs), *inputs)
        return result
