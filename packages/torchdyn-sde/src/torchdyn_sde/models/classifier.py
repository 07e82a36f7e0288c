"""Classification by a neural ordinary equation whose depth is noisy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from torchdyn_core import OptionError
from torchdyn_core.errors import close_matches
from torchdyn_core.field import shallow_copy
from torchdyn_sde.field import SDEField
from torchdyn_sde.models.networks import TimeNet, check_size, perceptron
from torchdyn_sde.models.neural_sde import NeuralSDE

__all__ = ["Injection", "NeuralSDEClassifier", "NoiseInjection"]

Injection = Literal["additive", "multiplicative", "dropout"]
_KINDS: tuple[Injection, ...] = ("additive", "multiplicative", "dropout")


class NoiseInjection(nn.Module):
    """The diffusion of a network whose layers are noisy.

    "additive": `sigma(t)`, whatever the state. "multiplicative": `sigma(t) y`. "dropout": `sqrt(p / (1 - p)) f(t, y)`,
    what dropping each entry of every residual with probability `p` comes to where layers are many and thin.

    Arguments:
        kind: Which.
        sigma: Its strength: a number, or a function of time. For "dropout" the number `p`.
        drift: `f(t, y)`, which "dropout" is made of.

    Shapes:
        y, output: any, alike.

    Raises:
        OptionError: If the kind is no known one, a number is below 0, or `p` is not in [0, 1).

    References:
        Liu, Xiao, Si, Cao, Kumar, Hsieh (2019), Neural SDE: stabilizing neural ODE networks with stochastic noise.
        arXiv 1906.02355

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.classifier import NoiseInjection
        >>> noise = NoiseInjection("multiplicative", 0.5, torch.nn.Identity())
        >>> noise(torch.tensor(0.0), torch.tensor([1.0, 2.0]))
        tensor([0.5000, 1.0000])
    """

    switch: Tensor

    def __init__(
        self, kind: Injection, sigma: float | Callable[[Tensor], Tensor], drift: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise OptionError(f"noise={kind!r}; wanted one of {', '.join(_KINDS)}{close_matches(str(kind), _KINDS)}")
        if not callable(sigma):
            most = 1.0 if kind == "dropout" else math.inf
            if isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not 0.0 <= sigma < most:
                raise OptionError(f"sigma={sigma!r}; wanted a number in [0, {most:g}) for noise={kind!r}")
            sigma = math.sqrt(sigma / (1.0 - sigma)) if kind == "dropout" else float(sigma)
        elif kind == "dropout":
            raise OptionError("sigma is a function; wanted a probability in [0, 1) for noise='dropout'")
        self.kind, self.sigma, self.drift = kind, sigma, drift
        # a tensor, so that compiled solves with noise and without are one
        self.register_buffer("switch", torch.ones(()), persistent=False)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion."""
        sigma = self.sigma(t) if callable(self.sigma) else self.sigma
        strength = sigma * self.switch.to(y.dtype)
        if self.kind == "additive":
            return strength * torch.ones_like(y)
        return strength * (y if self.kind == "multiplicative" else self.drift(t, y))

    def silent(self) -> NoiseInjection:
        """The same without noise."""
        new = shallow_copy(self)
        new._buffers["switch"] = torch.zeros_like(self.switch)
        return new

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}, sigma={self.sigma!r}"


class NeuralSDEClassifier(nn.Module):
    """An input layer, a neural SDE over depth that noise is injected into, a head: log-probabilities of classes.

    Noise in training regularises as dropout does; noise in testing makes predictions robust, and is averaged over. In
    training each call takes one sample, in evaluation `samples` of them, of whose probabilities it takes the mean.

    Arguments:
        in_dim: Features of an input.
        hidden_dim: Of the state.
        out_dim: How many classes.
        noise: "additive", "multiplicative" or "dropout": see `NoiseInjection`.
        sigma: Strength of the noise: a number or a function of time; for "dropout" the probability.
        samples: How many solves an evaluation averages over.
        encoder: The input layer. Default: linear.
        drift: `f(t, y)`. Default: a perceptron with two hidden layers and tanh.
        head: Scores of classes from the state. Default: linear.
        solve_options: Options of `NeuralSDE`: `solver`, `controller`, `adjoint`, `compile`, `t1`, ...

    Shapes:
        x: `(B, in_dim)`, or what the encoder takes, `(B, *)`.  output: `(B, out_dim)`.

    Raises:
        OptionError: If an option makes no sense.

    References:
        Liu, Xiao, Si, Cao, Kumar, Hsieh (2019), Neural SDE: stabilizing neural ODE networks with stochastic noise.
        arXiv 1906.02355

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed
        >>> from torchdyn_sde import NeuralSDEClassifier
        >>> model = NeuralSDEClassifier(2, 8, 3, sigma=0.2, samples=4, controller=Fixed(steps=10))
        >>> model.eval()(torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        noise: Injection = "multiplicative",
        sigma: float | Callable[[Tensor], Tensor] = 0.1,
        samples: int = 8,
        encoder: nn.Module | None = None,
        drift: nn.Module | None = None,
        head: nn.Module | None = None,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        check_size(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim, samples=samples)
        self.samples = samples
        self.encoder = nn.Linear(in_dim, hidden_dim) if encoder is None else encoder
        drift = TimeNet(perceptron(1 + hidden_dim, hidden_dim, hidden_dim)) if drift is None else drift
        diffusion = NoiseInjection(noise, sigma, drift)
        field = SDEField(drift, diffusion, noise="additive" if noise == "additive" else "diagonal")
        self.sde = NeuralSDE(field, **solve_options)
        self.head = nn.Linear(hidden_dim, out_dim) if head is None else head

    def forward(self, x: Tensor, *, samples: int | None = None, noisy: bool = True) -> Tensor:
        """Log-probabilities of classes.

        Arguments:
            x: What is to be classified.
            samples: How many solves to average over. Default: one in training, the model's in evaluation.
            noisy: False: no noise is injected, and there is but one solve.
        """
        state = self.encoder(x)
        if not noisy:
            scores = self.head(self._silent()(state))
            return nn.functional.log_softmax(scores, -1)
        count = samples if samples is not None else 1 if self.training else self.samples
        ends = cast(Tensor, self.sde.samples(state, count))
        logs: Tensor = nn.functional.log_softmax(self.head(ends.flatten(0, 1)), -1).unflatten(0, (count, -1))
        return torch.logsumexp(logs, 0) - math.log(count)

    def _silent(self) -> NeuralSDE:
        """The layer without noise; parameters are shared."""
        field = self.sde.field
        assert isinstance(field, SDEField)
        assert isinstance(field.diffusion, NoiseInjection)
        made = shallow_copy(self.sde)
        made._modules["field"] = field.replace(diffusion=field.diffusion.silent())
        return made
