"""What a latent path is told about the series that it should follow: recurrent, backwards in time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from torchdyn_core import IrregularSeries, ShapeError
from torchdyn_sde.models.networks import check_size

__all__ = ["Encoded", "SeriesEncoder", "upcoming"]


class Encoded(NamedTuple):
    """What an encoder makes of series.

    Arguments:
        mean: Of the initial state, `(B, latent)`.
        std: Its standard deviation, `(B, latent)`.
        context: For each row of the series a vector of what that row and all later ones show, `(B, L, context)`.

    Example:
        >>> import torch
        >>> from torchdyn_sde import Encoded
        >>> Encoded(torch.zeros(2, 4), torch.ones(2, 4), torch.zeros(2, 5, 8)).context.shape
        torch.Size([2, 5, 8])
    """

    mean: Tensor
    std: Tensor
    context: Tensor


class SeriesEncoder(nn.Module):
    """A GRU that reads series from their last row to their first.

    A row is seen as its observed values, which of them are observed, and how long after it the next row comes. Values
    that the mask hides, and rows behind a series' length, change nothing.

    Arguments:
        in_dim: Channels of the series.
        latent_dim: Of the initial state.
        context_dim: Of each row's context.
        hidden_dim: Of the recurrent state.

    Shapes:
        series: values `(B, L, in_dim)`, L at least 1.

    Raises:
        ShapeError: If series have other channels, or no row.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde.models.encoder import SeriesEncoder
        >>> series = IrregularSeries(torch.tensor([[0.0, 0.3, 1.0], [0.1, 0.2, 0.9]]), torch.ones(2, 3, 1))
        >>> SeriesEncoder(1, 4, context_dim=8)(series).context.shape
        torch.Size([2, 3, 8])
    """

    def __init__(self, in_dim: int, latent_dim: int, *, context_dim: int, hidden_dim: int = 32) -> None:
        super().__init__()
        check_size(in_dim=in_dim, latent_dim=latent_dim, context_dim=context_dim, hidden_dim=hidden_dim)
        self.in_dim = in_dim
        self.gru = nn.GRU(2 * in_dim + 1, hidden_dim, batch_first=True)
        self.start = nn.Linear(hidden_dim, 2 * latent_dim)
        self.context = nn.Linear(hidden_dim, context_dim)

    def forward(self, series: IrregularSeries) -> Encoded:
        """Read a batch of series."""
        assert series.mask is not None and series.lengths is not None
        times, values, mask, lengths = series.times, series.values, series.mask, series.lengths
        if values.shape[2] != self.in_dim or not values.shape[1]:
            raise ShapeError(f"values are {tuple(values.shape)}; wanted (B, L, {self.in_dim}) with L >= 1")
        inside = torch.arange(times.shape[1], device=times.device) < lengths[:, None]
        gaps = torch.where(inside[:, 1:], times.diff(dim=1), 0.0)
        gaps = nn.functional.pad(gaps, (0, 1))[..., None].to(values.dtype)
        rows = torch.cat((torch.where(mask, values, 0.0), mask.to(values.dtype), gaps), -1)
        if bool((lengths == times.shape[1]).all()):
            states = self.gru(rows.flip(1))[0].flip(1)
        else:
            backwards = (lengths[:, None] - 1 - torch.arange(times.shape[1], device=times.device)).clamp(min=0)
            packed = pack_padded_sequence(
                _picked(rows, backwards), lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
            )
            found = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=times.shape[1])[0]
            states = torch.where(inside[..., None], _picked(found, backwards), 0.0)
        mean, raw = self.start(states[:, 0]).chunk(2, -1)
        return Encoded(mean, nn.functional.softplus(raw) + 1e-4, self.context(states))


def _picked(rows: Tensor, order: Tensor) -> Tensor:
    return rows.gather(1, order[..., None].expand(-1, -1, rows.shape[2]))


def upcoming(t: Tensor, times: Tensor, context: Tensor) -> Tensor:
    """The context of the first row that is later than a time; behind the last row, zeros.

    Arguments:
        t: `()`, or one for each series, `(B,)`.
        times: Of rows: `(L,)`, or of each series, `(B, L)`.
        context: Of rows, and a last one of zeros: `(L + 1, B, C)`, or of each series, `(B, L + 1, C)`.

    Shapes:
        output: `(B, C)`.

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.encoder import upcoming
        >>> context = torch.tensor([[[1.0]], [[2.0]], [[0.0]]])
        >>> [upcoming(torch.tensor(t), torch.tensor([0.0, 1.0]), context).item() for t in (-0.5, 0.0, 0.5, 1.0)]
        [1.0, 2.0, 2.0, 0.0]
    """
    if times.dim() == 1:
        return context.index_select(0, (times <= t).sum(0, keepdim=True))[0]
    place = (times <= t.reshape(-1, 1)).sum(1)
    return context.gather(1, place[:, None, None].expand(-1, 1, context.shape[2]))[:, 0]
