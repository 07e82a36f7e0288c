"""Neural stochastic differential equations: fields, Brownian paths without state, methods of every kind of noise."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchdyn_sde.brownian import BrownianIncrement, BrownianPath
    from torchdyn_sde.field import SDEField
    from torchdyn_sde.methods.euler_heun import EulerHeun
    from torchdyn_sde.methods.euler_maruyama import EulerMaruyama
    from torchdyn_sde.methods.heun import Heun
    from torchdyn_sde.methods.log_ode import LogODE
    from torchdyn_sde.methods.midpoint import Midpoint
    from torchdyn_sde.methods.milstein import Milstein, MilsteinStratonovich
    from torchdyn_sde.methods.ralston import Ralston
    from torchdyn_sde.methods.reversible_heun import ReversibleHeun
    from torchdyn_sde.methods.shark import ShARK
    from torchdyn_sde.methods.slow_rk import SlowRK
    from torchdyn_sde.methods.spark import SPaRK
    from torchdyn_sde.methods.sra1 import SRA1
    from torchdyn_sde.methods.srk import SRK
    from torchdyn_sde.methods.step_doubling import StepDoubling
    from torchdyn_sde.models.classifier import NeuralSDEClassifier
    from torchdyn_sde.models.encoder import Encoded, SeriesEncoder
    from torchdyn_sde.models.gan import SDEGAN
    from torchdyn_sde.models.latent import LatentSDE, Posterior
    from torchdyn_sde.models.networks import ElementwiseDiffusion
    from torchdyn_sde.models.neural_sde import NeuralSDE
    from torchdyn_sde.solver import SDESolver, StrongOrder

_HOME = {
    "StepDoubling": "methods.step_doubling",
    "SlowRK": "methods.slow_rk",
    "SPaRK": "methods.spark",
    "LogODE": "methods.log_ode",
    "BrownianIncrement": "brownian",
    "BrownianPath": "brownian",
    "ElementwiseDiffusion": "models.networks",
    "Encoded": "models.encoder",
    "EulerHeun": "methods.euler_heun",
    "EulerMaruyama": "methods.euler_maruyama",
    "Heun": "methods.heun",
    "LatentSDE": "models.latent",
    "Midpoint": "methods.midpoint",
    "Milstein": "methods.milstein",
    "MilsteinStratonovich": "methods.milstein",
    "NeuralSDE": "models.neural_sde",
    "NeuralSDEClassifier": "models.classifier",
    "Posterior": "models.latent",
    "Ralston": "methods.ralston",
    "ReversibleHeun": "methods.reversible_heun",
    "SDEField": "field",
    "SDEGAN": "models.gan",
    "SDESolver": "solver",
    "SRA1": "methods.sra1",
    "SRK": "methods.srk",
    "SeriesEncoder": "models.encoder",
    "ShARK": "methods.shark",
    "StrongOrder": "solver",
}

__all__ = [
    "SDEGAN",
    "SRA1",
    "SRK",
    "BrownianIncrement",
    "BrownianPath",
    "ElementwiseDiffusion",
    "Encoded",
    "EulerHeun",
    "EulerMaruyama",
    "Heun",
    "LatentSDE",
    "LogODE",
    "Midpoint",
    "Milstein",
    "MilsteinStratonovich",
    "NeuralSDE",
    "NeuralSDEClassifier",
    "Posterior",
    "Ralston",
    "ReversibleHeun",
    "SDEField",
    "SDESolver",
    "SPaRK",
    "SeriesEncoder",
    "ShARK",
    "SlowRK",
    "StepDoubling",
    "StrongOrder",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
