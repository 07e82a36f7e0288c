"""`NeuralSDE`: a stochastic solve as a layer."""

from __future__ import annotations

from typing import Any

from torchdyn_core import Augmentation, IncompatibleError, NeuralODE, ShapeError
from torchdyn_core.tree import Tree, leaves, tree_map
from torchdyn_sde.field import SDEField
from torchdyn_sde.models.networks import check_size
from torchdyn_sde.models.options import with_defaults

__all__ = ["NeuralSDE"]


class NeuralSDE(NeuralODE):
    """A layer that maps `y(t0)` to a sample of `y(t1)` along a learned stochastic field.

    Each call draws noise of its own from torch's generator; rows of a batch have independent noise. The path at times
    of choice is `trajectory(y0, ts)`. To average over the noise of a trained layer, use `samples`.

    Arguments:
        field: Drift and diffusion.
        t0: Where depth starts.
        t1: Where it ends.
        augmentation: Lifts the input before the solve and projects the output after it; an object or a name.
        solve_options: Options of `solve` (solver, controller, adjoint, compile, ...), checked here. Without `solver`,
            it is `EulerMaruyama` for a field in Ito's sense and `Midpoint` for one in Stratonovich's; without
            `controller`, there are 50 equal steps.

    Shapes:
        input, output: the state, alike.

    Raises:
        IncompatibleError: If the field is no `SDEField`, or the method does not serve it.
        UnknownOptionError: For an option that `solve` does not take.
        OptionError: If `t0` equals `t1`, or either is not finite.

    References:
        Tzen, Raginsky (2019), Neural stochastic differential equations. arXiv 1905.09883

    Example:
        >>> import torch
        >>> from torchdyn_sde import NeuralSDE, SDEField
        >>> net = torch.nn.Linear(2, 2)
        >>> layer = NeuralSDE(SDEField(lambda t, y: net(y), lambda t, y: 0.1 * torch.ones_like(y)))
        >>> layer(torch.ones(4, 2)).shape, layer.samples(torch.ones(4, 2), 10).shape
        (torch.Size([4, 2]), torch.Size([10, 4, 2]))
    """

    def __init__(
        self,
        field: SDEField,
        *,
        t0: float = 0.0,
        t1: float = 1.0,
        augmentation: Augmentation | str | None = None,
        **solve_options: Any,
    ) -> None:
        if not isinstance(field, SDEField):
            raise IncompatibleError(f"field is a {type(field).__name__}; wanted SDEField(drift, diffusion)")
        options = with_defaults(field, solve_options)
        super().__init__(field, t0=t0, t1=t1, augmentation=augmentation, **options)

    def samples(self, y0: Tree, count: int) -> Tree:
        """States at `t1` of many solves from the same states with independent noise, in one batch.

        Arguments:
            y0: The state.
            count: How many.

        Shapes:
            y0: `(B, *)`.  output: `(count, B, *)`.

        Raises:
            ShapeError: If a leaf of the state has no axis in front of its components.
        """
        check_size(count=count)
        for leaf in leaves(y0):
            if leaf.dim() < 2:
                raise ShapeError(f"the state has shape {tuple(leaf.shape)}; wanted a batch, (B, *)")
        repeated = tree_map(lambda leaf: leaf.expand(count, *leaf.shape).flatten(0, 1), y0)
        return tree_map(lambda leaf: leaf.unflatten(0, (count, -1)), self(repeated))
