"""Captures: graphs of a solve's body, guarded by Dynamo, and the engines that serve them.

Dynamo traces the body once and guards everything that the trace has read: attributes, globals, closed-over values,
modes, shapes, dtypes. What the field holds in tensors are inputs of the graph, handed over at every call. So whatever
changes is either an input, or makes Dynamo trace again. The graph goes to a backend of ours, which does not run it: it
hands graph and inputs over to the solve that asked.
"""

from __future__ import annotations

import functools
import itertools
import threading
import types
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._sympy.symbol import SymT, symbol_is_type

from torchdyn_core.compiled.body import Inputs, Shapes, Task, Untraced, body
from torchdyn_core.compiled.engine import Engine, Signature
from torchdyn_core.compiled.guards import Guards
from torchdyn_core.compiled.kernel import COMPILING
from torchdyn_core.errors import IncompatibleError, warn_once
from torchdyn_core.tableau import ButcherTableau
from torchdyn_core.tree import leaves

__all__ = ["Captured", "Key", "capture", "configuration", "refuse", "refused"]

Key = tuple[Any, ...]

LIMIT = 32
"""Captures of one configuration; more mean that a value which the field reads changes with every solve."""

_handed = threading.local()


class Captured:
    """One captured graph and its engines.

    Arguments:
        graph: As Dynamo traced it, with marks.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        for node in graph.graph.nodes:
            if _is_of_a_value(node):
                raise IncompatibleError(
                    f"the field makes a Python number of a tensor, or of a NumPy number{_line(node)}; wanted it left a "
                    "tensor, or a Python number from the start"
                )
        self.graph = fx.GraphModule(graph, graph.graph)  # not the lazy kind
        self.signature = _signature(graph)
        self._loose = any(map(any, self.signature.moving))
        self._engines: list[Engine] = []

    def engine(self, shapes: Shapes, inputs: Inputs, flat: Sequence[Any], rows: int) -> Engine:
        """The engine for these inputs: the first one that admits their sizes."""
        with COMPILING:
            for engine in self._engines:
                if not self._loose or engine.admits(flat, rows):
                    return engine
            signature = self.signature
            if self._engines:  # what the symbols were assumed to be does not hold for these: sizes are constants
                signature = Signature([[False] * len(axes) for axes in signature.moving], signature.sizes)
            made = Engine(self.graph, signature, shapes, inputs, flat)
            made.inspect()
            self._engines.append(made)
            return made


def _is_of_a_value(node: fx.Node) -> bool:
    """Whether a node is a number that is made of a tensor's value, as `item()` and `float(tensor)` are."""
    value = node.meta.get("example_value")
    if not isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return False
    return any(symbol_is_type(symbol, _VALUES) for symbol in value.node.expr.free_symbols)


_VALUES = (SymT.FLOAT, SymT.UNBACKED_FLOAT, SymT.UNBACKED_INT)
"""Symbols that are no sizes."""


def _line(node: fx.Node) -> str:
    """Where in the field's text a node comes from."""
    frames = [line.strip() for line in (node.stack_trace or "").splitlines() if line.strip().startswith("File ")]
    own = [frame for frame in frames if "torchdyn_core" not in frame]
    return f" ({own[-1]})" if own else ""


def configuration(task: Task, inputs: Inputs) -> Key:
    """What tells configurations apart: those of one key share a set of guarded graphs."""
    states = tuple((leaf.shape[1:], leaf.dtype) for leaf in leaves(inputs.y0))
    kind = task.layout, task.dense, task.adjoint is None, inputs.jumps is None
    return (*(id(owner) for owner in _owners(task)), *kind, states)


def capture(key: Key, task: Task, inputs: Inputs) -> tuple[Captured, Shapes, tuple[Any, ...]]:
    """The captured graph that holds for a task now, captured if need be, and its inputs.

    Arguments:
        key: The configuration.
        task: What to capture.
        inputs: Of the solve.
    """
    with COMPILING, torch.enable_grad():
        try:
            guarded = _guarded(key, task)
            if not guarded.guards.stand():
                _forget(key)
                raise Untraced
            shapes, _ = guarded.known(task, inputs)
        except Untraced:
            shapes = _traced(key, task, inputs)
    captured, flat = _handed.found
    del _handed.found
    return captured, shapes, flat


def _traced(key: Key, task: Task, inputs: Inputs) -> Shapes:
    """Capture what no graph holds for.

    Raises:
        IncompatibleError: If Dynamo is kept from tracing.
    """
    shapes: Shapes
    guarded, field = _guarded(key, task), _identity(task)
    with _config(LIMIT), warnings.catch_warnings():
        # Dynamo looks at `grad` of all inputs: what a field has drawn, or was given, may have been computed
        warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")
        try:
            guarded.captures[id(field)] += 1
            shapes, _ = guarded.traced(task, inputs)
        except torch._dynamo.exc.FailOnRecompileLimitHit:
            if 2 * guarded.captures[id(field)] > LIMIT:  # else there are that many fields of one class
                owner = _owners(task)[0]
                name = getattr(owner, "__qualname__", None) or getattr(owner, "co_qualname", "the field")
                warn_once(
                    f"compile: {name} was captured {guarded.captures[id(field)]} times, since a Python value that it "
                    "reads changes with every solve; wanted it as a tensor, through args= or as a buffer"
                )
            _forget(key)
            shapes, _ = _guarded(key, task).traced(task, inputs)
        except Untraced:
            raise IncompatibleError(
                "torch.compile is switched off, by torch.compiler.set_stance or TORCHDYNAMO_DISABLE; wanted it on"
            ) from None
    return shapes


def _owners(task: Task) -> list[object]:
    """What captures are kept with: codes of functions, classes of the rest, a method's coefficients."""
    parts = (task.source, task.solver, task.controller, task.integral_loss)
    owners = [_owner(part) for part in parts]
    tableau = getattr(task.solver, "tableau", None)
    return [*owners, tableau] if isinstance(tableau, ButcherTableau) else owners


def _owner(part: Any) -> object:
    while isinstance(part, (types.MethodType, functools.partial)):
        part = part.__func__ if isinstance(part, types.MethodType) else part.func
    return part.__code__ if isinstance(part, types.FunctionType) else type(part)


class _Guarded(NamedTuple):
    """The body under Dynamo's guards.

    Arguments:
        known: Only where guards hold of a graph; raises `Untraced` else. Takes half as long as the other.
        traced: Traces it where none do.
        guards: Whose methods have to be the same, too.
        captures: How often which field was captured.
    """

    known: Callable[..., Any]
    traced: Callable[..., Any]
    guards: Guards
    captures: Counter[int]


_functions: dict[Key, _Guarded] = {}
_refused: set[tuple[Key, int]] = set()
_numbers = itertools.count()


def _guarded(key: Key, task: Task) -> _Guarded:
    """The body under guards, with a code object of its own, since guards are kept with the code."""
    made = _functions.get(key)
    if made is None:
        with COMPILING:
            if key not in _functions:
                # Dynamo keeps what it learns of sizes by name: one configuration is to know nothing of the others
                code = body.__code__.replace(co_name=f"body_{next(_numbers)}")
                own = types.FunctionType(code, body.__globals__, code.co_name)
                guards = Guards(task.solver, own.__globals__)
                options: dict[str, Any] = {"guard_filter_fn": guards}
                traced = torch.compile(own, backend=_backend, fullgraph=True, options=options)
                _functions[key] = _Guarded(torch._dynamo.run(own), traced, guards, Counter())
                for owner in _owners(task):
                    weakref.finalize(owner, _forget, key)
            made = _functions[key]
    return made


def _forget(key: Key) -> None:
    _functions.pop(key, None)


def refuse(key: Key, task: Task) -> None:
    """Remember a field that cannot be compiled: to find that out again would take a second each time."""
    field = _identity(task)
    _refused.add((key, id(field)))
    weakref.finalize(field, _refused.discard, (key, id(field)))


def refused(key: Key, task: Task) -> bool:
    """Whether this very field is known not to compile; a function is known by its code, a module by itself."""
    return (key, id(_identity(task))) in _refused


def _identity(task: Task) -> object:
    source = task.source
    return source.__code__ if isinstance(source, types.FunctionType) else source


def _backend(graph: fx.GraphModule, example_inputs: Sequence[Any]) -> Callable[..., list[Tensor]]:
    """What Dynamo calls with a graph; what it then calls in place of the graph."""
    captured = Captured(graph)
    nothing = torch.empty(0)
    count = len(graph.graph.output_node().args[0])  # type: ignore[arg-type]

    def hand_over(*flat: Any) -> list[Tensor]:
        _handed.found = captured, flat
        return [nothing] * count

    return hand_over


@functools.cache  # making one takes as long as entering it
def _config(limit: int) -> Any:
    """How Dynamo is to trace: numbers are constants that are guarded; a field may differentiate, not change itself."""
    return torch._dynamo.config.patch(
        specialize_float=True, specialize_int=True, trace_autograd_ops=True, side_effect_replay_policy="error",
        recompile_limit=limit, skip_nnmodule_hook_guards=False,
    )  # fmt: skip


def _signature(graph: fx.GraphModule) -> Signature:
    nodes = [node for node in graph.graph.nodes if node.op == "placeholder"]
    examples = [node.meta["example_value"] for node in nodes]
    moving = [
        [isinstance(size, torch.SymInt) for size in example.shape] if isinstance(example, Tensor) else []
        for example in examples
    ]
    sizes = {}
    for index, example in enumerate(examples):
        if isinstance(example, torch.SymInt) and nodes[index].users:  # where a view begins in memory is read by nobody
            sizes[index] = next(
                (place, axis)
                for place, other in enumerate(examples)
                if isinstance(other, Tensor)
                for axis, size in enumerate(other.shape)
                if isinstance(size, torch.SymInt) and size.node.expr == example.node.expr
            )
    return Signature(moving, sizes)
