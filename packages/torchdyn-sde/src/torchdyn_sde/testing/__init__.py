"""The conformance kit for methods that step an `SDEField`; it needs `torchdyn-core[testing]`.

from torchdyn_sde.testing import SDESolverSuite

class TestMyMethod(SDESolverSuite):
def make(self):
return MyMethod()
"""

import pytest

for _name in ("solver",):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")  # or a failed assert would not show its values

from torchdyn_sde.testing.closed_forms import ClosedForm, closed_form  # noqa: E402
from torchdyn_sde.testing.problems import SDEProblem, sde_problem  # noqa: E402 - asserts are rewritten in what follows
from torchdyn_sde.testing.solver import SDESolverSuite  # noqa: E402

__all__ = ["ClosedForm", "SDEProblem", "SDESolverSuite", "closed_form", "sde_problem"]
