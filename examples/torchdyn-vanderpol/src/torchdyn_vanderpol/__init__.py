"""The Van der Pol oscillator and a strong-stability-preserving method, for torchdyn."""

import torch
from torch import Tensor, nn

from torchdyn_core import Solver, State, Step, VectorField
from torchdyn_core.plugin import Component, hookimpl
from torchdyn_core.tree import align, tree_map


class VanDerPol(VectorField):
    """The Van der Pol oscillator, position and velocity, with a stiffness to learn.

    Arguments:
        mu: Stiffness.

    Shapes:
        y: `(*batch, 2)`.

    References:
        van der Pol (1926), On relaxation-oscillations. doi:10.1080/14786442608564127

    Example:
        >>> VanDerPol(mu=2.0)(torch.tensor(0.0), torch.tensor([1.0, 0.5])).tolist()
        [0.5, -1.0]
    """

    def __init__(self, mu: float = 1.0) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.tensor(mu))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        x, v = y.unbind(-1)
        return torch.stack((v, self.mu * (1 - x * x) * v - x), -1)


class SSPRK3(Solver):
    """Shu and Osher's third-order method: convex combinations of Euler steps, so what is stable there is stable here.

    References:
        Shu, Osher (1988), Efficient implementation of essentially non-oscillatory schemes.
        doi:10.1016/0021-9991(88)90177-5

    Example:
        >>> from torchdyn_core import Fixed, solve
        >>> solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], solver=SSPRK3(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3679])
    """

    order, dense_order = 3, 2

    def init(self, field, t0, t1, y0):
        """Nothing is remembered between steps."""
        return State()

    def step(self, field, t0, t1, y, state):
        """Three Euler steps, averaged."""

        def euler(t, u):
            return tree_map(lambda a, k: a + align(t1 - t0, a).to(a.real.dtype) * k, u, field(t, u))

        first = euler(t0, y)
        second = tree_map(lambda a, b: 0.75 * a + 0.25 * b, y, euler(t1, first))
        third = tree_map(lambda a, b: (a + 2 * b) / 3, y, euler(torch.lerp(t0, t1, 0.5), second))
        return Step(third, None, State(), first, cost=3)

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        """The parabola with the slope of the first Euler step."""

        def parabola(a, b, first):
            s = align(theta, a).to(a.real.dtype)
            return a + s * (first - a) + s * s * (b - first)

        return tree_map(parabola, y0, y1, dense)


@hookimpl
def torchdyn_components():
    """What this plugin brings."""
    return (
        Component("field", "oscillator", "torchdyn_vanderpol:VanDerPol", "The Van der Pol oscillator"),
        Component("solver", "ssprk3", "torchdyn_vanderpol:SSPRK3", "Shu-Osher: order 3, strong stability preserving"),
    )
