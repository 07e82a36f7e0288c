"""Irregular series: the batch type of every sequence model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchdyn_core.errors import ShapeError

__all__ = ["IrregularSeries"]


@dataclass(frozen=True, eq=False)
class IrregularSeries:
    """A batch of series observed at times of their own, some channels missing.

    Rows are padded behind `lengths`: times repeat the last one, values are 0 and the mask is False there.

    Arguments:
        times: Observation times, weakly increasing in each series up to its length.
        values: What was observed; anything finite where the mask is False.
        mask: Which values were observed. Default: all up to `lengths`.
        lengths: How many observations each series has. Default: all.

    Shapes:
        times: `(B, L)`.  values, mask: `(B, L, C)`.  lengths: `(B,)`, long.

    Raises:
        ShapeError: If shapes disagree, times are not finite and increasing, or an observed value is not finite.

    Example:
        >>> import torch
        >>> series = IrregularSeries.collate([
        ...     (torch.tensor([0.0, 1.0, 4.0]), torch.ones(3, 2)),
        ...     (torch.tensor([0.5]), torch.zeros(1, 2)),
        ... ])
        >>> series.values.shape, series.lengths.tolist()
        (torch.Size([2, 3, 2]), [3, 1])
    """

    times: Tensor
    values: Tensor
    mask: Tensor | None = None
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        times, values = self.times, self.values
        if times.dim() != 2 or values.dim() != 3 or values.shape[:2] != times.shape:
            raise ShapeError(
                f"times {tuple(times.shape)} and values {tuple(values.shape)}; wanted (B, L) and (B, L, C)"
            )
        if self.lengths is None:
            object.__setattr__(self, "lengths", torch.full(times.shape[:1], times.shape[1], device=times.device))
        lengths = self.lengths
        assert lengths is not None
        if lengths.shape != times.shape[:1] or lengths.dtype != torch.long:
            raise ShapeError(f"lengths {tuple(lengths.shape)} {lengths.dtype}; wanted {tuple(times.shape[:1])} long")
        if bool(((lengths < 0) | (lengths > times.shape[1])).any()):
            raise ShapeError(f"lengths {lengths.tolist()}; wanted each between 0 and {times.shape[1]}")
        inside = torch.arange(times.shape[1], device=times.device) < lengths[:, None]
        mask = inside[..., None].expand(values.shape) if self.mask is None else self.mask
        if mask.shape != values.shape or mask.dtype != torch.bool:
            raise ShapeError(f"mask {tuple(mask.shape)} {mask.dtype}; wanted {tuple(values.shape)} bool")
        object.__setattr__(self, "mask", mask & inside[..., None])
        ordered = (times[:, 1:] >= times[:, :-1]) | ~inside[:, 1:]
        if not bool((torch.isfinite(times) | ~inside).all()) or not bool(ordered.all()):
            raise ShapeError("times must be finite and weakly increasing in each series")
        if not bool((torch.isfinite(values) | ~self.mask).all()):  # type: ignore[operator]
            raise ShapeError("an observed value is not finite; wanted False in the mask where a value is missing")

    @classmethod
    def collate(cls, series: Iterable[Sequence[Tensor]]) -> IrregularSeries:
        """Pad series of any lengths into a batch; serves as the `collate_fn` of a DataLoader.

        Arguments:
            series: Triples of times `(L,)`, values `(L, C)` and, if not all is observed, a mask `(L, C)`.
        """
        rows = [tuple(row) for row in series]
        if not rows:
            raise ShapeError("no series; wanted at least one")
        longest = max(len(row[0]) for row in rows)
        times, values, masks = [], [], []
        for time, value, *rest in rows:
            if value.dim() != 2 or time.shape != value.shape[:1]:
                raise ShapeError(f"times {tuple(time.shape)} and values {tuple(value.shape)}; wanted (L,) and (L, C)")
            mask = rest[0] if rest else torch.ones_like(value, dtype=torch.bool)
            pad = longest - len(time)
            last = time[-1:] if len(time) else time.new_zeros(1)
            times.append(torch.cat([time, last.expand(pad)]))
            values.append(torch.cat([value, value.new_zeros(pad, value.shape[1])]))
            masks.append(torch.cat([mask, mask.new_zeros(pad, value.shape[1])]))
        lengths = torch.tensor([len(row[0]) for row in rows], device=times[0].device)
        return cls(torch.stack(times), torch.stack(values), torch.stack(masks), lengths)

    def __len__(self) -> int:
        return self.times.shape[0]

    def to(self, target: torch.device | torch.dtype | str) -> IrregularSeries:
        """The same series on a device, or with times and values of a dtype."""
        assert self.mask is not None and self.lengths is not None
        if isinstance(target, torch.dtype):
            return IrregularSeries(self.times.to(target), self.values.to(target), self.mask, self.lengths)
        return IrregularSeries(*(x.to(target) for x in (self.times, self.values, self.mask, self.lengths)))
