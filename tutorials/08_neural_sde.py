r"""
A process that is seen now and then
===================================

A particle between two wells, kicked about by noise, ends up in one of them and now and then hops into the other. It is
measured at some of 31 times, with errors, and many runs break off early. A latent SDE (Li et al. 2020) learns from such
runs both the process, its drift and its noise, as a prior over paths, and to infer the path of a given run: between its
measurements, and behind the last one, where the honest forecast is that either well is possible.

About two minutes on one core.
"""

# %%
# The process
# -----------
# :math:`dy = 4 (y - y^3)\,dt + dW` from starts near the top between the wells. A field is a drift and a diffusion; a
# solve draws its noise from torch's generator, so ``manual_seed`` repeats it.

import os
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from torchdyn_core import Fixed, IrregularSeries, solve
from torchdyn_sde import EulerMaruyama, LatentSDE, SDEField

torch.set_num_threads(1)
FAST = os.environ.get("TORCHDYN_TUTORIALS") == "fast"
TIMES, ERROR, CUT = torch.linspace(0.0, 3.0, 31), 0.1, 1.5
wells = SDEField(lambda t, y: 4.0 * (y - y**3), lambda t, y: torch.ones_like(y), noise="additive")


def simulate(count, seed):
    """Paths at all 31 times, ``(count, 31, 1)``."""
    torch.manual_seed(seed)
    start = 0.2 * torch.randn(count, 1)
    return solve(wells, start, TIMES, solver=EulerMaruyama(), controller=Fixed(dt=0.005)).ys.transpose(0, 1)


def measure(paths, seen=0.5):
    """A share of the times of each path, up to where its run breaks off, with errors."""
    count = len(paths)
    broken = torch.where(torch.rand(count) < 0.5, torch.rand(count) * 3.0, 3.0)
    mask = (torch.rand(count, len(TIMES)) < seen) & (broken[:, None] >= TIMES)
    values = torch.where(mask[..., None], paths + ERROR * torch.randn_like(paths), 0.0)
    return IrregularSeries(TIMES.expand(count, -1), values, mask[..., None])


paths = simulate(1024, seed=1)
runs = measure(paths)
print(f"data          {len(runs)} runs, {int(runs.mask.sum())} measurements of {runs.mask.numel()} times")

# %%
# The model
# ---------
# Drift, diffusion, the posterior's drift and the encoder are small networks by default. Prior and posterior share the
# diffusion; how far they are apart is integrated along the path, in the same solve, and weighed into the loss little by
# little. In a step that ends at a measurement the path's own noise is no longer answered to: steps are so short that
# this noise is about the error of a measurement, or the model would learn too small a diffusion. ``compile=True`` runs
# the solve and its gradient without Python between steps.

STEPS = 3 if FAST else 1200
torch.manual_seed(0)
options = {"hidden_dim": 32, "context_dim": 8, "scale": ERROR, "controller": Fixed(dt=0.0125)}
model = LatentSDE(1, 1, **options, compile=not FAST)
optimizer = torch.optim.Adam(model.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
history = []
for step in tqdm(range(1, STEPS + 1), unit="step", file=sys.stdout):
    rows = torch.randint(len(runs), (128,))
    batch = IrregularSeries(runs.times[rows], runs.values[rows], runs.mask[rows])
    found = model(batch)
    loss = -found.elbo(min(1.0, 4 * step / STEPS)).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    schedule.step()
    history.append((found.log_likelihood.mean().item(), (found.logqp + found.start_kl).mean().item()))

# %%
# What it has learned
# -------------------
# The prior is sampled, and held against fresh paths of the process. New runs are cut off at half time: the posterior
# follows what was measured, then opens like a fan. One of those shown stays in its well, one leaves it. What is drawn
# once need not be compiled: a plain model takes over. Bands hold a little less than they promise: to maximise a lower
# bound of the evidence makes posteriors too sure of themselves.

trained = LatentSDE(1, 1, **options)
trained.load_state_dict(model.state_dict())
fresh = simulate(2000, seed=2)
with torch.no_grad():
    prior = trained.sample(2000, TIMES)
    shown = measure(fresh[:200], seen=0.6)
    cut = IrregularSeries(shown.times, shown.values, shown.mask & (TIMES <= CUT)[:, None])
    forecast = trained.reconstruct(cut, samples=200)[..., 0]
truth = fresh[:200, :, 0]
low, high = (forecast.quantile(q, 0) for q in (0.05, 0.95))
covered = ((truth >= low) & (truth <= high)).float().mean(0)
ratio = prior.std(0)[5:, 0] / fresh.std(0)[5:, 0]
print(f"spread        prior over process, {ratio.min():.2f} to {ratio.max():.2f} of its standard deviation")
within, ahead = covered[TIMES <= CUT].mean(), covered[TIMES > CUT].mean()
print(f"coverage      of the 90 % band: {within:.2f} up to the cut, {ahead:.2f} behind it")
print(
    f"versions      torchdyn-core {version('torchdyn-core')}, torchdyn-sde {version('torchdyn-sde')}, "
    f"torch {torch.__version__}"
)

# %%
# Pictures
# --------

BLUE, RED, MUTED = "#2a5b8c", "#c8553d", "#777777"


def fan(axis, samples, colour):
    """Bands that hold 30, 60 and 90 percent of samples ``(N, T)`` at each time, and some of the samples."""
    for share, alpha in ((0.9, 0.15), (0.6, 0.2), (0.3, 0.25)):
        band = [samples.quantile(q, 0) for q in (0.5 - share / 2, 0.5 + share / 2)]
        axis.fill_between(TIMES, *band, color=colour, alpha=alpha, linewidth=0)
    axis.plot(TIMES, samples[:4].T, color=colour, linewidth=0.7, alpha=0.8)


plt.style.use(Path(__file__).with_name("torchdyn.mplstyle"))
figure, axes = plt.subplots(2, 3, figsize=(15, 8.2), layout="constrained")
(process, learned, ends), (*series, training) = axes
fan(process, fresh[..., 0], MUTED)
process.set(title="The process: bands of 30, 60 and 90 %", xlabel="time", ylabel="position", ylim=(-2, 2))
fan(learned, prior[..., 0], BLUE)
learned.set(title="The learned prior", xlabel="time", ylim=(-2, 2))
bins = torch.linspace(-2.0, 2.0, 41).tolist()
ends.hist(fresh[:, -1, 0].tolist(), bins, color=MUTED, alpha=0.5, density=True, label="process")
ends.hist(prior[:, -1, 0].tolist(), bins, color=BLUE, histtype="step", linewidth=1.8, density=True, label="prior")
ends.set(title="Where paths are at the end", xlabel="position", ylabel="density")
ends.legend()
often, left = cut.mask.sum((1, 2)) > 7, truth[:, 15] * truth[:, -1] < 0
for which, axis in zip((often & ~left, often & left), series, strict=True):
    number = int(which.nonzero()[0])
    fan(axis, forecast[:, number], BLUE)
    axis.plot(TIMES, truth[number], color="black", linewidth=1.4, label="what happened")
    seen = cut.mask[number, :, 0]
    axis.plot(TIMES[seen], cut.values[number, seen, 0], "o", color=RED, markersize=4, label="measured")
    axis.axvline(CUT, color=MUTED, linewidth=0.8, linestyle=":")
    axis.set(title="A new run, cut off at half time", xlabel="time", ylim=(-2, 2))
series[0].set_ylabel("position")
series[0].legend(loc="lower left")
terms = zip(*history, strict=True)
for values, label, colour in zip(terms, ("log-likelihood", "divergence"), (RED, BLUE), strict=True):
    training.plot(values, color=colour, linewidth=0.8, label=label)
training.set(title="Training", xlabel="step", ylabel="nats", ylim=(-60, 60))
training.legend()
figure.savefig("neural_sde.png", dpi=130)
print("drawn         neural_sde.png")
