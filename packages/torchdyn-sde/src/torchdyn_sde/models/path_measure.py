"""Two diffusions with one noise, and how far apart their paths are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchdyn_core.field import per_row
from torchdyn_sde.field import SDEField
from torchdyn_sde.models.encoder import upcoming

__all__ = ["posterior_field"]

Path = tuple[Tensor, Tensor]
"""A latent state `(B, d)`, and the divergence so far, `(B,)`."""
Told = tuple[Tensor, Tensor]
"""Times and contexts, as `upcoming` takes them."""


class _Drift(nn.Module):
    def __init__(
        self, posterior: Callable[..., Tensor], prior: Callable[..., Tensor], diffusion: Callable[..., Tensor]
    ):
        super().__init__()
        self.posterior, self.prior, self.diffusion = posterior, prior, diffusion

    def forward(self, t: Tensor, y: Path, told: Told) -> Path:
        z = y[0]
        time = per_row(t, z)
        drift = self.posterior(time, z, upcoming(t, *told))
        apart = (drift - self.prior(time, z)) / self.diffusion(time, z)
        return drift, 0.5 * apart.square().sum(-1)


class _Diffusion(nn.Module):
    def __init__(self, diffusion: Callable[..., Tensor]) -> None:
        super().__init__()
        self.diffusion = diffusion

    def forward(self, t: Tensor, y: Path, told: Told) -> Path:
        return self.diffusion(per_row(t, y[0]), y[0]), torch.zeros_like(y[1])


def posterior_field(
    posterior: Callable[..., Tensor], prior: Callable[..., Tensor], diffusion: Callable[..., Tensor]
) -> SDEField:
    """A posterior's field whose state holds, beside the latent state, its divergence from the prior so far.

    The divergence grows by `1/2 |(f - h) / g|^2`, Girsanov's theorem for diffusions that share `g`. Euler and
    Maruyama's method sums it where each step begins: exactly the divergence of the discrete paths that the method
    takes.

    Arguments:
        posterior: `f(t, z, context)`.
        prior: `h(t, z)`.
        diffusion: `g(t, z)`, diagonal; where it is zero the divergence is not finite, and the solve fails.

    Shapes:
        y: `(B, d)` and `(B,)`.  args: times and contexts, as `upcoming` takes them.

    References:
        | Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328
        | Tzen, Raginsky (2019), Neural stochastic differential equations. arXiv 1905.09883

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import EulerMaruyama
        >>> from torchdyn_sde.models.path_measure import posterior_field
        >>> field = posterior_field(lambda t, z, c: c, lambda t, z: -c0, lambda t, z: 0.5 * torch.ones_like(z))
        >>> c0, told = torch.tensor(1.0), (torch.tensor([2.0]), torch.ones(2, 3, 1))
        >>> start = torch.zeros(3, 1), torch.zeros(3)
        >>> steps = {"solver": EulerMaruyama(), "controller": Fixed(steps=4)}
        >>> solve(field, start, [0.0, 1.0], args=told, **steps).ys[1][-1]
        tensor([8., 8., 8.])
    """
    return SDEField(_Drift(posterior, prior, diffusion), _Diffusion(diffusion))
