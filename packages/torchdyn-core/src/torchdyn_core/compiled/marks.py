"""Marks: named places in a captured graph, at which it is cut into pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from torchdyn_core.tree import Tree, flatten, unflatten

__all__ = ["Piece", "cut", "mark", "mark_tree", "marked"]


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def mark(value: Tensor, name: str) -> Tensor:
    """The tensor itself, as a node of its own that bears a name in the captured graph."""
    return value.clone()


def mark_tree(tree: Tree, name: str) -> Tree:
    """A tree whose tensors are marked `name.0`, `name.1`, ... in the order of its leaves."""
    parts, spec = flatten(tree)
    made, index = [], 0
    for part in parts:
        if isinstance(part, Tensor):
            made.append(mark(part, f"{name}.{index}"))
            index += 1
        else:
            made.append(part)
    return unflatten(made, spec)


def marked(graph: fx.GraphModule, name: str) -> list[str]:
    """The marks `name.0`, `name.1`, ... that a graph has, in order."""
    found = [node.args[1] for node in graph.graph.nodes if node.target is mark]
    own = [tag for tag in found if isinstance(tag, str) and tag.rpartition(".")[0] == name]
    return sorted(own, key=lambda tag: int(tag.rpartition(".")[2]))


class Piece:
    """A part of a captured graph: what leads from some marks, and from what the field reads, to other marks.

    Arguments:
        graph: A module that takes the tensors at the marks `given`, then those of `environment`, and returns those at
            the marks `wanted`.
        given: Marks that are inputs.
        wanted: Marks that are outputs.
        environment: Positions of the captured graph's own inputs that this part reads.
    """

    def __init__(self, graph: fx.GraphModule, given: list[str], wanted: list[str], environment: list[int]) -> None:
        self.graph, self.given, self.wanted, self.environment = graph, given, wanted, environment


def cut(captured: fx.GraphModule, given: Iterable[str], wanted: Iterable[str]) -> Piece:
    """Cut a piece out of a captured graph.

    Nothing in front of its end is left out, needed or not: at this level a node may matter beyond its value (autograd's
    modes, the levels of `torch.func`, `requires_grad_`). What is not needed goes when the piece is traced to kernels.

    Arguments:
        captured: The graph, with marks.
        given: Marks at which the piece begins.
        wanted: Marks at which it ends.
    """
    given, wanted = list(given), list(wanted)
    graph, values, ends = fx.Graph(), dict[fx.Node, Any](), dict[str, Any]()
    starts = {tag: _placeholder(graph, f"given_{index}") for index, tag in enumerate(given)}
    own = [node for node in captured.graph.nodes if node.op == "placeholder"]
    for index, node in enumerate(own):
        values[node] = _placeholder(graph, f"environment_{index}")
    for node in captured.graph.nodes:
        if set(wanted) <= ends.keys():
            break
        if node.op == "placeholder":
            continue
        if node.target is mark:
            source, tag = node.args
            ends[tag] = values[source]
            values[node] = starts.get(tag, values[source])
        else:
            values[node] = graph.node_copy(node, values.__getitem__)
    graph.output(tuple(ends[tag] for tag in wanted))
    environment = []
    for index, node in enumerate(own):
        if values[node].users:
            environment.append(index)
        else:
            graph.erase_node(values[node])
    return Piece(fx.GraphModule(captured, graph), given, wanted, environment)


def _placeholder(graph: fx.Graph, name: str) -> fx.Node:
    return graph.placeholder(name)
