"""What this package brings to the registry."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_HERE = "torchdyn_sde"


@hookimpl
def torchdyn_components() -> tuple[Component, ...]:
    """Stochastic fields, Brownian paths, methods, models."""
    return (
        Component("field", "sde", f"{_HERE}:SDEField", "Drift and diffusion", "arXiv:1905.09883"),
        Component(
            "path", "brownian", f"{_HERE}:BrownianPath", "A Brownian path without state",
            "doi:10.1145/2063384.2063405",
        ),
        Component(
            "solver", "euler_maruyama", f"{_HERE}:EulerMaruyama", "Ito, every noise: strong order 1/2",
            "doi:10.1007/BF02846028",
        ),
        Component(
            "solver", "milstein", f"{_HERE}:Milstein", "Ito, noises that commute: strong order 1",
            "doi:10.1137/1119062",
        ),
        Component(
            "solver", "milstein_stratonovich", f"{_HERE}:MilsteinStratonovich", "Stratonovich: strong order 1",
            "doi:10.1137/1119062",
        ),
        Component(
            "solver", "srk", f"{_HERE}:SRK", "Ito, diagonal, scalar, additive: strong order 3/2",
            "doi:10.1137/09076636X",
        ),
        Component("solver", "sra1", f"{_HERE}:SRA1", "Additive noise: strong order 3/2", "doi:10.1137/09076636X"),
        Component("solver", "shark", f"{_HERE}:ShARK", "Additive noise: strong order 3/2", "arXiv:2210.17543"),
        Component("solver", "euler_heun", f"{_HERE}:EulerHeun", "Stratonovich, every noise"),
        Component("solver", "heun", f"{_HERE}:Heun", "Stratonovich, every noise", "doi:10.1137/0719041"),
        Component("solver", "midpoint", f"{_HERE}:Midpoint", "Stratonovich, every noise", "doi:10.1137/0719041"),
        Component(
            "solver", "ralston", f"{_HERE}:Ralston", "Stratonovich, every noise",
            "doi:10.1090/S0025-5718-1962-0150954-0",
        ),
        Component(
            "solver", "reversible_heun", f"{_HERE}:ReversibleHeun", "Stratonovich, every noise; steps can be undone",
            "arXiv:2105.13493",
        ),
        Component("model", "neural_sde", f"{_HERE}:NeuralSDE", "A stochastic solve as a layer", "arXiv:1905.09883"),
        Component("model", "latent", f"{_HERE}:LatentSDE", "A prior over paths, observed", "arXiv:2001.01328"),
        Component("model", "gan", f"{_HERE}:SDEGAN", "A generator of paths and its critic", "arXiv:2102.03657"),
        Component(
            "model", "classifier", f"{_HERE}:NeuralSDEClassifier", "Classes, with noise over depth", "arXiv:1906.02355"
        ),
    )  # fmt: skip
