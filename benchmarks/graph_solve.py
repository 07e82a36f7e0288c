"""What a solve on a graph costs beside its layers, on Cora; how cost and memory grow with the number of edges."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.backward_memory import peak
from benchmarks.measure import Bound, exponent, fastest, interleaved
from torchdyn_core import PID, Fixed, solve
from torchdyn_graph import Graph, GraphConv, GraphField, GraphSequential

WIDTH = 64
SPAN = torch.tensor([0.0, 1.0])
OPTIONS = {
    "rk4, 8 steps": {"solver": "rk4", "controller": Fixed(steps=8)},
    "dopri5 to 1e-6": {"solver": "dopri5", "controller": PID(rtol=1e-6, atol=1e-6)},
}


def overhead(*, fast: bool) -> list[Bound]:
    """GCDE's field on Cora: two convolutions with a softplus between."""
    from torchdyn_datasets import cora

    data = cora(progress=False)
    torch.manual_seed(0)
    graph = Graph(data.edge_index, len(data))
    net = GraphSequential(GraphConv(WIDTH, WIDTH), nn.Softplus(), GraphConv(WIDTH, WIDTH))
    field, x = GraphField(net, graph), torch.randn(len(data), WIDTH)
    compiled = torch.compile(partial(net, graph), fullgraph=True, dynamic=False)
    bounds = []
    for name, options in OPTIONS.items():
        with torch.no_grad():
            count = solve(field, x, SPAN, **options).stats.evaluations

        def repeated(layer: Callable[[Tensor], Tensor], count: int = count) -> None:
            with torch.no_grad():
                for _ in range(count):
                    layer(x)

        def solved(compile: bool | str, options: dict[str, object] = options) -> None:
            with torch.no_grad():
                solve(field, x, SPAN, compile=compile, **options)

        calls = {
            "layers": partial(repeated, partial(net, graph)),
            "compiled layers": partial(repeated, compiled),
            "compiled": partial(solved, "require"),
            "eager": partial(solved, False),
        }
        for call in calls.values():
            call()
        medians = {key: statistics.median(times) for key, times in interleaved(calls, fast=fast).items()}
        bare = min(medians["layers"], medians["compiled layers"])
        listed = ", ".join(f"{key} {1e3 * time:.3g} ms" for key, time in medians.items())
        bounds.append(
            Bound(
                what=f"GCDE's field on Cora, forward, {name}: time of a compiled solve over that of the bare layers as "
                "often, eager or compiled, whichever is faster",
                value=medians["compiled"] / bare,
                limit=1.1,
                form="{:.2f}",
                detail=f"{count} evaluations: {listed}; an eager solve over eager layers: "
                f"{medians['eager'] / medians['layers']:.2f}",
            )
        )
    return bounds


def edges(*, fast: bool) -> list[Bound]:
    """Random edges, a tenth as many nodes with 16 numbers each, in processes of their own."""
    sizes = (10**3, 10**4) if fast else (10**4, 10**5, 10**6, 10**7)
    found = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.graph_solve", str(size)]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        found.append((float(made[0]), int(made[1])))
    seconds, peaks = zip(*found, strict=True)
    listed = ", ".join(
        f"{size:.0e}: {1e3 * time:.3g} ms, {most / 2**20:.0f} MiB"
        for size, time, most in zip(sizes, seconds, peaks, strict=True)
    )
    per_edge = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
    return [
        Bound(
            what="a convolution as a field, a step of rk4 and its gradient: exponent of time against edges",
            value=exponent(sizes, seconds),
            limit=1.05,
            form="{:.2f}",
            detail=f"edges, time and peak memory: {listed}; {per_edge:.0f} bytes an edge with its tenth of a node",
        ),
    ]


def one_size(size: int) -> None:
    """Solve and differentiate on so many random edges; print seconds and the peak of memory."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nodes = size // 10
    field = GraphField(GraphConv(16, 16), Graph(torch.randint(nodes, (2, size)), nodes))
    x = torch.randn(nodes, 16, requires_grad=True)

    def call() -> None:
        y = solve(field, x, SPAN, solver="rk4", controller=Fixed(steps=1)).ys[-1]
        y.square().sum().backward()

    call()
    print(fastest({"": call}, fast=False)[""], peak())


ROWS: dict[str, Callable[..., list[Bound]]] = {"graph-solve": overhead, "graph-edges": edges}


if __name__ == "__main__":
    one_size(int(sys.argv[1]))
