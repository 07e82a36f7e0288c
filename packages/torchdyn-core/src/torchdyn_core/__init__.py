"""Neural differential equations for PyTorch: fields, solvers, adjoints."""

__version__ = "0.1.0"

from torchdyn_core.adjoint import Adjoint, Backsolve, Checkpointed, Direct, Reversible
from torchdyn_core.controller import PID, Fixed, StepController
from torchdyn_core.dropout import SolveDropout
from torchdyn_core.errors import (
    FallbackWarning,
    GradientError,
    IncompatibleError,
    IntegrationError,
    MissingExtraError,
    OptionError,
    PluginError,
    PluginWarning,
    ShapeError,
    TorchdynError,
    UnknownComponentError,
    UnknownOptionError,
)
from torchdyn_core.field import VectorField, autonomous, per_row
from torchdyn_core.methods import (
    RK4,
    BogackiShampine3,
    DormandPrince5,
    DormandPrince8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    RK4ThreeEighths,
    Tsitouras5,
)
from torchdyn_core.neural_ode import Augmentation, NeuralODE
from torchdyn_core.path import Path
from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.series import IrregularSeries
from torchdyn_core.solution import Final, Solution, Stats, Status
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver, State, Step
from torchdyn_core.tableau import ButcherTableau

__all__ = [
    "PID",
    "RK4",
    "Adjoint",
    "Augmentation",
    "Backsolve",
    "BogackiShampine3",
    "ButcherTableau",
    "Checkpointed",
    "Direct",
    "DormandPrince5",
    "DormandPrince8",
    "Euler",
    "ExplicitRungeKutta",
    "FallbackWarning",
    "Final",
    "Fixed",
    "GradientError",
    "Heun",
    "IncompatibleError",
    "IntegrationError",
    "IrregularSeries",
    "Midpoint",
    "MissingExtraError",
    "NeuralODE",
    "OptionError",
    "Path",
    "PluginError",
    "PluginWarning",
    "RK4ThreeEighths",
    "Ralston",
    "Reversible",
    "ShapeError",
    "Solution",
    "SolveDropout",
    "Solver",
    "State",
    "Stats",
    "Status",
    "Step",
    "StepController",
    "TorchdynError",
    "Tsitouras5",
    "UnknownComponentError",
    "UnknownOptionError",
    "VectorField",
    "autonomous",
    "per_row",
    "solve",
]
