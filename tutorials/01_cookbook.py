r"""
A cookbook of neural ODEs
=========================

Every variant in a few lines: what varies with depth, what makes room, what remembers the input. Each is a field, or an
augmentation, handed to the same ``NeuralODE``; each learns the same small task, two interleaved half-moons, so that the
recipes can be compared at a glance. None is tuned.
"""

# %%
# The data, and what all recipes share
# ------------------------------------

import os
import sys
from importlib.metadata import version

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_augment import (
    ANODEv2,
    DataControlled,
    DepthConcat,
    DepthSequential,
    Fourier,
    GalerkinLinear,
    HigherOrder,
    HyperField,
    InputLayerAugmentation,
    LearnedDynamics,
    PiecewiseConstant,
    ZeroAugmentation,
)
from torchdyn_core import PID, NeuralODE, autonomous
from torchdyn_datasets import moons

torch.set_num_threads(1)
torch.manual_seed(0)
STEPS = 3 if os.environ.get("TORCHDYN_TUTORIALS") == "fast" else 200
train, test = moons(1000), moons(500, seed=1)
LOOSE = PID(rtol=1e-3, atol=1e-3)


def net(width, out, hidden=16):
    """A network with one hidden layer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, out))


# %%
# Fields
# ------
# ``autonomous`` lifts a network of the state. ``DepthConcat`` shows it the depth, ``DataControlled`` the point that the
# trajectory started from, ``HigherOrder`` makes its output an acceleration. Wrappers go into each other.

recipes = {
    "plain": NeuralODE(autonomous(net(2, 2)), controller=LOOSE),
    "depth as a feature": NeuralODE(DepthConcat(autonomous(net(3, 2))), controller=LOOSE),
    "data-controlled": NeuralODE(DataControlled(autonomous(net(4, 2))), controller=LOOSE),
    "second order": NeuralODE(HigherOrder(autonomous(net(4, 2))), augmentation=ZeroAugmentation(2), controller=LOOSE),
}

# %%
# Weights that vary with depth
# ----------------------------
# Galerkin layers expand them in a basis: smooth ones, or pieces, which make a stack of layers (the solver has steps end
# where one piece passes into the next). A hypernetwork computes them. ANODEv2 gives them an equation of their own.

smooth = DepthSequential(GalerkinLinear(2, 16, Fourier(2)), nn.Tanh(), GalerkinLinear(16, 2, Fourier(2)))
stacked = DepthSequential(GalerkinLinear(2, 16, PiecewiseConstant(3)), nn.Tanh(), nn.Linear(16, 2))
inner = net(2, 2)
hyper = HyperField(inner, nn.Linear(1, sum(p.numel() for p in inner.parameters())))
moving = net(2, 2)
own = ANODEv2(moving, LearnedDynamics(moving, width=4), grid=4)
recipes |= {
    "Galerkin, Fourier": NeuralODE(smooth, controller=LOOSE),
    "Galerkin, stacked": NeuralODE(stacked, controller=LOOSE),
    "hypernetwork": NeuralODE(hyper, controller=LOOSE),
    "ANODEv2": NeuralODE(own, controller=LOOSE),
}

# %%
# Room
# ----
# Dimensions that start at zero, or that a layer computes.

recipes |= {
    "augmented": NeuralODE(autonomous(net(4, 4)), augmentation=ZeroAugmentation(2), controller=LOOSE),
    "input layer": NeuralODE(
        autonomous(net(4, 4)), augmentation=InputLayerAugmentation(nn.Linear(2, 2), 2), controller=LOOSE
    ),
}

# %%
# Training
# --------
# Whatever the recipe, the layer maps points to points; a linear layer reads off the moon.

models, results = {}, {}
for name, layer in recipes.items():
    model = models[name] = nn.Sequential(layer, nn.Linear(2, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in tqdm(range(STEPS), desc=f"{name:<20}", unit="step", file=sys.stdout):
        rows = torch.randint(len(train), (128,))
        loss = nn.functional.cross_entropy(model(train.points[rows]), train.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = float((model(test.points).argmax(1) == test.labels).float().mean())
        evaluations = layer.trajectory(test.points, (0.0, 1.0)).stats.evaluations
    results[name] = accuracy, evaluations, sum(p.numel() for p in model.parameters())

print(f"{'recipe':<20}{'accuracy':>10}{'evaluations':>13}{'parameters':>12}")
for name, (accuracy, evaluations, size) in results.items():
    print(f"{name:<20}{100 * accuracy:>8.1f} %{evaluations:>13}{size:>12}")
print(
    f"versions            torchdyn-core {version('torchdyn-core')}, "
    f"torchdyn-augment {version('torchdyn-augment')}, torch {torch.__version__}"
)

# %%
# What they learned
# -----------------
# The plane, coloured by the moon that each model takes a point for.

COLOURS = ("#2a5b8c", "#c8553d")
plt.rcParams.update({"font.size": 10, "axes.titlesize": 10.5, "axes.titlelocation": "left"})
figure, axes = plt.subplots(2, 5, figsize=(16, 7.2), layout="constrained", sharex=True, sharey=True)
low, high = train.points.min(0).values - 0.5, train.points.max(0).values + 0.5
grid = torch.cartesian_prod(torch.linspace(low[0], high[0], 120), torch.linspace(low[1], high[1], 120))
for axis, (name, model) in zip(axes.flat, models.items(), strict=True):
    with torch.no_grad():
        second = model(grid).softmax(1)[:, 1].reshape(120, 120).T
    axis.imshow(second, extent=(*(float(x) for x in (low[0], high[0])), float(low[1]), float(high[1])), origin="lower",
                cmap="coolwarm", vmin=0, vmax=1, alpha=0.5, aspect="auto")  # fmt: skip
    for label, colour in enumerate(COLOURS):
        axis.scatter(*test.points[test.labels == label].T, s=3, color=colour)
    accuracy, evaluations, _ = results[name]
    axis.set_title(f"{name}\n{100 * accuracy:.1f} %, {evaluations} evaluations")
figure.supxlabel("first coordinate", fontsize=11)
figure.supylabel("second coordinate", fontsize=11)
figure.savefig("cookbook.png", dpi=120)
print("drawn               cookbook.png")
