"""A field of another kind, with a solver of its own, needs nothing from the loop: a seeded-noise field."""

from dataclasses import dataclass

import pytest
import torch

from torchdyn_core import Checkpointed, Direct, Fixed, IncompatibleError, Path, Solver, State, Step, VectorField, solve

DTYPE = torch.float64


class HashedNoise(Path):
    """Increments that are a pure function of seed and interval: a stand-in for a Brownian path."""

    def __init__(self, seed):
        super().__init__()
        self.register_buffer("seed", seed)

    def forward(self, ta, tb):
        phase = (ta * 12.9898 + tb * 78.233 + self.seed.to(ta.dtype)) % 6.283185307179586
        return torch.sin(phase * 43758.5453) * (tb - ta).abs().sqrt()


class NoisyField(VectorField):
    """Drift and diffusion; no slope of its own."""

    def __init__(self, noise=None):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(0.5, dtype=DTYPE))
        self.noise = noise

    def drift(self, t, y, *args):
        return -self.rate * y

    def diffusion(self, t, y, *args):
        return self.rate * torch.cos(t) * y

    def begin(self, t0, t1, y0):
        return self if self.noise is not None else self.driven_by(HashedNoise(torch.randint(1000, ())))

    def driven_by(self, path):
        return self.replace(noise=path)


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    order = 1
    dense_order = 1
    accepts = NoisyField

    def init(self, field, t0, t1, y0):
        return State()

    def step(self, field, t0, t1, y, state):
        source = field.source
        rows = (-1,) + (1,) * (y.dim() - 1) if t0.dim() else ()
        dt, dw = (t1 - t0).reshape(rows), source.noise(t0, t1).reshape(rows)
        drift, diffusion = (field.evaluate(f, t0, y) for f in (source.drift, source.diffusion))
        return Step(y + dt * drift + dw * diffusion, None, State(), (), True, 2)

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return y0 + theta.reshape(theta.shape + (1,) * (y0.dim() - theta.dim())) * (y1 - y0)


OPTIONS = {"solver": EulerMaruyama(), "controller": Fixed(steps=20)}
TS = torch.linspace(0.0, 1.0, 4, dtype=DTYPE)


def test_the_seed_is_torchs_and_a_given_path_is_kept():
    field, y0 = NoisyField(), torch.ones(3, 2, dtype=DTYPE)
    torch.manual_seed(5)
    first, second = solve(field, y0, TS, **OPTIONS).ys, solve(field, y0, TS, **OPTIONS).ys
    torch.manual_seed(5)
    assert torch.equal(solve(field, y0, TS, **OPTIONS).ys, first)
    assert not torch.equal(first, second)
    bound = field.driven_by(HashedNoise(torch.tensor(3)))
    assert torch.equal(solve(bound, y0, TS, **OPTIONS).ys, solve(bound, y0, TS, **OPTIONS).ys)
    assert field.noise is None, "a solve leaves the field as it was"


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4)])
def test_replayed_steps_meet_the_same_noise(adjoint, per_sample):
    field = NoisyField()

    def run(adjoint):
        torch.manual_seed(1)
        y0 = torch.ones(3, 2, dtype=DTYPE, requires_grad=True)
        solution = solve(field, y0, TS, adjoint=adjoint, per_sample=per_sample, **OPTIONS)
        return solution, torch.autograd.grad(solution.ys.square().sum(), [y0, field.rate])

    (want, slopes), (got, replayed) = run(Direct()), run(adjoint)
    assert torch.equal(got.ys, want.ys)
    for a, b in zip(replayed, slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_solve_that_goes_on_keeps_its_noise():
    torch.manual_seed(2)
    field, y0 = NoisyField(), torch.ones(2, dtype=DTYPE)
    first = solve(field, y0, TS, max_steps=7, throw=False, **OPTIONS)
    torch.manual_seed(2)
    whole = solve(field, y0, TS, **OPTIONS)
    rest = solve(field, first.final, [first.final.t, 1.0], **OPTIONS)
    assert torch.equal(rest.ys[-1], whole.ys[-1])


def test_solvers_of_the_wrong_kind_are_refused_by_name():
    y0 = torch.ones(2, dtype=DTYPE)
    with pytest.raises(IncompatibleError, match="steps a NoisyField"):
        solve(lambda t, y: -y, y0, TS, **OPTIONS)
    with pytest.raises(IncompatibleError, match="no forward"):
        solve(NoisyField(), y0, TS, solver="rk4", controller=Fixed(steps=3))


def test_the_cost_a_step_claims_is_what_it_evaluates():
    solution = solve(NoisyField(), torch.ones(2, dtype=DTYPE), [0.0, 1.0], **OPTIONS)
    assert solution.stats.evaluations == 2 * 20
