"""What this package brings to the registry."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_HERE = "torchdyn_datasets"

_DATASETS = (  # a function bears the name of its data
    ("moons", "Two half circles", "arXiv:1810.01367"),
    ("circles", "A circle within another", "arXiv:1810.01367"),
    ("rings", "Four rings", "arXiv:1810.01367"),
    ("two_spirals", "Two broad spirals, a density", "arXiv:1810.01367"),
    ("eight_gaussians", "Eight Gaussians on a circle", "arXiv:1810.01367"),
    ("pinwheel", "Gaussians that are bent", "arXiv:1810.01367"),
    ("checkerboard", "A density with sharp edges", "arXiv:1810.01367"),
    ("spirals", "Two long spirals", "arXiv:2009.09346"),
    ("spheres", "A sphere within another", "arXiv:2009.09346"),
    ("gaussians", "Gaussians on a circle", "arXiv:2009.09346"),
    ("gaussians_spiral", "Gaussians on a spiral", "arXiv:2009.09346"),
    ("annuli", "A disc within an annulus", "arXiv:1904.01681"),
    ("crossing_trajectories", "The flip of the line", "arXiv:1904.01681"),
    ("periodic", "Sine waves at irregular times", "arXiv:1907.03907"),
    ("spring", "A mass on a spring, with noise", "arXiv:1906.01563"),
    ("pendulum", "A pendulum, with noise", "arXiv:1906.01563"),
    ("double_pendulum", "A pendulum on a pendulum", "arXiv:2003.04630"),
    ("two_body", "Two bodies in nearly circular orbits", "arXiv:1906.01563"),
    ("three_body", "Three bodies", "arXiv:1906.01563"),
    ("lotka_volterra", "Predators and prey", "doi:10.1038/118558a0"),
    ("van_der_pol", "An oscillator that comes to a cycle", "doi:10.1080/14786442608564127"),
    ("fitzhugh_nagumo", "A nerve cell that fires", "doi:10.1016/S0006-3495(61)86902-6"),
    ("lorenz", "Chaotic convection", "doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2"),
    ("robertson", "A stiff reaction", ""),
    ("ornstein_uhlenbeck", "Walks that are drawn back", "doi:10.1103/PhysRev.36.823"),
    ("double_ornstein_uhlenbeck", "Pairs of such walks, seen now and then", "arXiv:1905.12374"),
    ("geometric_brownian_motion", "Growth with noise", "arXiv:2001.01328"),
    ("stochastic_lorenz", "Lorenz with noise", "arXiv:2001.01328"),
    ("stochastic_brusselator", "A noisy chemical oscillator, seen now and then", "arXiv:1905.12374"),
    ("mnist", "Handwritten digits", "doi:10.1109/5.726791"),
    ("planetoid", "Citation graphs", "arXiv:1603.08861"),
    ("cora", "The citation graph Cora", "arXiv:1603.08861"),
    ("real_pendulum", "A pendulum that was filmed", "doi:10.1126/science.1165893"),
    ("physionet2012", "48 hours of intensive care", "arXiv:1907.03907"),
    ("point_processes", "Sequences of events", "arXiv:1905.10403"),
    ("brusselator", "The noisy Brusselator as published", "arXiv:1905.12374"),
)

_FIELDS = (
    ("spring", "Spring", "A mass on a spring", "arXiv:1906.01563"),
    ("pendulum", "Pendulum", "A pendulum without friction", "arXiv:1906.01563"),
    ("double_pendulum", "DoublePendulum", "A pendulum on a pendulum", "arXiv:2003.04630"),
    ("bodies", "Bodies", "Bodies that attract each other", "arXiv:1906.01563"),
    ("lotka_volterra", "LotkaVolterra", "Predators and prey", "doi:10.1038/118558a0"),
    ("van_der_pol", "VanDerPol", "An oscillator that comes to a cycle", "doi:10.1080/14786442608564127"),
    ("fitzhugh_nagumo", "FitzHughNagumo", "A nerve cell that fires", "doi:10.1016/S0006-3495(61)86902-6"),
    ("lorenz", "Lorenz", "Chaotic convection", "doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2"),
    ("robertson", "Robertson", "A stiff reaction", ""),
    ("ornstein_uhlenbeck", "OrnsteinUhlenbeck", "A walk that is drawn back", "doi:10.1103/PhysRev.36.823"),
    ("geometric_brownian_motion", "GeometricBrownianMotion", "Growth with noise", "arXiv:2001.01328"),
    ("stochastic_lorenz", "StochasticLorenz", "Lorenz with noise", "arXiv:2001.01328"),
    ("stochastic_brusselator", "StochasticBrusselator", "A noisy chemical oscillator", "arXiv:1905.12374"),
)


@hookimpl
def torchdyn_components() -> tuple[Component, ...]:
    """Data, and the vector fields of the systems that some of them are simulated with."""
    return (
        *(Component("dataset", name, f"{_HERE}:{name}", summary, paper) for name, summary, paper in _DATASETS),
        *(Component("field", name, f"{_HERE}:{kind}", summary, paper) for name, kind, summary, paper in _FIELDS),
    )
