"""What this package brings to the registry."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_HERE = "torchdyn_sde"
_BRIDGE = "torchdyn_sde.torchsde_bridge"


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
        Component(
            "solver", "spark", f"{_HERE}:SPaRK", "Stratonovich, every noise, step-size control", "arXiv:2311.14201",
        ),
        Component(
            "solver", "slowrk", f"{_HERE}:SlowRK", "Stratonovich, noises that commute: strong order 3/2",
            "arXiv:2210.17543",
        ),
        Component(
            "solver", "log_ode", f"{_HERE}:LogODE", "Stratonovich, every noise, Lie brackets",
            "doi:10.1016/0378-4754(93)E0062-A",
        ),
        Component("solver", "torchsde_euler", f"{_BRIDGE}:TorchsdeEuler", "torchsde's euler"),
        Component("solver", "torchsde_milstein", f"{_BRIDGE}:TorchsdeMilstein", "torchsde's milstein, Ito"),
        Component(
            "solver", "torchsde_milstein_stratonovich", f"{_BRIDGE}:TorchsdeMilsteinStratonovich",
            "torchsde's milstein, Stratonovich",
        ),
        Component("solver", "torchsde_srk", f"{_BRIDGE}:TorchsdeSRK", "torchsde's srk"),
        Component("solver", "torchsde_euler_heun", f"{_BRIDGE}:TorchsdeEulerHeun", "torchsde's euler_heun"),
        Component("solver", "torchsde_heun", f"{_BRIDGE}:TorchsdeHeun", "torchsde's heun"),
        Component("solver", "torchsde_midpoint", f"{_BRIDGE}:TorchsdeMidpoint", "torchsde's midpoint"),
        Component("solver", "torchsde_log_ode", f"{_BRIDGE}:TorchsdeLogODE", "torchsde's log_ode"),
        Component(
            "solver", "torchsde_reversible_heun", f"{_BRIDGE}:TorchsdeReversibleHeun", "torchsde's reversible_heun"
        ),
        Component("model", "neural_sde", f"{_HERE}:NeuralSDE", "A stochastic solve as a layer", "arXiv:1905.09883"),
        Component("model", "latent", f"{_HERE}:LatentSDE", "A prior over paths, observed", "arXiv:2001.01328"),
        Component("model", "gan", f"{_HERE}:SDEGAN", "A generator of paths and its critic", "arXiv:2102.03657"),
        Component(
            "model", "classifier", f"{_HERE}:NeuralSDEClassifier", "Classes, with noise over depth", "arXiv:1906.02355"
        ),
    )  # fmt: skip
