"""What this package brings to the registry."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_HERE = "torchdyn_graph"


@hookimpl
def torchdyn_components() -> tuple[Component, ...]:
    """A field over the nodes of a graph, layers for it, models of them."""
    return (
        Component("field", "on_nodes", f"{_HERE}:GraphField", "A network on a graph", "arXiv:1911.07532"),
        Component("field", "diffusion", f"{_HERE}:DiffusionField", "Diffusion on a graph", "arXiv:2106.10934"),
        Component("field", "oscillator", f"{_HERE}:OscillatorField", "Oscillators on a graph", "arXiv:2202.02296"),
        Component("model", "grand", f"{_HERE}:GRAND", "A graph network that is diffusion", "arXiv:2106.10934"),
        Component("model", "graphcon", f"{_HERE}:GraphCON", "A graph network of oscillators", "arXiv:2202.02296"),
        Component("model", "gcde", f"{_HERE}:GCDE", "A graph network whose depth is solved", "arXiv:1911.07532"),
        Component("model", "gcdegru", f"{_HERE}:GCDEGRU", "Flows and jumps of series on a graph", "arXiv:1911.07532"),
        Component("layer", "conv", f"{_HERE}:GraphConv", "Graph convolution", "arXiv:1609.02907"),
        Component("layer", "attention", f"{_HERE}:GraphAttention", "Attention to neighbours", "arXiv:1710.10903"),
        Component("layer", "diffusion", f"{_HERE}:GraphDiffusion", "Graph neural diffusion", "arXiv:2106.10934"),
    )
