"""Coupled oscillators on a random graph, seen now and then: forecasts by a graph differential equation with jumps.

Kuramoto's model: phases with `theta_i' = omega_i + K sum_j sin(theta_j - theta_i)` over the neighbours j of 16 nodes (a
ring and random chords), K = 0.5, phases and frequencies drawn anew for each of 1000 series. A node shows cosine and
sine. Each series has 20 times of its own in [0, 4], at each of which 0.7 of the nodes are seen; at 10 more in [4, 6]
nothing is.

GCDEGRU (Poli et al. 2019, arXiv 1911.07532) is compared with a GRU on what all nodes show at once, and with one that
sees every node by itself, with weights that nodes share: both see what is observed, what is not and how long the last
time is ago, and how far the next one is ahead. All learn to tell every row from those before by Adam with a rate that
rises and falls once, batches of 32, gradients clipped at 1. Rates and widths were chosen on series that are neither
trained nor tested on.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from torchdyn_core import PID, Fixed, IrregularSeries, solve
from torchdyn_graph import GCDEGRU, Graph

NAME = "Kuramoto on a random graph"
NODES, SEEN, ASKED = 16, 20, 10
COUPLING = 0.5
STEPS = {"GCDEGRU": 1000, "GRU": 3000, "GRU, each node by itself": 3000}
RATE = {"GCDEGRU": 1e-2, "GRU": 5e-3, "GRU, each node by itself": 5e-3}


@dataclass(frozen=True)
class Data:
    """Series.

    Arguments:
        times, values, mask: As of `IrregularSeries`; values are those of all rows.
    """

    times: Tensor
    values: Tensor
    mask: Tensor

    def series(self, rows: Tensor | slice = slice(None)) -> tuple[IrregularSeries, Tensor]:
        """Some of them as they are seen, and what is to be told."""
        values = self.values[rows]
        return IrregularSeries(self.times[rows], values, self.mask[rows]), values


def run(*, fast: bool) -> list[Outcome]:
    """Train the three, two at a time, each on one core."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = dict(zip(STEPS, pool.map(_tested, STEPS, [fast] * len(STEPS)), strict=True))
    outcomes = []
    for kind, (size, within, beyond) in found.items():
        what = f"{kind} ({size} parameters): mean squared error"
        outcomes.append(Outcome(NAME, f"{what} of the next row", within, form="{:.4f}"))
        outcomes.append(Outcome(NAME, f"{what} of extrapolation", beyond, form="{:.4f}"))
    ours = found["GCDEGRU"][2]
    for kind in ("GRU", "GRU, each node by itself"):
        bound = (">=", 2.0) if kind == "GRU" else ("", 0.0)
        outcomes.append(
            Outcome(NAME, f"{kind}: extrapolation's error over GCDEGRU's", found[kind][2] / ours, *bound, form="{:.2f}")
        )
    return outcomes


def random_graph() -> Graph:
    """A ring with random chords; every edge both ways."""
    draw = torch.Generator().manual_seed(0)
    adjacent = (torch.rand(NODES, NODES, generator=draw) < 0.2).triu(1)
    ring = torch.eye(NODES, dtype=torch.bool).roll(1, 1)
    adjacent = adjacent | ring
    return Graph((adjacent | adjacent.T).nonzero().T.contiguous(), NODES)


def oscillators(graph: Graph, count: int, seed: int) -> Data:
    """Series by the equations, to 1e-8."""
    draw = torch.Generator().manual_seed(seed)
    like = {"generator": draw, "dtype": torch.float64}
    phases = 2 * torch.pi * torch.rand(count, NODES, **like)
    frequencies = 1.0 + 0.5 * torch.randn(count, NODES, **like)
    seen = 4.0 * torch.rand(count, SEEN, **like).sort(1).values
    times = torch.cat((seen, 4.0 + 2.0 * torch.rand(count, ASKED, **like).sort(1).values), 1)
    source, target = graph.edge_index

    def slope(t: Tensor, y: Tensor) -> Tensor:
        pull = torch.sin(y[:, source] - y[:, target])
        return frequencies + COUPLING * torch.zeros_like(y).index_add(1, target, pull)

    ts = torch.cat((torch.zeros(1, count, dtype=torch.float64), times.T))
    path = solve(slope, phases, ts, controller=PID(rtol=1e-8, atol=1e-8), per_sample=True).ys[1:]
    values = torch.stack((path.cos(), path.sin()), -1).transpose(0, 1).flatten(2)
    mask = torch.rand(count, SEEN + ASKED, NODES, generator=draw) < 0.7
    mask[:, SEEN:] = False
    return Data(times.float(), values.float(), mask.repeat_interleave(2, 2))


class Recurrent(nn.Module):
    """A GRU that is told how long ago and how far ahead rows are.

    Arguments:
        nodes: How many nodes it sees at once: all, or 1 to see each by itself.
        hidden: Its state.
    """

    def __init__(self, nodes: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * nodes
        self.cell = nn.GRUCell(2 * self.width + 1, hidden)
        self.decoder = nn.Sequential(nn.Linear(hidden + 1, hidden), nn.Tanh(), nn.Linear(hidden, self.width))

    def forward(self, graph: Graph, series: IrregularSeries) -> Tensor:
        """What is expected at each row, of those before."""
        values, mask = (self._apart(part) for part in (series.values, series.mask.float()))
        gaps = series.times.diff(dim=1, prepend=series.times[:, :1])
        gaps = gaps.repeat_interleave(values.shape[0] // len(gaps), 0)[..., None]
        state, told = values.new_zeros(len(values), self.cell.hidden_size), []
        for value, seen, gap in zip(values.unbind(1), mask.unbind(1), gaps.unbind(1), strict=True):
            told.append(self.decoder(torch.cat((state, gap), 1)))
            state = self.cell(torch.cat((value * seen, seen, gap), 1), state)
        return torch.stack(told, 1).unflatten(0, (len(series), -1)).transpose(1, 2).flatten(2)

    def _apart(self, values: Tensor) -> Tensor:
        """Rows of what is seen at once."""
        return values.unflatten(2, (-1, self.width)).transpose(1, 2).flatten(0, 1)


def network(kind: str) -> nn.Module:
    """A model by name."""
    if kind == "GCDEGRU":
        return GCDEGRU(2, 32, 2, solver="rk4", controller=Fixed(dt=0.2), compile=True)
    return Recurrent(NODES, 128) if kind == "GRU" else Recurrent(1, 64)


def _tested(kind: str, fast: bool) -> tuple[int, float, float]:
    """Parameters, and the error of rows that follow others and of extrapolation on fresh series."""
    torch.set_num_threads(1)
    graph, steps = random_graph(), 2 if fast else STEPS[kind]
    train, test = oscillators(graph, 50 if fast else 1000, 1), oscillators(graph, 20 if fast else 200, 3)
    torch.manual_seed(0)
    model = network(kind)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE[kind], total_steps=steps)
    for _ in range(steps):
        series, wanted = train.series(torch.randint(len(train.times), (32,)))
        loss = (model(graph, series) - wanted)[:, 1:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    series, wanted = test.series()
    with torch.no_grad():
        errors = (model(graph, series) - wanted).square()
    size = sum(weight.numel() for weight in model.parameters())
    return size, errors[:, 1:SEEN].mean().item(), errors[:, SEEN:].mean().item()
