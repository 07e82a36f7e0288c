"""Data for neural differential equations: toys, simulated systems, and real sets with checksums."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchdyn_datasets.batches import ImageDataset, SeriesDataset
    from torchdyn_datasets.errors import ChecksumError, DownloadError, FormatError
    from torchdyn_datasets.real.brusselator import brusselator
    from torchdyn_datasets.real.mnist import mnist
    from torchdyn_datasets.real.pendulum import real_pendulum
    from torchdyn_datasets.real.physionet import physionet2012
    from torchdyn_datasets.real.planetoid import cora, planetoid
    from torchdyn_datasets.real.point_processes import point_processes
    from torchdyn_datasets.records import Graph, Images, Points, Series, Trajectories
    from torchdyn_datasets.systems.attractors import (
        StochasticBrusselator,
        StochasticLorenz,
        stochastic_brusselator,
        stochastic_lorenz,
    )
    from torchdyn_datasets.systems.chaos import Lorenz, lorenz
    from torchdyn_datasets.systems.diffusions import (
        GeometricBrownianMotion,
        OrnsteinUhlenbeck,
        double_ornstein_uhlenbeck,
        geometric_brownian_motion,
        ornstein_uhlenbeck,
    )
    from torchdyn_datasets.systems.kinetics import Robertson, robertson
    from torchdyn_datasets.systems.mechanics import DoublePendulum, Pendulum, Spring, double_pendulum, pendulum, spring
    from torchdyn_datasets.systems.noise import NoisyField
    from torchdyn_datasets.systems.orbits import Bodies, three_body, two_body
    from torchdyn_datasets.systems.oscillators import (
        FitzHughNagumo,
        LotkaVolterra,
        VanDerPol,
        fitzhugh_nagumo,
        lotka_volterra,
        van_der_pol,
    )
    from torchdyn_datasets.toy.arcs import circles, moons, rings, spirals, two_spirals
    from torchdyn_datasets.toy.board import checkerboard
    from torchdyn_datasets.toy.clusters import eight_gaussians, gaussians, gaussians_spiral, pinwheel
    from torchdyn_datasets.toy.crossing import crossing_trajectories
    from torchdyn_datasets.toy.shells import annuli, spheres
    from torchdyn_datasets.toy.waves import periodic

_HOME = {
    "Bodies": "systems.orbits",
    "ChecksumError": "errors",
    "DoublePendulum": "systems.mechanics",
    "DownloadError": "errors",
    "FitzHughNagumo": "systems.oscillators",
    "FormatError": "errors",
    "GeometricBrownianMotion": "systems.diffusions",
    "Graph": "records",
    "ImageDataset": "batches",
    "Images": "records",
    "Lorenz": "systems.chaos",
    "LotkaVolterra": "systems.oscillators",
    "NoisyField": "systems.noise",
    "OrnsteinUhlenbeck": "systems.diffusions",
    "Pendulum": "systems.mechanics",
    "Points": "records",
    "Robertson": "systems.kinetics",
    "Series": "records",
    "SeriesDataset": "batches",
    "Spring": "systems.mechanics",
    "StochasticBrusselator": "systems.attractors",
    "StochasticLorenz": "systems.attractors",
    "Trajectories": "records",
    "VanDerPol": "systems.oscillators",
    "annuli": "toy.shells",
    "brusselator": "real.brusselator",
    "checkerboard": "toy.board",
    "circles": "toy.arcs",
    "cora": "real.planetoid",
    "crossing_trajectories": "toy.crossing",
    "double_ornstein_uhlenbeck": "systems.diffusions",
    "double_pendulum": "systems.mechanics",
    "eight_gaussians": "toy.clusters",
    "fitzhugh_nagumo": "systems.oscillators",
    "gaussians": "toy.clusters",
    "gaussians_spiral": "toy.clusters",
    "geometric_brownian_motion": "systems.diffusions",
    "lorenz": "systems.chaos",
    "lotka_volterra": "systems.oscillators",
    "mnist": "real.mnist",
    "moons": "toy.arcs",
    "ornstein_uhlenbeck": "systems.diffusions",
    "pendulum": "systems.mechanics",
    "periodic": "toy.waves",
    "physionet2012": "real.physionet",
    "pinwheel": "toy.clusters",
    "planetoid": "real.planetoid",
    "point_processes": "real.point_processes",
    "real_pendulum": "real.pendulum",
    "rings": "toy.arcs",
    "robertson": "systems.kinetics",
    "spheres": "toy.shells",
    "spirals": "toy.arcs",
    "spring": "systems.mechanics",
    "stochastic_brusselator": "systems.attractors",
    "stochastic_lorenz": "systems.attractors",
    "three_body": "systems.orbits",
    "two_body": "systems.orbits",
    "two_spirals": "toy.arcs",
    "van_der_pol": "systems.oscillators",
}

__all__ = [
    "Bodies",
    "ChecksumError",
    "DoublePendulum",
    "DownloadError",
    "FitzHughNagumo",
    "FormatError",
    "GeometricBrownianMotion",
    "Graph",
    "ImageDataset",
    "Images",
    "Lorenz",
    "LotkaVolterra",
    "NoisyField",
    "OrnsteinUhlenbeck",
    "Pendulum",
    "Points",
    "Robertson",
    "Series",
    "SeriesDataset",
    "Spring",
    "StochasticBrusselator",
    "StochasticLorenz",
    "Trajectories",
    "VanDerPol",
    "annuli",
    "brusselator",
    "checkerboard",
    "circles",
    "cora",
    "crossing_trajectories",
    "double_ornstein_uhlenbeck",
    "double_pendulum",
    "eight_gaussians",
    "fitzhugh_nagumo",
    "gaussians",
    "gaussians_spiral",
    "geometric_brownian_motion",
    "lorenz",
    "lotka_volterra",
    "mnist",
    "moons",
    "ornstein_uhlenbeck",
    "pendulum",
    "periodic",
    "physionet2012",
    "pinwheel",
    "planetoid",
    "point_processes",
    "real_pendulum",
    "rings",
    "robertson",
    "spheres",
    "spirals",
    "spring",
    "stochastic_brusselator",
    "stochastic_lorenz",
    "three_body",
    "two_body",
    "two_spirals",
    "van_der_pol",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
