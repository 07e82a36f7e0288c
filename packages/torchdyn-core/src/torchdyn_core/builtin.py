"""Core's own components, through the same hook as everyone's."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_METHODS = "torchdyn_core.methods"


@hookimpl
def torchdyn_components() -> tuple[Component, ...]:
    """Methods, controllers and adjoints of core."""
    return (
        Component("solver", "euler", f"{_METHODS}:Euler", "Explicit Euler: order 1"),
        Component("solver", "midpoint", f"{_METHODS}:Midpoint", "Explicit midpoint rule: order 2"),
        Component("solver", "heun", f"{_METHODS}:Heun", "Heun's method: order 2, embedded Euler"),
        Component("solver", "ralston", f"{_METHODS}:Ralston", "Ralston's method: order 2, least error bound"),
        Component("solver", "rk4", f"{_METHODS}:RK4", "The classical Runge-Kutta method: order 4"),
        Component("solver", "rk4_38", f"{_METHODS}:RK4ThreeEighths", "Kutta's 3/8 rule: order 4"),
        Component("solver", "bosh3", f"{_METHODS}:BogackiShampine3", "Bogacki-Shampine: order 3, error estimate of 2"),
        Component("solver", "dopri5", f"{_METHODS}:DormandPrince5", "Dormand-Prince: order 5, error estimate of 4"),
        Component("solver", "tsit5", f"{_METHODS}:Tsitouras5", "Tsitouras: order 5, error estimate of 4"),
        Component("solver", "dopri8", f"{_METHODS}:DormandPrince8", "Dormand-Prince, Hairer's DOP853: order 8"),
        Component("controller", "pid", "torchdyn_core.controller:PID", "Adaptive steps from the error estimate"),
        Component("controller", "fixed", "torchdyn_core.controller:Fixed", "Steps of given size, number or grid"),
        Component(
            "adjoint", "checkpointed", "torchdyn_core.adjoint:Checkpointed",
            "Replays the steps taken: exact gradients, a state a step or fewer", "arXiv:1902.10298",
        ),
        Component("adjoint", "direct", "torchdyn_core.adjoint:Direct", "Autograd through the loop"),
        Component(
            "adjoint", "backsolve", "torchdyn_core.adjoint:Backsolve",
            "The continuous adjoint, solved backwards in time", "arXiv:1806.07366",
        ),
        Component(
            "adjoint", "reversible", "torchdyn_core.adjoint:Reversible",
            "Undoes the steps of reversible methods: exact gradients, no state kept", "arXiv:2105.13493",
        ),
    )  # fmt: skip
