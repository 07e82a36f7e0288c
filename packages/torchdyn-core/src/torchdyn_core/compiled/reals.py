"""Graphs over complex numbers, rewritten over their real and imaginary parts.

Torch's compiler has no code for complex numbers: it leaves every operator on them to a call, and loops fail on those.
As parts they are real tensors like all others: whole steps are fused, and small last axes taken apart.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree

from torchdyn_core.compiled.pairs import CALLED, RULES, WRITES, Pair, stacked, view_as_complex
from torchdyn_core.compiled.watch import written
from torchdyn_core.errors import IncompatibleError
from torchdyn_core.field import real_dtype

__all__ = ["from_reals", "in_reals", "to_reals"]

aten = torch.ops.aten


def to_reals(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors with complex ones shown as real ones, `(*shape, 2)`: the same memory."""
    return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors]


def from_reals(tensors: Sequence[Tensor], complexes: Sequence[bool]) -> list[Tensor]:
    """Inverse of `to_reals`; tensors behind the flags stay as they are."""
    shown = [torch.view_as_complex(t) if flag else t for t, flag in zip(tensors, complexes, strict=False)]
    return [*shown, *tensors[len(shown) :]]


def in_reals(graph: fx.GraphModule, table: Mapping[Any, Callable[..., Any]]) -> fx.GraphModule:
    """The same function with pairs of real tensors in place of complex ones.

    Arguments:
        graph: As `make_fx` traced it, with fake tensors. What it takes and gives is real: complex numbers begin in it
            by `view_as_complex` and end by `view_as_real`.
        table: What operators are replaced by.

    Raises:
        IncompatibleError: If there is no rule for an operator, or a part of a complex tensor is written to in place.
    """
    nodes = list(graph.graph.nodes)
    if not any(_is_complex(node) for node in nodes):
        return graph
    inputs = [node.meta["val"] for node in nodes if node.op == "placeholder"]
    rewritten: fx.GraphModule = make_fx(_Rewriting(graph).run, decomposition_table=dict(table))(*inputs)
    return rewritten


class _Rewriting(fx.Interpreter):
    """Runs a graph with pairs in place of complex tensors."""

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node."""
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        packet = getattr(n.target, "overloadpacket", n.target)
        if any(value is not n.args[0] for value in written(n.target, n.args, n.kwargs)):  # `out=`, or several at once
            raise IncompatibleError(f"complex numbers: the field writes by an operator without a rule ({n.target})")
        if _mutates(n) and any(map(_is_complex, shown := _shown(n))):
            views = [node for node in shown if _is_view(node) and node < n]
            mine = isinstance(args[0], Pair) and args[0].memory is not None
            if mine and packet in WRITES and all(view.target is aten.view_as_complex.default for view in views):
                return WRITES[packet](*args)
            if views:  # parts are copies as often as not, and would not show what is written
                raise IncompatibleError(f"complex numbers: the field writes to a part of a tensor ({n.target})")
            pure = getattr(aten, str(packet).removeprefix("aten.").removesuffix("_"), packet)
            value = self._value(n, pure, args, kwargs)
            self.env.update({node: value for node in shown if node < n})  # nothing else shows what was written to
            return value
        if _is_complex(n) or any(isinstance(leaf, Pair) for leaf in _pytree.tree_leaves((args, kwargs))):
            return self._value(n, packet, args, kwargs)
        return super().run_node(n)

    def _value(self, n: fx.Node, packet: Any, args: Any, kwargs: Any) -> Any:
        rule = RULES.get(packet)
        if rule is not None:
            out = _pytree.tree_leaves(n.meta.get("val"))[0]
            return rule(real_dtype(out) if isinstance(out, Tensor) else None, *args, **kwargs)
        if packet not in CALLED:
            raise IncompatibleError(f"complex numbers: compiled solves have no rule for the operator {n.target}")
        args, kwargs = _pytree.tree_map(_complex, (args, kwargs))
        return _pytree.tree_map(_paired, n.target(*args, **kwargs))  # type: ignore[operator]


def _is_complex(node: fx.Node) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in _pytree.tree_leaves(node.meta.get("val")))


def _mutates(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _is_view(node: fx.Node) -> bool:
    """Whether a node may show what another one holds."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return node.target is operator.getitem
    return not schema.is_mutable and any(argument.alias_info is not None for argument in schema.arguments)


def _shown(node: fx.Node) -> list[fx.Node]:
    """Nodes that show what a node writes to."""
    root: Any = node
    while _mutates(root) or _is_view(root):
        root = root.args[0]
    found = [root]
    for other in found:
        found += [user for user in other.users if user.args[0] is other and (_mutates(user) or _is_view(user))]
    return found


def _complex(value: Any) -> Any:
    return torch.view_as_complex(stacked(value)) if isinstance(value, Pair) else value


def _paired(value: Any) -> Any:
    whole = isinstance(value, Tensor) and value.is_complex()
    return view_as_complex(torch.view_as_real(value)) if whole else value
