"""Every method passes the suite for methods."""

import os

from torchdyn_sde import (
    SRA1,
    SRK,
    EulerHeun,
    EulerMaruyama,
    Heun,
    LogODE,
    Midpoint,
    Milstein,
    MilsteinStratonovich,
    Ralston,
    ReversibleHeun,
    ShARK,
    SlowRK,
    SPaRK,
    StepDoubling,
)
from torchdyn_sde.testing import SDESolverSuite

METHODS = {
    "EulerMaruyama": EulerMaruyama(),
    "Milstein": Milstein(),
    "MilsteinWithoutDerivative": Milstein(derivative=False),
    "SRK": SRK(),
    "SRA1": SRA1(),
    "ShARK": ShARK(),
    "EulerHeun": EulerHeun(),
    "Heun": Heun(),
    "Midpoint": Midpoint(),
    "Ralston": Ralston(),
    "ReversibleHeun": ReversibleHeun(),
    "MilsteinStratonovich": MilsteinStratonovich(),
    "MilsteinStratonovichWithoutDerivative": MilsteinStratonovich(derivative=False),
    "SPaRK": SPaRK(),
    "SlowRK": SlowRK(),
    "LogODE": LogODE(),
    "StepDoubledMilstein": StepDoubling(Milstein()),
    "StepDoubledSlowRK": StepDoubling(SlowRK()),
}

# the others compile the same way; all do with TORCHDYN_COMPILED_CASES=all
COMPILED = {"EulerMaruyama", "Milstein", "SRK", "ReversibleHeun"} | (
    set(METHODS) if os.environ.get("TORCHDYN_COMPILED_CASES") == "all" else set()
)

for name, method in METHODS.items():
    suite = {"make": lambda self, method=method: method, "compiles": name in COMPILED}
    globals()[f"Test{name}"] = type(f"Test{name}", (SDESolverSuite,), suite)
