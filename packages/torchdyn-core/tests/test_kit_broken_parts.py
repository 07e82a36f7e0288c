"""Fields, controllers, paths and augmentations that break one clause each; beside it the test that has to notice."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from torchdyn_core import PID, Path, VectorField
from torchdyn_core.testing import AugmentationSuite, ControllerSuite, FieldSuite, PathSuite


class Field(VectorField):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, t, y):
        return self.weight * y


class WrongShape(Field):
    def forward(self, t, y):
        return self.weight * y.sum(-1)


class AlwaysSingle(Field):
    def forward(self, t, y):
        return (self.weight * y).double()


class SharedTimesOnly(Field):
    def forward(self, t, y):
        return self.weight * y if t.dim() == 0 else (self.weight * y)[0]


class Infinite(Field):
    def forward(self, t, y):
        return self.weight * y / 0


class Counts(Field):
    calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.weight * y * self.calls


class ChangesTheState(Field):
    def forward(self, t, y):
        y.detach().mul_(1.5)
        return self.weight * torch.ones_like(y)


class KnowsTheBatch(Field):
    def forward(self, t, y):
        return self.weight * (y - y.mean(0))


class KnowsHowTimesCome(Field):
    def forward(self, t, y):
        return self.weight * y * (1 + 0.1 * t.dim())


class SeesTheGraph(Field):
    """Another field where gradients are wanted, as in a replayed step."""

    def forward(self, t, y):
        return self.weight * y * (2 if torch.is_grad_enabled() else 1)


class Untidy(Field):
    """A slope whose gradient is another one with every evaluation."""

    calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.weight * (y + 0.1 * self.calls * (y - y.detach()))


class HidesItsWeight(Field):
    def __init__(self):
        super().__init__()
        self.secret = [torch.rand(2)]

    def forward(self, t, y):
        return self.weight * y * self.secret[0]


class LosesItselfInCopies(Field):
    scale = 1.0

    def __deepcopy__(self, memo):
        new = type(self)()
        new.scale = 2.0
        return new

    def forward(self, t, y):
        return self.scale * self.weight * y


class StaysSingle(Field):
    def forward(self, t, y):
        return self.weight.float() * y.float()


class BeginsInPlace(Field):
    def begin(self, t0, t1, y0):
        self.start = y0
        return self


class BeginsAnything(Field):
    def begin(self, t0, t1, y0):
        return self.forward


class Reckless(PID):
    """Accepts everything, and makes the next step the shorter for it."""

    def decide(self, control, t0, t1, cut, error, order):
        return super().decide(control, t0, t1, cut, error, order)._replace(accept=True)


class Careless(PID):
    """Accepts steps a thousand times too wrong, one after the other to the end."""

    def decide(self, control, t0, t1, cut, error, order):
        return super().decide(control, t0, t1, cut, 1e-3 * error, order)


class TurnsBack(PID):
    """Steps back once, on the way."""

    def target(self, control, t, span):
        return t - 0.05 if 0.8 < t < 1.6 and control.error1 != 7.0 else super().target(control, t, span)

    def decide(self, control, t0, t1, cut, error, order):
        verdict = super().decide(control, t0, t1, cut, error, order)
        back = t1 < t0 or control.error1 == 7.0
        return verdict._replace(control=verdict.control._replace(error1=7.0)) if back else verdict


class TensorsHalved(PID):
    """Other formulas for tensors than for numbers."""

    def decide(self, control, t0, t1, cut, error, order):
        verdict = super().decide(control, t0, t1, cut, error, order)
        dt = verdict.control.dt
        return verdict._replace(control=verdict.control._replace(dt=dt / 2)) if isinstance(dt, Tensor) else verdict


class Sociable(PID):
    """One row's error is everyone's."""

    def error(self, error, y0, y1, layout):
        size = super().error(error, y0, y1, layout)
        return size.max().expand_as(size) if isinstance(size, Tensor) else size


class Restless(PID):
    """Steps that depend on how many solves there were."""

    solves: ClassVar[list] = []

    def init(self, *arguments):
        self.solves.append(1)
        control = super().init(*arguments)
        return control._replace(dt=control.dt / len(self.solves))


class Deaf(PID):
    """Forgets the jumps that it is told of."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "jump_ts", None)


class Forgetful(PID):
    """Goes on with another step size than it had."""

    def resume(self, control, span):
        return control._replace(dt=0.5 * control.dt)


class Thawed(PID):
    __setattr__ = object.__setattr__


class HalfThawed(PID):
    """Frozen but for one field."""

    def __setattr__(self, name, value):
        if name != "safety":
            super().__setattr__(name, value)


class Line(Path):
    def forward(self, ta, tb):
        return tb - ta

    def derivative(self, t):
        return torch.ones_like(t)

    def knots(self, t0, t1):
        return torch.tensor([0.5], dtype=torch.float64)


class Square(Line):
    def forward(self, ta, tb):
        return (tb - ta) ** 2


class NeverStill(Line):
    def forward(self, ta, tb):
        return tb - ta + 1e-3 * (ta == tb)


class Magnitude(Line):
    def forward(self, ta, tb):
        return (tb - ta).abs()


class Drifting(Line):
    asked = 0

    def forward(self, ta, tb):
        self.asked += 1
        return tb - ta + 1e-12 * self.asked


class Random(Line):
    """Another path every time it is made."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.rand((), dtype=torch.float64))

    def forward(self, ta, tb):
        return self.scale * (tb - ta)


class RowsDiffer(Line):
    def forward(self, ta, tb):
        return (tb - ta) * torch.ones(3, dtype=ta.dtype) * (1 + ta.dim())


class Steeper(Line):
    def derivative(self, t):
        return 1.1 * torch.ones_like(t)


class SingleKnots(Line):
    def knots(self, t0, t1):
        return torch.tensor([0.5])


class FarKnots(Line):
    def knots(self, t0, t1):
        return torch.tensor([0.5, 7.0], dtype=torch.float64)


class Loose(Line):
    def __init__(self):
        super().__init__()
        self.rate = torch.ones(())


class Pad:
    def lift(self, y):
        return torch.cat((y, torch.zeros_like(y)), -1)

    def project(self, y):
        return y[..., : y.shape[-1] // 2]


class Narrow(Pad):
    def project(self, y):
        return y[..., :1]


class Shifted(Pad):
    def project(self, y):
        return super().project(y) + 1e-3


class Mixing(Pad):
    def lift(self, y):
        return torch.cat((y, y.mean(0, keepdim=True).expand_as(y)), -1)


class Cut(Pad):
    def lift(self, y):
        return super().lift(y.detach()) + 0 * super().lift(y)


class Spare(nn.Module, Pad):
    """Has a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.zeros(2))


class Single(Pad):
    def lift(self, y):
        return super().lift(y).float()


class WideOnSolved(Pad):
    """Projects what was solved to another shape than what was lifted."""

    def lift(self, y):
        return torch.cat((y, torch.ones_like(y)), -1)

    def project(self, y):
        return super().project(y) if bool((y[..., 2:] == 1).all()) else y


class Changing(nn.Module, Pad):
    """Copies do something else."""

    scale = 1.0

    def __deepcopy__(self, memo):
        new = type(self)()
        new.scale = 2.0
        return new

    def project(self, y):
        return Pad.project(self, self.scale * y)


BROKEN = [
    (FieldSuite, WrongShape, "test_the_slope_is_like_the_state"),
    (FieldSuite, AlwaysSingle, "test_the_slope_is_like_the_state"),
    (FieldSuite, SharedTimesOnly, "test_the_slope_is_like_the_state"),
    (FieldSuite, Infinite, "test_the_slope_is_like_the_state"),
    (FieldSuite, Counts, "test_the_slope_is_a_function_of_its_inputs"),
    (FieldSuite, ChangesTheState, "test_the_slope_is_a_function_of_its_inputs"),
    (FieldSuite, KnowsTheBatch, "test_rows_do_not_know_each_other"),
    (FieldSuite, KnowsHowTimesCome, "test_a_solve_runs_shared_and_per_sample"),
    (FieldSuite, SeesTheGraph, "test_gradients_reach_state_and_parameters_under_checkpoints"),
    (FieldSuite, Untidy, "test_gradients_reach_state_and_parameters_under_checkpoints"),
    (FieldSuite, HidesItsWeight, "test_copies_and_state_dicts_are_the_field"),
    (FieldSuite, LosesItselfInCopies, "test_copies_and_state_dicts_are_the_field"),
    (FieldSuite, StaysSingle, "test_float64_goes_through"),
    (FieldSuite, BeginsInPlace, "test_begin_returns_a_field_and_leaves_this_one_alone"),
    (FieldSuite, BeginsAnything, "test_begin_returns_a_field_and_leaves_this_one_alone"),
    (ControllerSuite, Careless, "test_it_arrives", False, False),
    (ControllerSuite, TurnsBack, "test_it_arrives", False, False),
    (ControllerSuite, TensorsHalved, "test_numbers_and_tensors_go_through_the_same_formulas"),
    (ControllerSuite, Sociable, "test_a_sample_does_not_depend_on_its_company"),
    (ControllerSuite, Restless, "test_reports_do_not_change_the_steps"),
    (ControllerSuite, Deaf, "test_steps_end_at_jumps", False),
    (ControllerSuite, Deaf, "test_steps_end_at_jumps", True),
    (ControllerSuite, Forgetful, "test_a_resumed_solve_is_the_same_solve"),
    (ControllerSuite, Reckless, "test_a_step_that_is_too_long_is_rejected"),
    (ControllerSuite, Thawed, "test_it_is_frozen"),
    (ControllerSuite, HalfThawed, "test_it_is_frozen"),
    (PathSuite, Square, "test_increments_add_up"),
    (PathSuite, NeverStill, "test_increments_add_up"),
    (PathSuite, Magnitude, "test_increments_change_sign_backwards"),
    (PathSuite, Drifting, "test_the_same_interval_has_the_same_increment_bit_for_bit"),
    (PathSuite, Random, "test_the_same_interval_has_the_same_increment_bit_for_bit"),
    (PathSuite, RowsDiffer, "test_a_time_for_each_row"),
    (PathSuite, Steeper, "test_the_derivative_is_that_of_the_increments"),
    (PathSuite, SingleKnots, "test_knots_lie_where_they_are_asked_for"),
    (PathSuite, FarKnots, "test_knots_lie_where_they_are_asked_for"),
    (PathSuite, Loose, "test_tensors_are_buffers"),
    (AugmentationSuite, Narrow, "test_project_undoes_lift"),
    (AugmentationSuite, Shifted, "test_project_undoes_lift"),
    (AugmentationSuite, Mixing, "test_rows_do_not_know_each_other"),
    (AugmentationSuite, Cut, "test_gradients_pass"),
    (AugmentationSuite, Spare, "test_gradients_pass"),
    (AugmentationSuite, Single, "test_float64_is_kept"),
    (AugmentationSuite, WideOnSolved, "test_it_fits_into_a_neural_ode"),
    (AugmentationSuite, Changing, "test_it_fits_into_a_neural_ode"),
]


@pytest.mark.parametrize(
    "function",
    [lambda t, y: (), lambda t, y: y.double(), lambda t, y: y.to("meta")],
    ids=["nothing", "another dtype", "another device"],
)
def test_what_a_solver_asks_a_field_for_is_like_the_state_too(fails, function):
    asked = {"functions": lambda self, field: (function,)}
    fails(FieldSuite, Field, "test_the_slope_is_like_the_state", **asked)


def test_a_lift_that_is_learnt_keeps_the_shape(fails):
    fails(AugmentationSuite, Narrow, "test_project_undoes_lift", identity=False)


SOUND = [(FieldSuite, Field), (ControllerSuite, PID), (PathSuite, Line), (AugmentationSuite, Pad)]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: f"{row[1].__name__}-{row[2]}")
def test_a_broken_component_is_found_out(fails, row):
    fails(*row)


@pytest.mark.parametrize("suite", [suite for suite, _ in SOUND], ids=lambda suite: suite.__name__)
def test_every_test_of_the_suites_finds_something(suite):
    assert {test for other, _, test, *_ in BROKEN if other is suite} == set(suite._tests)


def sound(suite, component):
    return type("TestSound", (suite,), {"make": lambda self: component()})


TestField, TestController, TestPath, TestAugmentation = (sound(*pair) for pair in SOUND)
