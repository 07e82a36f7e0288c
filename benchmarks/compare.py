"""A contest: several sides solve one problem, each is checked against the reference, then they are timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.measure import Comparison, Side, Work, interleaved
from benchmarks.problem import Call, Problem, errors, reference


class Count(NamedTuple):
    """What a library tells of one call: accepted and rejected steps, field evaluations where it tells them."""

    accepted: int
    rejected: int
    evaluations: int | None


@dataclass(frozen=True)
class Contender:
    """One side before it is measured.

    Arguments:
        name: Library and function.
        call: What is timed; returns when its result is there.
        count: Counts the steps of one call.
        compiles: Whether the first call compiles.
        target: How many times as long a peer has to take as ours; None where it is shown for orientation.
    """

    name: str
    call: Call
    count: Callable[[], Count]
    compiles: bool = False
    target: float | None = None

    def at_least(self, target: float) -> Contender:
        """This peer, with the ratio that ours has to reach."""
        return replace(self, target=target)


def compare(
    problem: Problem, ours: Contender, theirs: Sequence[Contender], *, fast: bool, per: str = "call"
) -> list[Comparison]:
    """Measure all sides of one problem.

    Arguments:
        problem: What they solve.
        ours: Our side.
        theirs: The peers.
        fast: Only try whether everything runs.
        per: What times are divided by: "accepted step" or "call".

    Returns:
        Ours beside each peer.
    """
    exact = reference(problem)
    work, first = {}, {}
    for contender in (ours, *theirs):
        start = time.perf_counter()
        result = contender.call()
        first[contender.name] = time.perf_counter() - start if contender.compiles else None
        work[contender.name] = Work(*contender.count(), *errors(result, exact))
    seconds = interleaved({contender.name: contender.call for contender in (ours, *theirs)}, fast=fast)
    sides = {name: Side(name, work[name], seconds[name], first[name]) for name in work}
    options = f"dopri5, rtol = atol = {problem.tolerance:g}"
    return [Comparison(problem.name, options, sides[ours.name], sides[peer.name], per, peer.target) for peer in theirs]
