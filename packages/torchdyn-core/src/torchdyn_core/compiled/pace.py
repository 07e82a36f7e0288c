"""How long an entry into a compiled loop may take: Ctrl-C and progress bars have to wait for its end."""

from __future__ import annotations

__all__ = ["Pace"]

ENTRY = 0.2
"""Seconds that an entry aims at: a thousand times what it costs to enter, and no time to wait."""

_FIRST = 8  # steps while nothing is known


class Pace:
    """What is known of the time that a loop's steps take.

    Example:
        >>> pace = Pace()
        >>> pace.steps(1000)
        8
        >>> pace.took(0.001, steps=10, work=1000)
        >>> pace.steps(1000), pace.steps(100_000)
        (2000, 20)
    """

    def __init__(self) -> None:
        self._known: tuple[float, int] | None = None  # seconds a step, with so much work

    def steps(self, work: int) -> int:
        """How many steps an entry may try.

        Arguments:
            work: How large a step is, in any unit: numbers in the state.
        """
        if self._known is None:
            return _FIRST
        seconds, before = self._known
        return max(1, round(ENTRY / (seconds * max(1.0, work / before))))

    def took(self, seconds: float, *, steps: int, work: int) -> None:
        """An entry is over, after as many steps."""
        if steps:
            self._known = max(seconds, 1e-9) / steps, max(work, 1)
