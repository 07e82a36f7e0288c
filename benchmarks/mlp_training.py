"""A training step: the gradient of a small network's parameters through an adaptive solve."""

from __future__ import annotations

from collections.abc import Callable

import jax
import torch
from torch import nn

from benchmarks.compare import compare
from benchmarks.measure import Comparison
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_torchdiffeq, ours
from torchdyn_core import Checkpointed, Direct, autonomous

LEVEL = 0.95  # medians of one pair differ by this much from run to run

TIGHTER = 4e-6
"""Ours beside the continuous adjoint, whose gradient errs less than the state: at the common tolerance it is nearer."""


def network(dim: int, width: int) -> nn.Sequential:
    """A network whose field takes some following: orthogonal weights of gain 1.6."""
    torch.manual_seed(0)
    layers = nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, dim)
    net = nn.Sequential(*layers)
    for parameter in net.parameters():
        if parameter.dim() == 2:
            nn.init.orthogonal_(parameter, 1.6)
    return net


def in_jax(y: jax.Array, *parameters: jax.Array) -> jax.Array:
    """The network."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        y = jax.numpy.tanh(y @ weight.T + bias)
    return y @ parameters[-2].T + parameters[-1]


def problem(dim: int, width: int, batch: int) -> Problem:
    """A batch of states that share one step size, and a network."""
    net = network(dim, width)
    return Problem(
        name=f"MLP {dim}-{width}-{width}-{dim} tanh, batch {batch}, float32, t in [0, 3], training step",
        field=autonomous(net),
        y0=torch.randn(batch, dim),
        ts=torch.tensor([0.0, 3.0]),
        tolerance=1e-5,
        gradient=True,
    )


def eager(*, fast: bool) -> list[Comparison]:
    """The eager loop under two adjoints."""
    given = problem(2, 64, 128)
    direct, adjoint = by_torchdiffeq.direct(given), by_torchdiffeq.adjoint(given)
    checkpointed, tighter = (ours.eager(given, Checkpointed(), tolerance=tolerance) for tolerance in (None, TIGHTER))
    return compare(
        given,
        [ours.eager(given, Direct()), checkpointed, tighter],
        [direct.at_least(1.3), direct.at_least(LEVEL), adjoint.at_least(2.5)],
        fast=fast,
    )


def _compiled(given: Problem, targets: tuple[float, float, float], fast: bool) -> list[Comparison]:
    peers = by_torchdiffeq.direct(given), by_torchdiffeq.adjoint(given), by_diffrax.contender(given, in_jax)
    rivals = [peer.at_least(target) for peer, target in zip(peers, targets, strict=True)]
    same, tighter = ours.compiled(given), ours.compiled(given, tolerance=TIGHTER)
    return compare(given, [same, tighter, same], rivals, fast=fast)


def small(*, fast: bool) -> list[Comparison]:
    """A network of 64 hidden units, compiled."""
    return _compiled(problem(2, 64, 128), (2.5, 8.0, 0.75), fast)


def large(*, fast: bool) -> list[Comparison]:
    """A network of 128 hidden units, compiled."""
    return _compiled(problem(32, 128, 256), (1.4, 4.5, 0.85), fast)


ROWS: dict[str, Callable[..., list[Comparison]]] = {
    "eager-mlp": eager,
    "mlp-64": small,
    "mlp-128": large,
}
