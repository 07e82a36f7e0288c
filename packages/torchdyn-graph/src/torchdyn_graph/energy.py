"""How smooth what nodes have is along the edges: the measure of oversmoothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchdyn_core import ShapeError
from torchdyn_graph.bridges import native

__all__ = ["dirichlet_energy"]


def dirichlet_energy(graph: Any, x: Tensor, *, normalised: bool = True) -> Tensor:
    """Half the sum over edges of `w |x_i / sqrt(1 + d_i) - x_j / sqrt(1 + d_j)|^2`: the less, the smoother along edges.

    Normalised, it is 0 where `x` is everywhere the root of `1 + d` times the same, where repeated convolutions lead;
    else where neighbours have the same.

    Arguments:
        graph: In any form that layers take.
        x: What nodes have, at one depth or at several.
        normalised: Whether by degrees `d`, the sums of weights that come into a node; else it is `|x_i - x_j|^2`.

    Shapes:
        x: `(N, C)`, or `(T, N, C)` as `Solution.ys` has it.  output: `()`, or `(T,)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph, or is neither `(N, C)` nor `(T, N, C)`.

    References:
        Cai, Wang (2020), A note on over-smoothing for graph neural networks. arXiv 2006.13318

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, dirichlet_energy
        >>> graph = Graph(torch.tensor([[0, 1], [1, 0]]))
        >>> float(dirichlet_energy(graph, torch.tensor([[0.0], [2.0]]), normalised=False))
        4.0
    """
    if x.dim() not in (2, 3):
        raise ShapeError(f"x is {tuple(x.shape)}; wanted (N, C), or (T, N, C)")
    nodes = x if x.dim() == 2 else x.movedim(0, 1)
    made = native(graph, nodes)
    made.checked(nodes)
    weight, (source, target) = made.weights(x.dtype.to_real() if x.is_complex() else x.dtype), made.ends
    if normalised:
        degree = made.sum(weight.new_ones(made.num_nodes, 1))[:, 0]
        nodes = nodes * (1 + degree).rsqrt().reshape(-1, *(1,) * (x.dim() - 1))
    squares = (nodes[source] - nodes[target]).abs().square().sum(-1)  # (E,) or (E, T)
    energy: Tensor = 0.5 * (weight @ squares)
    return energy
