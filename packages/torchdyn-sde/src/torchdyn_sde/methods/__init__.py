"""Methods for stochastic differential equations, one a file."""

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

METHODS = (
    EulerMaruyama, Milstein, SRK, SRA1, ShARK, EulerHeun, Heun, Midpoint, Ralston, ReversibleHeun, MilsteinStratonovich,
    SPaRK, SlowRK, LogODE,
)  # fmt: skip

__all__ = [method.__name__ for method in METHODS]
