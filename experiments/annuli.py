"""A disc inside an annulus: with one more dimension the inner points leave through it, and less work does it.

Settings of Dupont et al. 2019 (arXiv 1904.01681), section 4: 1000 points with radius below 0.5 and 2000 between 1 and
1.5, a network of state and depth with 32 hidden units and ReLU, dopri5 to 1e-3, a linear layer behind it, smooth L1
loss against -1 and 1, Adam 1e-3, batches of 64, 12 epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from experiments.training import epoch, evaluations
from torchdyn_augment import DepthConcat, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, autonomous
from torchdyn_datasets import annuli

EPOCHS = 12


def run(*, fast: bool) -> list[Outcome]:
    """Train both, and look at points that neither has seen."""
    plain_loss, plain_accuracy, plain_work = _trained(0, fast=fast)
    loss, accuracy, work = _trained(1, fast=fast)
    name = "disc in annulus"
    return [
        Outcome(name, "augmented: smooth L1 in the last of 12 epochs", loss, "<=", 0.015, "0.008 in epoch 6"),
        Outcome(name, "augmented: accuracy on fresh points", accuracy, ">=", 0.99, form="{:.4f}"),
        Outcome(
            name, "augmented: evaluations, against the plain model's", work, "<=", plain_work, "20 and 26", "{:.0f}"
        ),
        Outcome(name, "plain: smooth L1", plain_loss, paper="0.022 in epoch 12"),
        Outcome(name, "plain: accuracy on fresh points", plain_accuracy, form="{:.4f}"),
    ]


def points(seed: int, scale: int = 1) -> tuple[Tensor, Tensor]:
    """Points and what they are to be mapped to."""
    made = annuli(3000 // scale, seed=seed)
    assert made.labels is not None
    return made.points, made.labels[:, None] * 2.0 - 1.0


def _trained(dims: int, *, fast: bool) -> tuple[float, float, int]:
    """The loss in the last epoch; accuracy and evaluations on fresh points."""
    torch.manual_seed(0)
    width = 2 + dims
    net = nn.Sequential(nn.Linear(width + 1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, width))
    layer = NeuralODE(
        DepthConcat(autonomous(net)),
        solver="dopri5",
        controller=PID(rtol=1e-3, atol=1e-3),
        compile=not fast,
    )
    lift = ZeroAugmentation(dims) if dims else None
    model = _Read(layer, lift, nn.Linear(width, 1))
    x, y = points(0, 10 if fast else 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    last = 0.0
    for _ in range(1 if fast else EPOCHS):
        last = epoch(model, optimizer, nn.SmoothL1Loss(), x, y, 64)
    fresh, wanted = points(1, 10 if fast else 1)
    with torch.no_grad():
        accuracy = float((model(fresh).sign() == wanted).float().mean())
    return last, accuracy, evaluations(layer, fresh if lift is None else lift.lift(fresh))


class _Read(nn.Module):
    """A linear layer that reads the whole lifted state, as in the paper."""

    def __init__(self, layer: NeuralODE, lift: ZeroAugmentation | None, head: nn.Linear) -> None:
        super().__init__()
        self.layer, self.lift, self.head = layer, lift, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x if self.lift is None else self.lift.lift(x)))
