"""Steps per sample: nobody's steps depend on anybody else's."""

import pytest
import torch

from torchdyn_core import PID, Fixed, Status, per_row, solve

DTYPE = torch.float64
TS = torch.linspace(0.0, 2.0, 5, dtype=DTYPE)


def elementwise(t, y):
    return torch.sin(y * 3 + t) * t - 0.3 * y * y * y


def states(size):
    return (
        torch.randn(9, size, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
        * torch.logspace(-1, 1, 9, dtype=DTYPE)[:, None]
    )


@pytest.mark.parametrize("size", [1, 3, 8, 33])
@pytest.mark.parametrize("solver", ["dopri5", "tsit5", "bosh3"])
@pytest.mark.parametrize("controller", [PID(rtol=1e-6, atol=1e-6), PID(pcoeff=0.3, icoeff=0.4, rtol=1e-4)])
def test_a_sample_alone_and_in_a_batch_is_the_same_bit_for_bit(controller, solver, size):
    y0 = states(size)
    kind = {"solver": solver, "controller": controller, "per_sample": True}
    whole = solve(elementwise, y0, TS, **kind)
    assert len(set(whole.stats.accepted.tolist())) > 2, "the samples should differ in their steps"
    for rows in (*((i,) for i in range(9)), (0, 8), (3, 4, 5), tuple(range(7))):
        part = solve(elementwise, y0[list(rows)], TS, **kind)
        assert torch.equal(part.ys, whole.ys[:, list(rows)])
        assert torch.equal(part.stats.accepted, whole.stats.accepted[list(rows)])
        assert torch.equal(part.stats.rejected, whole.stats.rejected[list(rows)])


def test_opposite_directions_and_empty_spans_share_a_batch():
    y0 = states(2)[:3]
    ts = torch.tensor([[0.0, 1.0, 0.5], [0.3, 0.9, 0.5], [1.0, -1.0, 0.5]], dtype=DTYPE)
    together = solve(elementwise, y0, ts, per_sample=True, dense=True)
    for i in range(2):
        alone = solve(elementwise, y0[i : i + 1], ts[:, i : i + 1], per_sample=True)
        assert torch.equal(together.ys[:, i : i + 1], alone.ys)
    assert torch.equal(together.ys[:, 2], y0[2].expand(3, 2))
    assert together.stats.accepted[2] == 0 and together.valid.all()
    inside = together.evaluate(torch.tensor([[0.3, 0.9, 0.5]], dtype=DTYPE))
    torch.testing.assert_close(inside[0], together.ys[1], rtol=1e-12, atol=1e-12)


def test_finished_samples_freeze_and_cost_nothing_once_all_are_done():
    calls = []

    def counted(t, y):
        calls.append(t.reshape(-1).tolist())
        return -y

    ts = torch.tensor([[0.0, 0.0], [0.1, 5.0]], dtype=DTYPE)
    solution = solve(
        counted, torch.ones(2, 1, dtype=DTYPE), ts, per_sample=True, solver="rk4", controller=Fixed(dt=0.1)
    )
    assert solution.stats.accepted.tolist() == [1, 50]
    assert len(calls) == 50 * 4
    assert all(t[0] == 0.1 for t in calls[4:]), "a finished sample is asked at its last time only"
    assert solve(counted, torch.ones(2, 1, dtype=DTYPE), ts * 0, per_sample=True).stats.evaluations == 0


def test_a_rejected_sample_holds_nobody_back():
    def field(t, y):
        return torch.where(torch.arange(2)[:, None] == 1, torch.sign(torch.sin(40 * t)) * 5 - y, -y)

    y0 = torch.ones(2, 1, dtype=DTYPE)
    both = solve(field, y0, TS, per_sample=True, controller=PID(rtol=1e-6, atol=1e-6))
    calm = solve(lambda t, y: -y, y0[:1], TS, per_sample=True, controller=PID(rtol=1e-6, atol=1e-6))
    assert both.stats.rejected[1] > 10
    assert torch.equal(both.stats.accepted[:1], calm.stats.accepted) and torch.equal(both.ys[:, :1], calm.ys)


def test_a_broken_sample_disturbs_nobody():
    def field(t, y):
        return torch.where((torch.arange(3)[:, None] == 1) & (t > 0.7), torch.nan, elementwise(t, y))

    y0 = states(2)[:3]
    broken = solve(field, y0, TS, per_sample=True, throw=False)
    whole = solve(elementwise, y0, TS, per_sample=True)
    assert broken.status.tolist()[0] == broken.status.tolist()[2] == Status.SUCCESS != broken.status.tolist()[1]
    assert torch.equal(broken.ys[:, [0, 2]], whole.ys[:, [0, 2]])
    assert broken.valid[:, 1].tolist() == [True, True, False, False, False]
    assert torch.equal(broken.ys[2, 1], broken.ys[4, 1]) and torch.isfinite(broken.ys).all()


def test_the_field_gets_times_that_multiply_its_state():
    seen = []

    def square(t, y):
        seen.append(tuple(t.shape))
        return -t * y

    y0 = torch.ones(3, 3, dtype=DTYPE)  # as many samples as columns: a time of shape (3,) would go unnoticed
    ts = torch.tensor([[0.0] * 3, [0.5, 1.0, 2.0]], dtype=DTYPE)
    solution = solve(square, y0, ts, per_sample=True, controller=PID(rtol=1e-9, atol=1e-9))
    assert set(seen) == {(3, 1)}
    torch.testing.assert_close(
        solution.ys[-1], torch.exp(-ts[-1].square() / 2)[:, None].expand(3, 3), rtol=1e-7, atol=0
    )
    seen.clear()

    def tree(t, y):
        seen.append(tuple(t.shape))
        return {"a": -per_row(t, y["a"]) * y["a"], "b": -per_row(t, y["b"]) * y["b"]}

    state = {"a": y0, "b": torch.ones(3, dtype=DTYPE)}
    solution = solve(tree, state, ts, per_sample=True, controller=PID(rtol=1e-9, atol=1e-9))
    assert set(seen) == {(3,)}
    torch.testing.assert_close(solution.ys["b"][-1], torch.exp(-ts[-1].square() / 2), rtol=1e-7, atol=0)
    seen.clear()
    solve(square, y0, TS)
    assert set(seen) == {()}
