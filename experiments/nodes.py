"""Classes of the nodes of one graph: full-batch training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchdyn_datasets import cora
from torchdyn_graph import Graph

LOOK = 10
"""Steps between two looks at the validation nodes."""


@dataclass(frozen=True)
class Task:
    """Cora with its public split.

    Arguments:
        graph: Papers, and who cites whom.
        words: What each has, rows that sum to 1; sparse.
        labels: Their subjects.
        train, validation, test: Which papers are for what.
    """

    graph: Graph
    words: Tensor
    labels: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Arguments:
        steps: Of the optimizer, each of all nodes.
        optimizer: Makes it of parameters.
        selects: Whether the model that told the validation nodes best is kept; else it is the last one.
    """

    steps: int
    optimizer: Callable[..., torch.optim.Optimizer]
    selects: bool = True


def task() -> Task:
    """Cora."""
    data = cora(normalise=True, progress=False)
    return Task(
        Graph(data.edge_index, len(data)), data.features.to_sparse_csr(), data.labels,
        data.train, data.validation, data.test,
    )  # fmt: skip


def accuracy(scores: Tensor, given: Task, nodes: Tensor) -> float:
    """The share of nodes whose class has the highest score."""
    return (scores.argmax(1) == given.labels)[nodes].double().mean().item()


def trained(model: nn.Module, given: Task, training: Training) -> nn.Module:
    """The model after training, or as it was when it told the validation nodes best; of equals, with the least loss."""
    optimizer = training.optimizer(model.parameters())
    best, kept = (-1.0, 0.0), None
    for step in range(1, training.steps + 1):
        model.train()
        scores = model(given.graph, given.words)
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores[given.train], given.labels[given.train]).backward()
        optimizer.step()
        if training.selects and (step % LOOK == 0 or step == training.steps):
            model.eval()
            with torch.no_grad():
                scores = model(given.graph, given.words)
            loss = nn.functional.cross_entropy(scores[given.validation], given.labels[given.validation]).item()
            found = accuracy(scores, given, given.validation), -loss
            if found > best:
                best, kept = found, copy.deepcopy(model.state_dict())
    if kept is not None:
        model.load_state_dict(kept)
    return model.eval()


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return numbers.mean().item(), numbers.std().item() if len(numbers) > 1 else 0.0
