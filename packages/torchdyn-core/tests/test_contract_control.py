"""A control with knots: steps end at them, and gradients reach the control's own values."""

import pytest
import torch

from torchdyn_core import PID, Backsolve, Checkpointed, Direct, Path, VectorField, solve

DTYPE = torch.float64


class Linear(Path):
    """Linear interpolation of values at knots: its derivative jumps at every one."""

    def __init__(self, times, values):
        super().__init__()
        self.register_buffer("times", times)
        self.register_buffer("values", values)

    def _piece(self, t):
        return (torch.searchsorted(self.times, t.detach().to(DTYPE).contiguous(), right=True) - 1).clamp(
            0, len(self.times) - 2
        )

    def _at(self, t):
        i = self._piece(t)
        return self.values[i] + (t - self.times[i]) * self.derivative(t)

    def forward(self, ta, tb):
        return self._at(tb) - self._at(ta)

    def derivative(self, t):
        i = self._piece(t)
        return (self.values[i + 1] - self.values[i]) / (self.times[i + 1] - self.times[i])

    def knots(self, t0, t1):
        return self.times


class Controlled(VectorField):
    """dy = tanh(y) dX: a controlled differential equation."""

    def __init__(self, path=None):
        super().__init__()
        self.path = path
        self.seen = []

    def driven_by(self, path):
        return self.replace(path=path)

    def breakpoints(self, t0, t1):
        return self.path.knots(t0, t1)

    def forward(self, t, y):
        return torch.tanh(y) * self.path.derivative(t)


TIMES = torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=DTYPE)


def exact(y0, values):
    return torch.asinh(torch.sinh(y0) * torch.exp(values[-1] - values[0]))


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", [Direct(), Checkpointed(), Checkpointed(memory=4), Backsolve()])
def test_gradients_reach_a_control_that_an_encoder_made(adjoint, per_sample):
    raw = torch.tensor([0.0, 1.0, -0.5, 0.4], dtype=DTYPE, requires_grad=True)
    y0 = torch.tensor([[0.5], [1.0]], dtype=DTYPE, requires_grad=True)
    field = Controlled().driven_by(Linear(TIMES, 2.0 * raw))
    solution = solve(
        field, y0, [0.0, 1.0], adjoint=adjoint, controller=PID(rtol=1e-9, atol=1e-9), per_sample=per_sample
    )
    want = exact(y0, 2.0 * raw)
    torch.testing.assert_close(solution.ys[-1], want, rtol=1e-7, atol=1e-8)
    got = torch.autograd.grad(solution.ys[-1].sum(), [raw, y0])
    for a, b in zip(got, torch.autograd.grad(want.sum(), [raw, y0]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_steps_end_at_knots_and_none_is_wasted():
    field = Controlled(Linear(TIMES, torch.tensor([0.0, 1.0, -0.5, 0.4], dtype=DTYPE)))
    options = {"controller": PID(rtol=1e-8, atol=1e-8), "record_steps": True}
    known = solve(field, torch.tensor([0.5], dtype=DTYPE), [0.0, 1.0], **options)
    assert set(TIMES.tolist()) <= set(known.steps[0].tolist())
    blind = solve(lambda t, y: field(t, y), torch.tensor([0.5], dtype=DTYPE), [0.0, 1.0], **options)
    assert known.stats.rejected <= 3
    assert blind.stats.rejected >= known.stats.rejected + 5
    assert known.stats.evaluations < blind.stats.evaluations


def test_the_field_takes_its_initial_state_as_a_control():
    class Anchored(VectorField):
        def begin(self, t0, t1, y0):
            return self.replace(anchor=y0)

        def forward(self, t, y):
            return self.anchor - y

    class Wrapped(VectorField):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def begin(self, t0, t1, y0):
            return self.replace(inner=self.inner.begin(t0, t1, y0))

        def forward(self, t, y, *args):
            return self.inner(t, y, *args) + 1.0

    results = []
    for adjoint in ("direct", "checkpointed", "backsolve"):
        start = torch.tensor([0.5, 2.0], dtype=DTYPE, requires_grad=True)
        solution = solve(
            Wrapped(Anchored()), start * start, [0.0, 1.0], adjoint=adjoint, controller=PID(rtol=1e-9, atol=1e-9)
        )
        torch.testing.assert_close(
            solution.ys[-1], start * start + 1 - torch.exp(torch.tensor(-1.0, dtype=DTYPE)), rtol=1e-8, atol=1e-8
        )
        results.append(torch.autograd.grad(solution.ys[-1].sum(), start)[0])
        torch.testing.assert_close(results[-1], 2 * start.detach(), rtol=1e-7, atol=1e-8)
