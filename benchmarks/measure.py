"""What is measured, and how: sides of a comparison take turns, and medians are compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.benchmark import Timer


@dataclass(frozen=True)
class Work:
    """What one side of a comparison did in one call, and how well.

    Arguments:
        accepted: Accepted steps; with steps per sample, those of all samples.
        rejected: Rejected steps, likewise.
        evaluations: Field evaluations, those of a backward pass included; None where a library does not tell.
        error: Largest error of the last state against the reference, absolute.
        gradient_error: Largest error of a gradient, relative to the largest entry of that gradient.
    """

    accepted: int
    rejected: int
    evaluations: int | None
    error: float
    gradient_error: float | None = None


@dataclass(frozen=True)
class Side:
    """One side: its name, what it did, and the seconds a call takes (one for each round).

    Arguments:
        name: Library and function.
        work: What a call does.
        seconds: Of a call, compilation apart.
        first_call: Seconds of the first call, which compiles; None where nothing is compiled.
    """

    name: str
    work: Work
    seconds: list[float]
    first_call: float | None = None

    @property
    def median(self) -> float:
        """Median seconds of a call."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """Ours beside theirs, with the ratio that ours has to reach.

    Arguments:
        problem: What both sides solve.
        options: Method and tolerance, which both sides share.
        per: What the times are divided by before they are compared: "accepted step" or "call".
        target: The least ratio (theirs over ours) that counts as met; None where the peer is shown for orientation.
    """

    problem: str
    options: str
    ours: Side
    theirs: Side
    per: str
    target: float | None

    def _scaled(self, side: Side) -> float:
        return 1.0 / side.work.accepted if self.per == "accepted step" else 1.0

    @property
    def ratio(self) -> float:
        """Their median time over ours."""
        return self.theirs.median * self._scaled(self.theirs) / (self.ours.median * self._scaled(self.ours))

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles of the ratio over the rounds."""
        scale = self._scaled(self.theirs) / self._scaled(self.ours)
        ratios = [scale * b / a for a, b in zip(self.ours.seconds, self.theirs.seconds, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        return low, high

    @property
    def fair(self) -> bool:
        """Whether we did the same work: no less accurate, and no more than 15 % fewer steps.

        Errors that differ by less than 2 % are alike: the same steps differ in their rounding. More steps than the
        peer's cost us alone.
        """
        ours, theirs = self.ours.work, self.theirs.work
        exact = ours.error <= 1.02 * theirs.error
        if ours.gradient_error is not None and theirs.gradient_error is not None:
            exact = exact and ours.gradient_error <= 1.02 * theirs.gradient_error
        return exact and ours.accepted >= 0.85 * theirs.accepted

    @property
    def met(self) -> bool | None:
        """Whether the target is met, by equal work; None without a target."""
        return None if self.target is None else self.fair and self.ratio >= self.target


@dataclass(frozen=True)
class Bound:
    """A quantity that may not exceed a limit.

    Arguments:
        what: The quantity, and on which problem.
        value: As measured.
        limit: The most it may be.
        form: How to print both.
        detail: What it was computed from.
    """

    what: str
    value: float
    limit: float
    form: str
    detail: str

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.value <= self.limit


def interleaved(
    calls: dict[str, Callable[[], object]], *, fast: bool, rounds: int = 25, block: float = 0.2, threads: int = 1
) -> dict[str, list[float]]:
    """Time several calls in turns, so that a change in the machine's speed meets all of them.

    Arguments:
        calls: What to time, by name.
        fast: Only try whether everything runs.
        rounds: How often each has its turn.
        block: Seconds that a turn takes, or one call where that is longer.
        threads: How many torch may use.

    Returns:
        Seconds of a call, for each name and round.
    """
    if fast:
        rounds, block = 2, 0.0
    timers = {name: Timer("call()", globals={"call": call}, num_threads=threads) for name, call in calls.items()}
    numbers = {name: max(1, round(block / timer.timeit(1).median)) for name, timer in timers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        order = list(timers) if turn % 2 == 0 else list(reversed(timers))
        for name in order:
            seconds[name].append(timers[name].timeit(numbers[name]).median)
    return seconds


def fastest(calls: dict[str, Callable[[], object]], *, fast: bool) -> dict[str, float]:
    """Seconds of a call in the best of a few rounds, for each name: for the points of curves."""
    seconds = interleaved(calls, fast=fast, rounds=7, block=0.1)
    return {name: min(times) for name, times in seconds.items()}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
