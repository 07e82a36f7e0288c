"""Graph layers against those of DGL and of PyG: the same weights, the same graph; on one thread and on two.

Each number of threads has a process of its own, `python -m benchmarks.graph_layers THREADS`: libraries decide on their
threads when they are imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, Side, Work, interleaved
from torchdyn_graph import Graph, GraphAttention, GraphConv

OURS = "torchdyn-graph"
PEERS = ("dgl", "torch-geometric")
HEADS = 8
ROUNDING = 1e-4
"""Results that differ by less, relative to the largest one, are alike: sums of many float32 numbers."""


def run(*, fast: bool) -> list[Comparison]:
    """Measure on one thread and on two."""
    return [found for threads in (1, 2) for found in _compared(threads, fast)]


def _compared(threads: int, fast: bool) -> Iterator[Comparison]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "DGLBACKEND": "pytorch"}
    command = [sys.executable, "-m", "benchmarks.graph_layers", str(threads), *(["--fast"] if fast else [])]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    for problem, found in json.loads(made.splitlines()[-1]).items():
        sides = {name: Side(name, Work(1, 0, 1, error), seconds) for name, (error, seconds) in found.items()}
        options = f"{threads} thread{'s' * (threads > 1)}, float32"
        for peer in PEERS:
            yield Comparison(f"{problem}, {options}", options, sides[OURS], sides[peer], "call", 1.0)


def problems(fast: bool) -> dict[str, tuple[Tensor, int, int]]:
    """Graphs: edges, nodes, and how much a node has."""
    torch.manual_seed(0)
    from torchdyn_datasets import cora

    data = cora(progress=False)
    count, nodes = (10_000, 1_000) if fast else (1_000_000, 100_000)
    # both ways: on edges with one direction DGL divides by other degrees
    pairs = torch.randint(nodes, (2, count // 2))
    return {
        "Cora, 64 a node": (data.edge_index, len(data), 64),
        f"{count:.0e} random edges, {nodes:.0e} nodes, 32 a node": (torch.cat((pairs, pairs.flip(0)), 1), nodes, 32),
    }


def layers(kind: str, width: int) -> dict[str, nn.Module]:
    """The layer of each library, with the same weights."""
    import dgl.nn
    import torch_geometric.nn

    if kind == "convolution":
        made: dict[str, Any] = {
            OURS: GraphConv(width, width),
            "dgl": dgl.nn.GraphConv(width, width),
            "torch-geometric": torch_geometric.nn.GCNConv(width, width, cached=True),
        }
        with torch.no_grad():
            made["dgl"].weight.copy_(made[OURS].linear.weight.T)
            made["torch-geometric"].lin.weight.copy_(made[OURS].linear.weight)
        return made
    made = {
        OURS: GraphAttention(width, width // HEADS, HEADS),
        "dgl": dgl.nn.GATConv(width, width // HEADS, HEADS),
        "torch-geometric": torch_geometric.nn.GATConv(width, width // HEADS, HEADS),
    }
    with torch.no_grad():
        theirs = {"dgl": ("fc", "attn_l", "attn_r"), "torch-geometric": ("lin", "att_src", "att_dst")}
        for name, (linear, source, target) in theirs.items():
            getattr(made[name], linear).weight.copy_(made[OURS].linear.weight)
            getattr(made[name], source).copy_(made[OURS].of_source[None])
            getattr(made[name], target).copy_(made[OURS].of_target[None])
    return made


def _measured(threads: int, fast: bool) -> dict[str, dict[str, tuple[float, list[float]]]]:
    import dgl

    found = {}
    for problem, (edges, nodes, width) in problems(fast).items():
        loops = edges[0] == edges[1]
        edges = edges[:, ~loops]  # each library has its own way with loops that are there already
        graphs = {OURS: Graph(edges, nodes), "torch-geometric": edges}
        graphs["dgl"] = dgl.add_self_loop(dgl.graph(tuple(edges), num_nodes=nodes))
        for kind in ("convolution", "attention"):
            calls = {library: _call(layer, graphs[library], library) for library, layer in layers(kind, width).items()}
            for gradient in (False, True):
                x = torch.randn(nodes, width, requires_grad=gradient)
                does = {
                    library: partial(_backward if gradient else _forward, call, x) for library, call in calls.items()
                }
                errors = _errors({library: call(x).detach() for library, call in calls.items()})
                for call in does.values():
                    call()
                seconds = interleaved(does, fast=fast, rounds=15, block=0.1, threads=threads)
                what = f"graph {kind}, {'forward and gradient' if gradient else 'forward'}: {problem}"
                found[what] = {library: (errors[library], seconds[library]) for library in calls}
    return found


def _call(layer: nn.Module, graph: Any, library: str) -> Callable[[Tensor], Tensor]:
    if library == "torch-geometric":
        return lambda x: layer(x, graph)
    return lambda x: layer(graph, x).flatten(1)


def _forward(call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with torch.no_grad():
        call(x)


def _backward(call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    call(x).sum().backward()


def _errors(results: dict[str, Tensor]) -> dict[str, float]:
    """How far each is from the mean of the others, where that is more than rounding."""
    errors = {}
    for name, result in results.items():
        others = torch.stack([other for library, other in results.items() if library != name]).mean(0)
        error = float((result - others).abs().max() / others.abs().max())
        errors[name] = error if error > ROUNDING else 0.0
    return errors


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of the peers' own sources
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    count = int(sys.argv[1])
    torch.set_num_threads(count)
    print(json.dumps(_measured(count, "--fast" in sys.argv)))

ROWS: dict[str, Callable[..., list[Comparison]]] = {"graph-layers": run}
