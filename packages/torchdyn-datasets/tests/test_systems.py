"""Systems: fields on the conformance kit, trajectories against laws of conservation and another solver."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from torchdyn_core import OptionError
from torchdyn_core.testing import FieldSuite
from torchdyn_datasets import (
    Bodies,
    DoublePendulum,
    FitzHughNagumo,
    Lorenz,
    LotkaVolterra,
    Pendulum,
    Robertson,
    Spring,
    VanDerPol,
    double_pendulum,
    fitzhugh_nagumo,
    lorenz,
    lotka_volterra,
    pendulum,
    robertson,
    spring,
    three_body,
    two_body,
    van_der_pol,
)

D = torch.float64
SYSTEMS = {
    spring: (Spring(), {"n": 4}), pendulum: (Pendulum(), {"n": 4}),
    double_pendulum: (DoublePendulum(), {"n": 3, "t1": 1.0, "steps": 11}),
    two_body: (Bodies(2), {"n": 4}), three_body: (Bodies(3), {"n": 4}),
    lotka_volterra: (LotkaVolterra(), {"n": 4}), van_der_pol: (VanDerPol(), {"n": 4}),
    fitzhugh_nagumo: (FitzHughNagumo(), {"n": 4}), lorenz: (Lorenz(), {"n": 4, "t1": 1.0, "steps": 21}),
    robertson: (Robertson(), {"n": 2, "t1": 0.3, "steps": 11, "spread": 0.1}),
}  # fmt: skip


class TestSpring(FieldSuite):
    def make(self):
        return Spring()


class TestPendulum(FieldSuite):
    def make(self):
        return Pendulum()


class TestDoublePendulum(FieldSuite):
    shape = (4, 4)

    def make(self):
        return DoublePendulum()


class TestThreeBodies(FieldSuite):
    shape = (4, 12)

    def make(self):
        return Bodies(3)


class TestLotkaVolterra(FieldSuite):
    def make(self):
        return LotkaVolterra()


class TestVanDerPol(FieldSuite):
    def make(self):
        return VanDerPol(mu=2.0)


class TestFitzHughNagumo(FieldSuite):
    def make(self):
        return FitzHughNagumo()


class TestLorenz(FieldSuite):
    shape = (4, 3)

    def make(self):
        return Lorenz()


class TestRobertson(FieldSuite):
    shape = (4, 3)

    def make(self):
        return Robertson(fast=3.0, back=1.0)  # steps of a tenth are too long for the stiffness of the default

    def state(self):
        return super().state().abs()  # concentrations


@pytest.mark.parametrize("make", SYSTEMS, ids=lambda make: make.__name__)
class TestEverySystem:
    def test_a_seed_makes_the_data_and_leaves_torch_alone(self, make):
        options = SYSTEMS[make][1]
        before = torch.random.get_rng_state()
        first, again = make(**options, seed=3), make(**options, seed=3)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(first.values, again.values) and torch.equal(first.slopes, again.slopes)
        assert not torch.equal(first.values, make(**options, seed=4).values)

    def test_another_solver_finds_the_same(self, make):
        field, options = SYSTEMS[make]
        data = make(**options, noise=0.0, dtype=D)

        def slope(t, y):
            return field(torch.tensor(t, dtype=D), torch.tensor(y)[None])[0].numpy()

        wanted = solve_ivp(
            slope, (0.0, float(data.times[-1])), data.values[0, 0].numpy(), "LSODA", data.times.numpy(), rtol=1e-11,
            atol=1e-13,
        )  # fmt: skip
        assert wanted.success
        np.testing.assert_allclose(data.values[0].numpy(), wanted.y.T, rtol=1e-5, atol=1e-6)

    def test_slopes_are_the_field_at_the_states_without_their_noise(self, make):
        field, options = SYSTEMS[make]
        clean, noisy = (make(**options, noise=noise, dtype=D) for noise in (0.0, 0.1))
        assert torch.allclose(clean.slopes, field(torch.tensor(0.0), clean.values))
        assert torch.equal(clean.slopes, noisy.slopes)
        assert 0.05 < float((noisy.values - clean.values).std()) < 0.15

    def test_precision_is_rounding(self, make):
        options = {**SYSTEMS[make][1], "noise": 0.0}
        single, double = make(**options), make(**options, dtype=D)
        for name in ("times", "values", "slopes"):
            assert getattr(single, name).dtype is torch.float32
            assert torch.equal(getattr(double, name).float(), getattr(single, name))

    @pytest.mark.parametrize("wrong", [{"n": 0}, {"steps": 1}, {"t1": 0.0}, {"noise": -0.1}, {"seed": "a"}])
    def test_what_makes_no_sense_is_refused(self, make, wrong):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.*; wanted a"):
            make(**{**SYSTEMS[make][1], **wrong})


@pytest.mark.parametrize("make", [spring, pendulum, double_pendulum, two_body, three_body])
def test_energy_stays_the_same(make):
    field = SYSTEMS[make][0]
    data = make(20, noise=0.0, dtype=D)
    energy = field.energy(data.values)
    assert float((energy - energy[:, :1]).abs().max()) < 1e-7 * max(1.0, float(energy.abs().max()))


@pytest.mark.parametrize("field", [Spring(), Pendulum(), Bodies(3)])
def test_slopes_are_hamiltons_equations(field):
    y = torch.randn(5, 12 if isinstance(field, Bodies) else 2, dtype=D, generator=torch.Generator().manual_seed(0))
    by_q, by_p = torch.func.grad(lambda y: field.energy(y).sum())(y).chunk(2, -1)
    assert torch.allclose(field(torch.tensor(0.0), y), torch.cat((by_p, -by_q), -1))


def bodies(*y):
    """Three bodies by Newton's law, pair by pair."""
    x, height, px, py = (y[start : start + 3] for start in (0, 3, 6, 9))
    pulls = [[0.0, 0.0] for _ in range(3)]
    for body, other in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        cubed = math.hypot(x[other] - x[body], height[other] - height[body]) ** 3
        pulls[body][0] += (x[other] - x[body]) / cubed
        pulls[body][1] += (height[other] - height[body]) / cubed
    return (*px, *py, *(pull[0] for pull in pulls), *(pull[1] for pull in pulls))


# by hand, out of the papers; no term is nothing at the state
EQUATIONS = [
    (Spring(), (0.3, -0.7), lambda q, p: (2 * p, -2 * q)),
    (Pendulum(2.5), (0.3, -0.7), lambda q, p: (2 * p, -2.5 * math.sin(q))),
    (
        DoublePendulum(9.1), (0.3, -0.7, 1.1, 0.4),
        lambda q1, q2, v1, v2: (
            v1, v2,
            (-9.1 * 3 * math.sin(q1) - 9.1 * math.sin(q1 - 2 * q2)
             - 2 * math.sin(q1 - q2) * (v2**2 + v1**2 * math.cos(q1 - q2))) / (3 - math.cos(2 * q1 - 2 * q2)),
            2 * math.sin(q1 - q2) * (2 * v1**2 + 9.1 * 2 * math.cos(q1) + v2**2 * math.cos(q1 - q2))
            / (3 - math.cos(2 * q1 - 2 * q2)),
        ),
    ),
    (Bodies(3), (0.3, -0.7, 1.1, 0.4, -0.2, 0.9, 0.5, -0.6, 0.1, 0.2, 0.8, -0.3), bodies),
    (
        LotkaVolterra(1.1, 0.4, 0.2, 0.7), (1.7, 0.6),
        lambda prey, predators: (1.1 * prey - 0.4 * prey * predators, 0.2 * prey * predators - 0.7 * predators),
    ),
    (LotkaVolterra(), (1.7, 0.6), lambda x, y: (1.5 * x - x * y, x * y - 3 * y)),
    (VanDerPol(1.9), (1.7, 0.6), lambda x, v: (v, 1.9 * (1 - x**2) * v - x)),
    (
        FitzHughNagumo(0.5, 0.9, 0.07, 0.4), (1.7, 0.6),
        lambda v, w: (v - v**3 / 3 - w + 0.4, 0.07 * (v + 0.5 - 0.9 * w)),
    ),
    (FitzHughNagumo(), (-1.2, 0.6), lambda v, w: (v - v**3 / 3 - w + 0.5, 0.08 * (v + 0.7 - 0.8 * w))),
    (Lorenz(9.0, 27.0, 2.5), (1.7, 0.6, 3.1), lambda x, y, z: (9 * (y - x), x * (27 - z) - y, x * y - 2.5 * z)),
    (Lorenz(), (1.7, 0.6, 3.1), lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z)),
    (
        Robertson(0.05, 20.0, 7.0), (0.8, 0.3, 0.4),
        lambda a, b, c: (-0.05 * a + 7 * b * c, 0.05 * a - 7 * b * c - 20 * b**2, 20 * b**2),
    ),
    (Robertson(), (0.8, 1e-4, 0.4), lambda a, b, c: (
        -0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b**2, 3e7 * b**2,
    )),
]  # fmt: skip


@pytest.mark.parametrize(("field", "state", "slope"), EQUATIONS, ids=lambda value: type(value).__name__)
def test_fields_are_the_equations_of_the_papers(field, state, slope):
    found = field(torch.tensor(0.7, dtype=D), torch.tensor([state, state], dtype=D))
    wanted = torch.tensor(slope(*state), dtype=D)
    assert bool((wanted != 0).all()) and torch.allclose(found, wanted.expand(2, -1), rtol=1e-12)


def test_the_equations_of_all_fields_are_here():
    assert {type(field) for field, _, _ in EQUATIONS} == {type(field) for field, _ in SYSTEMS.values()}


def test_the_double_pendulum_solves_lagranges_equations():
    field, generator = DoublePendulum(), torch.Generator().manual_seed(0)
    y = torch.randn(4, dtype=D, generator=generator)

    def lagrangian(q, v):
        resting = torch.cat((q, torch.zeros(2, dtype=D)))
        potential = field.energy(resting)
        return field.energy(torch.cat((q, v))) - 2 * potential

    q, v = y[:2], y[2:]
    mass = torch.func.jacrev(torch.func.grad(lagrangian, argnums=1), argnums=1)(q, v)
    mixed = torch.func.jacrev(torch.func.grad(lagrangian, argnums=1), argnums=0)(q, v)
    force = torch.func.grad(lagrangian, argnums=0)(q, v)
    wanted = torch.linalg.solve(mass, force - mixed @ v)
    assert torch.allclose(field(torch.tensor(0.0), y), torch.cat((v, wanted)))


def test_the_defaults_are_those_of_the_papers():
    assert spring().values.shape == (50, 30, 2) and pendulum().values.shape == (50, 45, 2)
    starts = spring(400, noise=0.0).values[:, 0].norm(dim=1)
    assert 0.1 <= float(starts.min()) < 0.15 and 0.95 < float(starts.max()) <= 1.0
    starts = pendulum(400, noise=0.0).values[:, 0].norm(dim=1)
    assert 1.3 <= float(starts.min()) < 1.35 and 2.25 < float(starts.max()) <= 2.3
    data = two_body(dtype=D)
    assert data.values.shape == (1000, 50, 8) and float(data.times[-1]) == 20.0
    first, second = data.values[..., [0, 2, 4, 6]], data.values[..., [1, 3, 5, 7]]
    assert torch.allclose(first, -second, atol=1e-6)  # the centre of mass rests
    assert three_body(50).values.shape == (50, 20, 12) and float(three_body(2).times[-1]) == 5.0


def test_bodies_at_the_speed_of_a_circle_stay_in_it():
    data = two_body(20, eccentricity=0.0, dtype=D)
    radius = data.values[..., [0, 2]].norm(dim=-1)
    assert torch.allclose(radius, radius[:, :1].expand_as(radius), rtol=1e-6)
    data = three_body(20, spread=0.0, dtype=D)
    for body in range(3):
        radius = data.values[..., [body, 3 + body]].norm(dim=-1)
        assert torch.allclose(radius, radius[:, :1].expand_as(radius), rtol=1e-6)


def test_channels_and_planes_name_the_columns():
    data = three_body(2, steps=3, t1=0.1)
    assert data.channels == ("x1", "x2", "x3", "y1", "y2", "y3", "px1", "px2", "px3", "py1", "py2", "py3")
    assert data.planes == ((0, 3), (1, 4), (2, 5))


def test_robertson_comes_to_the_published_values():
    """Hairer and Wanner's reference at t = 40 takes seconds with explicit steps; t = 0.4 is stiff enough."""
    data = robertson(steps=5, t1=0.4, dtype=D)
    wanted = torch.tensor([9.8517213861e-01, 3.3863953790e-05, 1.4794022e-02], dtype=D)
    assert torch.allclose(data.values[0, -1], wanted, rtol=1e-6)
    assert torch.allclose(data.values.sum(-1), torch.ones(1, 5, dtype=D), atol=1e-9)
    assert float(data.times[0]) == 0.0 and math.isclose(float(data.times[1]), 4e-7)
