r"""
Trajectories that cannot cross
==============================

On the line there is no way past each other. A neural ODE in one dimension that has to send :math:`-1` to :math:`1` and
:math:`1` to :math:`-1` cannot do it, whatever its network and however long it trains: solutions of one ordinary
differential equation never meet, so the points keep their order. With one more dimension, empty at first, they walk
around each other. This is the example that augmented neural ODEs began with (Dupont, Doucet and Teh 2019).

Two models, a few seconds of training each on one core.
"""

# %%
# The data
# --------
# Points at -1 and 1, and where each has to go.

import os
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_augment import DepthConcat, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, autonomous
from torchdyn_datasets import crossing_trajectories

torch.set_num_threads(1)
EPOCHS = 2 if os.environ.get("TORCHDYN_TUTORIALS") == "fast" else 50
data = crossing_trajectories(500)

# %%
# Two models
# ----------
# The same small network of state and depth, once on the line, once with a dimension added. ``ZeroAugmentation`` puts a
# zero beside every input and takes the dimension away behind the solve: the layer maps a number to a number either way.


def model(dims):
    """A neural ODE whose state has `dims` dimensions more than its input."""
    torch.manual_seed(0)
    width = 1 + dims
    net = nn.Sequential(nn.Linear(width + 1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, width))
    augmentation = ZeroAugmentation(dims) if dims else None
    return NeuralODE(
        DepthConcat(autonomous(net)), solver="dopri5", controller=PID(rtol=1e-3, atol=1e-3), augmentation=augmentation
    )


models = {"on the line": model(0), "with one dimension more": model(1)}

# %%
# Training
# --------

losses = {}
for name, layer in models.items():
    optimizer = torch.optim.Adam(layer.parameters(), lr=3e-3)
    losses[name] = []
    for _ in tqdm(range(EPOCHS), desc=name, unit="epoch", file=sys.stdout):
        for rows in torch.randperm(len(data)).split(100):
            loss = nn.functional.smooth_l1_loss(layer(data.points[rows]), data.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[name].append(loss.item())
    print(f"{name:<26}loss {losses[name][-1]:.4f}")
print(
    f"versions                  torchdyn-core {version('torchdyn-core')}, "
    f"torchdyn-augment {version('torchdyn-augment')}, torch {torch.__version__}"
)

# %%
# What they do
# ------------
# On the line the best that can be done is to send everything to the middle, which costs 0.5; that is where the first
# model ends. The second one lifts the points off the line and lets them pass.

depths = torch.linspace(0.0, 1.0, 101)
starts = torch.tensor([[-1.0], [1.0]])
with torch.no_grad():
    paths = {name: layer.trajectory(starts, depths).ys for name, layer in models.items()}

INK, MUTED, COLOURS = "#222222", "#777777", ("#2a5b8c", "#c8553d")
plt.style.use(Path(__file__).with_name("torchdyn.mplstyle"))
figure, (curves, line, plane) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
for name, style in zip(losses, ("--", "-"), strict=True):
    curves.plot(range(1, EPOCHS + 1), losses[name], color=INK, linestyle=style, label=name)
curves.axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
curves.annotate("the best on the line: 0.5", (EPOCHS, 0.5), xytext=(0, 5), textcoords="offset points", ha="right")
curves.set(title="Training", xlabel="epoch", ylabel="smooth L1 loss", yscale="log")
curves.legend(loc="lower left")
for start, colour in enumerate(COLOURS):
    label = f"from {starts[start, 0]:+.0f}, has to go to {-starts[start, 0]:+.0f}"
    line.plot(depths, paths["on the line"][:, start, 0], color=colour, label=label)
    path = paths["with one dimension more"][:, start]
    plane.plot(*path.T, color=colour)
    plane.scatter(*path[0], color=colour, s=30, zorder=3)
    plane.scatter(*path[-1], color=colour, s=60, marker="*", zorder=3)
line.set(title="On the line: they stop short of each other", xlabel="depth", ylabel="state", ylim=(-1.3, 1.3))
line.legend()
plane.set(title="With one dimension more: from dot to star", xlabel="state", ylabel="added dimension", xlim=(-1.5, 1.5))
figure.savefig("crossing_trajectories.png", dpi=130)
print("drawn                     crossing_trajectories.png")
