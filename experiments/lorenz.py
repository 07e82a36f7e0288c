"""A latent SDE of the stochastic Lorenz system: do paths of its prior go around both wings of the attractor?

After the example of torchsde, `latent_sde_lorenz.py` (Li et al. 2020, arXiv 2001.01328): 1024 series of 100
observations on [0, 2], noise in proportion to each component with the strengths 0.1, 0.28, 0.3, starts standard
normal, each channel normalised, observed with noise 0.01; a latent state of 4; a scale of the likelihood that is
learned, since the noise of a step that ends at an observation is more than 0.01. There are no figures in the paper
but pictures; the thresholds are on what pictures are to show.

Paths of the prior are held against as many fresh paths of the process: which share of their time, from 0.4 on, they
spend on each wing (the sign of the first channel before it is normalised); which share of them has been on both; each
channel's mean and standard deviation. Adam, batches of 128, a rate that rises and falls once, gradients clipped, the
divergences' weight rising from 0 to 1 in the first quarter. `lorenz.png` shows data and paths of the prior. Settings
were tried on paths that are neither trained nor tested on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from torchdyn_core import Fixed, IrregularSeries
from torchdyn_datasets import stochastic_lorenz
from torchdyn_sde import LatentSDE

NAME = "latent SDE: stochastic Lorenz"
STRENGTH = (0.1, 0.28, 0.3)
STEPS, BATCH, RATE = 2500, 128, 1e-2
COUNT, ROWS = 1024, 100
NOISE = 0.01
SETTLED = 20
"""Rows until paths have come to the attractor."""


def run(*, fast: bool) -> list[Outcome]:
    """Train, and compare paths of the prior with fresh ones of the process."""
    torch.set_num_threads(1)
    count = 64 if fast else COUNT
    raw, times = paths(count, 1)
    centre, scale = raw.mean((0, 1)), raw.std((0, 1))
    model = trained((raw - centre) / scale, times, 2 if fast else STEPS)
    with torch.no_grad():
        made = model.sample(count, times) * scale + centre
    fresh = paths(count, 3)[0]
    if not fast:
        drawn(fresh, made, Path(__file__).with_name("lorenz.png"))
    return outcomes(fresh, made)


def paths(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Paths of the process, and their times."""
    dt = 2.0 / (ROWS - 1)
    found = stochastic_lorenz(count, strength=STRENGTH, proportional=True, t1=2.0, dt=dt, noise=0.0, seed=seed)
    return found.values, found.times


def network(**options: Any) -> LatentSDE:
    """The model."""
    steps = Fixed(steps=2 * (ROWS - 1))
    return LatentSDE(3, 4, hidden_dim=64, context_dim=16, scale=0.1, learn_scale=True, controller=steps, **options)


def trained(values: Tensor, times: Tensor, steps: int) -> LatentSDE:
    """A model of normalised series, which it sees with noise; it is sampled once, and not compiled for that."""
    torch.manual_seed(0)
    values = values + NOISE * torch.randn_like(values)
    model = network(compile=True)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(values), (BATCH,))
        loss = model.loss(IrregularSeries(times.expand(BATCH, -1), values[rows]), min(1.0, 4 * (step + 1) / steps))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    plain = network()
    plain.load_state_dict(model.state_dict())
    return plain


def wings(found: Tensor) -> tuple[float, float]:
    """The share of time on the wing on the right, and the share of paths that are on both."""
    right = found[:, SETTLED:, 0] > 0.0
    return right.float().mean().item(), (right.any(1) & ~right.all(1)).float().mean().item()


def outcomes(fresh: Tensor, made: Tensor) -> list[Outcome]:
    """What paths of the prior have in common with those of the process."""
    (right, both), (wanted, crossing) = wings(made), wings(fresh)
    late, late_fresh = made[:, SETTLED:], fresh[:, SETTLED:]
    ratios = late.std((0, 1)) / late_fresh.std((0, 1))
    shift = ((late.mean((0, 1)) - late_fresh.mean((0, 1))) / late_fresh.std((0, 1))).abs().max().item()
    return [
        Outcome(NAME, "prior: share of time on the right wing", right, ">=", 0.25),
        Outcome(NAME, "prior: share of time on the left wing", 1.0 - right, ">=", 0.25),
        Outcome(NAME, "the process: share of time on the right wing", wanted),
        Outcome(NAME, "prior: share of paths that are on both, over the process'", both / crossing, ">=", 0.7),
        Outcome(NAME, "the process: share of paths that are on both", crossing),
        Outcome(
            NAME, "prior's standard deviation over the process', least of the channels", ratios.min().item(), ">=", 0.7
        ),
        Outcome(NAME, "the same, most", ratios.max().item(), "<=", 1.3),
        Outcome(NAME, "prior's mean, farthest from the process' of the channels, in standard deviations", shift),
    ]


def drawn(fresh: Tensor, made: Tensor, file: Path) -> None:
    """Twelve paths of the process and of the prior, seen from the side, and in time."""
    import matplotlib.pyplot as plt  # the others need none

    plt.style.use(Path(__file__).parents[1] / "tutorials" / "torchdyn.mplstyle")
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained", sharex="row", sharey="row")
    ts = torch.linspace(0.0, 2.0, ROWS)
    for column, (title, found) in enumerate((("data", fresh), ("paths of the learned prior", made))):
        side, time = axes[:, column]
        for path in found[:40]:
            side.plot(path[:, 0], path[:, 2], color="#2a5b8c", alpha=0.35, linewidth=0.8)
        for path, colour in zip(found[:5], ("#2a5b8c", "#c8553d", "#54a24b", "#b279a2", "#777777"), strict=True):
            time.plot(ts, path[:, 0], color=colour, linewidth=1.2)
        side.set(title=f"Lorenz: {title}", xlabel="first component")
        time.set(title=f"first component: {title}", xlabel="time")
    axes[0, 0].set_ylabel("third component")
    axes[1, 0].set_ylabel("first component")
    figure.savefig(file, dpi=120)
    plt.close(figure)
