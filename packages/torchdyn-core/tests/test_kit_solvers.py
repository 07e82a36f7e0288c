"""Core's own methods on the kit that everyone's have to pass."""

from torchdyn_core.registry import Registry
from torchdyn_core.testing import SolverSuite

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
