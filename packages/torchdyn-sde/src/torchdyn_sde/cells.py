"""Cells: the stretches of time that each have a dyadic tree of their own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cells", "Located"]

_SNAP = 2.0**-40
"""Times this close to a border, in units of a cell, are the border: they were computed with rounding."""


class Located(NamedTuple):
    """An interval as a cell sees it.

    Arguments:
        cell: Which.
        a, b: Where the interval begins and ends in it, in units of the cell; may lie outside of it.
    """

    cell: Tensor
    a: Tensor
    b: Tensor


class Cells:
    """A partition of time, in the direction from `t0` to `t1`.

    Arguments:
        origin: Where the first cell begins.
        length: Of each cell, with the sign of the direction; None where borders are listed.
        borders: Of all cells, in the order of the direction.

    Shapes:
        origin, length: float64, `()` or `(R,)`.  borders: float64, `(K,)`.
    """

    def __init__(self, origin: Tensor, length: Tensor | None, borders: Tensor | None = None) -> None:
        self.origin, self.length, self.borders = origin, length, borders

    def holding(self, a: Tensor, b: Tensor) -> tuple[Located, Located]:
        """The interval from `a` to `b`, later in the direction or equal, in the cells that hold its two ends."""
        if self.borders is None:
            x, y = self._places(a), self._places(b)
            first, last = x.floor(), (y.ceil() - 1.0)
            last = torch.maximum(first, last)
            return Located(first.long(), x - first, y - first), Located(last.long(), x - last, y - last)
        a, b = self._snapped(a), self._snapped(b)
        return self._listed(a, b, right=True), self._listed(a, b, right=False)

    def starting(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """The cell in which a time is, at its beginning or later, and where in it, as a fraction of the cell."""
        if self.borders is None:
            x = self._places(a)
            index = x.floor()
            return index.long(), x - index
        a = self._snapped(a)
        located = self._listed(a, a, right=True)
        return located.cell, located.a

    def count(self, end: Tensor) -> int:
        """How many there are up to a time; of rows with cells of their own, the most."""
        if self.borders is not None:
            return len(self.borders) - 1
        return max(1, int(self._places(end).ceil().max()))

    def shortest(self) -> float:
        """The length of the shortest one."""
        lengths = self.length if self.borders is None else self.borders.diff()
        assert lengths is not None
        return float(lengths.abs().min())

    def at(self, index: Tensor, a: Tensor, b: Tensor) -> Located:
        """The interval from `a` to `b` as given cells see it."""
        if self.borders is None:
            return Located(index, self._places(a) - index, self._places(b) - index)
        return self._seen(index, self._snapped(a), self._snapped(b))

    def to(self, device: torch.device) -> Cells:
        """The same on another device."""
        length, borders = (part if part is None else part.to(device) for part in (self.length, self.borders))
        return Cells(self.origin.to(device), length, borders)

    def _places(self, t: Tensor) -> Tensor:
        assert self.length is not None
        x = (t - self.origin) / torch.where(self.length == 0, 1.0, self.length)
        near = x.round()
        return torch.where((x - near).abs() <= _SNAP * near.abs().clamp(min=1.0), near, x)

    def _snapped(self, t: Tensor) -> Tensor:
        """A time that is a border up to rounding, as the border."""
        borders = self.borders
        assert borders is not None
        direction = torch.where(borders[-1] >= borders[0], 1.0, -1.0)
        asked = (direction * t).reshape(-1)
        above = torch.searchsorted(direction * borders, asked).clamp(1, len(borders) - 1)
        low, high = (direction * borders.index_select(0, place) for place in (above - 1, above))
        slack = _SNAP * torch.maximum(high - low, torch.maximum(low.abs(), high.abs()))
        asked = torch.where((asked - low).abs() <= slack, low, torch.where((asked - high).abs() <= slack, high, asked))
        return direction * asked.reshape(t.shape)

    def _listed(self, a: Tensor, b: Tensor, right: bool) -> Located:
        borders = self.borders
        assert borders is not None
        direction = torch.where(borders[-1] >= borders[0], 1.0, -1.0)
        asked = (direction * (a if right else b)).reshape(-1)
        index = torch.searchsorted(direction * borders, asked, right=right) - 1
        return self._seen(index.reshape(a.shape), a, b)

    def _seen(self, index: Tensor, a: Tensor, b: Tensor) -> Located:
        borders = self.borders
        assert borders is not None
        index = index.clamp(0, len(borders) - 2)
        flat = index.reshape(-1)  # a compiled loop would read a lone index as a Python number
        start = borders.index_select(0, flat).reshape(index.shape)
        length = borders.index_select(0, flat + 1).reshape(index.shape) - start
        return Located(index, (a - start) / length, (b - start) / length)
