"""Graphs whose small last axes are taken apart: columns in place of the tensors they make up.

A field of a few variables takes its state apart, computes with the columns, and stacks the result. The method between
two evaluations computes with the stacked state again, so a compiler writes every stage to memory, two numbers apart.
Element by element it makes no difference whether an operator sees the tensor or its columns; so operators here see the
columns, a stack is made only where something needs one, and a whole step becomes one pass over the rows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils import _pytree

from torchdyn_core.compiled.watch import written

__all__ = ["MOST", "in_columns"]

MOST = 4
"""Columns of a tensor that is taken apart: as many times its operators are repeated."""

aten = torch.ops.aten


class Split(NamedTuple):
    """A tensor in columns.

    Arguments:
        axis: The axis that is taken apart, from 0.
        columns: Nodes of its columns, which lack that axis.
    """

    axis: int
    columns: list[fx.Node]


def in_columns(graph: fx.GraphModule) -> bool:
    """Rewrite a graph of aten operators; one that writes to what it has computed itself stays as it is.

    Arguments:
        graph: As `make_fx` traced it, with fake tensors.

    Returns:
        Whether anything was taken apart.
    """
    changed = {node for op in graph.graph.nodes for node in _written(op)}
    if not all(node.op == "placeholder" for node in changed):
        return False
    rewriting = _Rewriting(graph.graph, changed)
    rewriting.run()
    graph.recompile()
    return rewriting.changed


class _Sum(NamedTuple):
    """A tensor that is a sum over axes of another.

    Arguments:
        summand: What is summed, in columns.
        axes: Over which of its axes, from 0.
        shape: Of the sum.
    """

    summand: Split
    axes: list[int]
    shape: torch.Size


class _Rewriting:
    """One pass over a graph, from first node to last.

    Arguments:
        graph: What is rewritten.
        written: Inputs that it writes to, whose entries are no constants.
    """

    def __init__(self, graph: fx.Graph, written: set[fx.Node]) -> None:
        self._graph, self._volatile = graph, set(written)
        self._splits: dict[fx.Node, Split] = {}
        self._replaced: dict[fx.Node, fx.Node] = {}
        self._sums: dict[fx.Node, _Sum] = {}
        self._made: set[fx.Node] = set()

    def run(self) -> None:
        """Rewrite."""
        rules: dict[Any, Callable[[fx.Node], Split | fx.Node | None]] = {
            aten.stack.default: self._stack, aten.cat.default: self._cat, aten.flip.default: self._flip,
            aten.slice.Tensor: self._slice, aten.select.int: self._select, aten.detach.default: self._same,
            aten.sum.default: self._sum, aten.sum.dim_IntList: self._sum_along, operator.getitem: self._getitem,
            aten.view.default: self._view, aten.add.Tensor: self._add,
        }  # fmt: skip
        for node in list(self._graph.nodes):
            if node.op != "call_function":
                continue
            if self._is_view(node):
                self._volatile.add(node)
            rule = rules.get(node.target, self._pointwise if _is_pointwise(node.target) else None)
            if rule is None:
                continue
            with self._graph.inserting_before(node):
                found = rule(node)
            if isinstance(found, Split):
                self._splits[node] = found
            elif found is not None:
                self._replaced[node] = found
        self._clean()

    @property
    def changed(self) -> bool:
        """Whether operators were repeated for columns."""
        return any(_is_pointwise(node.target) for node in self._splits)

    def _clean(self) -> None:
        """Let what was not rewritten read stacks, and drop what nothing reads."""
        for node in reversed(list(self._graph.nodes)):
            split = self._splits.get(node)
            if node in self._replaced:
                node.replace_all_uses_with(self._replaced[node])
            elif split is not None and node.users and node.target is not aten.stack.default:
                with self._graph.inserting_before(node):
                    node.replace_all_uses_with(self._call(aten.stack.default, split.columns, split.axis))
            pure = (
                node in self._made or node in self._splits or node in self._replaced or node.target is aten.unbind.int
            )
            if pure and not node.users:
                self._graph.erase_node(node)

    def _call(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """A new node."""
        node = self._graph.call_function(target, args, kwargs)
        values = _pytree.tree_map(lambda a: a.meta["val"] if isinstance(a, fx.Node) else a, (args, kwargs))
        node.meta["val"] = target(*values[0], **values[1])
        self._made.add(node)
        return node

    def _is_view(self, node: Any) -> bool:
        """Whether a node may show what is written to later."""
        schema = getattr(node.target, "_schema", None)
        views = schema is None or any(argument.alias_info is not None for argument in schema.arguments)
        return views and any(source in self._volatile for source in node.all_input_nodes)

    def _apart(self, node: Any, axis: int) -> list[fx.Node] | None:
        """The columns of any tensor along an axis, if it has few and none is written to."""
        split = self._splits.get(node)
        if split is not None and split.axis == axis:
            return split.columns
        size = _value(node).shape[axis]
        if not isinstance(size, int) or not 1 <= size <= MOST or node in self._volatile:
            return None
        return [self._call(aten.select.int, node, axis, index) for index in range(size)]

    def _stack(self, node: Any) -> Split | None:
        parts, axis = node.args[0], _axis(node, 1, 0)
        # numbers are no columns: as tensors of their own they take longer than the vector that they make up
        few = len(parts) <= MOST and _value(parts[0]).dim()
        return Split(axis, list(parts)) if few and not self._volatile.intersection(parts) else None

    def _cat(self, node: Any) -> Split | None:
        axis, out = _axis(node, 1, 0), _value(node)
        alike = all(_value(part).dim() == out.dim() and _value(part).dtype == out.dtype for part in node.args[0])
        if not alike or out.dim() == 1 or not isinstance(out.shape[axis], int) or out.shape[axis] > MOST:
            return None
        parts = [self._apart(part, axis) for part in node.args[0] if _value(part).shape[axis]]
        found = [columns for columns in parts if columns is not None]
        return Split(axis, [column for columns in found for column in columns]) if len(found) == len(parts) else None

    def _flip(self, node: Any) -> Split | None:
        source, (first, *more) = node.args[:2]
        axis = first % _value(node).dim()
        columns = None if more or _value(node).dim() == 1 else self._apart(source, axis)
        return None if columns is None else Split(axis, columns[::-1])

    def _slice(self, node: Any) -> Split | None:
        split, axis = self._splits.get(node.args[0]), _axis(node, 1, 0)
        bounds = [*node.args[2:], *(None, None, None)][:3]
        if split is None or split.axis != axis or not all(b is None or isinstance(b, int) for b in bounds):
            return None
        columns = split.columns[slice(*bounds)]
        return Split(axis, columns) if columns else None

    def _select(self, node: Any) -> fx.Node | None:
        split = self._splits.get(node.args[0])
        return split.columns[node.args[2]] if split is not None and split.axis == _axis(node, 1, 0) else None

    def _getitem(self, node: Any) -> fx.Node | None:
        source: Any = node.args[0]
        if getattr(source, "target", None) is not aten.unbind.int:
            return None
        tensor = source.args[0]
        axis = (source.args[1] if len(source.args) > 1 else 0) % _value(tensor).dim()
        split = self._splits.get(tensor)
        return split.columns[node.args[1]] if split is not None and split.axis == axis else None

    def _same(self, node: Any) -> Split | None:
        return self._splits.get(node.args[0])

    def _sum(self, node: Any) -> fx.Node | None:
        total = self._added(node)
        return None if total is None else self._call(aten.sum.default, total)

    def _sum_along(self, node: Any) -> Split | fx.Node | None:
        source, split = node.args[0], self._splits.get(node.args[0])
        if split is None or not node.args[1] or node.kwargs:
            return None
        axes = sorted(axis % _value(source).dim() for axis in node.args[1])
        if split.axis not in axes:
            return self._summed(node, split, axes)
        if len(node.args) > 2:  # axes are kept
            return None
        left = [axis - (axis > split.axis) for axis in axes if axis != split.axis]
        total = self._added(node)
        return self._call(aten.sum.dim_IntList, total, left) if total is not None and left else total

    def _summed(self, node: Any, summand: Split, axes: list[int]) -> Split | fx.Node | None:
        """A sum over axes other than that of the columns."""
        out, first = _value(node), _value(summand.columns[0])
        left = [axis - (axis > summand.axis) for axis in axes]
        if out.dtype != first.dtype or (len(summand.columns) == 1 and out.dim() != first.dim() + 1 - len(left)):
            return None
        self._sums[node] = _Sum(summand, axes, out.shape)
        columns = [self._call(aten.sum.dim_IntList, column, left) for column in summand.columns]
        axis = summand.axis - sum(axis < summand.axis for axis in axes)
        if len(columns) > 1:  # axes may have been kept, and taken away or added by views
            axis = _wide(out.shape)[len(_wide(_value(columns[0]).shape[:axis]))]
        return self._shaped(columns, axis, out)

    def _view(self, node: Any) -> Split | fx.Node | None:
        """Axes of size one come and go."""
        source, out = node.args[0], _value(node)
        split, wide = self._splits.get(source), _wide(_value(source).shape)
        if split is None or len(split.columns) == 1:
            return None
        if [out.shape[axis] for axis in _wide(out.shape)] != [_value(source).shape[axis] for axis in wide]:
            return None
        if source in self._sums:
            self._sums[node] = self._sums[source]._replace(shape=out.shape)
        return self._shaped(split.columns, _wide(out.shape)[wide.index(split.axis)], out)

    def _shaped(self, columns: Sequence[fx.Node], axis: int, out: Tensor) -> Split | fx.Node:
        """Columns of a tensor, which may differ from them in axes of size one; numbers are put together."""
        shape = (*out.shape[:axis], *out.shape[axis + 1 :])
        if tuple(_value(columns[0]).shape) != shape:
            narrow = [place for place, size in enumerate(_value(columns[0]).shape) if size == 1]
            columns = [self._call(aten.squeeze.dims, column, narrow) for column in columns] if narrow else columns
            for place in (place for place, size in enumerate(shape) if size == 1):
                columns = [self._call(aten.unsqueeze.default, column, place) for column in columns]
        return Split(axis, list(columns)) if shape else self._call(aten.stack.default, columns)

    def _add(self, node: Any) -> Split | fx.Node | None:
        """A sum of sums over the same axes is one sum: a gradient that every stage contributes to."""
        first, second = (self._sums.get(argument) for argument in node.args)
        if first is None or second is None or node.kwargs or first[1:] != second[1:]:
            return self._pointwise(node)
        (axis, left), (other, right) = first.summand, second.summand
        if axis != other or any(_kind(a) != _kind(b) for a, b in zip(left, right, strict=True)):
            return self._pointwise(node)
        total = Split(axis, [self._call(aten.add.Tensor, a, b) for a, b in zip(left, right, strict=True)])
        return self._summed(node, total, first.axes)

    def _added(self, node: Any) -> fx.Node | None:
        """The sum of a tensor's columns, where that is of the same kind as the sum of its entries."""
        split = self._splits.get(node.args[0])
        if split is None or node.kwargs or _value(node).dtype != _value(node.args[0]).dtype:
            return None
        total, *rest = split.columns
        for column in rest:
            total = self._call(aten.add.Tensor, total, column)
        return total

    def _pointwise(self, node: Any) -> Split | None:
        tensors = [part for part in node.args if isinstance(part, fx.Node) and isinstance(_value(part), Tensor)]
        split = next((self._splits[source] for source in tensors if source in self._splits), None)
        out = _value(node)
        if split is None or not isinstance(out, Tensor) or any(isinstance(v, fx.Node) for v in node.kwargs.values()):
            return None
        source = next(source for source in tensors if source in self._splits)
        axis, count = split.axis + out.dim() - _value(source).dim(), len(split.columns)
        if out.shape[axis] != count:
            return None
        alike = len({_value(t).dtype for t in tensors if _value(t).dtype != torch.bool}) == 1
        found = [self._operand(argument, axis, out.dim(), count, alike) for argument in node.args]
        operands = [columns for columns in found if columns is not None]
        if len(operands) < len(found):
            return None
        kwargs = {key: value for key, value in node.kwargs.items() if key != "memory_format"}
        made = [self._call(node.target, *(columns[i] for columns in operands), **kwargs) for i in range(count)]
        return Split(axis, made)

    def _operand(self, argument: Any, axis: int, dims: int, count: int, alike: bool) -> Sequence[Any] | None:
        """What each column of a result is made of, for one operand; None if it cannot be taken apart."""
        if not isinstance(argument, fx.Node):
            return None if isinstance(argument, (list, tuple)) else [argument] * count
        value = _value(argument)
        if not isinstance(value, Tensor):  # a number that is made of sizes
            return [argument] * count
        own = axis - (dims - value.dim())
        if own < 0:  # it lacks the axis, and all axes before
            return [argument] * count
        if value.dim() == 1 and not alike:  # dtypes are promoted otherwise where its entries are numbers
            return None
        columns = self._apart(argument, own)
        return columns * count if columns is not None and len(columns) == 1 else columns


def _is_pointwise(target: Any) -> bool:
    if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable:
        return False
    return torch.Tag.pointwise in target.tags and torch.Tag.nondeterministic_seeded not in target.tags


def _written(node: Any) -> list[fx.Node]:
    """The inputs of a node that it writes to."""
    return [value for value in written(node.target, node.args, node.kwargs) if isinstance(value, fx.Node)]


def _value(node: Any) -> Tensor:
    value: Tensor = node.meta["val"]
    return value


def _wide(shape: Sequence[Any]) -> list[int]:
    """Axes that are longer than one."""
    return [axis for axis, size in enumerate(shape) if size != 1]


def _kind(node: Any) -> tuple[Any, torch.dtype]:
    return _value(node).shape, _value(node).dtype


def _axis(node: Any, place: int, default: int) -> int:
    """An operator's axis, from 0."""
    axis: int = node.args[place] if len(node.args) > place else default
    like = node.args[0] if node.target is aten.select.int else node
    return axis % _value(like).dim()
