"""A plugin with a field class of its own, and the solver for it, on the kit: nothing in core knows of either."""

import torch
from torch import nn

from torchdyn_core import IncompatibleError, Solver, State, Step, VectorField
from torchdyn_core.testing import FieldSuite, SolverSuite
from torchdyn_core.testing.problems import Problem
from torchdyn_core.tree import align

DTYPE = torch.float64


class Separable(VectorField):
    """A Hamiltonian of kinetic and potential energy: `q' = velocity(p)`, `p' = force(t, q)`; no slope of its own."""

    def velocity(self, t, y):
        raise NotImplementedError

    def force(self, t, y):
        raise NotImplementedError


class Springs(Separable):
    """Unit masses on springs, all of one learnable stiffness; the state is `(*batch, 2)`."""

    def __init__(self):
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(1.0, dtype=DTYPE))

    def velocity(self, t, y):
        return y[..., 1:]

    def force(self, t, y):
        return -self.stiffness * y[..., :1]


class Leapfrog(Solver):
    """Kick, drift, kick: order 2, and undone by the same step backwards."""

    order, dense_order = 2, 1
    accepts = Separable
    reversible = True

    def check(self, field, y):
        if not isinstance(y, torch.Tensor) or y.shape[-1] % 2:
            raise IncompatibleError("Leapfrog steps positions and momenta side by side; wanted an even last axis")

    def init(self, field, t0, t1, y0):
        return State()

    def step(self, field, t0, t1, y, state):
        source, dt = field.source, align(t1 - t0, y).to(y.dtype)
        q, p = y.chunk(2, -1)
        p = p + dt / 2 * field.evaluate(source.force, t0, y, like=q)
        q = q + dt * field.evaluate(source.velocity, torch.lerp(t0, t1, 0.5), torch.cat([q, p], -1), like=q)
        p = p + dt / 2 * field.evaluate(source.force, t1, torch.cat([q, p], -1), like=q)
        return Step(torch.cat([q, p], -1), None, State(), (), cost=3)

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return torch.lerp(y0, y1, align(theta, y0).to(y0.dtype))

    def reverse(self, field, t0, t1, y1, state):
        return self.step(field, t1, t0, y1, state).y, state


START = torch.linspace(0.2, 1.0, 10, dtype=DTYPE).reshape(5, 2)


def springs():
    """Rotation in phase space, in closed form."""

    def exact(t):
        c, s = torch.cos(t).reshape(-1, 1), torch.sin(t).reshape(-1, 1)
        q, p = START.unbind(-1)
        return torch.stack((c * q + s * p, c * p - s * q), -1)

    return Problem(Springs(), exact, 0.0, 2.0)


class TestLeapfrog(SolverSuite):
    def make(self):
        return Leapfrog()

    def problem(self):
        return springs()


class TestSprings(FieldSuite):
    def make(self):
        return Springs()

    def solver(self):
        return Leapfrog()

    def functions(self, field):
        return field.velocity, field.force
