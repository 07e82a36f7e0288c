"""What an experiment found, and what it had to."""

from __future__ import annotations

import operator
from dataclasses import dataclass

RELATIONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Outcome:
    """One figure.

    Arguments:
        experiment: Which experiment.
        what: What was measured, on which data.
        value: What was found.
        relation: How it has to stand to the bound: "<=", ">=", "<" or ">"; empty where it is told for orientation.
        bound: What it has to keep to.
        paper: What the paper has, in its own words' sense.
        form: How the numbers are printed.
    """

    experiment: str
    what: str
    value: float
    relation: str = ""
    bound: float = 0.0
    paper: str = ""
    form: str = "{:.3g}"

    @property
    def met(self) -> bool | None:
        """Whether it keeps to its bound; None where there is none."""
        return RELATIONS[self.relation](self.value, self.bound) if self.relation else None

    def cells(self) -> list[str]:
        """Its row in the table."""
        bound = f"{self.relation} {self.form.format(self.bound)}" if self.relation else ""
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return [self.experiment, self.what, f"**{self.form.format(self.value)}**", bound, met, self.paper]
