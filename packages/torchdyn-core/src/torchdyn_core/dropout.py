"""Dropout for fields: one mask a solve, drawn when it begins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_core.errors import IncompatibleError, OptionError
from torchdyn_core.field import shallow_copy

__all__ = ["SolveDropout", "begin_layers"]


class SolveDropout(nn.Module):
    """Dropout whose mask stays the same over a solve, so that the field is a function of time and state.

    Ordinary dropout draws a mask for each evaluation: error estimates, rejected steps and replayed steps then belong to
    different fields. Here a seed is drawn from torch's generator when a solve begins, and the mask is a pure
    function of the seed and the position. In eval mode it is the identity.

    Arguments:
        p: Probability of an entry to be dropped.
    Shapes:
        input, output: any, alike.

    Raises:
        OptionError: If `p` is not in [0, 1).
        IncompatibleError: If it is called in training mode where no solve has given it a seed.

    References:
        Gal, Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural networks
        (one mask for all steps). arXiv 1512.05287
    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, SolveDropout, autonomous
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), SolveDropout(0.5), torch.nn.Linear(8, 2))
        >>> NeuralODE(autonomous(net))(torch.ones(3, 2)).shape
        torch.Size([3, 2])
    """

    seed: Tensor | None

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise OptionError(f"p={p!r}; wanted a probability in [0, 1)")
        self.p = p
        self.seed = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop the entries that this solve's seed drops, and scale up the others."""
        if not self.training or self.p == 0.0:
            return x
        if self.seed is None:
            raise IncompatibleError(
                "SolveDropout has no mask: no solve has begun it. Solves begin the layers of fields that are modules: "
                "wanted autonomous(net) or a VectorField that holds it, in place of a function that closes over it"
            )
        kept = _uniform(self.seed, x.numel(), x.device).reshape(x.shape) >= self.p
        return torch.where(kept, x / (1.0 - self.p), torch.zeros_like(x))

    def begin_layer(self) -> SolveDropout:
        """The layer with a seed of its own."""
        new = shallow_copy(self)
        new.seed = torch.randint(2**31 - 1, ())
        return new

    def extra_repr(self) -> str:
        return f"p={self.p}"


def begin_layers(module: nn.Module) -> nn.Module:
    """A copy of a module whose `SolveDropout` layers have drawn their seeds; the module itself where it has none."""
    if not any(isinstance(child, SolveDropout) for child in module.modules()):
        return module
    memo: dict[int, nn.Module] = {}

    def visit(item: nn.Module) -> nn.Module:
        if id(item) not in memo:
            if isinstance(item, SolveDropout):
                memo[id(item)] = item.begin_layer()
            else:
                children = {key: visit(child) for key, child in item._modules.items() if child is not None}
                moved = any(child is not item._modules[key] for key, child in children.items())
                memo[id(item)] = shallow_copy(item) if moved else item
                if moved:
                    memo[id(item)].__dict__["_modules"].update(children)
        return memo[id(item)]

    return visit(module)


def _uniform(seed: Tensor, count: int, device: torch.device) -> Tensor:
    """Numbers in [0, 1) that are a function of seed and position alone: 32-bit integer hashing in int64 arithmetic."""
    x = torch.arange(count, device=device) + seed.to(device) * 0x9E3779B1
    x = x & 0xFFFFFFFF
    for multiplier, shift in ((0x7FEB352D, 16), (0x846CA68B, 15), (1, 16)):  # Wellons's lowbias32
        x = ((x ^ (x >> shift)) * multiplier) & 0xFFFFFFFF
    return (x >> 8).to(torch.float32) / 2**24
