r"""
Convolutional neural ODEs read MNIST
====================================

A picture can flow, too: the state of a neural ODE is then an image with channels, and its vector field a small
convolutional network. Three such models of the same depth, one unit of time, learn to read handwritten digits. The
plain one has a single channel to move, the picture itself. The augmented one gets five more, empty at first. The one
of second order gets velocities: its network says how the picture accelerates. What the room is worth shows in accuracy
and in work, the number of times that the solver evaluates the field.

A quarter of MNIST and two epochs: two to three minutes on one core. With all of it and more epochs the differences
grow: the augmented models come to more than 98 % (``experiments/mnist.py``).
"""

# %%
# The data
# --------
# ``mnist`` finds the files in the folder that ``TORCHDYN_DATA`` names, or in the cache, or downloads and checks them.
# Pictures are halved to 14 x 14 pixels.

import os
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_augment import HigherOrder, InputLayerAugmentation, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, autonomous
from torchdyn_datasets import mnist

torch.set_num_threads(1)
FAST = os.environ.get("TORCHDYN_TUTORIALS") == "fast"
TRAINED, TESTED, EPOCHS, BATCH = (256, 256, 1, 32) if FAST else (14000, 5000, 2, 32)


def pictures(split, count):
    """Some pictures of 14 x 14 pixels, with mean 0 and standard deviation 1 over the set, and their digits."""
    data = mnist(split)
    images = (data.images[:count] / 255 - 0.1307) / 0.3081
    images = nn.functional.avg_pool2d(images, 2).contiguous(memory_format=torch.channels_last)
    return images, data.labels[:count]


train, labels = pictures("train", TRAINED)
test, digits = pictures("test", TESTED)

# %%
# Three models
# ------------
# Augmentations and ``HigherOrder`` treat channels of images as they treat features of vectors. A linear layer reads the
# digit off the whole state at the end.


class Classifier(nn.Module):
    """A lift, a neural ODE on images, a linear layer."""

    def __init__(self, field, channels, lift=None):
        super().__init__()
        self.lift = lift
        self.ode = NeuralODE(field, solver="dopri5", controller=PID(rtol=1e-3, atol=1e-3))
        self.head = nn.Linear(channels * 14 * 14, 10)

    def lifted(self, images):
        return images if self.lift is None else self.lift.lift(images)

    def forward(self, images):
        return self.head(self.ode(self.lifted(images)).flatten(1))


def net(channels, out, filters=16):
    """Three convolutions that keep height and width."""
    return autonomous(
        nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1), nn.Softplus(),
            nn.Conv2d(filters, filters, 3, padding=1), nn.Softplus(),
            nn.Conv2d(filters, out, 3, padding=1),
        )
    )  # fmt: skip


torch.manual_seed(0)
second = InputLayerAugmentation(nn.Conv2d(1, 6, 3, padding=1), dims=5, whole=True)
models = {
    "plain": Classifier(net(1, 1, filters=20), 1),  # so that all fields have about 4000 parameters
    "augmented": Classifier(net(6, 6), 6, ZeroAugmentation(5)),
    "second order": Classifier(HigherOrder(net(6, 3)), 6, second),
}

# %%
# Training
# --------
# The learning rate rises and falls once. Every forty batches we look at how much work one pass is, to a tolerance of
# 1e-6: to that of training, 1e-3, it is two or three steps for every one of the models.

work = {name: [] for name in models}
for name, model in models.items():
    model.to(memory_format=torch.channels_last)  # convolutions of few channels are faster so
    optimizer = torch.optim.Adam(model.parameters())
    batches = EPOCHS * (TRAINED // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=batches)
    order = torch.cat([torch.randperm(TRAINED)[: TRAINED // BATCH * BATCH] for _ in range(EPOCHS)])
    for step, rows in enumerate(tqdm(order.split(BATCH), desc=name, unit="batch", file=sys.stdout)):
        loss = nn.functional.cross_entropy(model(train[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 40 == 0 or step == batches - 1:
            fine = NeuralODE(model.ode.field, solver="dopri5", controller=PID(rtol=1e-6, atol=1e-6))
            with torch.no_grad():
                evaluations = fine.trajectory(model.lifted(train[:BATCH]), (0.0, 1.0)).stats.evaluations
            work[name].append((step / (TRAINED // BATCH), evaluations))

accuracy = {}
print(f"{'model':<14}{'parameters':>11}{'evaluations':>13}{'test accuracy':>15}")
for name, model in models.items():
    with torch.no_grad():
        right = sum(
            int((model(x).argmax(1) == y).sum()) for x, y in zip(test.split(500), digits.split(500), strict=True)
        )
    accuracy[name] = right / len(digits)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name:<14}{size:>11}{work[name][-1][1]:>13}{100 * accuracy[name]:>13.1f} %")
print(
    f"versions      torchdyn-core {version('torchdyn-core')}, torchdyn-augment {version('torchdyn-augment')}, "
    f"torchdyn-datasets {version('torchdyn-datasets')}, torch {torch.__version__}"
)

# %%
# What a picture becomes
# ----------------------
# One test picture on its way through the depth of each model, in the channel that it started in, and the figures of all
# three side by side.

COLOURS = ("#777777", "#2a5b8c", "#c8553d")
plt.style.use(Path(__file__).with_name("torchdyn.mplstyle"))
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
figure = plt.figure(figsize=(15, 5.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.35))
grid = left.subplots(len(models), len(DEPTHS))
for place, (row, (name, model)) in enumerate(zip(grid, models.items(), strict=True)):
    with torch.no_grad():
        states = model.ode.trajectory(model.lifted(test[:1]), DEPTHS).ys[:, 0, 0]
    for axis, depth, state in zip(row, DEPTHS, states, strict=True):
        axis.imshow(state, cmap="gray")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        if place == 0:
            axis.set_title(f"t = {depth:g}")
    row[0].set_ylabel(name)
bars, lines = right.subplots(1, 2)
for place, (name, colour) in enumerate(zip(models, COLOURS, strict=True)):
    bar = bars.bar(place, 100 * accuracy[name], color=colour, width=0.6)
    bars.bar_label(bar, fmt="%.1f", padding=2)
    epochs, counts = zip(*work[name], strict=True)
    lines.plot(epochs, counts, color=colour, drawstyle="steps-post", label=name)
low = 100 * min(accuracy.values())
bars.set(title="Accuracy", ylabel=f"of {TESTED} test pictures, %", ylim=(max(0.0, low - 3), min(100.0, low + 6)))
bars.set_xticks(range(len(models)), models)
lines.set(title="Work", xlabel="epoch", ylabel="evaluations per forward pass, to 1e-6", ylim=(0, None))
lines.legend(loc="lower right")
figure.savefig("image_classification.png", dpi=130)
print("drawn         image_classification.png")
