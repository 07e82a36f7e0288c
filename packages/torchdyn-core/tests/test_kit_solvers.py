"""Core's own methods on the kit that everyone's have to pass, and one with a history, which core has none of."""

import torch

from torchdyn_core import Solver, State, Step
from torchdyn_core.field import real_dtype
from torchdyn_core.registry import Registry
from torchdyn_core.testing import SolverSuite
from torchdyn_core.tree import align, tree_map

CORE = Registry(entry_points=tuple)


def suite(name, power=None):
    class TestSolver(SolverSuite):
        error_order = power

        def make(self):
            return CORE.get("solver", name)()

    return TestSolver


TestEuler = suite("euler")
TestMidpoint = suite("midpoint")
TestHeun = suite("heun")
TestRalston = suite("ralston")
TestRK4 = suite("rk4")
TestRK438 = suite("rk4_38")
TestBosh3 = suite("bosh3")
TestDopri5 = suite("dopri5")
TestTsit5 = suite("tsit5")
# Hairer mixes two estimates, which fall as the 6th and the 4th power: as the 6th, until steps are very small
TestDopri8 = suite("dopri8", power=6)


class AdamsBashforth(Solver):
    """Two steps, of sizes that may differ; the first is Euler's."""

    order, dense_order = 2, 1

    def init(self, field, t0, t1, y0):
        return State(carry=(tree_map(torch.zeros_like, y0), torch.zeros_like(t0)))

    def step(self, field, t0, t1, y, state):
        before, length = state.carry
        dt, slope, first = t1 - t0, field(t0, y), length == 0
        ratio = torch.where(first, 0.0, dt / torch.where(first, 1.0, length))

        def leaf(a, k, b):
            h, r = (align(x, a).to(real_dtype(a)) for x in (dt, ratio))
            return a + h * (k + r / 2 * (k - b))

        carry = (slope, torch.where(dt == 0, length, dt))
        return Step(tree_map(leaf, y, slope, before), None, State(carry), None, cost=1)

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return tree_map(lambda a, b: a + align(theta, a).to(real_dtype(a)) * (b - a), y0, y1)


class TestAdamsBashforth(SolverSuite):
    def make(self):
        return AdamsBashforth()
