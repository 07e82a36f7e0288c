r"""
Four ways to make room
======================

Points of a disc and of the annulus around it cannot be pulled apart in the plane by a flow: the disc would have to pass
through the annulus. Four neural ODEs of about the same size learn to tell them apart all the same. The plain one
squeezes and stretches the plane as far as its tolerance lets it; the others get room: dimensions that start at zero,
dimensions that a layer computes from the input, velocities. What the room is worth shows in accuracy, and in the number
of times that the solver has to evaluate the field.
"""

# %%
# The data
# --------

import os
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_augment import DepthConcat, HigherOrder, InputLayerAugmentation, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, autonomous
from torchdyn_datasets import annuli

torch.set_num_threads(1)
EPOCHS = 1 if os.environ.get("TORCHDYN_TUTORIALS") == "fast" else 12
train, test = annuli(3000), annuli(1500, seed=1)

# %%
# Four models
# -----------
# Each lifts the points (or does not), moves them for one unit of depth, and has a linear layer read off which a point
# came from. All networks see state and depth and have one hidden layer of 32. The last one is of second order:
# its network gives accelerations, so its state is positions and velocities, which a layer computes from the point.


class Classifier(nn.Module):
    """A lift, a neural ODE on the lifted points, a linear layer."""

    def __init__(self, field, width, lift=None):
        super().__init__()
        self.lift = lift
        self.ode = NeuralODE(field, solver="dopri5", controller=PID(rtol=1e-3, atol=1e-3))
        self.head = nn.Linear(width, 1)

    def lifted(self, points):
        return points if self.lift is None else self.lift.lift(points)

    def forward(self, points):
        return self.head(self.ode(self.lifted(points)))[:, 0]


def net(width, out):
    """A network of a state and depth."""
    return autonomous(nn.Sequential(nn.Linear(width + 1, 32), nn.Tanh(), nn.Linear(32, out)))


torch.manual_seed(0)
models = {
    "plain": Classifier(DepthConcat(net(2, 2)), 2),
    "two zeros": Classifier(DepthConcat(net(4, 4)), 4, ZeroAugmentation(2)),
    "an input layer": Classifier(DepthConcat(net(4, 4)), 4, InputLayerAugmentation(nn.Linear(2, 2), 2)),
    "second order": Classifier(HigherOrder(DepthConcat(net(4, 2))), 4, InputLayerAugmentation(nn.Linear(2, 2), 2)),
}

# %%
# Training
# --------
# After every epoch we look at how often the solver asks the field for one forward pass.

targets = train.labels * 2.0 - 1.0
work = {name: [] for name in models}
for name, model in models.items():
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in tqdm(range(EPOCHS), desc=name, unit="epoch", file=sys.stdout):
        for rows in torch.randperm(len(train)).split(100):
            loss = nn.functional.smooth_l1_loss(model(train.points[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            work[name].append(model.ode.trajectory(model.lifted(train.points), (0.0, 1.0)).stats.evaluations)

print(f"{'model':<16}{'parameters':>11}{'evaluations':>13}{'test accuracy':>15}")
accuracy = {}
for name, model in models.items():
    with torch.no_grad():
        accuracy[name] = float(((model(test.points) > 0) == (test.labels == 1)).float().mean())
    size = sum(p.numel() for p in model.parameters())
    print(f"{name:<16}{size:>11}{work[name][-1]:>13}{100 * accuracy[name]:>13.1f} %")
print(
    f"versions        torchdyn-core {version('torchdyn-core')}, torchdyn-augment {version('torchdyn-augment')}, "
    f"torch {torch.__version__}"
)

# %%
# Where the points go
# -------------------
# The first two components of the state at the end of the depth, for points that no model has seen. The plain flow
# cannot tear the annulus: it draws it out so thin that few points lie where a line has to pass. With room the disc is
# lifted out of the plane.

INK, COLOURS = "#222222", ("#2a5b8c", "#c8553d")
plt.style.use(Path(__file__).with_name("torchdyn.mplstyle"))
figure, axes = plt.subplots(1, 5, figsize=(20, 4.3), layout="constrained")
for axis, (name, model) in zip(axes, models.items(), strict=False):
    with torch.no_grad():
        ends = model.ode(model.lifted(test.points))
    for label, colour in enumerate(COLOURS):
        axis.scatter(*ends[test.labels == label, :2].T, s=4, color=colour, label=("disc", "annulus")[label])
    axis.set(title=f"{name}: {100 * accuracy[name]:.1f} %", xlabel="first component", ylabel="second component")
axes[0].legend(markerscale=3)
for name, style in zip(models, ("--", "-", "-.", ":"), strict=True):
    axes[4].plot(range(1, EPOCHS + 1), work[name], color=INK, linestyle=style, label=name)
axes[4].set(title="Work", xlabel="epoch", ylabel="evaluations per forward pass", ylim=(0, None))
axes[4].legend()
figure.savefig("augmentation_strategies.png", dpi=130)
print("drawn           augmentation_strategies.png")
