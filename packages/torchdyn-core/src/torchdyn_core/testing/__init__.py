"""The conformance kit: what a component has to do, as tests that anyone can run on their own.

It needs the extra `testing` (pytest). In a test module:

    from torchdyn_core.testing import SolverSuite

    class TestMySolver(SolverSuite):
        def make(self):
            return MySolver()
"""

import pytest

for _name in (
    "adjoint", "augmentation", "compiled", "controller", "field", "measure", "path", "plugin", "solver",
    "solver_compiled", "solver_order", "solver_problem", "solver_step",
):  # fmt: skip
    pytest.register_assert_rewrite(f"{__name__}.{_name}")  # or a failed assert would not show its values

from torchdyn_core.testing.adjoint import AdjointSuite  # noqa: E402 - asserts are rewritten in what follows
from torchdyn_core.testing.augmentation import AugmentationSuite  # noqa: E402
from torchdyn_core.testing.controller import ControllerSuite  # noqa: E402
from torchdyn_core.testing.field import FieldSuite  # noqa: E402
from torchdyn_core.testing.path import PathSuite  # noqa: E402
from torchdyn_core.testing.plugin import check_plugin  # noqa: E402
from torchdyn_core.testing.problems import (  # noqa: E402
    Problem,
    Rotation,
    complex_rotation,
    reversed_in_time,
    rotation,
    tree_rotation,
)
from torchdyn_core.testing.solver import SolverSuite  # noqa: E402
from torchdyn_core.testing.solver_step import StepSuite  # noqa: E402
from torchdyn_core.testing.suite import Suite  # noqa: E402

__all__ = [
    "AdjointSuite",
    "AugmentationSuite",
    "ControllerSuite",
    "FieldSuite",
    "PathSuite",
    "Problem",
    "Rotation",
    "SolverSuite",
    "StepSuite",
    "Suite",
    "check_plugin",
    "complex_rotation",
    "reversed_in_time",
    "rotation",
    "tree_rotation",
]
