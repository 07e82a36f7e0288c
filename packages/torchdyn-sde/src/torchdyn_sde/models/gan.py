"""Neural SDEs as generative adversarial networks of paths: a generator, and a critic that a path drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchdyn_core import Fixed, IrregularSeries, OptionError, ShapeError, solve
from torchdyn_core.solve import configured_options
from torchdyn_sde.field import SDEField
from torchdyn_sde.models.networks import LipSwish, TimeNet, check_size, perceptron
from torchdyn_sde.models.options import refuse_own, with_defaults
from torchdyn_sde.models.rows_path import RowsPath, filled, resting_times

__all__ = ["SDEGAN", "PathCritic", "PathGenerator"]

_OWN = {
    "args": "its equations have none",
    "per_sample": "each path takes steps of its own where its times are its own",
    "integral_loss": "there is no running loss",
    "save": "what is reported is the state, which the model decodes",
    "dense": "states are reported at the times of the series",
    "throw": "a path that is not finite has no score",
}


class PathGenerator(nn.Module):
    """Random paths: a neural SDE in Stratonovich's sense with general noise, from a random start, read out linearly.

    Arguments:
        data_dim: Channels of a path.
        hidden_dim: Of the state.
        noise_dim: How many Brownian motions drive it.
        start_dim: How many normal numbers the start is made of.
        width: Of the networks.
        t0: Where paths begin.
        solve_options: Options of `solve`.

    Shapes:
        output: `(count, T, data_dim)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or an option is the model's own to set.

    References:
        Kidger, Foster, Li, Oberhauser, Lyons (2021), Neural SDEs as infinite-dimensional GANs. arXiv 2102.03657

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.gan import PathGenerator
        >>> PathGenerator(2)(5, [0.0, 0.5, 1.0]).shape
        torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        data_dim: int,
        *,
        hidden_dim: int = 16,
        noise_dim: int = 3,
        start_dim: int = 5,
        width: int = 16,
        t0: float = 0.0,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        check_size(data_dim=data_dim, hidden_dim=hidden_dim, noise_dim=noise_dim, start_dim=start_dim, width=width)
        self.start_dim, self.t0 = start_dim, float(t0)
        self.start = perceptron(start_dim, width, hidden_dim, depth=1, act=LipSwish)
        self.field = _field(hidden_dim, noise_dim, width)
        self.readout = nn.Linear(hidden_dim, data_dim)
        self.options = _checked(self.field, "PathGenerator", solve_options)

    def forward(self, count: int, ts: Tensor | Sequence[float]) -> Tensor:
        """Draw paths.

        Arguments:
            count: How many.
            ts: Times, weakly increasing, none before `t0`: `(T,)`, or with a column for each path, `(T, count)`.
        """
        check_size(count=count)
        weight = self.readout.weight
        rows = torch.as_tensor(ts, device=weight.device).double()
        if not bool((rows >= self.t0).all()):
            raise ShapeError(f"the first time is {float(rows.min()):g}; wanted none before t0={self.t0:g}")
        y0 = self.start(torch.randn(count, self.start_dim, dtype=weight.dtype, device=weight.device))
        times = torch.cat((torch.full_like(rows[:1], self.t0), rows))
        solution = solve(self.field, y0, times, **self.options, per_sample=rows.dim() == 2)
        made: Tensor = self.readout(cast(Tensor, solution.ys)[1:].transpose(0, 1))
        return made


class PathCritic(nn.Module):
    """A score of a path: a neural controlled equation `dh = [f, g](h) d[t, y]` that the path drives, read out linearly.

    Between rows the path is straight; what the mask hides lies between the observations around it. From each row to the
    next one there are `steps` steps.

    Arguments:
        data_dim: Channels of a path.
        hidden_dim: Of the state.
        width: Of the networks.
        steps: From a row to the next one.
        solve_options: Options of `solve`; a `solver` of Stratonovich's sense, `Midpoint` or `ReversibleHeun`.

    Shapes:
        series: values `(B, L, data_dim)`, L at least 2.  output: `(B,)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or an option is the model's own to set.
        ShapeError: If series have other channels, or fewer than two rows.

    References:
        | Kidger, Foster, Li, Oberhauser, Lyons (2021), Neural SDEs as infinite-dimensional GANs. arXiv 2102.03657
        | Kidger, Foster, Li, Lyons (2021), Efficient and accurate gradients for neural SDEs. arXiv 2105.13493

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde.models.gan import PathCritic
        >>> series = IrregularSeries(torch.tensor([[0.0, 0.3, 1.0], [0.1, 0.2, 0.9]]), torch.ones(2, 3, 1))
        >>> PathCritic(1)(series).shape
        torch.Size([2])
    """

    def __init__(
        self, data_dim: int, *, hidden_dim: int = 16, width: int = 16, steps: int = 1, **solve_options: Any
    ) -> None:
        super().__init__()
        check_size(data_dim=data_dim, hidden_dim=hidden_dim, width=width, steps=steps)
        if "controller" in solve_options:
            raise OptionError("PathCritic takes no option 'controller': its steps lead from row to row; wanted steps=")
        self.data_dim, self.steps = data_dim, steps
        self.start = perceptron(1 + data_dim, width, hidden_dim, depth=1, act=LipSwish)
        net = perceptron(hidden_dim, width, hidden_dim * (1 + data_dim), depth=1, act=LipSwish)
        response = _Response(net, (hidden_dim, 1 + data_dim))
        self.field = SDEField(_Rest(), response, noise="general", interpretation="stratonovich")
        self.score = nn.Linear(hidden_dim, 1)
        self.options = _checked(self.field, "PathCritic", solve_options)

    def forward(self, series: IrregularSeries) -> Tensor:
        """Scores of paths."""
        if series.values.shape[2] != self.data_dim:
            raise ShapeError(f"values are {tuple(series.values.shape)}; wanted (B, L, {self.data_dim})")
        rows = filled(series)
        path, last = RowsPath(rows), rows.shape[1] - 1
        grid = {"controller": Fixed(steps=self.steps * last)}
        driven = self.field.driven_by(path)
        end = solve(driven, self.start(rows[:, 0]), [0.0, float(last)], **{**self.options, **grid}).final.y
        scores: Tensor = self.score(end)
        return scores[:, 0]

    @torch.no_grad()
    def clip(self) -> None:
        """Clip the weights of all linear maps to `[-1 / b, 1 / b]`, `b` their inputs: none stretches a distance.

        The distance is the largest difference of an entry; LipSwish and tanh stretch none either. To be called after
        each step of the optimizer, in place of a gradient penalty.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                most = 1.0 / module.in_features
                module.weight.clamp_(-most, most)


class SDEGAN(nn.Module):
    """A neural SDE as the generator, a neural controlled equation as the critic, of a Wasserstein GAN of paths.

    The critic learns to score data above what is generated, the generator to be scored like data. The critic is kept
    from steepness by clipping: call `clip()` after each of its steps.

    Arguments:
        data_dim: Channels of a path.
        hidden_dim: Of both states.
        noise_dim: How many Brownian motions drive the generator.
        start_dim: How many normal numbers its start is made of.
        width: Of the networks.
        t0: Where paths begin; no observation is earlier.
        critic_steps: Of the critic, from a row to the next one.
        generator: In place of a `PathGenerator`: called with a count and times.
        critic: In place of a `PathCritic`: called with a series.
        solve_options: Options of both solves; `controller` is the generator's. Without `solver`, it is `Midpoint`;
            `ReversibleHeun` evaluates the networks once a step. Without `controller`, the generator takes 50 equal
            steps.

    Shapes:
        series: values `(B, L, data_dim)`, L at least 2.

    Raises:
        OptionError: If a size is no whole number of at least 1, or an option is the model's own to set.
        ShapeError: If series have other channels, fewer than two rows, or a row before `t0`.

    References:
        | Kidger, Foster, Li, Oberhauser, Lyons (2021), Neural SDEs as infinite-dimensional GANs. arXiv 2102.03657
        | Kidger, Foster, Li, Lyons (2021), Efficient and accurate gradients for neural SDEs. arXiv 2105.13493

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, IrregularSeries
        >>> from torchdyn_sde import SDEGAN
        >>> series = IrregularSeries(torch.linspace(0.0, 1.0, 6).expand(4, 6), torch.randn(4, 6, 2))
        >>> model = SDEGAN(2, controller=Fixed(steps=10))
        >>> model.critic_loss(series).backward()
        >>> model.clip()
        >>> model.generator_loss(series).backward()
        >>> model.sample(3, [0.0, 0.5, 1.0]).shape
        torch.Size([3, 3, 2])
    """

    def __init__(
        self,
        data_dim: int,
        *,
        hidden_dim: int = 16,
        noise_dim: int = 3,
        start_dim: int = 5,
        width: int = 16,
        t0: float = 0.0,
        critic_steps: int = 1,
        generator: nn.Module | None = None,
        critic: nn.Module | None = None,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        refuse_own("SDEGAN", solve_options, _OWN)
        if generator is not None:
            refuse_own("SDEGAN", solve_options, {"controller": "the generator given has options of its own"})
        if generator is not None and critic is not None and solve_options:
            raise OptionError(f"generator and critic are given; wanted no {', '.join(solve_options)} beside them")
        if generator is None:
            generator = PathGenerator(
                data_dim, hidden_dim=hidden_dim, noise_dim=noise_dim, start_dim=start_dim, width=width, t0=t0,
                **solve_options,
            )  # fmt: skip
        if critic is None:
            others = {name: value for name, value in solve_options.items() if name != "controller"}
            critic = PathCritic(data_dim, hidden_dim=hidden_dim, width=width, steps=critic_steps, **others)
        self.generator, self.critic, self.t0 = generator, critic, float(t0)

    def forward(self, series: IrregularSeries) -> Tensor:
        """The critic's scores of series, `(B,)`."""
        scores: Tensor = self.critic(series)
        return scores

    def sample(self, count: int, ts: Tensor | Sequence[float]) -> Tensor:
        """Generated paths, `(count, T, data_dim)`."""
        made: Tensor = self.generator(count, ts)
        return made

    def imitate(self, series: IrregularSeries) -> IrregularSeries:
        """As many generated series, seen at the same times through the same mask."""
        times = resting_times(series, self.t0)
        common = bool((times == times[:1]).all())
        values = self.sample(len(series), times[0] if common else times.T)
        return IrregularSeries(series.times, values.to(series.values.dtype), series.mask, series.lengths)

    def critic_loss(self, series: IrregularSeries) -> Tensor:
        """By how much generated series are scored above data; the generator gets no gradient of it."""
        with torch.no_grad():
            made = self.imitate(series)
        loss: Tensor = self(made).mean() - self(series).mean()
        return loss

    def generator_loss(self, series: IrregularSeries) -> Tensor:
        """Minus the mean score of series generated at the times of data."""
        loss: Tensor = -self(self.imitate(series)).mean()
        return loss

    def clip(self) -> None:
        """Clip the critic's weights: see `PathCritic.clip`."""
        if not isinstance(self.critic, PathCritic):
            raise OptionError(
                f"the critic is a {type(self.critic).__name__}; wanted a PathCritic, which can be clipped"
            )
        self.critic.clip()


class _Rest(nn.Module):
    """A drift of zero."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(y)


class _Response(nn.Module):
    """How a state answers to each channel of what drives it; bounded, so that states stay finite."""

    def __init__(self, net: nn.Module, shape: tuple[int, int]) -> None:
        super().__init__()
        self.net, self.shape = net, shape

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        made: Tensor = torch.tanh(self.net(y)).unflatten(-1, self.shape)
        return made


def _field(hidden_dim: int, noise_dim: int, width: int) -> SDEField:
    """Drift and diffusion of a generator; both are bounded, so that states stay finite."""
    nets = [
        nn.Sequential(perceptron(1 + hidden_dim, width, hidden_dim * columns, depth=1, act=LipSwish), nn.Tanh())
        for columns in (1, noise_dim)
    ]
    drift, diffusion = TimeNet(nets[0]), TimeNet(nets[1], (hidden_dim, noise_dim))
    return SDEField(drift, diffusion, noise="general", interpretation="stratonovich")


def _checked(field: SDEField, model: str, options: dict[str, Any]) -> dict[str, Any]:
    refuse_own(model, options, _OWN)
    named = with_defaults(field, options)
    whole = configured_options(field, named)
    return {name: whole[name] for name in named}
