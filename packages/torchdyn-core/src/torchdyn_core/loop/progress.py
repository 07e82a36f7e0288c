"""The progress bar of a solve."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor

from torchdyn_core.errors import MissingExtraError
from torchdyn_core.loop.problem import Problem
from torchdyn_core.scalars import Scalar

__all__ = ["Progress"]


class Progress:
    """A tqdm bar over the span, closed however the solve ends; nothing at all where no bar was asked for."""

    def __init__(self, problem: Problem) -> None:
        self._bar: Any = None
        self._span = problem.span
        if problem.progress:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                raise MissingExtraError(
                    'progress=True needs tqdm; install it with: pip install "torchdyn-core[progress]"'
                ) from error
            self._bar = tqdm(total=1.0, desc="solve", bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, t: Scalar, steps: int) -> None:
        """Move the bar to the slowest sample's time."""
        if self._bar is None:
            return
        start, end = self._span.start, self._span.end
        if isinstance(t, Tensor):
            done = ((t - start) / (end - start)).nan_to_num(1.0)
            fraction = float(done.min()) if done.numel() else 1.0
        else:
            fraction = (t - start) / (end - start)
        self._bar.set_postfix_str(f"{steps} steps", refresh=False)
        self._bar.update(max(0.0, fraction - self._bar.n))
