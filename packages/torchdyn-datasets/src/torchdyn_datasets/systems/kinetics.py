"""Robertson's reaction, the classic of stiffness."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import VectorField
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_between, checked_count, checked_number, generator, uniform
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import simulated

__all__ = ["Robertson", "robertson"]


class Robertson(VectorField):
    """Three substances, one of which appears and vanishes ten million times as fast as the first reacts.

    Arguments:
        slow: First to second substance.
        fast: Two of the second to the second and the third.
        back: Second and third to the first and the third.

    Shapes:
        y: `(*, 3)`, concentrations. Their sum stays the same.

    References:
        Robertson (1966), The solution of a set of reaction rate equations, in Walsh, Numerical Analysis.

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Robertson
        >>> Robertson()(torch.tensor(0.0), torch.tensor([1.0, 0.0, 0.0]))
        tensor([-0.0400,  0.0400,  0.0000])
    """

    def __init__(self, slow: float = 0.04, fast: float = 3e7, back: float = 1e4) -> None:
        super().__init__()
        self.slow, self.fast, self.back = slow, fast, back

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        y1, y2, y3 = y.unbind(-1)
        first = self.slow * y1 - self.back * y2 * y3
        last = self.fast * y2.square()
        return torch.stack((-first, first - last, last), -1)


def robertson(
    n: int = 1,
    *,
    steps: int = 50,
    t1: float = 40.0,
    spread: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `Robertson` from the first substance alone, at times whose logarithms are equally far apart.

    The methods of core are explicit, so the steps are as short as stability asks: some seconds for the default span.

    Arguments:
        n: Number of trajectories.
        steps: Number of times, 0 and then from `t1 / 10^6` up to `t1`.
        t1: The last time.
        spread: The first concentration at the start differs from 1 by at most this, which is 1 at most itself.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 3)`.

    References:
        Robertson (1966), The solution of a set of reaction rate equations, in Walsh, Numerical Analysis.

    Example:
        >>> from torchdyn_datasets import robertson
        >>> robertson(steps=10, t1=0.1).values.sum(-1).round(decimals=4).unique()
        tensor([1.])
    """
    source, spread = generator(seed), checked_between("spread", spread)
    last = torch.tensor(checked_number("t1", t1, positive=True), dtype=torch.float64)
    later = torch.logspace(-6.0, 0.0, checked_count("steps", steps, 3) - 1, dtype=torch.float64) * last
    y0 = torch.zeros(checked_count("n", n), 3, dtype=torch.float64)
    y0[:, 0] = 1 + uniform((n,), -spread, spread, source)
    return simulated(
        "robertson", Robertson(), y0, torch.cat((torch.zeros(1, dtype=torch.float64), later)),
        channels=("y1", "y2", "y3"), planes=((0, 1),), noise=noise, source=source, dtype=dtype,
    )  # fmt: skip
