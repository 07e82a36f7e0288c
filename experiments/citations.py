"""Subjects of Cora's papers by graph networks whose depth is solved, and by one that has layers.

After Poli et al. 2019 (arXiv 1911.07532), on the public split: GCN 1433-64 with ReLU, a field of two convolutions 64-64
with softplus between on [0, 1] (rk2 and rk4 in one step, dopri5 to rtol 1e-4 and atol 1e-3), GCN 64-7. It and the GCN
without a field are trained alike, by Adam at 0.01, weight decay 2e-4, 500 full-batch steps, and drop 0.9 of the input,
0.5 of the last state; the field drops 0.7 of what its convolutions see by `SolveDropout`, one mask a solve. GRAND
(Chamberlain et al. 2021, arXiv 2106.10934) is the linear one with a source and one head, t in [0, 18] by Euler's steps
of 1, after the published settings: Adamax at 0.0229, weight decay 0.005, 300 steps; it drops 0.8 and 0.5. Dropout and
decay were chosen by the validation nodes, for GCDE among 0.8 and 0.9, 0.5 and 0.7, 2e-4 and 5e-4; each run keeps the
model that told them best, and looks at the test nodes once, at the end.

The notebook of GCDE's authors has other settings, and its Cora is another one: the first release of DGL's, with 140,
300 and 1000 nodes in the order of a file, so that its 82 to 84 % are not the public split's. Its settings are here,
too, for orientation: 0.4 of the input dropped, in the field 0.9 with a mask for each evaluation, which `Direct`
differentiates; weights and biases uniform within one over the root of a layer's outputs; Adam at 1e-3, 3000 steps, and
the last model.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import torch
from torch import nn

from experiments.nodes import Training, accuracy, mean_and_deviation, task, trained
from experiments.outcome import Outcome
from torchdyn_core import PID, Direct, Fixed
from torchdyn_graph import GCDE, GRAND, GraphConv, GraphSequential
from torchdyn_graph.layer import FeatureDropout

NAME = "Cora, public split"
SEEDS = 5
ALIKE = Training(500, partial(torch.optim.Adam, lr=0.01, weight_decay=2e-4))
TRAINING = {
    "GCN": ALIKE,
    "GCDE-rk2": ALIKE,
    "GCDE-rk4": ALIKE,
    "GCDE-dopri5": ALIKE,
    "GCDE-rk4 as in the notebook": Training(3000, partial(torch.optim.Adam, lr=1e-3, weight_decay=5e-4), selects=False),
    "GRAND": Training(300, partial(torch.optim.Adamax, lr=0.0229, weight_decay=0.005)),
}
PAPER = {
    "GCN": "81.4 %, in GCDE's settings 82.8 %",
    "GCDE-rk2": "83.0 %",
    "GCDE-rk4": "83.8 %",
    "GCDE-dopri5": "81.8 %",
    "GCDE-rk4 as in the notebook": "82 to 84 % on another split",
    "GRAND": "83 % on splits of its own",
}
WANTED = {"GCN": 0.805, "GCDE-rk4": 0.815, "GRAND": 0.82}
SOLVERS = {
    "GCDE-rk2": {"solver": "midpoint", "controller": Fixed(steps=1)},
    "GCDE-rk4": {"solver": "rk4", "controller": Fixed(steps=1)},
    "GCDE-dopri5": {"solver": "dopri5", "controller": PID(rtol=1e-4, atol=1e-3)},
}


def run(*, fast: bool) -> list[Outcome]:
    """Train all, two at a time, each on one core."""
    jobs = [(kind, seed, fast) for kind in TRAINING for seed in range(1 if fast else SEEDS)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_tested, jobs))
    outcomes, means = [], {}
    for kind in TRAINING:
        tests = [test for (one, *_), (test, _) in zip(jobs, found, strict=True) if one == kind]
        means[kind], deviation = mean_and_deviation(tests)
        bound = (">=", WANTED[kind]) if kind in WANTED else ("", 0.0)
        what = f"{kind}: test accuracy, mean of {len(tests)} seeds"
        outcomes.append(Outcome(NAME, what, means[kind], *bound, PAPER[kind], "{:.4f}"))
        outcomes.append(Outcome(NAME, f"{kind}: its standard deviation", deviation, form="{:.4f}"))
        looked = [validation for (one, *_), (_, validation) in zip(jobs, found, strict=True) if one == kind]
        mean = mean_and_deviation(looked)[0]
        outcomes.append(Outcome(NAME, f"{kind}: validation accuracy, mean", mean, form="{:.4f}"))
    gain = means["GCDE-rk4"] - means["GCN"]
    outcomes.append(Outcome(NAME, "GCDE-rk4 above GCN", gain, ">=", -0.005, "1.0 %", "{:.4f}"))
    return outcomes


def network(kind: str) -> nn.Module:
    """A model by name."""
    if kind == "GCN":
        return GraphSequential(
            FeatureDropout(0.9), GraphConv(1433, 64), nn.ReLU(), nn.Dropout(0.5), GraphConv(64, 7)
        )  # fmt: skip
    if kind in SOLVERS:
        return GCDE(
            1433, 64, 7, input_dropout=0.9, dropout=0.5, field_dropout=0.7, compile=True, **SOLVERS[kind]
        )  # fmt: skip
    if kind == "GRAND":
        return GRAND(
            1433, 64, 7, input_dropout=0.8, dropout=0.5, solver="euler", controller=Fixed(steps=18), t1=18.0,
            compile=True,
        )  # fmt: skip
    return _as_in_the_notebook()


def _as_in_the_notebook() -> nn.Module:
    field = GraphSequential(nn.Dropout(0.9), GraphConv(64, 64), nn.Softplus(), nn.Dropout(0.9), GraphConv(64, 64))
    model = GCDE(
        1433, 64, 7, net=field, input_dropout=0.4, solver="rk4", controller=Fixed(steps=1), adjoint=Direct()
    )  # fmt: skip
    for layer in model.modules():
        if isinstance(layer, GraphConv):
            bound = layer.linear.out_features**-0.5
            for weight in layer.parameters():
                nn.init.uniform_(weight, -bound, bound)
    return model


def _tested(job: tuple[str, int, bool]) -> tuple[float, float]:
    """Accuracy on the test nodes and on the validation nodes."""
    kind, seed, fast = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    given, training = task(), TRAINING[kind]
    model = trained(network(kind), given, replace(training, steps=2) if fast else training)
    with torch.no_grad():
        scores = model(given.graph, given.words)
    return accuracy(scores, given, given.test), accuracy(scores, given, given.validation)
