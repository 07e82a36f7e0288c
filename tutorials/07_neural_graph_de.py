r"""
Papers that flow towards their subjects
=======================================

Cora is a graph of 2708 papers on machine learning: an edge is a citation, and of each paper one knows which of 1433
words it has. Seven subjects are to be told, from twenty labelled papers of each. A graph network lets papers hear what
their neighbours are about; here its layers are replaced by a differential equation on the graph.

Three models: two graph convolutions, as everybody starts (GCN, Kipf and Welling 2017); a graph convolutional
differential equation between them (GCDE, Poli et al. 2019); diffusion with attention (GRAND, Chamberlain et al. 2021).
About a minute on one core.
"""

# %%
# The data
# --------
# ``cora`` finds the file in the folder that ``TORCHDYN_DATA`` names, or in the cache, or downloads and checks it. The
# words are to 99 % absent: as sparse rows the first layer costs a tenth.

import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_core import PID, Fixed, solve
from torchdyn_datasets import cora
from torchdyn_graph import GCDE, GRAND, Graph, GraphConv, GraphSequential, dirichlet_energy
from torchdyn_graph.layer import FeatureDropout

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
FAST = os.environ.get("TORCHDYN_TUTORIALS") == "fast"
SUBJECTS = (
    "theory", "reinforcement learning", "genetic algorithms", "neural networks", "probabilistic methods", "case based",
    "rule learning",
)  # fmt: skip

data = cora(normalise=True)
graph, words = Graph(data.edge_index, len(data)), data.features.to_sparse_csr()
print(f"graph         {graph}")

# %%
# Three models
# ------------
# All are called ``model(graph, words)``. The GCDE solves its depth by one step of rk4, GRAND by steps of one through 18
# units of time: both solves are compiled. ``field_dropout`` is ``SolveDropout``: one mask a solve.


def network(name):
    """A model, and the optimizer that suits it."""
    torch.manual_seed(0)
    if name == "GCN":
        model = GraphSequential(FeatureDropout(0.9), GraphConv(1433, 64), nn.ReLU(), nn.Dropout(0.5), GraphConv(64, 7))
    elif name == "GCDE":
        rk4 = {"solver": "rk4", "controller": Fixed(steps=1)}
        model = GCDE(1433, 64, 7, input_dropout=0.9, dropout=0.5, field_dropout=0.7, compile=True, **rk4)
    else:
        euler = {"solver": "euler", "controller": Fixed(steps=18), "t1": 18.0}
        model = GRAND(1433, 64, 7, input_dropout=0.8, dropout=0.5, compile=True, **euler)
        return model, torch.optim.Adamax(model.parameters(), lr=0.0229, weight_decay=0.005)
    return model, torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=2e-4)


def accuracy(scores, nodes):
    """The share of nodes whose subject is told."""
    return float((scores.argmax(1) == data.labels)[nodes].double().mean())


def evaluations(model):
    """How often dopri5 has to evaluate a model's field to 1e-4, whatever it is trained with."""
    field = model.ode.field.on(graph)
    with torch.no_grad():
        start = model.encoder(graph, words) if isinstance(model, GCDE) else model.encoder(words)
        tolerance = PID(rtol=1e-4, atol=1e-4)
        return solve(field, start, [0.0, model.ode.t1], solver="dopri5", controller=tolerance).stats.evaluations


# %%
# Training
# --------
# Full-batch, 140 labels. The model that tells the validation papers best is kept, and meets the test papers once.

STEPS = 4 if FAST else 400
models, work, told = {}, {"GCDE": [], "GRAND": []}, {}
for name in ("GCN", "GCDE", "GRAND"):
    model, optimizer = network(name)
    best, kept = -1.0, None
    for step in tqdm(range(1, STEPS + 1), desc=name, unit="step", file=sys.stdout):
        model.train()
        loss = nn.functional.cross_entropy(model(graph, words)[data.train], data.labels[data.train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        if step % 10 == 0 or step == STEPS:
            with torch.no_grad():
                found = accuracy(model(graph, words), data.validation)
            if found > best:
                best, kept = found, {key: value.clone() for key, value in model.state_dict().items()}
        if name in work and (step % 30 == 0 or step == 1):
            work[name].append((step, evaluations(model)))
    model.load_state_dict(kept)
    with torch.no_grad():
        told[name] = accuracy(model(graph, words), data.test)
    models[name] = model
for name, share in told.items():
    print(f"{name:<14}{100 * share:.1f} % of the test papers")
print(
    f"versions      torchdyn-core {version('torchdyn-core')}, torchdyn-graph {version('torchdyn-graph')}, "
    f"torchdyn-datasets {version('torchdyn-datasets')}, torch {torch.__version__}"
)

# %%
# What happens on the way
# -----------------------
# Every paper is a point in 64 dimensions that moves with depth. In GRAND's first two principal directions, those of
# where it ends, subjects come apart as papers listen to those that they cite (each picture is scaled by its own
# spread). Diffusion alone makes all alike in the end: the Dirichlet energy, what is left of differences along edges,
# falls and falls. The source, which adds at every depth what a paper began with, keeps differences alive.

DEPTHS = torch.linspace(0.0, 18.0, 37)
with torch.no_grad():
    diffusion = models["GRAND"]
    path = diffusion.trajectory(graph, words, DEPTHS).ys
    sourceless = diffusion.ode.field.on(graph).replace(strength=None)
    spread = solve(sourceless, path[0], DEPTHS, solver="euler", controller=Fixed(dt=0.5)).ys
    centre = path[-1].mean(0)
    directions = torch.pca_lowrank(path[-1] - centre, 2, center=False)[2]
    seen = (path - centre) @ directions
    seen = (seen - seen.mean(1, keepdim=True)) / seen.std((1, 2), keepdim=True)
    energies = {"GRAND": dirichlet_energy(graph, path), "without its source": dirichlet_energy(graph, spread)}

MUTED, LINES = "#777777", ("#2a5b8c", "#c8553d")
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d")
plt.style.use(Path(__file__).with_name("torchdyn.mplstyle"))
figure = plt.figure(figsize=(15, 8.6), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
for axis, depth in zip(above.subplots(1, 4, sharex=True, sharey=True), (0.0, 2.0, 6.0, 18.0), strict=True):
    points = seen[int(2 * depth)]
    for subject, (name, colour) in enumerate(zip(SUBJECTS, COLOURS, strict=True)):
        axis.scatter(*points[data.labels == subject].T, s=4, color=colour, linewidths=0, label=name)
    axis.set(title=f"GRAND's papers at depth {depth:g}", xlabel="first principal direction", xlim=(-4, 3), ylim=(-4, 4))
    if depth == 0.0:
        axis.set_ylabel("second principal direction")
above.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=7, markerscale=4)
bars, energy, counts = below.subplots(1, 3)
for place, share in enumerate(told.values()):
    bars.bar_label(bars.bar(place, 100 * share, color=(MUTED, *LINES)[place], width=0.6), fmt="%.1f", padding=2)
bars.set_xticks(range(3), told)
bars.set(title="Accuracy", ylabel="of 1000 test papers, %", ylim=(0, 100))
for (name, values), style in zip(energies.items(), ("-", "--"), strict=True):
    energy.semilogy(DEPTHS, values, color=LINES[1], linestyle=style, label=name)
energy.set(title="Smoothness", xlabel="depth", ylabel="Dirichlet energy", xticks=(0, 6, 12, 18))
energy.legend()
for (name, points), colour in zip(work.items(), LINES, strict=True):
    counts.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=name)
counts.set(title="Work", xlabel="training step", ylabel="evaluations by dopri5 to 1e-4", ylim=(0, None))
counts.legend()
figure.savefig("neural_graph_de.png", dpi=130)
print("drawn         neural_graph_de.png")
