"""Brownian paths: pure functions of a seed and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from torchdyn_core import Fixed, IncompatibleError, OptionError, Path, ShapeError
from torchdyn_core.field import shallow_copy
from torchdyn_core.tracing import tracing
from torchdyn_core.tree import Tree, align
from torchdyn_sde.blocks import Blocks
from torchdyn_sde.cells import Cells
from torchdyn_sde.multiwavelets import weights, whole
from torchdyn_sde.node_noise import NodeNoise, Nodes
from torchdyn_sde.noise_shape import NoiseShape, Shapes

__all__ = ["AREAS", "Area", "BrownianIncrement", "BrownianPath", "Plan"]

Area = Literal["none", "space-time", "space-time-time"]
AREAS: tuple[Area, ...] = ("none", "space-time", "space-time-time")
_SCALES = (1.0, -math.sqrt(1 / 12), math.sqrt(1 / 720))
_LEVELS = 28
_LEVELS_DRAWN = 24
"""Of a solve's own path: what step-size control may want to see is not known."""
_ROOM = 2**10
"""Most cells that a compiled interval has room for."""
_SLACK = 1e-9
"""How far beyond its span, as a part of it, a path may be asked: times were computed with rounding."""


class Plan(NamedTuple):
    """What a solve wants of a path: areas, and the steps that it takes, where they are known in advance.

    `divided` tells whether it asks about parts of these steps, too, and about intervals across their ends.
    """

    area: Area = "none"
    steps: Fixed | None = None
    divided: bool = False


class BrownianIncrement(NamedTuple):
    """What is known of a Brownian path on an interval of length `h`.

    Arguments:
        w: The increment `W`, of variance `h`.
        h: The space-time Levy area, the mean of the path above its chord, of variance `h / 12`; None where the path has
            none.
        k: The space-time-time area `1/h^2 * int (W_r - r/h W) (h/2 - r) dr`, of variance `h / 720`; None likewise.
    """

    w: Tree
    h: Tree = None
    k: Tree = None


class BrownianPath(Path):
    """A Brownian path, known by its increments, which are a pure function of seed and interval.

    There is no state: intervals may be asked about in any order, again, in parts that add up, forwards or backwards, on
    any device. Random bits come from a counter-based generator and are the same everywhere; normal numbers are so
    within 4 units in the last place.

    Arguments:
        t0: Where it begins.
        t1: Where it ends; may be earlier.
        shape: Of what it returns: sizes, or a tuple, list or dict of them.
        seed: A whole number; one for each row of the leading axis, `(R,)`, makes rows independent of their number.
            Default: drawn from torch's generator.
        dtype: float32 or float64.
        device: Where it lies.
        area: What is known of each interval beside the increment. Paths with other areas are other paths.
        grid: For steps that are known in advance: how many equal cells there are, their length, or their borders,
            `(K,)`. Noise on a cell is drawn once, and only what lies within one, in parts of which a tree is descended.
            So the path depends on its grid.
        levels: Of the tree: intervals shorter than a cell's (without a grid the whole span's) `2^-levels` see a path
            that is smooth.
        antithetic: The second half of the rows of the leading axis is the first half's mirror image.

    Shapes:
        t0, t1: `()`, or `(R,)`: rows of the leading axis have spans of their own.

    Raises:
        OptionError: If an option makes no sense.
        ShapeError: If seeds or times are as many as no rows; if an interval is not within the span.

    References:
        | Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
        | Alpert (1993), A class of bases in L^2 for the sparse representation of integral operators.
        | Jelincic, Tao, Turner, Cass, Foster, Ni (2024), Single-seed generation of Brownian paths and integrals for
          adaptive and high order SDE solvers. arXiv 2405.06464

    Example:
        >>> import torch
        >>> from torchdyn_sde import BrownianPath
        >>> path = BrownianPath(0.0, 1.0, (3,), seed=0, dtype=torch.float64)
        >>> parts = path(torch.tensor(0.0), torch.tensor(0.3)) + path(torch.tensor(0.3), torch.tensor(1.0))
        >>> torch.allclose(parts, path(torch.tensor(0.0), torch.tensor(1.0)))
        True
    """

    t0: Tensor
    t1: Tensor
    seed: Tensor
    borders: Tensor | None

    def __init__(
        self,
        t0: float | Tensor,
        t1: float | Tensor,
        shape: Shapes,
        *,
        seed: int | Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        area: Area = "none",
        grid: int | float | Tensor | Sequence[float] | None = None,
        levels: int = 16,
        antithetic: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise OptionError(f"dtype={dtype}; wanted torch.float32 or torch.float64")
        if area not in AREAS:
            raise OptionError(f"area={area!r}; wanted one of {', '.join(AREAS)}")
        if not isinstance(levels, int) or not 1 <= levels <= _LEVELS:
            raise OptionError(f"levels={levels!r}; wanted a whole number from 1 to {_LEVELS}")
        self.shape: NoiseShape | None = NoiseShape.of(shape)
        rows = self.shape.rows
        if antithetic and (rows is None or rows % 2):
            raise OptionError(f"antithetic=True with {rows} rows; wanted an even number: halves mirror each other")
        self._hold(_time("t0", t0, rows, device), _time("t1", t1, rows, device), _checked_seed(seed, rows), grid)
        self.dtype, self.area, self.levels, self.antithetic = dtype, area, levels, antithetic

    def _hold(self, t0: Tensor, t1: Tensor, seed: Tensor, grid: Any) -> None:
        for name, value in (("t0", t0), ("t1", t1), ("seed", seed.to(t0.device)), ("borders", _borders(grid, t0))):
            self.register_buffer(name, value)
        self.grid = None if self.borders is not None else grid
        self._start_keyed = False
        gridded = grid is not None and not tracing() and not t0.is_meta
        self._most = self._total = self.cells.count(self.t1) if gridded else 0
        self._blocks = Blocks()

    @staticmethod
    def drawn(t0: Tensor, t1: Tensor, dtype: torch.dtype, plan: Plan) -> BrownianPath:
        """The path of one solve, of whatever shape its noise will have, with a seed from torch's generator.

        Where steps are known in advance each has a number of its own: one that a step can be asked about once.
        """
        path = BrownianPath(0.0, 1.0, (), dtype=torch.float64 if dtype is torch.float64 else torch.float32)
        path.shape, path.area, steps = None, plan.area, plan.steps
        length = None if steps is None or steps.dt is None else float(steps.dt)  # a whole number would be one of cells
        grid = None if steps is None else next(g for g in (steps.steps, length, steps.grid) if g is not None)
        path.levels = _LEVELS_DRAWN
        path._hold(t0.detach(), t1.detach(), path.seed, grid)
        path._start_keyed = steps is not None and not plan.divided
        return path

    def begun(self, t0: Tensor, t1: Tensor, plan: Plan, smooth: bool) -> BrownianPath:
        """The path as a solve asks about it.

        Arguments:
            t0: Where the solve begins.
            t1: Where it ends.
            plan: What it wants.
            smooth: Whether no steps end at jumps of the field.

        Raises:
            IncompatibleError: If it has not the areas.
            ShapeError: If the span is not within the path's.
        """
        if AREAS.index(plan.area) > AREAS.index(self.area):
            raise IncompatibleError(
                f"the method asks for {plan.area} areas, and the path has area={self.area!r}; wanted "
                f"BrownianPath(..., area={plan.area!r})"
            )
        self._check_within(t0, t1)
        steps = plan.steps
        if self.shape is None:
            return self
        others = self._keyed(False, steps, t0, t1)
        if steps is None or plan.divided or not smooth or steps.jump_ts is not None:
            return others
        return others._keyed(others._meets(steps, t0, t1), steps, t0, t1)

    def _keyed(self, by_start: bool, steps: Fixed | None, t0: Tensor, t1: Tensor) -> BrownianPath:
        """The path that knows the noise of a step by where it begins, or not, and how many cells a step may span."""
        most = self._total and self._spanned(steps, t0, t1)
        if by_start is self._start_keyed and most == self._most:
            return self
        kept = shallow_copy(self)
        kept._start_keyed, kept._blocks, kept._most = by_start, Blocks(), most
        return kept

    def _spanned(self, steps: Fixed | None, t0: Tensor, t1: Tensor) -> int:
        """How many cells an interval may have between those of its ends."""
        if steps is None or tracing():
            return self._total
        if steps.grid is not None:
            longest = float(torch.as_tensor(steps.grid, dtype=torch.float64).diff().abs().max())
        else:
            longest = float(steps.dt or ((t1 - t0).abs().max() / (steps.steps or 1)))
        return min(self._total, math.ceil(longest / self.cells.shortest()))

    def _meets(self, steps: Fixed, t0: Tensor, t1: Tensor) -> bool:
        """Whether each step of a solve is a cell, so that nothing within cells is asked about."""
        if tracing() or t0.dim() or (self.grid is None and self.borders is None):
            return False
        start, end = float(t0), float(t1)
        if steps.grid is not None:
            times = torch.as_tensor(steps.grid, dtype=torch.float64)
        else:
            count = steps.steps if steps.steps is not None else round(abs(end - start) / (steps.dt or 1.0))
            times = torch.linspace(start, end, max(1, count) + 1, dtype=torch.float64)
            if steps.dt is not None and abs(abs(end - start) - count * steps.dt) > 1e-9 * steps.dt:
                return False
        first, last = self.cells.holding(times[:-1].to(t0.device), times[1:].to(t0.device))
        return bool(((first.cell == last.cell) & (first.a == 0.0) & (last.b == 1.0)).all())

    def _check_within(self, ta: Tensor, tb: Tensor) -> None:
        if self.shape is None or _blind(ta):
            return
        low, high = torch.minimum(self.t0, self.t1), torch.maximum(self.t0, self.t1)
        slack = _SLACK * (high - low)
        for t in (ta, tb):
            if not bool(((t >= low - slack) & (t <= high + slack)).all()):
                raise ShapeError(
                    f"the path was asked about {_listed(ta)} to {_listed(tb)}, and is known from {_listed(low)} to "
                    f"{_listed(high)}; wanted a path that covers it"
                )

    def forward(self, ta: Tensor, tb: Tensor) -> Tree:
        """The increment `W(tb) - W(ta)`."""
        return self.increment(ta, tb).w

    def increment(self, ta: Tensor, tb: Tensor, shape: NoiseShape | None = None) -> BrownianIncrement:
        """The increment, and the areas that the path has.

        Arguments:
            ta: Where the interval begins.
            tb: Where it ends.
            shape: Of the noise that is wanted. Default: the path's.

        Shapes:
            ta, tb: `()`, or `(R,)`: rows of the leading axis have intervals of their own.

        Raises:
            ShapeError: If the interval is not within the span, or another shape is wanted.
        """
        if shape is not None and self.shape is not None and shape != self.shape:
            raise ShapeError(
                f"the noise has shape {_sizes(shape)}, and the path {_sizes(self.shape)}; wanted a BrownianPath(t0, "
                f"t1, {_sizes(shape)})"
            )
        shape = self.shape if shape is None else shape
        if shape is None:
            raise ShapeError("the path of a solve has no shape of its own; wanted increment(ta, tb, shape)")
        ta, tb = (torch.as_tensor(t, dtype=torch.float64, device=self.t0.device).detach() for t in (ta, tb))
        ta, tb = torch.broadcast_tensors(ta, tb)
        self._check_within(ta, tb)
        forth = (self.t1 - self.t0) * (tb - ta) >= 0.0
        first, last = torch.where(forth, ta, tb), torch.where(forth, tb, ta)
        if self._start_keyed or self._is_cell(first, last):
            parts = self._started(first, shape)
        else:
            nodes = self._descended(first, last)
            parts = [self._noise.summed(place, size, nodes) for place, size in enumerate(shape.sizes)]
        root = (tb - ta).abs().sqrt()
        made = []
        for k, numbers in enumerate(zip(*parts, strict=True)):
            # the path run backwards has the opposite increment, the same area, the opposite third number
            scale = _SCALES[k] * (root if k == 1 else torch.where(forth, root, -root))
            made.append(shape.tree([align(scale.to(self.dtype), leaf) * leaf for leaf in numbers]))
        return BrownianIncrement(*made)

    @property
    def cells(self) -> Cells:
        """The partition of time whose parts have trees of their own."""
        if self.borders is not None:
            return Cells(self.t0, None, self.borders)
        span = self.t1 - self.t0
        if self.grid is None:
            return Cells(self.t0, span)
        return Cells(self.t0, span / self.grid if isinstance(self.grid, int) else self.grid * span.sign())

    @property
    def _count(self) -> int:
        return AREAS.index(self.area) + 1

    @property
    def _noise(self) -> NodeNoise:
        return NodeNoise(self.seed, self._count, self.dtype, self.antithetic)

    def _started(self, a: Tensor, shape: NoiseShape) -> list[list[Tensor]]:
        """The numbers of a step, which are known by where it begins."""
        cells, noise = self.cells, self._noise
        cell, place = cells.starting(a)
        if not _blind(a) and a.dim() == 0 and float(place) == 0.0:
            return self._blocks.row(int(cell), shape.sizes, noise, cells.count(self.t1))
        node = ((place > 0.0).to(place.dtype) * 2.0**29 + (place * 2.0**28).floor()).long()
        found = [noise.drawn(number, size, cell[None], node[None]) for number, size in enumerate(shape.sizes)]
        return [[drawn[0] for drawn in leaf] for leaf in found]

    def _is_cell(self, a: Tensor, b: Tensor) -> bool:
        """Whether an interval is one whole cell, whose noise needs no descent; False where values cannot be seen."""
        if _blind(a) or a.dim() or (self.grid is None and self.borders is None):
            return False
        first, last = self.cells.holding(a, b)
        return bool((first.cell == last.cell) & (first.a == 0.0) & (last.b == 1.0))

    def _descended(self, a: Tensor, b: Tensor) -> Nodes:
        """The nodes of the tree that hold an end of the interval."""
        ends = self.cells.holding(a, b)
        found = [
            weights(cell.a, cell.b, last, self.levels, self._count)
            for last, cell in zip((False, True), ends, strict=True)
        ]
        first, second = (Nodes(place.cell.expand(w.node.shape), *w) for place, w in zip(ends, found, strict=True))
        # what holds both ends counts once, apart from leaves, which one end and the other cut
        same = (first.node == second.node) & (first.cell == second.cell)
        once = torch.where(same[:-1, None, None], 0.0, second.weight[:-1])
        parts = [first, second._replace(weight=torch.cat((once, second.weight[-1:])))]
        gap = ends[1].cell - ends[0].cell
        if _blind(gap):  # how many cells lie between cannot be seen: room is made for all that there may be
            if self._most > _ROOM:
                raise IncompatibleError(
                    f"a compiled interval may span {self._most} cells of the path's grid; wanted a coarser grid, none, "
                    "or a solve that is not compiled"
                )
            if self._most > 1:
                parts.append(self._between(a, b, ends[0].cell, gap, self._most))
        elif bool((gap > 1).any()):
            parts.append(self._between(a, b, ends[0].cell, gap, int(gap.max())))
        return Nodes(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def _between(self, a: Tensor, b: Tensor, first: Tensor, gap: Tensor, most: int) -> Nodes:
        """The cells that lie within the interval, up to a number of them."""
        steps = torch.arange(1, most + 1, device=a.device).reshape(-1, *(1,) * a.dim())
        seen = self.cells.at(first + steps, a, b)
        weight = torch.where((steps < gap)[:, None, None], whole(seen.a, seen.b, self._count), 0.0)
        return Nodes(seen.cell, torch.zeros_like(seen.cell), weight)

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._blocks = Blocks()  # which were drawn with another seed

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Times stay float64 and seeds whole numbers: of what modules do to their tensors only the device counts."""
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)  # type: ignore[no-untyped-call]
        self._blocks = Blocks()
        return self


def _blind(t: Tensor) -> bool:
    """Whether values of tensors cannot be looked at."""
    return tracing() or t.is_meta


def _time(name: str, t: float | Tensor, rows: int | None, device: Any) -> Tensor:
    made = torch.as_tensor(t, dtype=torch.float64, device=device).detach()
    if made.dim() > 1 or (made.dim() == 1 and len(made) != rows):
        raise ShapeError(f"{name} has shape {tuple(made.shape)}; wanted (), or one for each of {rows} rows")
    return made


def _checked_seed(seed: int | Tensor | None, rows: int | None) -> Tensor:
    if seed is None:
        seed = torch.randint(2**62, ())
    made = torch.as_tensor(seed)
    if made.is_floating_point() or made.is_complex() or made.dtype is torch.bool:
        raise OptionError(f"seed={seed!r}; wanted whole numbers")
    if made.dim() > 1 or (made.dim() == 1 and len(made) != rows):
        raise ShapeError(f"seed has shape {tuple(made.shape)}; wanted (), or one for each of {rows} rows")
    return made.long()


def _borders(grid: Any, t0: Tensor) -> Tensor | None:
    """The borders of cells, where these are listed.

    Raises:
        OptionError: If `grid` means no partition of time.
    """
    if grid is None:
        return None
    if isinstance(grid, (int, float)) and not isinstance(grid, bool):
        if not 0 < grid < math.inf:
            raise OptionError(f"grid={grid!r}; wanted a number of cells, or their length, above 0")
        return None
    try:
        borders = torch.as_tensor(grid, dtype=torch.float64, device=t0.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"grid={grid!r}; wanted a number of cells, their length, or their borders") from error
    steps = borders.diff()
    if borders.dim() != 1 or len(borders) < 2 or not bool((steps > 0).all() | (steps < 0).all()):
        raise OptionError("grid is no sequence of at least two times, strictly increasing or decreasing")
    return borders


def _listed(t: Tensor) -> str:
    return f"{float(t):g}" if t.dim() == 0 else str([float(f"{x:g}") for x in t.tolist()])


def _sizes(shape: NoiseShape) -> Any:
    return shape.tree([tuple(size) for size in shape.sizes])
