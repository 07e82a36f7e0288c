"""Graph neural differential equations on plain tensors, DGL or PyG."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchdyn_graph.attention import GraphAttention
    from torchdyn_graph.conv import GraphConv
    from torchdyn_graph.diffusion import GraphDiffusion
    from torchdyn_graph.energy import dirichlet_energy
    from torchdyn_graph.field import GraphField
    from torchdyn_graph.gcde import GCDE
    from torchdyn_graph.grand import GRAND, DiffusionField
    from torchdyn_graph.graph import Graph
    from torchdyn_graph.graphcon import GraphCON, OscillatorField
    from torchdyn_graph.gru import GCDEGRU, GraphGRUCell
    from torchdyn_graph.layer import GraphLayer, GraphSequential
    from torchdyn_graph.model import GraphModel
    from torchdyn_graph.plots import plot_dirichlet_energy
    from torchdyn_graph.sampling import Neighbourhood, NeighbourSampler
    from torchdyn_graph.temporal import TemporalGraph

_HOME = {
    "DiffusionField": "grand",
    "GCDE": "gcde",
    "GCDEGRU": "gru",
    "GRAND": "grand",
    "Graph": "graph",
    "GraphAttention": "attention",
    "GraphCON": "graphcon",
    "GraphConv": "conv",
    "GraphDiffusion": "diffusion",
    "GraphField": "field",
    "GraphGRUCell": "gru",
    "GraphLayer": "layer",
    "GraphModel": "model",
    "GraphSequential": "layer",
    "NeighbourSampler": "sampling",
    "Neighbourhood": "sampling",
    "OscillatorField": "graphcon",
    "TemporalGraph": "temporal",
    "dirichlet_energy": "energy",
    "plot_dirichlet_energy": "plots",
}

__all__ = [
    "GCDE",
    "GCDEGRU",
    "GRAND",
    "DiffusionField",
    "Graph",
    "GraphAttention",
    "GraphCON",
    "GraphConv",
    "GraphDiffusion",
    "GraphField",
    "GraphGRUCell",
    "GraphLayer",
    "GraphModel",
    "GraphSequential",
    "NeighbourSampler",
    "Neighbourhood",
    "OscillatorField",
    "TemporalGraph",
    "dirichlet_energy",
    "plot_dirichlet_energy",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
