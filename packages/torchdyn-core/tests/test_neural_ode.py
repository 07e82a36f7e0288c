"""`NeuralODE` lives as any module does."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from torchdyn_core import (
    PID,
    Checkpointed,
    Fixed,
    IncompatibleError,
    NeuralODE,
    OptionError,
    UnknownComponentError,
    UnknownOptionError,
    autonomous,
    solve,
)


def layer(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    return NeuralODE(autonomous(net), **options)


X = torch.tensor([[0.5, -1.0], [2.0, 0.1], [0.0, 0.3]])


def test_forward_is_the_end_of_the_trajectory_and_composes():
    node = layer(solver="dopri5", t1=2.0)
    model = nn.Sequential(nn.Linear(2, 2), node, nn.Linear(2, 1))
    model(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    solution = node.trajectory(X, torch.tensor([0.0, 1.0, 2.0]))
    assert solution.ys.shape == (3, 3, 2)
    torch.testing.assert_close(solution.ys[-1], node(X))


def test_copies_and_pickles_and_state_dicts_are_the_same_layer():
    node = layer(adjoint=Checkpointed(memory=4), controller=PID(rtol=1e-5))
    want = node(X)
    buffer = io.BytesIO()
    torch.save(node, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(node), pickle.loads(pickle.dumps(node)), torch.load(buffer, weights_only=False)):
        assert torch.equal(other(X), want)
        other(X).sum().backward()
        assert all(p.grad is not None for p in other.parameters())
    assert all(p.grad is None for p in node.parameters()), "a copy has parameters of its own"
    fresh = layer(adjoint=Checkpointed(memory=4), controller=PID(rtol=1e-5))
    nn.init.zeros_(fresh.field.net[0].weight)
    fresh.load_state_dict(node.state_dict())
    assert torch.equal(fresh(X), want)


def test_an_exponential_moving_average_follows_training():
    node = layer()
    average = torch.optim.swa_utils.AveragedModel(node, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.SGD(node.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        node(X).square().sum().backward()
        optimizer.step()
        average.update_parameters(node)
    assert not torch.equal(average(X), node(X))


def test_distributed_data_parallel_reduces_every_gradient(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        node = layer()
        wrapped = nn.parallel.DistributedDataParallel(node)
        wrapped(X).square().sum().backward()
        got = [p.grad.clone() for p in node.parameters()]
        node.zero_grad()
        node(X).square().sum().backward()
        assert all(torch.equal(a, p.grad) for a, p in zip(got, node.parameters(), strict=True))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", "backsolve"])
def test_autocast_ends_at_the_field(adjoint):
    seen = []

    def build():
        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
        net[0].register_forward_hook(lambda m, i, o: seen.append(o.dtype))
        return autonomous(net)

    torch.manual_seed(0)
    node = NeuralODE(build(), adjoint=adjoint, controller=Fixed(steps=4), solver="rk4")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = node(X)
    assert out.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    out.sum().backward()  # outside of autocast: replayed steps go back into it
    assert set(seen) <= {torch.bfloat16}
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in node.parameters())


def test_an_augmentation_lifts_and_projects():
    class Pad:
        def lift(self, y):
            return torch.cat([y, y.new_zeros(*y.shape[:-1], 1)], -1)

        def project(self, y):
            return y[..., :-1]

    node = NeuralODE(autonomous(nn.Linear(3, 3)), augmentation=Pad())
    assert node(X).shape == X.shape
    assert node.trajectory(X, torch.tensor([0.0, 1.0])).ys.shape == (2, 3, 3)


def test_options_are_checked_where_the_layer_is_built():
    with pytest.raises(UnknownOptionError, match="did you mean 'solver'"):
        layer(solvr="dopri5")
    with pytest.raises(UnknownComponentError, match="did you mean"):
        layer(solver="dopri")
    with pytest.raises(IncompatibleError, match="Fixed"):
        layer(solver="rk4")
    with pytest.raises(OptionError, match="t0"):
        layer(t0=1.0, t1=1.0)
    with pytest.raises(IncompatibleError, match="autonomous"):
        NeuralODE(nn.Linear(2, 2))
    with pytest.raises(IncompatibleError, match="lift"):
        layer(augmentation=3)


def test_what_is_solved_is_what_solve_solves():
    node = layer(t0=1.0, t1=0.0, controller=PID(rtol=1e-6, atol=1e-8))
    want = solve(node.field, X, [1.0, 0.0], controller=PID(rtol=1e-6, atol=1e-8)).ys[-1]
    assert torch.equal(node(X), want)
    saved = layer(save=lambda t, y: y.sum(-1))
    torch.testing.assert_close(saved(X), layer()(X).sum(-1))
