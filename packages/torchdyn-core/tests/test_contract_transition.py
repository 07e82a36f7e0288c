"""The record of a transition has room for what events put behind a step: a bouncing ball, replayed as one function.

A record is a step, then optionally a root and a reset. This stub builds the transition from the loop's own pieces and
checks its gradient against the closed form, without any change to them.
"""

import torch

from torchdyn_core import PID, Direct, DormandPrince5, solve

DTYPE = torch.float64
GRAVITY = 9.81


def fall(t, y):
    return torch.stack([y[..., 1], torch.full_like(y[..., 1], -GRAVITY)], -1)


def bounce(y0, restitution):
    """Step on dense output, find the root, reset; the time of the root carries its gradient."""
    flight = solve(
        fall,
        y0,
        [0.0, 2.0],
        dense=True,
        solver=DormandPrince5(),
        adjoint=Direct(),
        controller=PID(rtol=1e-10, atol=1e-10),
    )
    low, high = torch.tensor(0.05, dtype=DTYPE), torch.tensor(2.0, dtype=DTYPE)
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if flight.evaluate(middle)[0] > 0 else (low, middle)
    root = 0.5 * (low + high)
    state = flight.evaluate(root)
    te = root - state[0] / state[1].detach()  # t_e = t* - g / stop_gradient(dg/dt)
    landed = flight.evaluate(te)
    return te, torch.stack([torch.zeros((), dtype=DTYPE), -restitution * landed[1]])


def test_a_transition_with_a_root_and_a_reset_has_the_gradient_of_the_closed_form():
    height = torch.tensor(2.0, dtype=DTYPE, requires_grad=True)
    restitution = torch.tensor(0.8, dtype=DTYPE, requires_grad=True)
    te, after = bounce(torch.stack([height, torch.zeros((), dtype=DTYPE)]), restitution)
    exact = (2 * height / GRAVITY).sqrt()
    torch.testing.assert_close(te, exact, rtol=1e-9, atol=0)
    got = torch.autograd.grad(te + after[1], [height, restitution])
    want = torch.autograd.grad(exact + restitution * GRAVITY * exact, [height, restitution])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=0)
