"""The Tsitouras pair 5(4)."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau

__all__ = ["Tsitouras5"]

_B = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
)


def _quartic(scale: float, roots: tuple[float, float], free: tuple[float, float]) -> tuple[float, float, float, float]:
    """`scale * (theta - r0)(theta - r1)(theta**2 + p theta + q)` without its constant term, which is 0 here."""
    (r0, r1), (p, q) = roots, free
    s, m = -(r0 + r1), r0 * r1
    return scale * (s * q + m * p), scale * (q + s * p + m), scale * (p + s), scale


class Tsitouras5(ExplicitRungeKutta):
    r"""The Tsitouras pair 5(4): the default.

    Fifth order, six evaluations a step (first same as last), smaller error than Dormand-Prince at equal cost,
    fourth-order dense output for nothing.

    References:
        Tsitouras (2011), Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption.
        doi:10.1016/j.camwa.2011.06.002
    Example:
        >>> import torch
        >>> from torchdyn_core import PID, Tsitouras5, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=Tsitouras5(), controller=PID(rtol=1e-6)).ys[-1]
        tensor([0.3679])
    """

    order = 5
    dense_order = 4
    tableau = ButcherTableau(
        c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
        a=(
            (0.161,),
            (-0.008480655492356989, 0.335480655492357),
            (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
            (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
            (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
            _B,
        ),
        b=_B,
        error=(
            -0.00178001105222577714,
            -0.0008164344596567469,
            0.007880878010261995,
            -0.1447110071732629,
            0.5823571654525552,
            -0.45808210592918697,
            0.015151515151515152,
        ),
        # Tsitouras's continuous extension, section 4: each b_i(theta) as a product of its factors.
        dense=(
            _quartic(-1.0530884977290216, (0.0, 1.3299890189751412), (-1.4364028541716351, 0.7139816917074209)),
            _quartic(0.1017, (0.0, 0.0), (-2.1966568338249754, 1.2949852507374631)),
            _quartic(2.490627285651252793, (0.0, 0.0), (-2.38535645472061657, 1.57803468208092486)),
            _quartic(-16.54810288924490272, (1.21712927295533244, 0.61620406037800089), (0.0, 0.0)),
            _quartic(47.37952196281928122, (1.203071208372362603, 0.658047292653547382), (0.0, 0.0)),
            _quartic(-34.87065786149660974, (1.2, 0.666666666666666667), (0.0, 0.0)),
            _quartic(2.5, (1.0, 0.6), (0.0, 0.0)),
        ),
    )
