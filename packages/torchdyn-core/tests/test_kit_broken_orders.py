"""Solvers whose numbers are wrong; beside each the test of `SolverSuite` that has to notice."""

import pytest

from torchdyn_core import BogackiShampine3, Heun, State
from torchdyn_core.testing import SolverSuite
from torchdyn_core.testing.solver_order import OrderSuite
from torchdyn_core.tree import align, flatten, leaves, tree_map, unflatten


class WrongOrder(BogackiShampine3):
    order = 4


class AlwaysForward(Heun):
    def step(self, field, t0, t1, y, state):
        return super().step(field, t0, t0 + (t1 - t0).abs(), y, state)


class DropsTheImaginary(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: a.real + 0j if a.is_complex() else a, step.y))


class FirstLeafOnly(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        new, spec = flatten(step.y)
        return step._replace(y=unflatten([new[0], *leaves(y)[1:]], spec))


class WrongDense(BogackiShampine3):
    dense_order = 4


class FrayedEnds(Heun):
    """Dense output that is right within the step, and not at its ends."""

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        ends = ((theta == 0) | (theta == 1)).to(theta.dtype)
        return tree_map(lambda a: a + 1e-6 * align(ends, a), super().interpolate(theta, t0, t1, y0, y1, dense))


class NoErrorOrder(Heun):
    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(error=tree_map(lambda e: e.abs().sqrt(), step.error))


class Optimistic(BogackiShampine3):
    """An error estimate of the right order, and a million times too small."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(error=tree_map(lambda e: 1e-6 * e, step.error))


class WrongSlope(Heun):
    def slope(self, field, t0, y, state):
        return tree_map(lambda a: 1e6 * a, super().slope(field, t0, y, state))


class StaleCache(BogackiShampine3):
    """Keeps in its cache what only the last step knew."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(state=State(cache=tree_map(lambda a: a * 1.001, step.state.cache)))


BROKEN = [
    (WrongOrder, "test_order"),
    (AlwaysForward, "test_order_in_reverse_time"),
    (DropsTheImaginary, "test_order_of_a_complex_state"),
    (FirstLeafOnly, "test_order_of_a_tree"),
    (WrongDense, "test_dense_order"),
    (FrayedEnds, "test_dense_order"),
    (NoErrorOrder, "test_error_estimate_order"),
    (Optimistic, "test_error_estimate_order"),
    (WrongSlope, "test_the_slope_is_that_of_the_solution"),
    (StaleCache, "test_the_slope_is_that_of_the_solution"),
]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: f"{row[0].__name__}-{row[1]}")
def test_a_solver_with_wrong_numbers_is_found_out(fails, row):
    fails(SolverSuite, *row)


def test_every_test_of_the_suite_finds_something():
    assert {row[1] for row in BROKEN} == set(OrderSuite._tests)


def test_an_error_estimate_has_the_order_that_the_suite_is_told(fails):
    fails(SolverSuite, Heun, "test_error_estimate_order", error_order=3)
