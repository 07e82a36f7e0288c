"""The methods: a tableau and a docstring each."""

from torchdyn_core.methods.bosh3 import BogackiShampine3
from torchdyn_core.methods.dopri5 import DormandPrince5
from torchdyn_core.methods.dopri8 import DormandPrince8
from torchdyn_core.methods.euler import Euler
from torchdyn_core.methods.heun import Heun
from torchdyn_core.methods.midpoint import Midpoint
from torchdyn_core.methods.ralston import Ralston
from torchdyn_core.methods.rk4 import RK4
from torchdyn_core.methods.rk4_38 import RK4ThreeEighths
from torchdyn_core.methods.tsit5 import Tsitouras5

__all__ = [
    "RK4",
    "BogackiShampine3",
    "DormandPrince5",
    "DormandPrince8",
    "Euler",
    "Heun",
    "Midpoint",
    "RK4ThreeEighths",
    "Ralston",
    "Tsitouras5",
]
