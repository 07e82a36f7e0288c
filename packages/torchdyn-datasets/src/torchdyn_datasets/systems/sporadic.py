"""Observations now and then, of one channel or of both: the protocol of GRU-ODE-Bayes."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import IrregularSeries, OptionError
from torchdyn_datasets.checks import checked_between, checked_dtype, checked_number

__all__ = ["sporadic"]


def sporadic(
    paths: Tensor, times: Tensor, rate: float | None, joint: float, source: torch.Generator, dtype: torch.dtype
) -> IrregularSeries:
    """What is seen of paths of two channels at times of a grid that are chosen by chance.

    Arguments:
        paths: Values at all times of the grid.
        times: The grid.
        rate: How often a path is seen in a unit of time, on average; the number differs by up to a fifth from path to
            path. None: always, and both channels.
        joint: How many of the observations are of both channels; the others are of one of them, either alike.
        source: Where the random numbers come from.
        dtype: Of times and values.

    Shapes:
        paths: `(N, T, 2)`.  times: `(T,)`.

    Raises:
        OptionError: If there are more observations than times, or `joint` is no share.
    """
    (n, length), dtype = paths.shape[:2], checked_dtype(dtype)
    if rate is None:
        return IrregularSeries(times.expand(n, length).to(dtype), paths.to(dtype))
    joint = checked_between("joint", joint)
    mean = checked_number("rate", rate, positive=True) * float(times[-1] - times[0])
    low, high = round(0.8 * mean), max(round(0.8 * mean) + 1, round(1.2 * mean))
    if high - 1 > length or low < 1:
        raise OptionError(f"rate={rate!r}: about {mean:g} observations of {length} times; wanted 1 to {length}")
    lengths = torch.randint(low, high, (n,), generator=source)
    longest = int(lengths.max())
    order = torch.rand((n, length), generator=source).argsort(1)[:, :longest]
    inside = torch.arange(longest) < lengths[:, None]
    order = torch.where(inside, order, length).sort(1).values  # what is padding comes last
    last = order.gather(1, lengths[:, None] - 1)
    order = torch.where(inside, order, last)
    values = paths.gather(1, order[..., None].expand(-1, -1, 2))
    kind = torch.rand((n, longest), generator=source)
    mask = torch.stack((kind < (1 + joint) / 2, (kind < joint) | (kind >= (1 + joint) / 2)), -1) & inside[..., None]
    return IrregularSeries(times[order].to(dtype), torch.where(mask, values, 0.0).to(dtype), mask, lengths)
