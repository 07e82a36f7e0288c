"""Core's own controllers, adjoints, fields and paths on the kit."""

from typing import ClassVar

import torch

from torchdyn_core import PID, Backsolve, Checkpointed, Direct, Fixed, Path, SolveDropout, autonomous
from torchdyn_core.testing import AdjointSuite, AugmentationSuite, ControllerSuite, FieldSuite, PathSuite, Rotation


class TestDirect(AdjointSuite):
    def make(self):
        return Direct()


class TestCheckpointed(AdjointSuite):
    def make(self):
        return Checkpointed()


class TestBounded(AdjointSuite):
    compiles = False  # a compiled loop keeps a few states at work, and refuses a bound below that

    def make(self):
        return Checkpointed(memory=4)


class TestBacksolve(AdjointSuite):
    exact, double_backward = False, False

    def make(self):
        return Backsolve()


class TestPID(ControllerSuite):
    def make(self):
        return PID()


class TestPI(ControllerSuite):
    def make(self):
        return PID(rtol=1e-5, atol=1e-7, pcoeff=0.3, icoeff=0.4)


class TestFixedStep(ControllerSuite):
    def make(self):
        return Fixed(dt=0.13)


class TestRotation(FieldSuite):
    def make(self):
        return Rotation()


class TestAutonomous(FieldSuite):
    def make(self):
        torch.manual_seed(1)
        return autonomous(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)))


class TestDropout(FieldSuite):
    expected_failures: ClassVar = {"test_rows_do_not_know_each_other": "a mask belongs to the batch as it is"}

    def make(self):
        torch.manual_seed(1)
        return autonomous(torch.nn.Sequential(torch.nn.Linear(2, 8), SolveDropout(0.5), torch.nn.Linear(8, 2)))


class Ramp(Path):
    """Straight pieces between three values."""

    def __init__(self):
        super().__init__()
        self.register_buffer("times", torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
        self.register_buffer("values", torch.tensor([[0.0, 1.0, 3.0], [2.0, 1.0, 1.0]], dtype=torch.float64))

    def at(self, t):
        piece = (t >= 0.5).long()
        left, right = (self.values[torch.arange(2), piece + i] for i in (0, 1))
        return left + (right - left) * 2 * (t - 0.5 * piece)

    def forward(self, ta, tb):
        return self.at(tb) - self.at(ta)

    def derivative(self, t):
        piece = (t >= 0.5).long()
        left, right = (self.values[torch.arange(2), piece + i] for i in (0, 1))
        return 2 * (right - left)

    def knots(self, t0, t1):
        return self.times[1:2]


class TestRamp(PathSuite):
    def make(self):
        return Ramp()


class Pad:
    def lift(self, y):
        return torch.cat((y, torch.zeros_like(y)), -1)

    def project(self, y):
        return y[..., : y.shape[-1] // 2]


class TestPad(AugmentationSuite):
    def make(self):
        return Pad()


class Learned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 5)

    def lift(self, y):
        return self.layer(y)

    def project(self, y):
        return y[..., :2]


class TestLearned(AugmentationSuite):
    identity = False

    def make(self):
        torch.manual_seed(2)
        return Learned()
