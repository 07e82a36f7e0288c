"""Neural stochastic differential equations: fields, Brownian paths, methods of every noise."""

from torchdyn_sde.brownian import BrownianIncrement, BrownianPath
from torchdyn_sde.field import SDEField
from torchdyn_sde.methods import *
from torchdyn_sde.solver import SDESolver

__version__ = "0.1.0"
