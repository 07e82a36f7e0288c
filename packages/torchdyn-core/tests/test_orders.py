"""What the kit leaves to core: that DOP853's mixed error estimate falls as it is meant to once steps are small.

Orders of solutions, of dense output and of every other estimate are measured in `test_kit_solvers.py`.
"""

import torch

from torchdyn_core import DormandPrince8
from torchdyn_core.binding import BoundField
from torchdyn_core.testing.measure import slope

DTYPE = torch.float64
C = torch.linspace(0.3, 3, 16, dtype=DTYPE)


def field(t, y):
    return 2 * y * (1 - y) * torch.cos(t)


def exact(t):
    return 1 / (1 + C * torch.exp(-2 * torch.sin(t)))


def test_hairers_mixed_estimate_falls_as_the_eighth_power():
    """It mixes estimates of order 6 and 4, and goes as 2 * 6 - 4 where the second one is the larger."""
    solver, bound, points = DormandPrince8(), BoundField(field), []
    for i in range(5):
        dt = 0.12 * 0.25 ** (i / 4)
        t0, t1 = (torch.tensor(t, dtype=DTYPE) for t in (0.3, 0.3 + dt))
        step = solver.step(bound, t0, t1, exact(t0), solver.init(bound, t0, t1, exact(t0)))
        points.append((dt, step.error.square().mean().sqrt().item()))
    assert abs(slope(points) - 8) < 0.3
