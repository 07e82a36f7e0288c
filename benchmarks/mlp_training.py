"""A training step: the gradient of a small network's parameters through an adaptive solve."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from benchmarks.measure import Comparison, CountedField, Side, Work, interleaved
from torchdyn_core import PID, Checkpointed, Direct, DormandPrince5, autonomous, solve

TOLERANCE = 1e-5
LEVEL = 0.95  # medians of one pair differ by this much from run to run
TS = torch.tensor([0.0, 3.0])

Gradients = list[Tensor]


def network() -> nn.Sequential:
    """A network whose field takes some following: orthogonal weights of gain 1.6."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    for parameter in net.parameters():
        if parameter.dim() == 2:
            nn.init.orthogonal_(parameter, 1.6)
    return net


def train_step(net: nn.Module, integrate: Callable[[], Tensor]) -> tuple[Tensor, Gradients]:
    """The last state, and the gradients of a loss on it."""
    net.zero_grad(set_to_none=True)
    last = integrate()
    last.square().sum().backward()
    return last.detach(), [parameter.grad for parameter in net.parameters()]


def reference(net: nn.Module, y0: Tensor) -> tuple[Tensor, Gradients]:
    """State and gradients to 1e-12: the state by SciPy, the gradients in float64 by torchdiffeq's dopri8."""
    net, y0, ts = deepcopy(net).double(), y0.double(), TS.double()

    def flat(t: float, y: object) -> object:
        with torch.no_grad():
            return net(torch.as_tensor(y).reshape(y0.shape)).flatten().numpy()

    state = solve_ivp(flat, ts.tolist(), y0.flatten().numpy(), "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    options = {"rtol": 1e-12, "atol": 1e-12, "method": "dopri8"}
    _, gradients = train_step(net, lambda: torchdiffeq.odeint(lambda t, y: net(y), y0, ts, **options)[-1])
    return torch.from_numpy(state).reshape(y0.shape), gradients


def run(*, fast: bool) -> list[Comparison]:
    """Measure."""
    net = network()
    y0 = torch.randn(128, 2)
    exact, exact_gradients = reference(net, y0)
    ours = autonomous(net)
    solver, controller = DormandPrince5(), PID(rtol=TOLERANCE, atol=TOLERANCE)
    options = {"rtol": TOLERANCE, "atol": TOLERANCE, "method": "dopri5"}

    def theirs(t: Tensor, y: Tensor) -> Tensor:
        return net(y)

    parameters = tuple(net.parameters())
    calls: dict[str, Callable[[], tuple[Tensor, Gradients]]] = {
        "torchdyn-core solve, Direct": lambda: train_step(
            net, lambda: solve(ours, y0, TS, solver=solver, controller=controller, adjoint=Direct()).ys[-1]
        ),
        "torchdyn-core solve, Checkpointed": lambda: train_step(
            net, lambda: solve(ours, y0, TS, solver=solver, controller=controller, adjoint=Checkpointed()).ys[-1]
        ),
        "torchdiffeq odeint": lambda: train_step(net, lambda: torchdiffeq.odeint(theirs, y0, TS, **options)[-1]),
        "torchdiffeq odeint_adjoint": lambda: train_step(
            net, lambda: torchdiffeq.odeint_adjoint(theirs, y0, TS, adjoint_params=parameters, **options)[-1]
        ),
    }

    def errors(name: str) -> tuple[float, float]:
        last, gradients = calls[name]()
        pairs = zip(gradients, exact_gradients, strict=True)
        return (
            (last - exact).abs().max().item(),
            max(((ours - exact).abs().max() / exact.abs().max()).item() for ours, exact in pairs),
        )

    work: dict[str, Work] = {}
    for name, adjoint in (("Direct", Direct()), ("Checkpointed", Checkpointed())):
        sol = solve(ours, y0, TS, solver=solver, controller=controller, adjoint=adjoint)
        sol.ys[-1].square().sum().backward()
        stats, name = sol.stats, f"torchdyn-core solve, {name}"
        evaluations = stats.evaluations + stats.backward_evaluations
        work[name] = Work(stats.accepted, stats.rejected, evaluations, *errors(name))
    for name, integrate in (("odeint", torchdiffeq.odeint), ("odeint_adjoint", torchdiffeq.odeint_adjoint)):
        counted, name = CountedField(theirs), f"torchdiffeq {name}"
        extra = {"adjoint_params": parameters} if "adjoint" in name else {}
        integrate(counted, y0, TS, **options, **extra)[-1].square().sum().backward()
        work[name] = Work(counted.accepted, counted.rejected, counted.evaluations, *errors(name))

    seconds = interleaved(calls, fast=fast)
    sides = {name: Side(name, work[name], seconds[name]) for name in calls}
    return [
        Comparison(
            problem="MLP 2-64-64-2 tanh, batch 128, float32, t in [0, 3], forward and backward",
            options=f"dopri5, rtol = atol = {TOLERANCE:g}",
            ours=sides[f"torchdyn-core solve, {adjoint}"],
            theirs=sides[f"torchdiffeq {peer}"],
            per="call",
            target=target,
        )
        for adjoint, peer, target in (
            ("Direct", "odeint", 1.3),
            ("Checkpointed", "odeint", LEVEL),
            ("Checkpointed", "odeint_adjoint", 2.5),
        )
    ]
