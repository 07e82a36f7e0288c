"""Latent SDEs of two processes of known laws: do posteriors follow series, has the prior learned the process?

Geometric Brownian motion with the settings of Li et al. (2020, arXiv 2001.01328): mu 1, sigma 0.5, from
0.1 + N(0, 0.03^2), 1024 series of 51 observations on [0, 1] with noise 0.01. Ornstein and Uhlenbeck's process: theta 1,
mean 0, sigma 0.5, from its stationary law, 1024 series of 21 observations on [0, 2] with noise 0.01.

Both learn by Adam with a rate that rises and falls once, batches of 128, gradients clipped at 10, the divergences'
weight rising from 0 to 1 in the first fifth. In a step that ends at an observation the path's own noise is no longer
answered to. A likelihood with the scale of the measurements, 0.01, would have the model make up for it by a diffusion
that is too small, or steer so hard that the prior comes out too wide: so there are four, or ten, steps from one
observation to the next, and the scale is 0.017 (what training it comes to), or 0.024 (half the noise of a step).

Figures are those of 256 fresh series, of which nothing was chosen: the error of the posterior's mean path at the
observations that it is told of; that of the prior's mean, which is told of nothing; the prior's standard deviation
against that of the process, at all times but the first. What is set here was chosen on series that are neither trained
nor tested on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from torchdyn_core import Fixed, IrregularSeries
from torchdyn_datasets import geometric_brownian_motion, ornstein_uhlenbeck
from torchdyn_sde import LatentSDE

NAMES = {"gbm": "Geometric Brownian motion", "ou": "Ornstein and Uhlenbeck's process"}
BATCH, RATE = 128, 1e-2
NOISE = 0.01
STEPS = {"gbm": 2000, "ou": 2500}
STEP = {"gbm": 0.005, "ou": 0.01}
SCALE = {"gbm": 0.017, "ou": 0.024}


def run(*, fast: bool) -> list[Outcome]:
    """Train both, and try them on fresh series."""
    torch.set_num_threads(1)
    outcomes = []
    for kind in NAMES:
        model = trained(kind, data(kind, 64 if fast else 1024, 1)[0], 2 if fast else STEPS[kind])
        posterior, prior, ratios = measured(model, *data(kind, 16 if fast else 256, 3))
        name = f"latent SDE: {NAMES[kind]}"
        least, most = ratios.min().item(), ratios.max().item()
        outcomes += [
            Outcome(name, "posterior mean: root of the mean squared error at the data", posterior, "<=", 0.02),
            Outcome(name, "the same, over the prior mean's", posterior / prior, "<=", 0.25),
            Outcome(name, "prior mean: the same error", prior),
            Outcome(name, "prior's standard deviation over the process', least of all times", least, ">=", 0.7),
            Outcome(name, "the same, most", most, "<=", 1.3),
        ]
    return outcomes


def data(kind: str, count: int, seed: int) -> tuple[IrregularSeries, Tensor]:
    """Series, and the standard deviation of the process at their times."""
    if kind == "gbm":
        found = geometric_brownian_motion(count, noise=NOISE, seed=seed)
        t = found.times.double()
        variance = (0.1**2 + 0.03**2) * torch.exp(2.25 * t) - (0.1 * torch.exp(t)) ** 2
    else:
        found = ornstein_uhlenbeck(count, sigma=0.5, t1=2.0, dt=0.1, noise=NOISE, seed=seed)
        variance = torch.full_like(found.times, 0.125, dtype=torch.float64)
    times = found.times.float().expand(count, -1)
    return IrregularSeries(times, found.values.float()), variance.sqrt().float()


def network(kind: str, **options: Any) -> LatentSDE:
    """The model of a process."""
    return LatentSDE(1, 2, hidden_dim=32, context_dim=8, scale=SCALE[kind], controller=Fixed(dt=STEP[kind]), **options)


def trained(kind: str, series: IrregularSeries, steps: int) -> LatentSDE:
    """A model of series; what is asked of it later is asked once, and not compiled."""
    torch.manual_seed(0)
    model = network(kind, compile=True)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(series), (BATCH,))
        batch = IrregularSeries(series.times[rows], series.values[rows])
        loss = model.loss(batch, min(1.0, 5 * (step + 1) / steps))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    plain = network(kind)
    plain.load_state_dict(model.state_dict())
    return plain


@torch.no_grad()
def measured(model: LatentSDE, series: IrregularSeries, spread: Tensor) -> tuple[float, float, Tensor]:
    """Errors of the posterior's mean and of the prior's, and the prior's standard deviation over the process'."""
    wanted, paths = series.values, model.sample(4096, series.times[0])
    posterior = model.reconstruct(series, samples=64).mean(0)
    errors = [(mean - wanted).square().mean().sqrt().item() for mean in (posterior, paths.mean(0))]
    return errors[0], errors[1], paths.std(0)[1:, 0] / spread[1:]
