"""Equations as torchsde's users write them: objects with methods `f`, `g` and relatives; and as an `SDEField`."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from torchdyn_core import Adjoint, OptionError, Solver, StepController
from torchdyn_core.errors import close_matches
from torchdyn_sde.compat.torchsde.settings import NOISE_TYPES, SDE_TYPES
from torchdyn_sde.field import SDEField

__all__ = ["BaseSDE", "Coefficients", "Equation", "SDEIto", "SDEStratonovich"]


class BaseSDE(nn.Module):
    """A module that says what kind of equation it is; subclasses define `f(t, y)` and `g(t, y)`.

    Arguments:
        noise_type: "diagonal", "scalar", "additive" or "general".
        sde_type: "ito" or "stratonovich".

    Shapes:
        y, f, g_prod, h: `(B, d)`.
        g: `(B, d)` where the noise is diagonal, else `(B, d, m)`; scalar noise has `m = 1`.

    Raises:
        OptionError: If one of them is no known one.

    Example:
        >>> from torchdyn_sde.compat.torchsde import BaseSDE
        >>> BaseSDE(noise_type="diagonal", sde_type="ito").sde_type
        'ito'
    """

    noise_type: str
    sde_type: str

    def __init__(self, noise_type: str, sde_type: str) -> None:
        super().__init__()
        self.noise_type = NOISE_TYPES.checked("noise_type", noise_type)
        self.sde_type = SDE_TYPES.checked("sde_type", sde_type)


class SDEIto(BaseSDE):
    """An equation in Ito's sense.

    Arguments:
        noise_type: "diagonal", "scalar", "additive" or "general".

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat import torchsde
        >>> class Decay(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return -y
        ...     def g(self, t, y):
        ...         return 0.1 * y
        >>> torchsde.sdeint(Decay("diagonal"), torch.ones(5, 2), [0.0, 0.5, 1.0], dt=0.1).shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type, SDE_TYPES.ito)


class SDEStratonovich(BaseSDE):
    """An equation in Stratonovich's sense.

    Arguments:
        noise_type: "diagonal", "scalar", "additive" or "general".

    Example:
        >>> from torchdyn_sde.compat.torchsde import SDEStratonovich
        >>> SDEStratonovich("general").sde_type
        'stratonovich'
    """

    def __init__(self, noise_type: str) -> None:
        super().__init__(noise_type, SDE_TYPES.stratonovich)


class Coefficients(nn.Module):
    """The functions of an equation that its user has written, whichever of them there are, under the names they have.

    A diffusion that is known by its products alone is put together column by column.

    Arguments:
        sde: The equation.
        names: Methods' names in place of torchsde's own: keys out of `ROLES`.

    Raises:
        OptionError: If there are keys of another name.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde.sde import Coefficients, SDEIto
        >>> class Growth(SDEIto):
        ...     def forward(self, t, y):
        ...         return y
        >>> parts = Coefficients(Growth("diagonal"), {"drift": "forward"})
        >>> parts.drift(torch.tensor(0.0), torch.ones(1, 2)), parts.has("diffusion")
        (tensor([[1., 1.]]), False)
    """

    ROLES: ClassVar[dict[str, str]] = {
        "drift": "f",
        "diffusion": "g",
        "prior_drift": "h",
        "diffusion_prod": "g_prod",
        "drift_and_diffusion": "f_and_g",
        "drift_and_diffusion_prod": "f_and_g_prod",
    }

    def __init__(self, sde: Any, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        for role in names or {}:
            if role not in self.ROLES:
                raise OptionError(f"names has {role!r}{close_matches(str(role), self.ROLES)}")
        self.names = {**self.ROLES, **(names or {})}
        self.noise_type: str = sde.noise_type
        if isinstance(sde, nn.Module) and "_modules" not in vars(sde):
            # torchsde takes modules whose __init__ did not call that of nn.Module: objects with functions, no more
            sde = SimpleNamespace(**{name: getattr(sde, name) for name in self.names.values() if hasattr(sde, name)})
        self.sde = sde
        self.columns = 0
        # what the methods name is found by walking them, wherever gradients of replayed steps are wanted
        self._written = [getattr(type(sde), name, None) for name in self.names.values()]

    def has(self, role: str) -> bool:
        """Whether the equation has a function."""
        return hasattr(self.sde, self.names[role])

    def call(self, role: str, *arguments: Tensor) -> Any:
        """What a function of the equation returns."""
        return getattr(self.sde, self.names[role])(*arguments)

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift, from whichever function tells it."""
        if self.has("drift"):
            made: Tensor = self.call("drift", t, y)
        elif self.has("drift_and_diffusion"):
            made = self.call("drift_and_diffusion", t, y)[0]
        else:
            made = self.call("drift_and_diffusion_prod", t, y, y.new_zeros(y.shape[0], self.columns))[0]
        return made

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, in torchsde's shape."""
        if self.has("diffusion"):
            made: Tensor = self.call("diffusion", t, y)
            return made
        if self.has("drift_and_diffusion"):
            made = self.call("drift_and_diffusion", t, y)[1]
            return made
        if self.noise_type == NOISE_TYPES.diagonal:
            return self.product(t, y, torch.ones_like(y))
        units = torch.eye(self.columns, dtype=y.dtype, device=y.device)
        return torch.stack([self.product(t, y, unit.expand(y.shape[0], -1)) for unit in units], dim=-1)

    def product(self, t: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The diffusion times a vector for each row, from a function that tells it."""
        if self.has("diffusion_prod"):
            made: Tensor = self.call("diffusion_prod", t, y, v)
        else:
            made = self.call("drift_and_diffusion_prod", t, y, v)[1]
        return made


class _Drift(nn.Module):
    def __init__(self, parts: Coefficients) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.parts.drift(t, y)


class _Diffusion(nn.Module):
    def __init__(self, parts: Coefficients) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return _ours(self.parts.diffusion(t, y), self.parts.noise_type)


class _PenalisedDrift(nn.Module):
    """A drift with one component more: the rate at which the log-ratio of path measures grows."""

    def __init__(self, parts: Coefficients) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        y = z[:, :-1]
        f, g, h = self.parts.drift(t, y), self.parts.diffusion(t, y), self.parts.call("prior_drift", t, y)
        if self.parts.noise_type == NOISE_TYPES.diagonal:
            u = (f - h) / _away_from_zero(g)
        else:
            u = (torch.linalg.pinv(g) @ (f - h).unsqueeze(-1)).squeeze(-1)
        return torch.cat((f, 0.5 * u.square().sum(1, keepdim=True)), dim=1)


class _PenalisedDiffusion(nn.Module):
    """A diffusion with one component more, which has no noise."""

    def __init__(self, parts: Coefficients) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        g = _ours(self.parts.diffusion(t, z[:, :-1]), self.parts.noise_type)
        return torch.cat((g, g.new_zeros(g.shape[0], 1, *g.shape[2:])), dim=1)


class Equation(SDEField):
    """An equation of a torchsde user as a field.

    Whether its diffusion is what its noise type says has been tried already, and said as a warning.

    Arguments:
        parts: Its functions.
        sde_type: "ito" or "stratonovich".
        logqp: Whether the state has one component more: the log-ratio of the measures that drift and prior drift make.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde.sde import Coefficients, Equation, SDEIto
        >>> class Growth(SDEIto):
        ...     def f(self, t, y):
        ...         return y
        ...     def g(self, t, y):
        ...         return 2.0 * torch.ones_like(y)
        ...     def h(self, t, y):
        ...         return 0.0 * y
        >>> field = Equation(Coefficients(Growth("diagonal")), "ito", logqp=True)
        >>> field.drift(torch.tensor(0.0), torch.tensor([[1.0, 3.0, 0.0]]))
        tensor([[1.0000, 3.0000, 1.2500]])
    """

    def __init__(self, parts: Coefficients, sde_type: str, logqp: bool = False) -> None:
        drift, diffusion = (_PenalisedDrift, _PenalisedDiffusion) if logqp else (_Drift, _Diffusion)
        sense: Any = sde_type
        super().__init__(drift(parts), diffusion(parts), noise=parts.noise_type, interpretation=sense)

    def stepped_by(self, solver: Solver, controller: StepController, adjoint: Adjoint) -> Self:
        return super().stepped_by(solver, controller, adjoint).replace(tried=[True])


def _ours(g: Tensor, noise_type: str) -> Tensor:
    """A diffusion of torchsde's shape in ours: one noise for all components needs no axis."""
    return g.squeeze(-1) if noise_type == NOISE_TYPES.scalar else g


def _away_from_zero(g: Tensor, smallest: float = 1e-7) -> Tensor:
    return torch.where(g.abs() > smallest, g, torch.full_like(g, smallest).copysign(g))
