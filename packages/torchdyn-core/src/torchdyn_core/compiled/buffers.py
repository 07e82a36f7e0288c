"""What a loop over steps counts, and what it writes down of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Buffers", "Counters", "Plan"]


class Plan(NamedTuple):
    """What a run of the loop keeps of its steps: nothing; times and first states; dense output too."""

    states: bool
    dense: bool


class Counters(NamedTuple):
    """What the loop counts: rows written, steps tried, accepted, rejected; and which samples made it stop."""

    rows: Tensor
    tried: Tensor
    accepted: Tensor
    rejected: Tensor
    wild: Tensor
    stuck: Tensor
    jumped: Tensor


class Buffers(NamedTuple):
    """What the loop writes, a row for each accepted step: times `(N, 2)` or `(N, 2, B)`, first state, carry, dense."""

    times: Tensor
    y: list[Tensor]
    carry: list[Tensor]
    dense: list[Tensor]
