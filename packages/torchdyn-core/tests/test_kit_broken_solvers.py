"""Solvers that break one clause of the contract each; beside it the test of `SolverSuite` that has to notice.

Those whose numbers are wrong stand in `test_kit_broken_orders.py`, those that compile to something else in
`test_kit_compiled.py`.
"""

from typing import ClassVar

import pytest
import torch
from torch import nn

from torchdyn_core import BogackiShampine3, Heun, State, Step
from torchdyn_core.field import real_dtype
from torchdyn_core.testing import SolverSuite
from torchdyn_core.testing.solver_compiled import CompiledSuite
from torchdyn_core.testing.solver_order import OrderSuite
from torchdyn_core.tree import align, leaves, tree_map


class Altered(Heun):
    """Heun's method, and what comes of a step changed."""

    def alter(self, step, t0, t1, y):
        return step._replace(y=tree_map(self.leaf, step.y))

    def leaf(self, a):
        return a

    def step(self, field, t0, t1, y, state):
        return self.alter(super().step(field, t0, t1, y, state), t0, t1, y)


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


class ClampsInPlace(Heun):
    """Writes to the state what it does not write again."""

    def step(self, field, t0, t1, y, state):
        tree_map(lambda a: a.detach().clamp_(max=0.5), y)
        return super().step(field, t0, t1, y, state)


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


class InfiniteError(Altered):
    def alter(self, step, t0, t1, y):
        return step._replace(error=tree_map(lambda e: e / 0, step.error))


class InfiniteGradient(Altered):
    def leaf(self, a):
        return a + 0 * (a - a.detach()).abs().sqrt()


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


class CarriesOnTheCPU(Altered):
    """A number that any device would take in arithmetic, and wait for."""

    def init(self, field, t0, t1, y0):
        return State(carry=torch.zeros(()))

    def step(self, field, t0, t1, y, state):
        return super().step(field, t0, t1, y, State())._replace(state=state)


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


class StopsWithTheFirst(Altered):
    """No row moves where one is finished."""

    def alter(self, step, t0, t1, y):
        return step._replace(y=y) if bool((t0 == t1).any()) else step


class NeverAsks(Heun):
    def init(self, field, t0, t1, y0):
        return State()

    def step(self, field, t0, t1, y, state):
        return Step(y, None, State(), None)


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


class Idle(Hyper):
    """Has a parameter that nothing uses."""

    def seen(self, parameter):
        return torch.zeros(())


class Vanishing(Hyper):
    """Has a parameter that changes nothing."""

    def seen(self, parameter):
        return 0 * parameter


class NotReversible(Heun):
    reversible = True

    def reverse(self, field, t0, t1, y1, state):
        return super().step(field, t1, t0, y1, state).y, state


BROKEN = [
    (Impure, "test_a_step_is_pure"),
    (InPlace, "test_a_step_is_pure"),
    (ClampsInPlace, "test_a_step_is_pure"),
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
    (InfiniteError, "test_dtype_and_device_are_kept", torch.float32),
    (InfiniteGradient, "test_dtype_and_device_are_kept", torch.float32),
    (CutInSingle, "test_dtype_and_device_are_kept", torch.float32),
    (NoHalf, "test_dtype_and_device_are_kept", torch.bfloat16),
    (CPUOnly, "test_a_step_stays_on_its_device", "meta"),
    (CarriesOnTheCPU, "test_a_step_stays_on_its_device", "meta"),
    (Reads, "test_a_step_stays_on_its_device", "meta"),
    (ReadsTimesOfRows, "test_a_step_stays_on_its_device", "meta"),
    (ReadsInDenseOutput, "test_a_step_stays_on_its_device", "meta"),
    (Mixing, "test_a_sample_alone_and_in_a_batch"),
    (RowsDiffer, "test_steps_per_sample_are_the_shared_steps"),
    (MovesTheFinished, "test_a_finished_row_comes_out_as_it_went_in"),
    (StopsWithTheFirst, "test_a_finished_row_comes_out_as_it_went_in"),
    (NeverAsks, "test_the_field_is_asked_within_the_step_only"),
    (LooksAhead, "test_the_field_is_asked_within_the_step_only"),
    (CutsTheGraph, "test_gradients_are_those_of_the_steps"),
    (WrongGradient, "test_gradients_are_those_of_the_steps"),
    (CutsParameters, "test_gradients_are_those_of_the_steps"),
    (WrongGradientOfParameters, "test_gradients_are_those_of_the_steps"),
    (CutsItsOwnParameters, "test_gradients_are_those_of_the_steps"),
    (Idle, "test_gradients_are_those_of_the_steps"),
    (Vanishing, "test_gradients_are_those_of_the_steps"),
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
    assert {row[1] for row in BROKEN} == set(SolverSuite._tests) - set(CompiledSuite._tests) - set(OrderSuite._tests)


class TestHyper(SolverSuite):
    """A solver that learns, in single precision as it is made, is sound."""

    def make(self):
        return Hyper()
