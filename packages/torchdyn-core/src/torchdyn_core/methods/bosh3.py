"""The Bogacki-Shampine pair 3(2)."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["BogackiShampine3"]

_B = (2 / 9, 1 / 3, 4 / 9)


class BogackiShampine3(ExplicitRungeKutta):
    r"""The Bogacki-Shampine pair 3(2), for loose tolerances.

    Third order with an embedded second-order method; three evaluations a step (first same as last), cubic Hermite
    dense output for nothing.

    References:
        Bogacki, Shampine (1989), A 3(2) pair of Runge-Kutta formulas. doi:10.1016/0893-9659(89)90079-7
    Example:
        >>> import torch
        >>> from torchdyn_core import PID, BogackiShampine3, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=BogackiShampine3(), controller=PID(rtol=1e-6)).ys[-1]
        tensor([0.3679])
    """

    order = 3
    dense_order = 3
    tableau = ButcherTableau(
        c=(0.0, 1 / 2, 3 / 4, 1.0),
        a=((1 / 2,), (0.0, 3 / 4), _B),
        b=_B,
        error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
        dense=cubic_hermite((*_B, 0.0), end=3),
    )
