"""How measured curves are drawn: one style for all, a colour and a marker for each library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_STYLES: dict[str, dict[str, Any]] = {
    "torchdyn-core, compiled": {"color": "#D55E00", "marker": "o", "linewidth": 2.2, "zorder": 4},
    "torchdyn-core, eager": {"color": "#E69F00", "marker": "s"},
    "torchdiffeq": {"color": "#0072B2", "marker": "^"},
    "torchode": {"color": "#56B4E9", "marker": "v"},
    "diffrax": {"color": "#009E73", "marker": "D"},
    "SciPy": {"color": "#CC79A7", "marker": "P"},
    "compiled field alone": {"color": "#000000", "marker": "", "linestyle": "--"},
}

_LOOK = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Curve:
    """One library's points.

    Arguments:
        library: Gives the colour and stands in the legend.
        x: Along the horizontal axis.
        y: Along the vertical axis.
    """

    library: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes, both logarithmic.

    Arguments:
        title: The problem.
        xlabel: With its unit.
        ylabel: With its unit.
        curves: What is drawn.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Figure:
    """Panels side by side, and what the reader is told below them.

    Arguments:
        name: Of the file, without its ending.
        caption: Of the figure.
        panels: From left to right.
    """

    name: str
    caption: str
    panels: Sequence[Panel]

    def save(self, folder: Path) -> Path:
        """Draw it as PNG.

        Arguments:
            folder: Where to.

        Returns:
            The file.
        """
        import matplotlib
        from matplotlib.figure import Figure as Canvas

        with matplotlib.rc_context(_LOOK):
            canvas = Canvas(figsize=(4.2 * len(self.panels) + 1.8, 3.6), dpi=150)
            axes = canvas.subplots(1, len(self.panels), squeeze=False)[0]
            for ax, panel in zip(axes, self.panels, strict=True):
                _draw(ax, panel)
            canvas.legend(*axes[-1].get_legend_handles_labels(), loc="outside right center")
            file = folder / f"{self.name}.png"
            canvas.savefig(file, metadata={"Software": None})
        return file


def _draw(ax: Any, panel: Panel) -> None:
    for curve in panel.curves:
        ax.plot(curve.x, curve.y, label=curve.library, **_STYLES[curve.library])
    ax.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel, xscale="log", yscale="log")
