"""Data for neural differential equations: toys, simulated systems, and real sets with checksums."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchdyn_datasets.errors import ChecksumError, DownloadError, FormatError
    from torchdyn_datasets.records import Graph, Images, Points, Series, Trajectories
    from torchdyn_datasets.toy.arcs import circles, moons, rings, spirals, two_spirals
    from torchdyn_datasets.toy.board import checkerboard
    from torchdyn_datasets.toy.clusters import eight_gaussians, gaussians, gaussians_spiral, pinwheel
    from torchdyn_datasets.toy.crossing import crossing_trajectories
    from torchdyn_datasets.toy.shells import annuli, spheres
    from torchdyn_datasets.toy.waves import periodic

_HOME = {
    "ChecksumError": "errors",
    "DownloadError": "errors",
    "FormatError": "errors",
    "Graph": "records",
    "Images": "records",
    "Points": "records",
    "Series": "records",
    "Trajectories": "records",
    "annuli": "toy.shells",
    "checkerboard": "toy.board",
    "circles": "toy.arcs",
    "crossing_trajectories": "toy.crossing",
    "eight_gaussians": "toy.clusters",
    "gaussians": "toy.clusters",
    "gaussians_spiral": "toy.clusters",
    "moons": "toy.arcs",
    "periodic": "toy.waves",
    "pinwheel": "toy.clusters",
    "rings": "toy.arcs",
    "spheres": "toy.shells",
    "spirals": "toy.arcs",
    "two_spirals": "toy.arcs",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
