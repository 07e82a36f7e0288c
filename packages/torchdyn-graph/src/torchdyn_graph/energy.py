"""How smooth what nodes have is along the edges: the measure of oversmoothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchdyn_graph.bridges import native

__all__ = ["dirichlet_energy"]


def dirichlet_energy(graph: Any, x: Tensor, *, normalised: bool = True) -> Tensor:
    """Half the sum over edges of `w |x_i / sqrt(1 + d_i) - x_j / sqrt(1 + d_j)|^2`: 0 where nodes cannot be told apart.

    Arguments:
        graph: In any form that layers take.
        x: What nodes have, at one depth or at several.
        normalised: Whether by degrees `d`, those of a convolution with loops; else it is `|x_i - x_j|^2`.

    Shapes:
        x: `(N, C)`, or `(T, N, C)` as `Solution.ys` has it.  output: `()`, or `(T,)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.

    References:
        Cai, Wang (2020), A note on over-smoothing for graph neural networks. arXiv 2006.13318

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, dirichlet_energy
        >>> graph = Graph(torch.tensor([[0, 1], [1, 0]]))
        >>> float(dirichlet_energy(graph, torch.tensor([[0.0], [2.0]]), normalised=False))
        4.0
    """
    nodes = x if x.dim() == 2 else x.movedim(0, 1).flatten(1)
    made = native(graph, nodes)
    made.checked(nodes)
    weight, (source, target) = made.weights(x.dtype), made.ends
    if normalised:
        degree = made.sum(nodes.new_ones(made.num_nodes, 1))
        nodes = nodes * (1 + degree).rsqrt()
    steps = (nodes[source] - nodes[target]).square()
    squares = steps.sum(1) if x.dim() == 2 else steps.unflatten(1, (x.shape[0], -1)).sum(2)
    energy: Tensor = 0.5 * (weight @ squares)
    return energy
