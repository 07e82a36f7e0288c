"""Solvers that break one clause of the contract each; beside it the test of `SolverSuite` that has to notice."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from torchdyn_core import BogackiShampine3, Heun, Solver, State, Step
from torchdyn_core.field import real_dtype
from torchdyn_core.testing import SolverSuite
from torchdyn_core.tree import align, flatten, leaves, tree_map, unflatten


class Altered(Heun):
    """Heun's method, and what comes of a step changed."""

    def alter(self, step, t0, t1, y):
        return step._replace(y=tree_map(self.leaf, step.y))

    def leaf(self, a):
        return a

    def step(self, field, t0, t1, y, state):
        return self.alter(super().step(field, t0, t1, y, state), t0, t1, y)


class WrongOrder(BogackiShampine3):
    order = 4


class AlwaysForward(Heun):
    def step(self, field, t0, t1, y, state):
        return super().step(field, t0, t0 + (t1 - t0).abs(), y, state)


class DropsTheImaginary(Altered):
    def leaf(self, a):
        return a.real + 0j if a.is_complex() else a


class FirstLeafOnly(Altered):
    def alter(self, step, t0, t1, y):
        new, spec = flatten(step.y)
        return step._replace(y=unflatten([new[0], *leaves(y)[1:]], spec))


class WrongDense(BogackiShampine3):
    dense_order = 4


class FrayedEnds(Heun):
    """Dense output that is right within the step, and not at its ends."""

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        ends = ((theta == 0) | (theta == 1)).to(theta.dtype)
        return tree_map(lambda a: a + 1e-6 * align(ends, a), super().interpolate(theta, t0, t1, y0, y1, dense))


class NoErrorOrder(Altered):
    def alter(self, step, t0, t1, y):
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


class Stateful(Altered):
    def __init__(self):
        self.calls, self.last = [], None


class Impure(Stateful):
    def leaf(self, a):
        self.calls.append(1)
        return a + 1e-9 * len(self.calls)


class InPlace(Altered):
    def alter(self, step, t0, t1, y):
        tree_map(lambda a: a.detach().mul_(1.0 + 1e-12), y)
        return step


class HistoryInPlace(Altered):
    """Writes to what it carries, once there is something to write to."""

    def init(self, field, t0, t1, y0):
        return State(carry=torch.zeros_like(t0))

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, State())
        state.carry.detach().mul_(1.0 + 1e-12)
        return step._replace(state=State(carry=state.carry + t1))


class HiddenHistory(Stateful):
    """The last slope stays on the solver, to be used where the next step begins."""

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        known = self.last is not None and torch.equal(self.last[0], t0)
        wrong = tree_map(lambda a, b: a - b, self.last[1], field(t0, y)) if known else tree_map(torch.zeros_like, y)
        self.last = t1.clone(), field(t1, step.y)
        return step._replace(y=tree_map(lambda a, k: a + align(t1 - t0, a) / 2 * k, step.y, wrong))


class SharedHistory(HiddenHistory):
    """The same on the class, where `vars` does not show it."""

    store: ClassVar = {}

    def __init__(self):
        pass

    last = property(lambda self: self.store.get("last"), lambda self, value: self.store.update(last=value))


class Counting(Stateful):
    def leaf(self, a):
        self.calls.append(1)
        return a


class WrongCost(Altered):
    def alter(self, step, t0, t1, y):
        return step._replace(cost=999)


class WrongCostOfReplays(Heun):
    def advance(self, field, t0, t1, y, state):
        return super().advance(field, t0, t1, y, state)._replace(cost=1)


class AlwaysDouble(Altered):
    def leaf(self, a):
        return a.to(torch.complex128 if a.is_complex() else torch.float64)


class AlwaysSingle(Altered):
    def leaf(self, a):
        return a.to(torch.complex64 if a.is_complex() else torch.float32)


class DoubleError(Altered):
    def alter(self, step, t0, t1, y):
        return step._replace(error=tree_map(torch.Tensor.double, step.error))


class CutInSingle(Heun):
    """The gradient of the state is lost in low precision."""

    def step(self, field, t0, t1, y, state):
        single = leaves(y)[0].dtype == torch.float32
        return super().step(field, t0, t1, tree_map(torch.Tensor.detach, y) if single else y, state)


class NoHalf(Altered):
    def leaf(self, a):
        if a.dtype == torch.bfloat16:
            raise NotImplementedError("linalg has no bfloat16")
        return a


class CPUOnly(Altered):
    def leaf(self, a):
        return a + torch.zeros(a.shape, dtype=a.dtype, device="cpu")


class Reads(Altered):
    def leaf(self, a):
        return a if a.real.sum().item() < 1e9 else 2 * a


class ReadsTimesOfRows(Altered):
    def alter(self, step, t0, t1, y):
        return step if not t0.dim() or bool((t1 != t0).any()) else step._replace(y=y)


class ReadsInDenseOutput(Heun):
    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return y0 if float(theta.sum()) < 0 else super().interpolate(theta, t0, t1, y0, y1, dense)


class Mixing(Altered):
    """Lets rows know each other."""

    def leaf(self, a):
        return a + 1e-6 * a.mean(0)


class RowsDiffer(Altered):
    def alter(self, step, t0, t1, y):
        dt = t1 - t0
        return step._replace(y=tree_map(lambda a: a + 1e-6 * align(dt, a), step.y)) if t0.dim() else step


class MovesTheFinished(Altered):
    def leaf(self, a):
        return a + 1e-12


class LooksAhead(Heun):
    def step(self, field, t0, t1, y, state):
        field(t1 + (t1 - t0), y)
        return super().step(field, t0, t1, y, state)


class CutsTheGraph(Altered):
    def leaf(self, a):
        return a.detach()


class WrongGradient(Altered):
    """A state that is right, its gradient one per cent too large."""

    def leaf(self, a):
        return 1.01 * a - (0.01 * a).detach()


class CutsParameters(Heun):
    """Steps with a copy of the field's parameters."""

    def seen(self, parameter):
        return parameter.detach()

    def step(self, field, t0, t1, y, state):
        source = field.source
        seen = {name: self.seen(p) for name, p in source.named_parameters()}

        def other(t, u):
            return torch.func.functional_call(source, seen, (t, u))

        return super().step(field.rebound(other, field.args), t0, t1, y, state)


class WrongGradientOfParameters(CutsParameters):
    def seen(self, parameter):
        return 1.01 * parameter - (0.01 * parameter).detach()


class WrongReplays(Heun):
    def advance(self, field, t0, t1, y, state):
        step = super().advance(field, t0, t1, y, state)
        return step._replace(y=tree_map(lambda a: 1.0001 * a, step.y))


class CutsDenseOutput(Heun):
    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return tree_map(torch.Tensor.detach, super().interpolate(theta, t0, t1, y0, y1, dense))


class CutsTimes(Heun):
    def step(self, field, t0, t1, y, state):
        return super().step(field, t0.detach(), t1.detach(), y, state)


class Hyper(nn.Module, Heun):
    """Heun's method with a correction that is learnt."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def seen(self, parameter):
        return parameter

    def step(self, field, t0, t1, y, state):
        step, weight = Heun.step(self, field, t0, t1, y, state), self.seen(self.weight)

        def corrected(a):
            return a + align((t1 - t0) ** 3, a).to(real_dtype(a)) * weight.to(real_dtype(a)) * a

        return step._replace(y=tree_map(corrected, step.y))


class CutsItsOwnParameters(Hyper):
    def seen(self, parameter):
        return parameter.detach()


class NotReversible(Heun):
    reversible = True

    def reverse(self, field, t0, t1, y1, state):
        return super().step(field, t1, t0, y1, state).y, state


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
    (Impure, "test_a_step_is_pure"),
    (InPlace, "test_a_step_is_pure"),
    (HistoryInPlace, "test_a_step_is_pure"),
    (HiddenHistory, "test_nothing_is_kept_on_the_solver"),
    (SharedHistory, "test_nothing_is_kept_on_the_solver"),
    (Counting, "test_nothing_is_kept_on_the_solver"),
    (WrongCost, "test_a_step_counts_its_evaluations"),
    (WrongCostOfReplays, "test_a_step_counts_its_evaluations"),
    (StaleCache, "test_the_cache_can_be_rebuilt"),
    (AlwaysDouble, "test_dtype_and_device_are_kept", torch.float32),
    (AlwaysSingle, "test_dtype_and_device_are_kept", torch.float64),
    (DoubleError, "test_dtype_and_device_are_kept", torch.float32),
    (CutInSingle, "test_dtype_and_device_are_kept", torch.float32),
    (NoHalf, "test_dtype_and_device_are_kept", torch.bfloat16),
    (CPUOnly, "test_a_step_stays_on_its_device", "meta"),
    (Reads, "test_a_step_stays_on_its_device", "meta"),
    (ReadsTimesOfRows, "test_a_step_stays_on_its_device", "meta"),
    (ReadsInDenseOutput, "test_a_step_stays_on_its_device", "meta"),
    (Mixing, "test_a_sample_alone_and_in_a_batch"),
    (RowsDiffer, "test_steps_per_sample_are_the_shared_steps"),
    (MovesTheFinished, "test_a_finished_row_comes_out_as_it_went_in"),
    (LooksAhead, "test_the_field_is_asked_within_the_step_only"),
    (CutsTheGraph, "test_gradients_are_those_of_the_steps"),
    (WrongGradient, "test_gradients_are_those_of_the_steps"),
    (CutsParameters, "test_gradients_are_those_of_the_steps"),
    (WrongGradientOfParameters, "test_gradients_are_those_of_the_steps"),
    (CutsItsOwnParameters, "test_gradients_are_those_of_the_steps"),
    (WrongReplays, "test_gradients_are_those_of_the_steps"),
    (CutsDenseOutput, "test_gradients_are_those_of_the_steps"),
    (CutsTimes, "test_gradients_of_times"),
    (CutsDenseOutput, "test_gradients_of_times"),
    (NotReversible, "test_a_reversible_step_can_be_undone"),
]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: f"{row[0].__name__}-{row[1]}")
def test_a_broken_solver_is_found_out(fails, row):
    fails(SolverSuite, *row)


def test_every_test_of_the_suite_finds_something():
    assert {row[1] for row in BROKEN} == set(SolverSuite._tests)


class TestHyper(SolverSuite):
    """A solver that learns, in single precision as it is made, is sound."""

    def make(self):
        return Hyper()


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


class TestHistory(SolverSuite):
    """A solver that carries a history in its state is sound."""

    def make(self):
        return AdamsBashforth()
