"""Handwritten digits by convolutional neural ODEs: plain; augmented by zeros, by an input layer; of second order.

After Massaroli et al. 2020 (arXiv 2002.08071, table 1: 21 thousand parameters, full training), at a size that two cores
train in ten minutes: pictures of 14 x 14, three convolutions with softplus, a linear layer that reads the whole state,
dopri5 to 1e-3, Adam with a rate that rises and falls once, batches of 128, three epochs. Fields start at zero. The
settings, alike for all four, were found with the last 10000 of the training pictures, which are not trained on; the
test pictures are looked at once, at the end.

To 1e-3 all these fields take two to four steps, the first of them a guess: evaluations then tell more of the guess than
of the field. They are counted at 1e-6, too, where steps are many, and compared there.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from experiments.training import evaluations
from torchdyn_augment import HigherOrder, InputLayerAugmentation, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, VectorField, autonomous
from torchdyn_datasets import mnist

ADDED = 5  # channels
FILTERS = {"plain": 20}  # 16 elsewhere: fields of about 4000 parameters each
EPOCHS = 3
BATCH = 128
RATE = 4e-3
TRAINING, COUNTING = 1e-3, 1e-6  # tolerances
COUNTED = 20  # test batches, of which evaluations are counted

PAPER = {
    "plain": "96.8 %, 98",
    "zeros": "98.9 %, 71",
    "input layer": "99.1 %, 44",
    "second order": "99.2 %, 43",
}
"""The models, and the test accuracy and evaluations that the paper has for them."""

NAME = "MNIST, convolutional"


@dataclass(frozen=True)
class Trained:
    """What came of one model."""

    parameters: int
    accuracy: float
    evaluations: dict[float, float]


class Classifier(nn.Module):
    """A lift, a neural ODE on pictures, a linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.lift, field = _parts(kind)
        self.ode = _layer(field, TRAINING)
        channels = 1 if self.lift is None else 1 + ADDED
        self.head = nn.Linear(channels * 14 * 14, 10)

    def lifted(self, images: Tensor) -> Tensor:
        """The state that the neural ODE starts from."""
        return images if self.lift is None else self.lift.lift(images)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the ten digits."""
        return self.head(self.ode(self.lifted(images)).flatten(1))


def run(*, fast: bool) -> list[Outcome]:
    """Train the four, two at a time, each on one core."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        made = dict(zip(PAPER, pool.map(_trained, PAPER, [fast] * len(PAPER)), strict=True))
    plain, count = made["plain"], _count(fast, "test")
    outcomes = []
    for kind, result in made.items():
        what = f"{kind} ({result.parameters} parameters)"
        outcomes.append(
            Outcome(NAME, f"{what}: test accuracy", result.accuracy, paper=PAPER[kind].split(", ")[0], form="{:.4f}")
        )
        bound = ("<", plain.evaluations[COUNTING]) if kind != "plain" else ("", 0.0)
        few, many = result.evaluations[TRAINING], result.evaluations[COUNTING]
        outcomes.append(Outcome(NAME, f"{kind}: evaluations to {TRAINING:g}", few, form="{:.1f}"))
        outcomes.append(
            Outcome(NAME, f"{kind}: evaluations to {COUNTING:g}", many, *bound, PAPER[kind].split(", ")[1], "{:.1f}")
        )
        if kind != "plain":
            error = math.sqrt(sum(one.accuracy * (1 - one.accuracy) for one in (result, plain)) / count)
            gain = (result.accuracy - plain.accuracy) / max(error, 1e-12)
            outcomes.append(Outcome(NAME, f"{kind}: above plain, in standard errors", gain, ">=", 3.0, form="{:.1f}"))
    best, largest = max(one.accuracy for one in made.values()), max(one.parameters for one in made.values())
    outcomes.append(Outcome(NAME, "the best one's test accuracy", best, ">=", 0.975, form="{:.4f}"))
    outcomes.append(Outcome(NAME, "parameters of the largest", largest, "<=", 21000, "20000 to 21400", "{:.0f}"))
    return outcomes


def pictures(split: str, fast: bool = False) -> tuple[Tensor, Tensor]:
    """Pictures of 14 x 14 with mean 0 and standard deviation 1, and their digits."""
    made = mnist(split, progress=False)
    count = _count(fast, split)
    images = (made.images[:count] / 255.0 - 0.1307) / 0.3081
    return nn.functional.avg_pool2d(images, 2), made.labels[:count]


def _count(fast: bool, split: str) -> int:
    return 256 if fast else {"train": 50000, "test": 10000}[split]


def _parts(kind: str) -> tuple[nn.Module | None, VectorField]:
    width = 1 if kind == "plain" else 1 + ADDED
    if kind == "plain":
        lift: nn.Module | None = None
    elif kind == "zeros":
        lift = ZeroAugmentation(ADDED)
    else:
        lift = InputLayerAugmentation(nn.Conv2d(1, width, 3, padding=1), ADDED, whole=True)
    highest, filters = width // 2 if kind == "second order" else width, FILTERS.get(kind, 16)
    net = nn.Sequential(
        nn.Conv2d(width, filters, 3, padding=1), nn.Softplus(),
        nn.Conv2d(filters, filters, 3, padding=1), nn.Softplus(),
        nn.Conv2d(filters, highest, 3, padding=1),
    )  # fmt: skip
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return lift, HigherOrder(autonomous(net)) if kind == "second order" else autonomous(net)


def _layer(field: VectorField, tolerance: float) -> NeuralODE:
    return NeuralODE(field, solver="dopri5", controller=PID(rtol=tolerance, atol=tolerance))


def _trained(kind: str, fast: bool) -> Trained:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layout = {"memory_format": torch.channels_last}  # convolutions of few channels are faster so
    model = Classifier(kind).to(**layout)
    images, labels = pictures("train", fast)
    images = images.contiguous(**layout)
    epochs = 1 if fast else EPOCHS
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * (len(images) // BATCH))
    for _ in range(epochs):
        for rows in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _tested(model, fast)


def _tested(model: Classifier, fast: bool) -> Trained:
    images, labels = pictures("test", fast)
    right = 0
    work = dict.fromkeys((TRAINING, COUNTING), 0)
    with torch.no_grad():
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            right += int((model(x).argmax(1) == y).sum())
        for x in images.split(BATCH)[:COUNTED]:
            for tolerance in work:
                work[tolerance] += evaluations(_layer(model.ode.field, tolerance), model.lifted(x))
    batches = min(COUNTED, -(-len(images) // BATCH))
    size = sum(p.numel() for p in model.parameters())
    return Trained(size, right / len(labels), {tolerance: count / batches for tolerance, count in work.items()})
