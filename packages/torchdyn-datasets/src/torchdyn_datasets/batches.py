"""The torch datasets of those records whose rows are not just rows of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchdyn_core import IrregularSeries
from torchdyn_datasets.checks import checked_number

__all__ = ["ImageDataset", "SeriesDataset"]


class SeriesDataset(Dataset[tuple[Tensor, ...]]):
    """Series one by one, without their padding.

    Arguments:
        series: All of them.
        labels: The class of each, where there are classes.

    Shapes:
        series: `(N, L, C)`; an item: times `(l,)`, values `(l, C)`, mask `(l, C)` and, if there are any, a label `()`.

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_datasets.batches import SeriesDataset
        >>> series = IrregularSeries(torch.rand(3, 5).cumsum(1), torch.rand(3, 5, 2), lengths=torch.tensor([5, 2, 4]))
        >>> rows = SeriesDataset(series, torch.tensor([0, 1, 0]))
        >>> rows[1][0].shape
        torch.Size([2])
        >>> batch, labels = rows.collate([rows[1], rows[2]])
        >>> batch.values.shape, labels
        (torch.Size([2, 4, 2]), tensor([1, 0]))
    """

    def __init__(self, series: IrregularSeries, labels: Tensor | None = None) -> None:
        self.series, self.labels = series, labels

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        series = self.series
        assert series.mask is not None and series.lengths is not None
        length = int(series.lengths[index])
        row = (series.times[index, :length], series.values[index, :length], series.mask[index, :length])
        return row if self.labels is None else (*row, self.labels[index])

    @staticmethod
    def collate(rows: Sequence[tuple[Tensor, ...]]) -> IrregularSeries | tuple[IrregularSeries, Tensor]:
        """A batch of rows, padded to the longest of them, and their labels if they have any: a `collate_fn`."""
        batch = IrregularSeries.collate(row[:3] for row in rows)
        return (batch, torch.stack([row[3] for row in rows])) if len(rows[0]) > 3 else batch


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pictures in floating point, made when they are asked for: as bytes they take a quarter of the memory.

    Arguments:
        images: Grey levels, 0 to 255.
        labels: The class of each.
        mean, std: What is subtracted from the grey levels, 0 to 1, and what they are then divided by.

    Shapes:
        images: `(N, C, H, W)`, uint8.  labels: `(N,)`, long.

    Raises:
        OptionError: If `mean` is no number, or `std` no positive one.

    Example:
        >>> import torch
        >>> from torchdyn_datasets.batches import ImageDataset
        >>> rows = ImageDataset(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
        >>> rows[0][0].flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: float = 0.0, std: float = 1.0) -> None:
        self.images, self.labels = images, labels
        self.mean, self.std = checked_number("mean", mean, least=-math.inf), checked_number("std", std, positive=True)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return (self.images[index] / 255 - self.mean) / self.std, self.labels[index]
