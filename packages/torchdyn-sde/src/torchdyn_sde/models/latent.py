"""Latent stochastic differential equations: a prior over paths, and a posterior for each observed series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal, kl_divergence

from torchdyn_core import IntegrationError, IrregularSeries, OptionError, ShapeError, Solution, solve
from torchdyn_core.solve import configured_options
from torchdyn_sde.field import SDEField
from torchdyn_sde.models.encoder import Encoded, SeriesEncoder
from torchdyn_sde.models.networks import ElementwiseDiffusion, TimeNet, check_size, perceptron
from torchdyn_sde.models.options import refuse_own, with_defaults
from torchdyn_sde.models.path_measure import posterior_field
from torchdyn_sde.models.rows_path import resting_times

__all__ = ["LatentSDE", "Posterior"]

_OWN = {
    "args": "they are what the encoder makes of the series",
    "per_sample": "each series takes steps of its own where its times are its own",
    "integral_loss": "the running loss is the divergence of posterior and prior",
    "save": "what is reported is the state, which the model decodes",
    "dense": "states are reported at the times of the series",
    "throw": "a path that is not finite has no divergence",
}
_LIKELIHOODS = {"gaussian": Normal, "laplace": Laplace}


class Posterior(NamedTuple):
    """A posterior path of each of a batch of series, and what its evidence bound is made of.

    Arguments:
        z: Latent states at the rows of the series, `(B, L, latent)`; behind a series' length they rest.
        logqp: Divergence of the posterior's paths from the prior's, on this path, `(B,)`.
        start_kl: Divergence of the two laws of the initial state, `(B,)`.
        likelihood: Law of the observations given the path, `(B, L, in_dim)`.
        log_likelihood: Of all that is observed of a series, `(B,)`.

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde import LatentSDE
        >>> series = IrregularSeries(torch.tensor([[0.0, 0.5, 1.0]]), torch.zeros(1, 3, 1))
        >>> found = LatentSDE(1, 2)(series)
        >>> bool(torch.equal(found.elbo(), found.log_likelihood - found.logqp - found.start_kl))
        True
    """

    z: Tensor
    logqp: Tensor
    start_kl: Tensor
    likelihood: Distribution
    log_likelihood: Tensor

    def elbo(self, kl_weight: float = 1.0) -> Tensor:
        """Estimates of the lower bound of the evidence of each series, `(B,)`, nats.

        Arguments:
            kl_weight: How much divergences count: annealed in training, 1 for the bound itself.
        """
        return self.log_likelihood - kl_weight * (self.logqp + self.start_kl)


class LatentSDE(nn.Module):
    """A stochastic differential equation that is not seen, observed with noise at irregular times.

    Prior: `dz = h(t, z) dt + g(t, z) dW` from a normal initial law. Posterior of a series: `dz = f(t, z, c) dt +
    g(t, z) dW` with the same noise, where the context `c` is what the encoder has read of the rows still to come. The
    divergence of the two, `1/2 |(f - h) / g|^2` in each moment, is integrated along with the path, in the same solve.
    Gradients of the bound are exact for the steps taken, under the default adjoint.

    Where all series have the same times they share steps; else each takes steps of its own, from `t0` to its last
    time. Where steps do not end at rows, a step that holds one keeps the context that it began with.

    Arguments:
        in_dim: Channels of the series.
        latent_dim: Of the latent state.
        hidden_dim: Width of the networks.
        context_dim: What the posterior is told at each time.
        likelihood: "gaussian" or "laplace": law of the observations around the decoded path.
        scale: Of that law, in the unit of the observations.
        learn_scale: Whether it is trained.
        t0: Where paths begin; no observation is earlier.
        prior_drift: `h(t, z)`. Default: a perceptron.
        posterior_drift: `f(t, z, context)`. Default: a perceptron.
        diffusion: `g(t, z)`, diagonal, nowhere zero: there the divergence is not finite, and the solve raises. Default:
            `ElementwiseDiffusion`, which is at least 0.001.
        encoder: Makes an `Encoded` of a series. Default: `SeriesEncoder`.
        decoder: Makes observations of states. Default: linear.
        solve_options: Options of `solve`: `solver`, `controller`, `adjoint`, `compile`, ... Without `solver`, it is
            `EulerMaruyama`, without `controller` there are 50 equal steps.

    Shapes:
        series: values `(B, L, in_dim)`.

    Raises:
        OptionError: If an option is the model's own to set, or makes no sense.
        ShapeError: If series have other channels, or a row before `t0`.
        IntegrationError: If a path is not finite, or the diffusion is zero on it.

    References:
        | Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328
        | Tzen, Raginsky (2019), Neural stochastic differential equations. arXiv 1905.09883

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde import LatentSDE
        >>> series = IrregularSeries(torch.tensor([[0.0, 0.3, 1.0], [0.1, 0.2, 0.9]]), torch.ones(2, 3, 1))
        >>> model = LatentSDE(1, 4)
        >>> model.loss(series, kl_weight=0.1).backward()
        >>> model.sample(5, [0.0, 0.5, 1.0]).shape
        torch.Size([5, 3, 1])
    """

    def __init__(
        self,
        in_dim: int,
        latent_dim: int,
        *,
        hidden_dim: int = 32,
        context_dim: int = 16,
        likelihood: Literal["gaussian", "laplace"] = "gaussian",
        scale: float = 0.1,
        learn_scale: bool = False,
        t0: float = 0.0,
        prior_drift: Callable[[Tensor, Tensor], Tensor] | None = None,
        posterior_drift: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
        diffusion: Callable[[Tensor, Tensor], Tensor] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        check_size(in_dim=in_dim, latent_dim=latent_dim, hidden_dim=hidden_dim, context_dim=context_dim)
        if likelihood not in _LIKELIHOODS:
            raise OptionError(f"likelihood={likelihood!r}; wanted one of {', '.join(_LIKELIHOODS)}")
        if not 0.0 < scale < float("inf"):
            raise OptionError(f"scale={scale!r}; wanted a finite number > 0")
        refuse_own("LatentSDE", solve_options, _OWN)
        z, c = latent_dim, context_dim
        prior = TimeNet(perceptron(1 + z, hidden_dim, z)) if prior_drift is None else prior_drift
        posterior = TimeNet(perceptron(1 + z + c, hidden_dim, z)) if posterior_drift is None else posterior_drift
        noise = ElementwiseDiffusion(z) if diffusion is None else diffusion
        self.prior, self.posterior = SDEField(prior, noise), posterior_field(posterior, prior, noise)
        options = with_defaults(self.prior, solve_options)
        whole = configured_options(self.prior, options)
        self.options = {name: whole[name] for name in options}
        self.encoder = SeriesEncoder(in_dim, z, context_dim=c) if encoder is None else encoder
        self.decoder = nn.Linear(z, in_dim) if decoder is None else decoder
        self.prior_mean = nn.Parameter(torch.zeros(z))
        self.prior_log_std = nn.Parameter(torch.zeros(z))
        self.log_scale = nn.Parameter(torch.tensor(scale).log(), requires_grad=learn_scale)
        self.likelihood, self.latent_dim, self.t0 = likelihood, latent_dim, float(t0)

    def forward(self, series: IrregularSeries) -> Posterior:
        """A posterior path of each series."""
        assert series.mask is not None
        encoded = self._encoded(series)
        shared = _shared(series)
        times = resting_times(series, self.t0)
        rows = times[0] if shared else times.T
        solution = self._follow(series, encoded, shared, rows)
        z = cast(tuple[Tensor, Tensor], solution.ys)[0][1:].transpose(0, 1)
        logqp = cast(tuple[Tensor, Tensor], solution.final.y)[1]
        start_kl = kl_divergence(Normal(encoded.mean, encoded.std), self._start()).sum(-1)
        law = self._law(z)
        seen = law.log_prob(torch.where(series.mask, series.values, 0.0))
        return Posterior(z, logqp, start_kl, law, torch.where(series.mask, seen, 0.0).sum((1, 2)))

    def loss(self, series: IrregularSeries, kl_weight: float = 1.0) -> Tensor:
        """The mean over series of minus the evidence's lower bound.

        Arguments:
            series: A batch.
            kl_weight: How much divergences count.
        """
        found: Posterior = self(series)
        return -found.elbo(kl_weight).mean()

    def reconstruct(
        self, series: IrregularSeries, ts: Tensor | Sequence[float] | None = None, *, samples: int = 1
    ) -> Tensor:
        """Decoded posterior paths: many of each series, with independent noise.

        Arguments:
            series: A batch.
            ts: Times of choice, weakly increasing, none before `t0`. Default: those of the series' rows.
            samples: How many paths of each.

        Shapes:
            ts: `(T,)`.  output: `(samples, B, T, in_dim)`.
        """
        check_size(samples=samples)
        encoded = self._encoded(series)
        repeated = Encoded(*(part.repeat(samples, *(1,) * (part.dim() - 1)) for part in encoded))
        parts = (series.times, series.values, series.mask, series.lengths)
        many = IrregularSeries(*(part.repeat(samples, *(1,) * (part.dim() - 1)) for part in parts if part is not None))
        shared = _shared(series)
        if ts is None:
            times = resting_times(many, self.t0)
            rows = times[0] if shared else times.T
        else:
            rows = torch.as_tensor(ts, dtype=series.times.dtype, device=series.times.device)
            rows = rows if shared else rows[:, None].expand(-1, len(many))
        solution = self._follow(many, repeated, shared, rows)
        z = cast(tuple[Tensor, Tensor], solution.ys)[0][1:].transpose(0, 1)
        made: Tensor = self.decoder(z).unflatten(0, (samples, len(series)))
        return made

    def sample(self, count: int, ts: Tensor | Sequence[float]) -> Tensor:
        """Decoded paths of the prior.

        Arguments:
            count: How many.
            ts: Times, weakly increasing, none before `t0`.

        Shapes:
            ts: `(T,)`.  output: `(count, T, in_dim)`.
        """
        check_size(count=count)
        times = torch.as_tensor(ts, device=self.prior_mean.device)
        z0 = self._start().rsample((count,))
        z = cast(Tensor, self._solved(self.prior, z0, self._from_t0(times)).ys)[1:].transpose(0, 1)
        made: Tensor = self.decoder(z)
        return made

    def _encoded(self, series: IrregularSeries) -> Encoded:
        found: Encoded = self.encoder(series)
        return found

    def _follow(self, series: IrregularSeries, encoded: Encoded, shared: bool, rows: Tensor) -> Solution:
        """Solve the posterior of each series; what is reported is the start, and the given rows."""
        z0 = encoded.mean + encoded.std * torch.randn_like(encoded.mean)
        told = _told(resting_times(series, self.t0), encoded.context, shared)
        options = {"args": told} if shared else {"args": told, "per_sample": True}
        ts = self._from_t0(rows.double())
        return self._solved(self.posterior, (z0, z0.new_zeros(len(z0))), ts, **options)

    def _from_t0(self, rows: Tensor) -> Tensor:
        if not bool((rows >= self.t0).all()):
            raise ShapeError(f"the first time is {float(rows.min()):g}; wanted none before t0={self.t0:g}")
        return torch.cat((torch.full_like(rows[:1], self.t0), rows))

    def _solved(self, field: SDEField, start: Any, ts: Tensor, **options: Any) -> Solution:
        try:
            return solve(field, start, ts, **{**self.options, **options})
        except IntegrationError as error:
            raise self._told_of_zeros(error) from error

    def _told_of_zeros(self, error: IntegrationError) -> IntegrationError:
        """The error, with its cause where that is a diffusion of zero."""
        assert error.solution is not None
        state = error.solution.final.y
        z = state[0] if isinstance(state, tuple) else state
        with torch.no_grad():
            t = torch.as_tensor(error.solution.final.t, dtype=z.dtype, device=z.device)
            zero = self.prior.diffusion(t.reshape(-1, 1) if t.dim() else t, z) == 0.0
        if not isinstance(state, tuple) or not bool(zero.any()):
            return error
        return IntegrationError(
            f"{error}. The diffusion is zero on the path, where the divergence of posterior and prior is not finite; "
            "wanted one that stays above 0, as ElementwiseDiffusion(least=...) does",
            error.solution,
        )

    def _start(self) -> Normal:
        return Normal(self.prior_mean, self.prior_log_std.exp())

    def _law(self, z: Tensor) -> Distribution:
        return _LIKELIHOODS[self.likelihood](self.decoder(z), self.log_scale.exp())


def _shared(series: IrregularSeries) -> bool:
    """Whether all series have the same times, and so may share steps."""
    assert series.lengths is not None
    times = series.times
    return bool((series.lengths == times.shape[1]).all()) and bool((times == times[:1]).all())


def _told(times: Tensor, context: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Times and contexts as `upcoming` takes them.

    A row counts as past from a little before its time on: steps that should end at a row do so within rounding.
    """
    times = times.to(context.dtype)
    span = (times[:, -1:] - times[:, :1]).abs().clamp(min=1.0)
    times = times - 8 * torch.finfo(times.dtype).eps * torch.maximum(span, times.abs())
    context = nn.functional.pad(context, (0, 0, 0, 1))
    if shared:
        return times[0].clone(), context.transpose(0, 1).contiguous()
    return times, context
