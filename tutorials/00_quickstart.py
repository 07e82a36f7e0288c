r"""
A neural ODE reads handwritten digits
=====================================

An image of a digit is a point in a space of 64 pixels. A neural ODE moves that point: a small network says with which
velocity, and after one unit of time - the *depth* of the model - a single linear layer reads off which digit it was.
How often the network is evaluated on the way is not fixed by the architecture: the solver decides, from a tolerance.

The digits are real: 1797 images of 8 by 8 pixels from the UCI collection of handwritten digits, which scikit-learn
brings along. The whole script takes less than a minute on two cores.
"""

# %%
# The data
# --------
# One digit in five is set aside for a test, in the proportions of the ten classes, and looked at once, at the end. Size
# of the network, learning rate and the like were chosen by training on four fifths of the *other* images and looking at
# the remaining fifth of those.

import sys
import time
from importlib.metadata import version

import matplotlib.pyplot as plt
import sklearn
import torch
from matplotlib import patheffects
from matplotlib.collections import LineCollection
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import tqdm

from torchdyn_core import PID, NeuralODE, autonomous

torch.manual_seed(0)
torch.set_num_threads(1)  # the matrices are small: a second thread costs more than it brings

digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)  # pixels are 0 to 16
labels = torch.tensor(digits.target)
train, test = train_test_split(torch.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
images -= images[train].mean(0)

# %%
# The model
# ---------
# ``autonomous`` makes a vector field :math:`\dot y = f(y)` of an ordinary network, ``NeuralODE`` integrates it from
# depth 0 to depth 1. The result is a layer like any other. Gradients are those of the very steps the solver took, at
# the memory of one state a step: the default adjoint.

field = autonomous(nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 64)))
ode = NeuralODE(field, solver="tsit5", controller=PID(rtol=1e-3, atol=1e-3))
model = nn.Sequential(ode, nn.Linear(64, 10))
n_parameters = sum(parameter.numel() for parameter in model.parameters())

# %%
# Training
# --------
# Nothing here knows that the model contains a differential equation. A little noise on the pixels keeps 17 000
# parameters from learning 1437 images by heart. After every epoch we ask how much work one forward pass is by now:
# early in training the field is nearly at rest and few evaluations follow it, later it has more to do.

EPOCHS, BATCH, NOISE = 30, 64, 0.2
n_batches = -(-len(train) // BATCH)
optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=EPOCHS * n_batches)
cross_entropy = nn.CrossEntropyLoss(label_smoothing=0.1)
probe = images[train[:256]]
depths = torch.tensor([0.0, 1.0])

train_error, evaluations = [], []
start = time.perf_counter()
with tqdm(range(EPOCHS), desc="training", unit="epoch", file=sys.stdout) as epochs:
    for _ in epochs:
        n_wrong = 0
        for batch in train[torch.randperm(len(train))].split(BATCH):
            scores = model(images[batch] + NOISE * torch.randn(len(batch), 64))
            loss = cross_entropy(scores, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            n_wrong += int((scores.argmax(1) != labels[batch]).sum())
        train_error.append(100 * n_wrong / len(train))
        with torch.no_grad():
            evaluations.append(ode.trajectory(probe, depths).stats.evaluations)
        epochs.set_postfix(error=f"{train_error[-1]:.1f} %", evaluations=evaluations[-1])
seconds = time.perf_counter() - start

# %%
# The test
# --------
# Now, and only now, the digits that were set aside.

with torch.no_grad():
    accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean().item()

print(f"test accuracy                     {100 * accuracy:.1f} % of {len(test)} digits never seen in training")
print(f"parameters                        {n_parameters}")
print(f"evaluations per forward pass      {evaluations[-1]} (tsit5, rtol = atol = 1e-3)")
print(f"training                          {EPOCHS} epochs in {seconds:.0f} s")
print(
    f"versions                          torchdyn-core {version('torchdyn-core')}, torch {torch.__version__}, "
    f"scikit-learn {sklearn.__version__}, Python {sys.version.split()[0]}"
)

# %%
# What the depth does
# -------------------
# ``trajectory`` reports the state at any depths asked for: the method's own interpolation fills them in, and no step is
# taken for their sake. We look at the test digits' paths from above, in the two directions in which the *training*
# digits spread most at the end. They start where their pixels put them, all mixed up, and part on the way.

with torch.no_grad():
    arrived = model[0](images[train])
    centre = arrived.mean(0)
    _, spread, axes = torch.linalg.svd(arrived - centre, full_matrices=False)
    share = 100 * spread[:2].square() / spread.square().sum()
    paths = ode.trajectory(images[test], torch.linspace(0.0, 1.0, 41)).ys
    paths = (paths - centre) @ axes[:2].T

INK, MUTED, ACCENT = "#222222", "#777777", "#2a5b8c"
plt.rcParams.update(
    {
        "font.size": 11,
        "axes.titlesize": 12.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
    }
)
figure, (curve, work, depth) = plt.subplots(1, 3, figsize=(16, 5.4), width_ratios=(1, 1, 1.5), layout="constrained")
figure.get_layout_engine().set(w_pad=0.15)
epoch = range(1, EPOCHS + 1)

curve.plot(epoch, train_error, color=ACCENT, linewidth=2)
curve.axhline(100 * (1 - accuracy), color=INK, linewidth=1, linestyle="--")
curve.annotate(
    f"test digits, after training: {100 * (1 - accuracy):.1f} %",
    (0, 100 * (1 - accuracy)),
    textcoords="offset points",
    xytext=(8, -6),
    va="top",
)
curve.annotate(
    "training digits, with noise", (4, train_error[3]), textcoords="offset points", xytext=(10, 6), color=ACCENT
)
curve.set(
    title="Training", xlabel="epoch", ylabel="digits misread (%)", xlim=(0, EPOCHS + 0.5), yscale="log", ylim=(0.5, 100)
)
curve.yaxis.set_major_formatter("{x:g}")

work.step(epoch, evaluations, where="mid", color=ACCENT, linewidth=2)
work.set(
    title="Work the solver chose",
    xlabel="epoch",
    ylabel="field evaluations per forward pass",
    xlim=(0, EPOCHS + 0.5),
    ylim=(0, 1.15 * max(evaluations)),
)

colours = [*plt.get_cmap("tab10").colors]
colours[7] = INK  # grey is taken: it is where they all begin
for digit, colour in enumerate(colours):
    own = paths[:, labels[test] == digit]
    depth.add_collection(LineCollection(own.transpose(0, 1).numpy(), colors=[colour], linewidths=0.7, alpha=0.35))
    depth.scatter(*own[0].T, s=5, color=MUTED, linewidths=0, zorder=2)
    depth.scatter(*own[-1].T, s=20, color=[colour], edgecolors="white", linewidths=0.4, zorder=3, label=str(digit))
    depth.annotate(
        str(digit),
        own[-1].median(0).values.tolist(),
        ha="center",
        va="center",
        fontsize=17,
        fontweight="bold",
        color=colour,
        path_effects=[patheffects.withStroke(linewidth=3.5, foreground="white")],
        zorder=4,
    )
depth.legend(title="digit", loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
depth.set(
    title=f"{len(test)} test digits from depth 0 (grey) to depth 1 (coloured)",
    xlabel=f"first principal component ({share[0]:.0f} % of the variance)",
    ylabel=f"second principal component ({share[1]:.0f} %)",
)
depth.autoscale_view()

figure.savefig("quickstart.png", dpi=130)
print("drawn                             quickstart.png")
