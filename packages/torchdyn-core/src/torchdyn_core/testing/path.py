"""What every path has to do."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from torchdyn_core.path import Path
from torchdyn_core.testing.suite import Suite

__all__ = ["PathSuite"]


class PathSuite(Suite[Path], suite=True):
    """Increments that add up and never change, derivatives and knots that fit them.

    `make` gives the same path every time.

    Attributes:
        t0: Where the path starts.
        t1: Where it ends.

    Example:
        >>> from torchdyn_core import Path
        >>> from torchdyn_core.testing import PathSuite
        >>> class Line(Path):
        ...     def forward(self, ta, tb):
        ...         return 2.0 * (tb - ta)
        >>> class TestLine(PathSuite):
        ...     def make(self):
        ...         return Line()
    """

    t0: ClassVar[float] = 0.0
    t1: ClassVar[float] = 1.0

    def test_increments_add_up(self) -> None:
        """X(a, b) + X(b, c) is X(a, c), and an empty interval has no increment."""
        path, (a, b, c) = self.make(), self._times(0.1, 0.45, 0.9)
        torch.testing.assert_close(path(a, b) + path(b, c), path(a, c), rtol=1e-6, atol=1e-7)
        assert not bool(path(b, b).any())

    def test_increments_change_sign_backwards(self) -> None:
        """X(b, a) is -X(a, b)."""
        path, (a, b) = self.make(), self._times(0.1, 0.45)
        torch.testing.assert_close(path(b, a), -path(a, b))

    def test_the_same_interval_has_the_same_increment_bit_for_bit(self) -> None:
        """Whatever was asked before, of this path or of a copy."""
        path, (a, b, c) = self.make(), self._times(0.1, 0.45, 0.9)
        first = path(a, b)
        path(b, c), path(a, c)
        for other in (path, copy.deepcopy(path), self.make()):
            assert torch.equal(first, other(a, b))

    def test_a_time_for_each_row(self) -> None:
        """Rows may be asked about intervals of their own; each gets what it would get if all shared its interval."""
        path = self.make()
        one = path(*self._times(0.1, 0.45))
        if not one.dim():
            pytest.skip("the path has no rows")
        rows = one.shape[0]
        a, b = (torch.full((rows,), float(t), dtype=torch.float64) for t in self._times(0.1, 0.45))
        torch.testing.assert_close(path(a, b), one)

    def test_the_derivative_is_that_of_the_increments(self) -> None:
        """By central differences, away from knots."""
        path, (t,) = self.make(), self._times(0.3137)
        if type(path).derivative is Path.derivative:
            pytest.skip("the path has no derivative")
        h = 1e-5 * abs(self.t1 - self.t0)
        torch.testing.assert_close(path.derivative(t), path(t - h, t + h) / (2 * h), rtol=1e-3, atol=1e-4)

    def test_knots_lie_where_they_are_asked_for(self) -> None:
        """Inside the interval, in float64."""
        a, b = self._times(0.2, 0.8)
        knots = self.make().knots(a, b)
        if knots is None:
            pytest.skip("the path has no knots")
        assert knots.dtype == torch.float64 and bool(((knots >= a.min()) & (knots <= b.max())).all())

    def test_tensors_are_buffers(self) -> None:
        """What the path holds moves with `.to()` and is in the state dict."""
        path = self.make()
        loose = [name for name, value in vars(path).items() if isinstance(value, Tensor)]
        assert not loose, f"{loose} are plain attributes; wanted register_buffer"

    def _times(self, *fractions: float) -> list[Tensor]:
        return [torch.tensor(self.t0 + f * (self.t1 - self.t0), dtype=torch.float64) for f in fractions]
