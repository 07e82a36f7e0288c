"""Pictures of what happens to the nodes of a graph over depth. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchdyn_core import MissingExtraError, Solution
from torchdyn_graph.energy import dirichlet_energy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_dirichlet_energy"]

States = Solution | tuple[Tensor, Tensor]


def plot_dirichlet_energy(graph: Any, states: States | Mapping[str, States], *, normalised: bool = True) -> Figure:
    """How smooth what nodes have becomes over depth: the Dirichlet energy, on a logarithmic axis.

    Arguments:
        graph: In any form that layers take.
        states: A solution, or depths `(T,)` and what nodes have there, `(T, N, C)`; several by name.
        normalised: As of `dirichlet_energy`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        ShapeError: If there is not a row for each node of the graph.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> from torchdyn_graph import Graph, GraphDiffusion, GraphField, plot_dirichlet_energy
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> path = solve(GraphField(GraphDiffusion(2), graph), torch.eye(3)[:, :2], torch.linspace(0, 5, 11))
        >>> plot_dirichlet_energy(graph, path).axes[0].get_ylabel()
        'Dirichlet energy'
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError(
            'pictures need matplotlib; install it with: pip install "torchdyn-graph[plot]"'
        ) from error
    figure, axes = pyplot.subplots(figsize=(6.0, 4.0), layout="constrained")
    named = states if isinstance(states, Mapping) else {"": states}
    for name, given in named.items():
        depths, values = (given.ts, given.ys) if isinstance(given, Solution) else given
        with torch.no_grad():
            energy = dirichlet_energy(graph, values, normalised=normalised)
        axes.semilogy(depths.detach().cpu().double(), energy.cpu().double(), label=name or None)
    axes.set(xlabel="depth t", ylabel="Dirichlet energy")
    if any(named):
        axes.legend()
    return figure
