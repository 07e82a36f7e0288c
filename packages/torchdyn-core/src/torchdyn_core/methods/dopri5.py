"""The Dormand-Prince pair 5(4)."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau

__all__ = ["DormandPrince5"]

_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)


class DormandPrince5(ExplicitRungeKutta):
    r"""The Dormand-Prince pair 5(4), as in MATLAB's ode45 and SciPy's RK45.

    Fifth order, six evaluations a step (first same as last), fourth-order dense output for nothing (Shampine's).

    References:
        | Dormand, Prince (1980), A family of embedded Runge-Kutta formulae. doi:10.1016/0771-050X(80)90013-3
        | Shampine (1986), Some practical Runge-Kutta formulas. doi:10.1090/S0025-5718-1986-0815836-3
    Example:
        >>> import torch
        >>> from torchdyn_core import PID, DormandPrince5, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=DormandPrince5(), controller=PID(rtol=1e-6)).ys[-1]
        tensor([0.3679])
    """

    order = 5
    dense_order = 4
    tableau = ButcherTableau(
        c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        a=(
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            _B,
        ),
        b=_B,
        error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
        dense=(
            (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
            (0.0, 0.0, 0.0, 0.0),
            (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
            (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
            (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
            (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
            (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
        ),
    )
