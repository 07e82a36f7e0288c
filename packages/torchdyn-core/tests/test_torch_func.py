"""`torch.func` goes through a solve, or says why not."""

import pytest
import torch

from torchdyn_core import PID, IncompatibleError, NeuralODE, autonomous, solve

DTYPE = torch.float64
TS = torch.tensor([0.0, 0.5, 1.0], dtype=DTYPE)
Y0 = torch.tensor([1.0, -0.5], dtype=DTYPE)
RATE = torch.tensor([0.3, 1.2], dtype=DTYPE)


def end(y0, rate, adjoint, per_sample=False):
    field = lambda t, y, a: torch.sin(a * y) + torch.cos(t)  # noqa: E731
    return solve(
        field, y0, TS, args=rate, adjoint=adjoint, controller=PID(rtol=1e-8, atol=1e-8), per_sample=per_sample
    ).ys[-1]


def reference():
    return torch.autograd.functional.jacobian(lambda y, r: end(y, r, "direct"), (Y0, RATE))


@pytest.mark.filterwarnings("ignore:adjoint='checkpointed' inside a torch.func:torchdyn_core.FallbackWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("adjoint", ["direct", "checkpointed"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_grad_vjp_jacobians_and_hessians(adjoint, per_sample):
    want_y, want_r = reference()
    both = (0, 1)
    run = lambda y, r: end(y, r, adjoint, per_sample)  # noqa: E731
    grad = torch.func.grad(lambda y, r: run(y, r).sum(), argnums=both)(Y0, RATE)
    torch.testing.assert_close(grad[0], want_y.sum(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(grad[1], want_r.sum(0), rtol=1e-9, atol=1e-9)
    _, pull = torch.func.vjp(lambda y: run(y, RATE), Y0)
    torch.testing.assert_close(
        pull(torch.tensor([1.0, 2.0], dtype=DTYPE))[0], want_y.T @ torch.tensor([1.0, 2.0], dtype=DTYPE)
    )
    torch.testing.assert_close(torch.func.jacrev(run, argnums=1)(Y0, RATE), want_r)
    if not per_sample:
        torch.testing.assert_close(torch.func.jacfwd(run)(Y0, RATE), want_y)
    _, push = torch.func.jvp(lambda y: run(y, RATE), (Y0,), (torch.ones_like(Y0),))
    torch.testing.assert_close(push, want_y.sum(1))
    second = torch.func.jacrev(torch.func.grad(lambda y: run(y, RATE).square().sum()))(Y0)
    assert torch.isfinite(second).all() and second.abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore:adjoint='checkpointed' inside a torch.func:torchdyn_core.FallbackWarning")
def test_functional_call_under_grad():
    node = NeuralODE(autonomous(torch.nn.Linear(2, 2, dtype=DTYPE)))
    weights = dict(node.named_parameters())
    loss = lambda w: torch.func.functional_call(node, w, (Y0,)).square().sum()  # noqa: E731
    got = torch.func.grad(loss)({k: v.detach() for k, v in weights.items()})
    want = torch.autograd.grad(node(Y0).square().sum(), list(weights.values()))
    for a, b in zip(got.values(), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_vmap_is_refused_and_names_per_sample():
    with pytest.raises(IncompatibleError, match="per_sample=True"):
        torch.func.vmap(lambda y: end(y, RATE, "direct"))(Y0.expand(3, 2))
    with pytest.raises(IncompatibleError, match="per_sample=True"):
        torch.func.vmap(lambda r: end(Y0, r, "direct"))(RATE.expand(3, 2))


def test_backsolve_is_refused_and_names_those_that_can():
    with pytest.raises(IncompatibleError, match=r"checkpointed.*direct"):
        torch.func.grad(lambda y: end(y, RATE, "backsolve").sum())(Y0)
