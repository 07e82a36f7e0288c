"""The plugin on torchdyn's conformance kit."""

import torch

from torchdyn_core import Fixed, solve
from torchdyn_core.testing import FieldSuite, SolverSuite, check_plugin
from torchdyn_vanderpol import SSPRK3, VanDerPol


class TestVanDerPol(FieldSuite):
    def make(self):
        return VanDerPol()


class TestSSPRK3(SolverSuite):
    def make(self):
        return SSPRK3()


def test_the_plugin_is_fit_to_be_published():
    check_plugin("vanderpol")


def test_it_is_found_by_name():
    y0, ts = torch.tensor([[2.0, 0.0]]), torch.tensor([0.0, 1.0])
    by_name, by_class = (
        solve(VanDerPol(), y0, ts, solver=solver, controller=Fixed(dt=0.01)).ys
        for solver in ("vanderpol.ssprk3", SSPRK3())
    )
    assert torch.equal(by_name, by_class)
