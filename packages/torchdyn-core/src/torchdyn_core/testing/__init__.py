"""The conformance kit: what a component has to do, as tests that anyone can run on their own.

It needs the extra `testing` (pytest and hypothesis). In a test module:

    from torchdyn_core.testing import SolverSuite

    class TestMySolver(SolverSuite):
        def make(self):
            return MySolver()
"""

import pytest

pytest.register_assert_rewrite(
    "torchdyn_core.testing.measure",
    "torchdyn_core.testing.solver",
)

from torchdyn_core.testing.problems import (  # noqa: E402 - asserts are rewritten in what is imported after this
    Problem,
    Rotation,
    complex_rotation,
    reversed_in_time,
    rotation,
    tree_rotation,
)
from torchdyn_core.testing.solver import SolverSuite  # noqa: E402
from torchdyn_core.testing.suite import Suite  # noqa: E402

__all__ = [
    "Problem",
    "Rotation",
    "SolverSuite",
    "Suite",
    "complex_rotation",
    "reversed_in_time",
    "rotation",
    "tree_rotation",
]
