"""Sums over neighbours, and products along edges: the two operations that everything here is made of.

Each is one of torch's fastest kernels for it (a bag of embeddings; a sampled product of matrices), each is the other's
derivative, and both are registered with torch as operations of their own: they are differentiated as often as one
likes, and compilers take them as they are. On other devices than the CPU, and under forward mode and the transforms of
`torch.func`, for which torch has no rule of such operations, they are written with gathers and scatters.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import ShapeError
from torchdyn_graph.transforms import transformed

__all__ = ["Incidence", "along_edges", "from_neighbours", "largest_into"]


@dataclass(frozen=True, eq=False)
class Incidence:
    """Which edges come into each node, and which go out.

    Attributes:
        source: Sources of edges that are sorted by target.
        into: Where each node's incoming edges begin among these; one number more than there are nodes.
        turn: Places, in this order, of edges that are sorted by source.
        target: Targets of edges that are sorted by source.
        out: Where each node's outgoing edges begin among these.
        back: Places, in the second order, of edges in the first one.
        ends: Targets of edges that are sorted by target.
    """

    source: Tensor
    into: Tensor
    turn: Tensor
    target: Tensor
    out: Tensor
    back: Tensor
    ends: Tensor

    @staticmethod
    def of(source: Tensor, target: Tensor, nodes: int) -> Incidence:
        """That of edges which are sorted by target."""
        turn = source.argsort(stable=True)
        back = torch.empty_like(turn)
        back[turn] = torch.arange(len(turn), device=turn.device)
        return Incidence(source, _bounds(target, nodes), turn, target[turn], _bounds(source, nodes), back, target)

    def parts(self) -> tuple[Tensor, ...]:
        """All of it, as the operations take it."""
        return self.source, self.into, self.turn, self.target, self.out, self.back, self.ends


def from_neighbours(x: Tensor, weight: Tensor, edges: Incidence, turned: Tensor | None = None) -> Tensor:
    """For each node the weighted sum of what its neighbours have: `out[i] = sum over edges (j, i) of weight x[j]`.

    Arguments:
        x: What nodes have.
        weight: Of edges that are sorted by target.
        edges: Which these are.
        turned: The weights of edges that are sorted by source, `weight[edges.turn]`, where they are known and need no
            gradient: a backward pass has them gathered else.

    Shapes:
        x: `(N, D)`.  weight, turned: `(E,)`.  output: `(N, D)`.

    Raises:
        ShapeError: If there is not a weight for each edge.

    Example:
        >>> import torch
        >>> from torchdyn_graph.neighbours import Incidence, from_neighbours
        >>> edges = Incidence.of(torch.tensor([1, 2]), torch.tensor([0, 0]), 3)
        >>> from_neighbours(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 10.0]), edges).tolist()
        [[32.0], [0.0], [0.0]]
    """
    _check_edges(weight, edges)
    x, weight = _promoted(x, weight)
    if transformed():
        return _gathered(x, weight, None, edges.source, edges.into)
    turned = None if turned is None else turned.to(weight.dtype)
    made: Tensor = torch.ops.torchdyn_graph.from_neighbours(x, weight, turned, *edges.parts())
    return made


def along_edges(y: Tensor, x: Tensor, edges: Incidence) -> Tensor:
    """For each edge the product of what its ends have: `out[(j, i)] = y[i] . x[j]`.

    Arguments:
        y: What nodes have as targets.
        x: What nodes have as sources.
        edges: Which edges, sorted by target.

    Shapes:
        y, x: `(N, D)`.  output: `(E,)`.

    Example:
        >>> import torch
        >>> from torchdyn_graph.neighbours import Incidence, along_edges
        >>> edges = Incidence.of(torch.tensor([1, 2]), torch.tensor([0, 0]), 3)
        >>> x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> along_edges(10 * x, x, edges).tolist()
        [20.0, 30.0]
    """
    y, x = _promoted(y, x)
    if transformed():
        return _products(y, x, edges.source, edges.into)
    made: Tensor = torch.ops.torchdyn_graph.along_edges(y, x, *edges.parts())
    return made


def largest_into(values: Tensor, edges: Incidence) -> Tensor:
    """For each node the largest of what the edges have that come into it, `-inf` where there are none; no gradient.

    Shapes:
        values: `(E,)`, edges sorted by target.  output: `(N,)`.

    Example:
        >>> import torch
        >>> from torchdyn_graph.neighbours import Incidence, largest_into
        >>> edges = Incidence.of(torch.tensor([1, 2]), torch.tensor([0, 0]), 3)
        >>> largest_into(torch.tensor([4.0, 5.0]), edges).tolist()
        [5.0, -inf, -inf]
    """
    if transformed():
        none = values.new_full((len(edges.into) - 1,), -torch.inf)
        return none.scatter_reduce(0, edges.ends, values, "amax")
    return torch.segment_reduce(values, "max", offsets=edges.into, unsafe=True, initial=-torch.inf)


def _check_edges(weight: Tensor, edges: Incidence) -> None:
    if weight.shape != edges.source.shape:
        raise ShapeError(f"weights of edges are {tuple(weight.shape)}; wanted ({len(edges.source)},)")


def _promoted(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one dtype: autocast computes some things in a smaller one, sums not among them."""
    if one.dtype == other.dtype:
        return one, other
    dtype = torch.promote_types(one.dtype, other.dtype)
    return one.to(dtype), other.to(dtype)


def _bounds(ends: Tensor, nodes: int) -> Tensor:
    bounds = torch.zeros(nodes + 1, dtype=torch.long, device=ends.device)
    torch.cumsum(torch.bincount(ends, minlength=nodes), 0, out=bounds[1:])
    return bounds


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch says once a process that its sparse rows are young
    _ = torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)

_EDGES = "Tensor source, Tensor into, Tensor turn, Tensor target, Tensor out, Tensor back, Tensor? ends"
_VECTOR = 8
"""Rows of fewer numbers than a vector of the processor holds."""
_LIBRARY = torch.library.Library("torchdyn_graph", "DEF")
_LIBRARY.define(f"from_neighbours(Tensor x, Tensor weight, Tensor? turned, {_EDGES}) -> Tensor")
_LIBRARY.define(f"along_edges(Tensor y, Tensor x, {_EDGES}) -> Tensor")


def _targets(source: Tensor, into: Tensor) -> Tensor:
    nodes = torch.arange(len(into) - 1, device=into.device)
    return nodes.repeat_interleave(into.diff(), output_size=len(source))


def _gathered(
    x: Tensor, weight: Tensor, turned: Tensor | None, source: Tensor, into: Tensor, *rest: Tensor | None
) -> Tensor:
    out = x.new_zeros((len(into) - 1, x.shape[1]))
    return out.index_add(0, _targets(source, into), x[source] * weight[:, None])


def _bagged(
    x: Tensor, weight: Tensor, turned: Tensor | None, source: Tensor, into: Tensor, *rest: Tensor | None
) -> Tensor:
    if not len(source) or not x.shape[1] or x.is_complex():
        return _gathered(x, weight, turned, source, into)
    made: Tensor = torch.ops.aten._embedding_bag(x.contiguous(), source, into, False, 0, False, weight, True, -1)[0]
    return made


def _products(y: Tensor, x: Tensor, source: Tensor, into: Tensor, *rest: Tensor | None) -> Tensor:
    return (y[_targets(source, into)] * x[source]).sum(-1)


def _sampled(y: Tensor, x: Tensor, source: Tensor, into: Tensor, *rest: Tensor | None) -> Tensor:
    if not (
        len(source) and x.shape[1] and x.dtype in (torch.float32, torch.float64) and torch.backends.mkl.is_available()
    ):
        return _products(y, x, source, into)
    if x.shape[1] < _VECTOR:
        # the product that a bag's backward pass takes: less to do about each one, but one number at a time
        ends = rest[-1] if rest and rest[-1] is not None else _targets(source, into)
        made: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(y, x, source, into, ends, 0)
        return made
    ones = y.new_ones(len(source))
    pattern = torch.sparse_csr_tensor(into, source, ones, (len(y), len(x)), check_invariants=False)
    made = torch.sparse.sampled_addmm(pattern, y, x.mT, beta=0.0).values()
    return made


_LIBRARY.impl("from_neighbours", _gathered, "CompositeExplicitAutograd")
_LIBRARY.impl("from_neighbours", _bagged, "CPU")
_LIBRARY.impl("along_edges", _products, "CompositeExplicitAutograd")
_LIBRARY.impl("along_edges", _sampled, "CPU")


def _from_neighbours_shape(
    x: Tensor, weight: Tensor, turned: Tensor | None, source: Tensor, into: Tensor, *rest: Tensor
) -> Tensor:
    return x.new_empty((into.shape[0] - 1, x.shape[1]))


def _along_edges_shape(y: Tensor, x: Tensor, source: Tensor, *rest: Tensor | None) -> Tensor:
    return y.new_empty(source.shape)


torch.library.register_fake("torchdyn_graph::from_neighbours", _from_neighbours_shape, lib=_LIBRARY)
torch.library.register_fake("torchdyn_graph::along_edges", _along_edges_shape, lib=_LIBRARY)


def _keep(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _from_neighbours_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, turned, source, into, turn, target, out, back, ends = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    ops, edges = torch.ops.torchdyn_graph, (source, into, turn, target, out, back, ends)
    for_x = None
    if wanted[0]:
        known = turned is not None
        first, second = (turned.conj(), weight.conj()) if known else (weight.index_select(0, turn).conj(), None)
        for_x = ops.from_neighbours(grad, first, second, target, out, back, source, into, turn, None)
    for_weight = ops.along_edges(grad, x.conj(), *edges) if wanted[1] else None
    return for_x, for_weight, *(None,) * 8


def _along_edges_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    y, x, source, into, turn, target, out, back, ends = ctx.saved_tensors
    edges, wanted = (source, into, turn, target, out, back, ends), ctx.needs_input_grad
    sums = torch.ops.torchdyn_graph.from_neighbours
    for_y = sums(x.conj(), grad, None, *edges) if wanted[0] else None
    turned = target, out, back, source, into, turn, None
    for_x = sums(y.conj(), grad.index_select(0, turn), None, *turned) if wanted[1] else None
    return for_y, for_x, *(None,) * 7


torch.library.register_autograd(
    "torchdyn_graph::from_neighbours", _from_neighbours_back, setup_context=_keep, lib=_LIBRARY
)
torch.library.register_autograd("torchdyn_graph::along_edges", _along_edges_back, setup_context=_keep, lib=_LIBRARY)
