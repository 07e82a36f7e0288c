"""DGL, the only door to it: its graphs as ours and ours as its, its layers."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core import MissingExtraError, ShapeError
from torchdyn_graph.graph import Graph

__all__ = ["called", "library", "native", "theirs"]


@functools.cache
def library() -> Any:
    """DGL.

    Raises:
        MissingExtraError: If it cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own sources, for which its users can do nothing
            import dgl  # type: ignore[import-not-found, unused-ignore] # an extra
    except Exception as error:  # where it is broken, it fails with FileNotFoundError, OSError and what not
        raise MissingExtraError(
            f"a graph or a layer of DGL's was given, and DGL cannot be imported ({type(error).__name__}: {error}); "
            'install it with: pip install "torchdyn-graph[dgl]"'
        ) from error
    return dgl


def native(graph: Any) -> Graph:
    """A homogeneous graph of DGL's as one of ours; its edge data `weight` or `w` are the weights.

    Raises:
        MissingExtraError: If DGL cannot be imported.
        ShapeError: If it has several types of nodes or edges.
    """
    library()
    if not graph.is_homogeneous:
        raise ShapeError(
            f"the DGLGraph has node types {graph.ntypes} and edge types {graph.etypes}; wanted one of each here, or "
            "layers of DGL's, which take several"
        )
    source, target = graph.edges(form="uv", order="eid")
    weight = _weight(graph)
    sizes = graph.batch_num_nodes()
    batch = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes) if len(sizes) > 1 else None
    return Graph(torch.stack((source, target)).long(), graph.num_nodes(), weight, batch=batch)


def theirs(graph: Any, x: Tensor | None = None) -> Any:
    """Any graph as one of DGL's."""
    dgl = library()
    if isinstance(graph, dgl.DGLGraph):
        return graph
    from torchdyn_graph import bridges

    made = bridges.native(graph, x)
    out = dgl.graph(tuple(made.edge_index), num_nodes=made.num_nodes)
    if made.edge_weight is not None:
        out.edata["weight"] = made.edge_weight
    return out


def called(layer: nn.Module, graph: Any, x: Any) -> Any:
    """A layer of DGL's on what nodes have, with the weights of edges if it has an argument for them."""
    from torchdyn_graph import bridges

    made = theirs(graph, x)
    weight = _weight(made) if made.is_homogeneous and bridges.takes(layer, "edge_weight") else None
    return layer(made, x) if weight is None else layer(made, x, edge_weight=weight)


def _weight(graph: Any) -> Tensor | None:
    weight = next((graph.edata[name] for name in ("weight", "w") if name in graph.edata), None)
    return None if weight is None else weight.reshape(-1)
