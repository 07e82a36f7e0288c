"""Observed series as paths that drive an equation."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import IrregularSeries, Path, ShapeError

__all__ = ["RowsPath", "filled", "resting_times"]


class RowsPath(Path):
    """A path that passes through the rows of series: row `i` at `i`, straight between them.

    Time is the rows' number, which all series share, and the time of observation is a channel of the path: what is
    driven by a path alone does not see how fast it is run through.

    Arguments:
        values: Rows, `(B, L, C)`; gradients reach them.

    Raises:
        ShapeError: If there are not at least two rows.

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.rows_path import RowsPath
        >>> path = RowsPath(torch.tensor([[[0.0], [1.0], [4.0]]]))
        >>> path(torch.tensor(0.5), torch.tensor(2.0))
        tensor([[3.5000]])
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        if values.dim() != 3 or values.shape[1] < 2:
            raise ShapeError(f"rows are {tuple(values.shape)}; wanted (B, L, C) with L >= 2")
        self.register_buffer("values", values)

    def forward(self, ta: Tensor, tb: Tensor) -> Tensor:
        """The increment."""
        return self._at(tb) - self._at(ta)

    def knots(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        return torch.arange(1.0, self.values.shape[1] - 1, device=self.values.device, dtype=torch.float64)

    def _at(self, t: Tensor) -> Tensor:
        last = self.values.shape[1] - 1
        row = t.floor().clamp(0, last - 1)
        share = (t - row).to(self.values.dtype)
        place = row.long().reshape(1)
        first, second = (self.values.index_select(1, place + i)[:, 0] for i in (0, 1))
        return torch.lerp(first, second, share)


def resting_times(series: IrregularSeries, empty: float = 0.0) -> Tensor:
    """Times of rows, of which those behind a series' length repeat its last one, `(B, L)`.

    Arguments:
        series: Whose times behind lengths may be anything.
        empty: The time of series that have no row.

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde.models.rows_path import resting_times
        >>> times, lengths = torch.tensor([[0.0, 1.0, -7.0], [9.0, 9.0, 9.0]]), torch.tensor([2, 0])
        >>> resting_times(IrregularSeries(times, torch.zeros(2, 3, 1), lengths=lengths)).tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    assert series.lengths is not None
    lengths = series.lengths[:, None]
    last = torch.where(lengths > 0, series.times.gather(1, (lengths - 1).clamp(min=0)), empty)
    return torch.where(torch.arange(series.times.shape[1], device=lengths.device) < lengths, series.times, last)


def filled(series: IrregularSeries) -> Tensor:
    """Times and values of series as the channels of rows, `(B, L, 1 + C)`.

    What is missing lies on the line between the observations around it, of the same channel; before the first and
    behind the last one it is theirs; 0 where there is none. Rows behind a series' length rest.

    Arguments:
        series: At least one row.

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_sde.models.rows_path import filled
        >>> mask = torch.tensor([[[True], [False], [True]]])
        >>> series = IrregularSeries(torch.tensor([[0.0, 1.0, 4.0]]), torch.tensor([[[1.0], [9.0], [3.0]]]), mask)
        >>> filled(series)[0, :, 1].tolist()
        [1.0, 1.5, 3.0]
    """
    assert series.mask is not None
    values, mask, length = series.values, series.mask, series.values.shape[1]
    rows = torch.arange(length, device=values.device)
    times = resting_times(series).to(values.dtype)
    row = rows[None, :, None].expand_as(mask)
    before = torch.where(mask, row, -1).cummax(1).values
    after = torch.where(mask, row, length).flip(1).cummin(1).values.flip(1)
    none = (before < 0) & (after == length)
    before, after = torch.where(before < 0, after, before), torch.where(after == length, before, after)
    before, after = (place.clamp(0, length - 1) for place in (before, after))
    seen, clock = torch.where(mask, values, 0.0), times[..., None].expand_as(values)
    begin, end = clock.gather(1, before), clock.gather(1, after)
    share = torch.where(end > begin, (clock - begin) / torch.where(end > begin, end - begin, 1.0), 0.0)
    made = torch.lerp(seen.gather(1, before), seen.gather(1, after), share)
    return torch.cat((times[..., None], torch.where(none, 0.0, made)), -1)
