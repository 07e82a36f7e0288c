"""The loop: where steps end, what is reported, and that a solve can be interrupted and go on."""

import math

import pytest
import torch

from torchdyn_core import PID, DormandPrince5, Fixed, VectorField, solve
from torchdyn_core.registry import Registry

CORE = Registry(entry_points=tuple)
DTYPE = torch.float64
Y0 = torch.tensor([[1.0, 0.5], [0.2, 2.0], [1.5, -0.3]], dtype=DTYPE)


def field(t, y):
    return -y * (1 + torch.sin(3 * t))


def exact(t):
    return Y0 * torch.exp(-(t + (1 - torch.cos(3 * t)) / 3)).reshape(-1, 1, 1)


class Spy(DormandPrince5):
    """Writes down every interval it is asked to step."""

    def __init__(self):
        object.__setattr__(self, "asked", [])

    def step(self, field, t0, t1, y, state):
        self.asked.append((t0.clone(), t1.clone()))
        return super().step(field, t0, t1, y, state)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)])
def test_report_times_never_cut_a_step(ends, per_sample):
    options = {"controller": PID(rtol=1e-6, atol=1e-6), "per_sample": per_sample, "record_steps": True}
    few = solve(field, Y0, torch.tensor(ends, dtype=DTYPE), **options)
    many = solve(field, Y0, torch.linspace(*ends, 1001, dtype=DTYPE), **options)
    assert torch.equal(few.steps[0], many.steps[0]) and torch.equal(few.ys[-1], many.ys[-1])
    assert few.stats.steps == many.stats.steps


@pytest.mark.parametrize("per_sample", [False, True])
def test_reports_are_the_solution_forwards_and_backwards(per_sample):
    options = {"controller": PID(rtol=1e-9, atol=1e-9), "per_sample": per_sample}
    ts = torch.tensor([0.0, 0.0, 0.3, 0.3, 1.1, 2.0, 2.0], dtype=DTYPE)
    solution = solve(field, Y0, ts, **options)
    torch.testing.assert_close(solution.ys, exact(ts), rtol=1e-7, atol=1e-8)
    assert torch.equal(solution.ys[0], Y0) and torch.equal(solution.ys[1], Y0)
    assert torch.equal(solution.ys[2], solution.ys[3]) and torch.equal(solution.ys[5], solution.ys[6])
    back = solve(field, solution.ys[-1], ts.flip(0), **options)
    torch.testing.assert_close(back.ys, exact(ts.flip(0)), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", CORE.names("solver"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ends", [(0.1, 0.7), (0.7, 0.1)])
def test_the_field_is_never_asked_outside_the_span(name, dtype, ends):
    seen = []

    def watched(t, y):
        seen.append(t.item())
        return field(t, y)

    solve(watched, Y0.to(dtype), torch.tensor(ends, dtype=dtype), solver=name, controller=Fixed(dt=0.07), dense=True)
    if CORE.get("solver", name).has_error_estimate:
        solve(watched, Y0.to(dtype), torch.tensor(ends, dtype=dtype), solver=name, controller=PID(dt0=5.0))
        solve(watched, Y0.to(dtype), torch.tensor(ends, dtype=dtype), solver=name)
    low, high = sorted(torch.tensor(ends, dtype=dtype).tolist())
    assert low <= min(seen) and max(seen) <= high


@pytest.mark.parametrize("per_sample", [False, True])
def test_steps_join_bit_for_bit_and_the_last_one_ends_at_the_end(per_sample):
    spy, end = Spy(), 1.0 / 3.0
    solution = solve(field, Y0, [0.0, end], solver=spy, controller=PID(rtol=1e-7, atol=1e-7), per_sample=per_sample)
    reached = torch.zeros_like(spy.asked[0][0])
    for t0, _ in spy.asked:
        assert torch.equal(t0, reached) or bool((t0 >= reached).all())
        reached = torch.maximum(reached, t0)
    starts = {t.item() for t0, _ in spy.asked for t in t0.reshape(-1)}
    ends = {t.item() for _, t1 in spy.asked for t in t1.reshape(-1)}
    assert starts - {0.0} <= ends, "each start is an end, bitwise"
    assert bool((torch.as_tensor(solution.final.t) == end).all()) and end in ends


def test_a_fixed_grid_is_what_it_says():
    for span, dt in ((1.0, 0.1), (1.0, 0.3), (0.7, 0.1), (1.0, 2.0), (3.0, 1.0 / 3.0)):
        for sign in (1, -1):
            times = solve(field, Y0, [0.5, 0.5 + sign * span], controller=Fixed(dt=dt), record_steps=True).steps[0]
            count = math.ceil(span / dt - 1e-9)
            want = [0.5 + sign * i * dt for i in range(count)] + [0.5 + sign * span]
            assert times.tolist() == want
    assert solve(field, Y0, [0.0, 1.0], controller=Fixed(steps=7)).stats.accepted == 7
    grid = [0.0, 0.1, 0.5, 1.0]
    assert solve(field, Y0, [0.0, 1.0], controller=Fixed(grid=grid), record_steps=True).steps[0].tolist() == grid


class Switching(VectorField):
    def __init__(self, at, strict):
        super().__init__()
        self.at, self.strict, self.seen = at, strict, []

    def breakpoints(self, t0, t1):
        return torch.tensor([self.at], dtype=DTYPE)

    def forward(self, t, y):
        after = t > self.at if self.strict else t >= self.at
        return torch.where(after, -10.0 * y, torch.ones_like(y))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("controller", [PID(rtol=1e-8, atol=1e-8), Fixed(dt=0.01)])
def test_each_side_of_a_jump_sees_its_own_limit(controller, per_sample, strict):
    y0 = torch.ones(2, 1, dtype=DTYPE)
    solution = solve(
        Switching(0.503, strict), y0, [0.0, 1.0], controller=controller, per_sample=per_sample, record_steps=True
    )
    want = (1 + 0.503) * math.exp(-10 * 0.497)
    torch.testing.assert_close(solution.ys[-1], torch.full((2, 1), want, dtype=DTYPE), rtol=1e-7, atol=1e-9)
    assert 0.503 in solution.steps[0].reshape(len(solution.steps[0]), -1)[:, 0].tolist()
    assert int(torch.as_tensor(solution.stats.rejected).max()) <= 3, "the new side asks for smaller steps, no more"
    back = solve(Switching(0.503, strict), solution.ys[-1], [1.0, 0.0], controller=controller, per_sample=per_sample)
    torch.testing.assert_close(back.ys[-1], y0, rtol=1e-5, atol=1e-6)


def test_known_jumps_cost_less_than_blind_ones_and_may_differ_by_sample():
    jumps = torch.tensor([[0.3, 0.6]], dtype=DTYPE)

    def switch(t, y):
        return torch.where(t >= jumps.T, -5.0 * y, y)

    y0 = torch.ones(2, 1, dtype=DTYPE)
    known = solve(switch, y0, [0.0, 1.0], per_sample=True, controller=PID(rtol=1e-8, atol=1e-8, jump_ts=jumps))
    blind = solve(switch, y0, [0.0, 1.0], per_sample=True, controller=PID(rtol=1e-8, atol=1e-8))
    want = torch.exp(jumps.T - 5 * (1 - jumps.T))
    torch.testing.assert_close(known.ys[-1], want, rtol=1e-7, atol=0)
    assert (known.stats.accepted + known.stats.rejected < blind.stats.accepted + blind.stats.rejected).all()
    assert known.stats.rejected.max() <= 2 < blind.stats.rejected.min()


@pytest.mark.parametrize("name", ["euler", "rk4", "bosh3", "dopri5", "tsit5", "dopri8"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_dense_output_and_running_losses_follow_the_solution(name, per_sample):
    steps = 20_000 if name == "euler" else 400
    kind = {"solver": name, "controller": Fixed(steps=steps), "per_sample": per_sample, "max_steps": 20_000}
    rate = torch.tensor(0.7, dtype=DTYPE)
    for ends in ((0.0, 1.0), (1.0, 0.0)):
        t = torch.tensor([0.0, 0.11, 0.5, 0.93, 1.0], dtype=DTYPE)
        y0 = Y0 * torch.exp(-rate * ends[0])
        solution = solve(
            lambda t, y: -rate * y, y0, ends, dense=name != "euler", integral_loss=lambda t, y: y * t, **kind
        )
        antiderivative = lambda s: -(s / rate + 1 / rate**2) * torch.exp(-rate * s) * Y0  # noqa: E731
        want = antiderivative(torch.tensor(ends[1])) - antiderivative(torch.tensor(ends[0]))
        torch.testing.assert_close(solution.integral, want, rtol=1e-4 if name == "euler" else 1e-8, atol=1e-9)
        if name != "euler":
            torch.testing.assert_close(
                solution.evaluate(t), Y0 * torch.exp(-rate * t)[:, None, None], rtol=1e-8, atol=1e-9
            )
            assert torch.equal(solution.evaluate(t)[2], solution.evaluate(0.5))


def test_recorded_steps_of_samples_are_padded_with_their_last():
    ts = torch.tensor([[0.0, 0.0], [0.1, 3.0]], dtype=DTYPE)
    solution = solve(field, Y0[:2], ts, per_sample=True, record_steps=True, controller=PID(rtol=1e-6, atol=1e-6))
    times, ys = solution.steps
    counts = solution.stats.accepted
    assert len(times) == int(counts.max()) + 1 and counts[0] < counts[1]
    assert (times[counts[0] :, 0] == 0.1).all() and (ys[counts[0] :, 0] == solution.ys[-1, 0]).all()
    assert (times.diff(dim=0) >= 0).all()


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(
    "controller", [PID(rtol=1e-7, atol=1e-7), PID(pcoeff=0.3, icoeff=0.4, rtol=1e-6), Fixed(dt=0.07), Fixed(steps=23)]
)
def test_an_interrupted_solve_goes_on_as_if_it_had_not_been(controller, per_sample):
    kind = {"controller": controller, "per_sample": per_sample, "solver": "dopri5"}
    whole = solve(field, Y0, [0.0, 1.5], **kind)
    first = solve(field, Y0, [0.0, 1.5], max_steps=5, throw=False, **kind)
    assert not first.success and not first.valid[-1].any()
    t = torch.as_tensor(first.final.t, dtype=DTYPE)
    rest = solve(field, first.final, torch.stack([t, torch.full_like(t, 1.5)]), **kind)
    assert torch.equal(rest.ys[-1], whole.ys[-1])
    total = torch.as_tensor(first.stats.accepted) + torch.as_tensor(rest.stats.accepted)
    assert torch.equal(total, torch.as_tensor(whole.stats.accepted))


def test_save_reports_in_place_of_the_state():
    ts = torch.linspace(0.0, 1.0, 7, dtype=DTYPE)
    for per_sample in (False, True):
        plain = solve(field, Y0, ts, per_sample=per_sample)
        saved = solve(
            field, Y0, ts, per_sample=per_sample, save=lambda t, y: {"sum": y.sum(-1), "t": t.reshape(-1)[:1]}
        )
        torch.testing.assert_close(saved.ys["sum"], plain.ys.sum(-1), rtol=1e-14, atol=0)
        assert torch.equal(saved.ys["t"][:, 0], ts)


def test_the_progress_bar_closes_however_the_solve_ends(capsys):
    calls = []

    def interrupted(t, y):
        calls.append(t)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return field(t, y)

    with pytest.raises(KeyboardInterrupt):
        solve(interrupted, Y0, [0.0, 9.0], progress=True)
    solve(field, Y0, [0.0, 1.0], progress=True)
    solve(field, Y0, torch.tensor([[0.0] * 3, [1.0, 0.0, -1.0]], dtype=DTYPE), progress=True, per_sample=True)
    assert capsys.readouterr().err.count("100%") >= 2
    from tqdm import tqdm

    assert not tqdm._instances


def test_stats_count_what_happened():
    count = []

    def counted(t, y):
        count.append(t)
        return field(t, y)

    stats = solve(counted, Y0, [0.0, 2.0], controller=PID(rtol=1e-8, atol=1e-8, dt0=1.0)).stats
    assert stats.evaluations == len(count)
    assert stats.steps == stats.accepted + stats.rejected and stats.rejected > 0


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_a_sample_that_has_arrived_is_not_asked_beyond_its_end(solver):
    """It waits for the others at a jump, whose far side it must not see."""
    asked = []

    class Jumping(VectorField):
        def forward(self, t, y):
            asked.append(t[:, 0].clone())
            return -y

        def breakpoints(self, t0, t1):
            return torch.tensor([1.0], dtype=DTYPE)

    ts = torch.stack((torch.zeros(2), torch.tensor([1.0, 2.0]))).to(DTYPE)
    controller = Fixed(steps=8) if solver == "rk4" else PID(rtol=1e-6)
    solve(Jumping(), Y0[:2], ts, solver=solver, controller=controller, per_sample=True)
    times = torch.stack(asked)
    assert times[:, 0].max() <= 1.0 and times[:, 1].max() <= 2.0 and times.min() >= 0.0


def test_dense_output_has_its_slope_where_the_first_step_was_rejected():
    def stiff(t, y):
        return -y * torch.tensor([[1.0], [50.0]], dtype=DTYPE)

    y0 = torch.ones(2, 1, dtype=DTYPE)
    solution = solve(stiff, y0, [0.0, 1.0], per_sample=True, dense=True, controller=PID(dt0=0.5))
    assert int(solution.stats.rejected[1]) > 0
    t = torch.tensor(0.0, dtype=DTYPE, requires_grad=True)
    for row, slope in ((0, -1.0), (1, -50.0)):
        assert torch.autograd.grad(solution.evaluate(t)[row, 0], t)[0].item() == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("per_sample", [False, True])
def test_the_integral_over_an_empty_span_is_zero(per_sample):
    solution = solve(field, Y0, [1.0, 1.0], per_sample=per_sample, integral_loss=lambda t, y: {"a": y.square().sum(-1)})
    assert torch.equal(solution.integral["a"], torch.zeros(3, dtype=DTYPE))
