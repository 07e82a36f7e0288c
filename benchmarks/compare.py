"""A contest: several sides solve one problem, each is checked against the reference, then they are timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.measure import Comparison, Side, Work, interleaved
from benchmarks.problem import Problem, Result, errors, reference


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
    call: Callable[[], Result]
    count: Callable[[], Count]
    compiles: bool = False
    target: float | None = None

    def at_least(self, target: float) -> Contender:
        """This peer, with the ratio that ours has to reach."""
        return replace(self, target=target)


def measured(problem: Problem, contenders: Sequence[Contender], *, fast: bool) -> dict[str, Side]:
    """Check all sides of one problem and time them in turns.

    Arguments:
        problem: What they solve.
        contenders: The sides.
        fast: Only try whether everything runs.

    Returns:
        The sides by name.
    """
    exact = reference(problem)
    work, first = {}, {}
    for contender in contenders:
        start = time.perf_counter()
        result = contender.call()
        first[contender.name] = time.perf_counter() - start if contender.compiles else None
        work[contender.name] = Work(*contender.count(), *errors(result, exact))
    seconds = interleaved({contender.name: contender.call for contender in contenders}, fast=fast)
    return {name: Side(name, work[name], seconds[name], first[name]) for name in work}


def compare(
    problem: Problem, ours: Sequence[Contender], theirs: Sequence[Contender], *, fast: bool, per: str = "call"
) -> list[Comparison]:
    """Measure a problem, one of ours beside each peer.

    Arguments:
        problem: What they solve.
        ours: Our side; or one for each peer, in their order.
        theirs: The peers.
        fast: Only try whether everything runs.
        per: What times are divided by: "accepted step" or "call".
    """
    own = [*ours] if len(ours) == len(theirs) else [*ours] * len(theirs)
    sides = measured(problem, list({side.name: side for side in (*own, *theirs)}.values()), fast=fast)
    return [
        Comparison(problem.name, problem.options, sides[mine.name], sides[peer.name], per, peer.target)
        for mine, peer in zip(own, theirs, strict=True)
    ]
