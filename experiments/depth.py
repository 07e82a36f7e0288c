"""Depth without oversmoothing: GRAND and GraphCON against stacked convolutions, on Cora's public split.

Depth is the number of Euler's steps for the two models that are solved (Chamberlain et al. 2021, arXiv 2106.10934;
Rusch et al. 2022, arXiv 2202.02296), the number of hidden convolutions for the stack. All have 64 numbers a node.
GRAND is trained as in `citations`, the others by Adam at 0.01 and weight decay 5e-4, 300 steps, which told the
validation nodes better at depth 2; dropout was chosen so, too. Each run keeps the model that told the validation nodes
best, and looks at the test nodes once, at the end. GraphCON takes steps of 1/2: with stiffness and damping of 1
explicit steps of 1 are at the edge of what is stable.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from statistics import fmean

import torch
from torch import nn

from experiments import citations
from experiments.nodes import Training, accuracy, task, trained
from experiments.outcome import Outcome
from torchdyn_core import Fixed
from torchdyn_graph import GRAND, GraphCON, GraphConv, GraphSequential
from torchdyn_graph.layer import FeatureDropout

NAME = "Cora, depth"
DEPTHS = (2, 32)
ADAM = Training(300, partial(torch.optim.Adam, lr=0.01, weight_decay=5e-4))
TRAINING = {"GRAND": citations.TRAINING["GRAND"], "GraphCON": ADAM, "stacked GCN": ADAM}
SEEDS = 3


def run(*, fast: bool) -> list[Outcome]:
    """Train all, two at a time, each on one core."""
    jobs = [(*job, fast) for job in product(TRAINING, DEPTHS, range(1 if fast else SEEDS))]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_tested, jobs))
    mean = {
        (kind, depth): fmean(test for job, test in zip(jobs, found, strict=True) if job[:2] == (kind, depth))
        for kind, depth in product(TRAINING, DEPTHS)
    }
    outcomes = []
    for kind in TRAINING:
        shallow, deep = (mean[kind, depth] for depth in DEPTHS)
        for depth, value in zip(DEPTHS, (shallow, deep), strict=True):
            outcomes.append(Outcome(NAME, f"{kind}: test accuracy at depth {depth}", value, form="{:.4f}"))
        bound = (">", 0.1) if kind == "stacked GCN" else ("<=", 0.03)
        outcomes.append(
            Outcome(NAME, f"{kind}: lost from {DEPTHS[0]} to {DEPTHS[1]}", shallow - deep, *bound, form="{:.4f}")
        )
    return outcomes


def network(kind: str, depth: int) -> nn.Module:
    """A model by name."""
    dropped = {"input_dropout": 0.8, "dropout": 0.5}
    steps = {"solver": "euler", "controller": Fixed(steps=depth), "compile": True}
    if kind == "GRAND":
        return GRAND(1433, 64, 7, t1=float(depth), **dropped, **steps)
    if kind == "GraphCON":
        return GraphCON(1433, 64, 7, t1=depth / 2, **dropped, **steps)
    hidden = [part for _ in range(depth - 1) for part in (GraphConv(64, 64), nn.ReLU())]
    return GraphSequential(
        FeatureDropout(0.5), GraphConv(1433, 64), nn.ReLU(), *hidden, nn.Dropout(0.5), nn.Linear(64, 7)
    )  # fmt: skip


def _tested(job: tuple[str, int, int, bool]) -> float:
    kind, depth, seed, fast = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    given = task()
    training = TRAINING[kind]
    model = trained(network(kind, depth), given, replace(training, steps=2) if fast else training)
    with torch.no_grad():
        return accuracy(model(given.graph, given.words), given, given.test)
