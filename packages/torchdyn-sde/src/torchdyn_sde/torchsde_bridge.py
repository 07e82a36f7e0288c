"""torchsde, the only door to it: its methods as methods of ours, on our paths; the oracle of our tests."""

from __future__ import annotations

import functools
import importlib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError, MissingExtraError, State, Step, VectorField
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree
from torchdyn_sde.methods.stratonovich_runge_kutta import ORDERS
from torchdyn_sde.solver import SDESolver, StrongOrder, source_of

__all__ = [
    "TorchsdeEuler",
    "TorchsdeEulerHeun",
    "TorchsdeHeun",
    "TorchsdeLogODE",
    "TorchsdeMidpoint",
    "TorchsdeMilstein",
    "TorchsdeMilsteinStratonovich",
    "TorchsdeReversibleHeun",
    "TorchsdeSRK",
    "TorchsdeSolver",
    "library",
]


@functools.cache
def library() -> Any:
    """The package torchsde.

    Raises:
        MissingExtraError: If it cannot be imported.

    Example:
        >>> from torchdyn_core import MissingExtraError
        >>> from torchdyn_sde.torchsde_bridge import library
        >>> try:
        ...     print(library().__name__)
        ... except MissingExtraError as error:
        ...     print("torchsde" if "torchdyn-sde[torchsde]" in str(error) else error)
        torchsde
    """
    try:
        import torchsde  # type: ignore[import-not-found, import-untyped, unused-ignore] # an extra
    except Exception as error:  # whatever keeps it from being imported
        raise MissingExtraError(
            f"a method of torchsde's was asked for, which cannot be imported ({type(error).__name__}: {error}); "
            'install it with: pip install "torchdyn-sde[torchsde]"'
        ) from error
    return torchsde


class TorchsdeSolver(SDESolver):
    """A method of torchsde's that steps our fields along our paths.

    States are tensors `(batch, d)`, as torchsde has them. Noise that is declared to commute is general noise there.

    Attributes:
        method: What torchsde calls it.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeHeun, TorchsdeSolver
        >>> issubclass(TorchsdeHeun, TorchsdeSolver), TorchsdeHeun.method
        (True, 'heun')
    """

    method: ClassVar[str]

    def check(self, field: VectorField, y: Tree) -> None:
        super().check(field, y)
        if not isinstance(y, Tensor) or y.dim() != 2:
            got = f"a tensor {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise IncompatibleError(f"{type(self).__name__} steps tensors (batch, d); the state is {got}")
        library()

    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        self.try_declared(field, t0, y0)
        return State(carry=tuple(self._theirs(field, y0).init_extra_solver_state(t0, y0)) or None)

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        y1, extra = self._theirs(field, y).step(t0, t1, y, () if state.carry is None else state.carry)
        return self.stepped(y1, cost=2, state=State(carry=tuple(extra) or None))

    def _theirs(self, field: BoundField, y: Tree) -> Any:
        """Their method, for one step of ours."""
        base_sde, methods = (
            importlib.import_module(f"{library().__name__}._core.{m}") for m in ("base_sde", "methods")
        )
        sde = base_sde.ForwardSDE(_Equation(self, field))
        kind = methods.select(method=self.method, sde_type=sde.sde_type)
        motion = _motion_class()(self, field, y)
        return kind(sde=sde, bm=motion, dt=None, adaptive=False, rtol=0.0, atol=0.0, dt_min=0.0, options={})


class _Equation(nn.Module):
    """A field as torchsde's methods see it."""

    def __init__(self, solver: SDESolver, field: BoundField) -> None:
        super().__init__()
        noise = source_of(field).noise.name
        self.noise_type = "general" if noise == "commutative" else noise
        self.sde_type = solver.interpretation
        self._solver, self._field = solver, field

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        made: Tensor = self._solver.drift(self._field, t, y)
        return made

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        made: Tensor = self._solver.diffusion(self._field, t, y)
        if self.noise_type == "scalar":
            return made.unsqueeze(-1)
        return torch.diag_embed(made) if self.noise_type == "additive" and made.dim() == 2 else made


@functools.cache
def _motion_class() -> Any:
    """The path of a solve as a Brownian motion of torchsde's; made late, for its base is theirs."""

    class Motion(library().BaseBrownian):  # type: ignore[misc] # of a library without types
        levy_area_approximation: Any = None  # each motion sets its own; the base wants them declared
        dtype: Any = None
        device: Any = None

        def __init__(self, solver: SDESolver, field: BoundField, y: Tensor) -> None:
            self._solver, self._field, self._y = solver, field, y
            self.levy_area_approximation = "none" if solver.area == "none" else "foster"
            self.dtype, self.device = y.dtype, y.device

        @property
        def shape(self) -> torch.Size:
            return self._shape(torch.zeros((), dtype=torch.float64, device=self.device))[1]

        def _shape(self, t: Tensor) -> tuple[Tensor, torch.Size]:
            g = self._solver.diffusion(self._field, t, self._y)
            return g, source_of(self._field).noise.shape(self._y, g).sizes[0]

        def __repr__(self) -> str:
            return f"Motion({source_of(self._field).path!r})"

        def __call__(self, ta: Tensor, tb: Tensor, return_U: bool = False, return_A: bool = False) -> Any:
            w, h, _ = self._solver.increment(self._field, ta, tb, self._y, self._shape(ta)[0])
            out = [w]
            if return_U:
                out.append((tb - ta).to(w.dtype) * (0.5 * w + h))
            if return_A:  # its mean, given increments and space-time areas
                crossed = h[..., :, None] * w[..., None, :]
                out.append(crossed - crossed.transpose(-1, -2))
            return out[0] if len(out) == 1 else tuple(out)

    return Motion


class TorchsdeEuler(TorchsdeSolver):
    """Euler and Maruyama's method, as torchsde has it: the same as `EulerMaruyama`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeEuler
        >>> TorchsdeEuler.method
        'euler'
    """

    method = "euler"
    strong_order = StrongOrder(diagonal=0.5, scalar=0.5, additive=1.0, general=0.5, commutative=0.5)
    weak_order = 1.0
    interpretation = "ito"


class TorchsdeMilstein(TorchsdeSolver):
    """Milstein's method, as torchsde has it.

    The same as `Milstein` where each noise drives a component of its own. With scalar noise of several components it
    takes the transposed derivative of the diffusion, and has not its order.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeMilstein
        >>> TorchsdeMilstein.method
        'milstein'
    """

    method = "milstein"
    strong_order = StrongOrder(diagonal=1.0, scalar=1.0, additive=1.0)
    weak_order = 1.0
    interpretation = "ito"
    commuting = True


class TorchsdeMilsteinStratonovich(TorchsdeSolver):
    """Milstein's method for Stratonovich's sense, as torchsde has it: see `TorchsdeMilstein`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeMilsteinStratonovich
        >>> TorchsdeMilsteinStratonovich.method
        'milstein'
    """

    method = "milstein"
    strong_order = StrongOrder(diagonal=1.0, scalar=1.0, additive=1.0)
    weak_order = 1.0
    interpretation = "stratonovich"
    commuting = True


class TorchsdeSRK(TorchsdeSolver):
    """A stochastic Runge-Kutta method of Roessler's, as torchsde has it: SRI2 in place of the SRI1W1 of `SRK`.

    With additive noise both are SRA1.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeSRK
        >>> TorchsdeSRK.method
        'srk'
    """

    method = "srk"
    strong_order = StrongOrder(diagonal=1.5, scalar=1.5, additive=1.5)
    weak_order = 1.5
    interpretation = "ito"
    area = "space-time"
    commuting = True


class TorchsdeEulerHeun(TorchsdeSolver):
    """The method of Euler and Heun, as torchsde has it: the same as `EulerHeun`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeEulerHeun
        >>> TorchsdeEulerHeun.method
        'euler_heun'
    """

    method = "euler_heun"
    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"


class TorchsdeHeun(TorchsdeSolver):
    """Heun's method, as torchsde has it: the same as `Heun`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeHeun
        >>> TorchsdeHeun.method
        'heun'
    """

    method = "heun"
    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"


class TorchsdeMidpoint(TorchsdeSolver):
    """The midpoint method, as torchsde has it: the same as `Midpoint`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeMidpoint
        >>> TorchsdeMidpoint.method
        'midpoint'
    """

    method = "midpoint"
    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"


class TorchsdeLogODE(TorchsdeSolver):
    """The log-ODE method, as torchsde has it, with the mean of Levy areas.

    Its first half step leaves the area out, which that of `LogODE` does not; without noises that mix both are the
    midpoint method.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeLogODE
        >>> TorchsdeLogODE.method
        'log_ode'
    """

    method = "log_ode"
    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
    area = "space-time"


class TorchsdeReversibleHeun(TorchsdeSolver):
    """The reversible Heun method, as torchsde has it: the same as `ReversibleHeun`.

    Example:
        >>> from torchdyn_sde.torchsde_bridge import TorchsdeReversibleHeun
        >>> TorchsdeReversibleHeun.method
        'reversible_heun'
    """

    method = "reversible_heun"
    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
