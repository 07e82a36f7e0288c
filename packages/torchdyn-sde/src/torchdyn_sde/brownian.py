"""Brownian paths: pure functions of a seed and an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from torchdyn_core import Fixed, IncompatibleError, OptionError, Path, ShapeError
from torchdyn_core.tree import Tree, align
from torchdyn_sde.blocks import Blocks
from torchdyn_sde.cells import Cells
from torchdyn_sde.multiwavelets import weights, whole
from torchdyn_sde.noise_shape import NoiseShape, Shapes
from torchdyn_sde.normal import normals
from torchdyn_sde.threefry import signed, threefry

__all__ = ["AREAS", "Area", "BrownianIncrement", "BrownianPath", "Plan"]

Area = Literal["none", "space-time", "space-time-time"]
AREAS: tuple[Area, ...] = ("none", "space-time", "space-time-time")
_SCALES = (1.0, -math.sqrt(1 / 12), math.sqrt(1 / 720))
_LEVELS = 28
_GOLDEN = 0x9E3779B9
_CHUNK = 2**18
"""Numbers that are drawn at once where nothing fuses what is done to them."""
_SLACK = 1e-9
"""How far beyond its span, as a part of it, a path may be asked: times were computed with rounding."""


class Plan(NamedTuple):
    """What a solve wants of a path: areas, and the steps that it takes, where they are known in advance."""

    area: Area = "none"
    steps: Fixed | None = None


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


class _Source(NamedTuple):
    """Nodes of which noise is drawn: cell and node, `(N, *)`, and weights `(N, J, J, *)`, None where it is one node."""

    cell: Tensor
    node: Tensor
    weight: Tensor | None


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
        self.rows = self.shape.rows
        self.dtype, self.area, self.levels, self.antithetic = dtype, area, levels, antithetic
        self.t0, self.t1 = (self._time(name, t, device) for name, t in (("t0", t0), ("t1", t1)))
        self.seed = self._checked_seed(seed, self.t0.device)
        if antithetic and (self.rows is None or self.rows % 2):
            raise OptionError(f"antithetic=True with {self.rows} rows; wanted an even number: halves mirror each other")
        self.cells = _cells(self.t0, self.t1, grid)
        self.grid = grid
        self._start_keyed = False
        self._blocks = Blocks(self.t0.device)

    @staticmethod
    def drawn(t0: Tensor, t1: Tensor, dtype: torch.dtype, plan: Plan) -> BrownianPath:
        """The path of one solve, of whatever shape its noise will have, with a seed from torch's generator.

        Where steps are known in advance each has a number of its own: one that a step can be asked about once.
        """
        path = BrownianPath(0.0, 1.0, (), dtype=dtype, area=plan.area)
        path.shape = path.rows = None
        path.t0, path.t1 = t0.detach(), t1.detach()
        path.seed, path._blocks = path.seed.to(t0.device), Blocks(t0.device)
        steps = plan.steps
        if steps is not None:
            path.grid = steps.steps if steps.steps is not None else steps.dt if steps.dt is not None else steps.grid
            path._start_keyed = True
        path.cells = _cells(path.t0, path.t1, path.grid)
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
        return self

    def _check_within(self, ta: Tensor, tb: Tensor) -> None:
        if self.shape is None or torch.compiler.is_compiling():
            return
        low, high = torch.minimum(self.t0, self.t1), torch.maximum(self.t0, self.t1)
        slack = _SLACK * (high - low)
        for t in (ta, tb):
            if not bool(((t >= low - slack) & (t <= high + slack)).all()):
                raise ShapeError(
                    f"the path was asked about {_listed(ta)} to {_listed(tb)}, and is known from {_listed(low)} to "
                    f"{_listed(high)}; wanted a path that covers it"
                )

    def _time(self, name: str, t: float | Tensor, device: Any) -> Tensor:
        made = torch.as_tensor(t, dtype=torch.float64, device=device).detach()
        if made.dim() > 1 or (made.dim() == 1 and len(made) != self.rows):
            raise ShapeError(f"{name} has shape {tuple(made.shape)}; wanted (), or one for each of {self.rows} rows")
        return made

    def _checked_seed(self, seed: int | Tensor | None, device: torch.device) -> Tensor:
        if seed is None:
            seed = torch.randint(2**62, ())
        made = torch.as_tensor(seed, device=device)
        if made.is_floating_point() or made.is_complex() or made.dtype is torch.bool:
            raise OptionError(f"seed={seed!r}; wanted whole numbers")
        if made.dim() > 1 or (made.dim() == 1 and len(made) != self.rows):
            raise ShapeError(f"seed has shape {tuple(made.shape)}; wanted (), or one for each of {self.rows} rows")
        return made.long()

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
        forth = (self.t1 >= self.t0) == (tb >= ta)
        first, last = torch.where(forth, ta, tb), torch.where(forth, tb, ta)
        parts = self._started(first, shape) if self._start_keyed else self._weighed(self._descended(first, last), shape)
        root = (tb - ta).abs().sqrt()
        made = []
        for k, numbers in enumerate(zip(*parts, strict=True)):
            # the path run backwards has the opposite increment, the same area, the opposite third number
            scale = _SCALES[k] * (root if k == 1 else torch.where(forth, root, -root))
            made.append(shape.tree([align(scale.to(self.dtype), leaf) * leaf for leaf in numbers]))
        return BrownianIncrement(*made)

    @property
    def _count(self) -> int:
        return AREAS.index(self.area) + 1

    def _started(self, a: Tensor, shape: NoiseShape) -> list[list[Tensor]]:
        """The numbers of a step, which are known by where it begins."""
        index, place = self.cells.starting(a)
        if not torch.compiler.is_compiling() and a.dim() == 0 and float(place) == 0.0:
            return self._blocks.row(int(index), shape.sizes, self._first_numbers, self.cells.count(self.t1))
        node = torch.where(place == 0.0, 0, (1 << 29) + (place * (1 << 28)).long())
        return self._weighed(_Source(index[None], node[None], None), shape)

    def _first_numbers(self, place: int, size: torch.Size, cells: Tensor) -> list[Tensor]:
        """The numbers of whole cells, `(N, *size)`."""
        return self._drawn(place, size, cells, torch.zeros_like(cells))

    def _weighed(self, source: _Source, shape: NoiseShape) -> list[list[Tensor]]:
        """For each leaf of the noise, one for each of the quantities asked about."""
        return [self._leaf(place, size, source) for place, size in enumerate(shape.sizes)]

    def _descended(self, a: Tensor, b: Tensor) -> _Source:
        """The noise on those nodes of the tree that hold an end of the interval."""
        ends = self.cells.holding(a, b)
        found = [
            weights(cell.a, cell.b, torch.full_like(cell.a, last, dtype=torch.bool), self.levels, self._count)
            for last, cell in zip((False, True), ends, strict=True)
        ]
        # what holds both ends counts once, apart from leaves, which one end and the other cut
        same = (found[0].node == found[1].node) & (ends[0].cell == ends[1].cell)
        once = torch.where(same[:-1, None, None], 0.0, found[1].weight[:-1])
        sources = [_Source(place.cell.expand(w.node.shape), *w) for place, w in zip(ends, found, strict=True)]
        sources[1] = sources[1]._replace(weight=torch.cat((once, found[1].weight[-1:])))
        gap = ends[1].cell - ends[0].cell
        if torch.compiler.is_compiling():  # how many cells lie between is not known; a step that is longer is none
            sources[0] = sources[0]._replace(weight=found[0].weight * torch.where(gap > 1, torch.nan, 1.0))
        elif bool((gap > 1).any()):
            sources.append(self._between(a, b, ends[0].cell, gap))
        return _Source(*(torch.cat(parts) for parts in zip(*sources, strict=True)))

    def _between(self, a: Tensor, b: Tensor, first: Tensor, gap: Tensor) -> _Source:
        """The cells that lie within the interval."""
        steps = torch.arange(1, int(gap.max()), device=a.device).reshape(-1, *(1,) * a.dim())
        index = first + steps
        cell = self.cells.at(index, a, b)
        weight = torch.where((steps < gap)[:, None, None], whole(cell.a, cell.b, self._count), 0.0)
        return _Source(index, torch.zeros_like(index), weight)

    def _leaf(self, place: int, size: torch.Size, source: _Source) -> list[Tensor]:
        """What the nodes' numbers make of a leaf of the noise, one for each of the quantities asked about."""
        cell, node, weight = source
        if weight is None:
            return [number[0] for number in self._drawn(place, size, cell, node)]
        count = self._count
        chunk = len(node) if torch.compiler.is_compiling() else max(1, _CHUNK // max(1, size.numel()))
        total: list[Tensor] = []
        for start in range(0, len(node), chunk):
            rows = slice(start, start + chunk)
            drawn = self._drawn(place, size, cell[rows], node[rows])
            parts = []
            for k in range(count):
                factors = weight[rows, :, k].to(self.dtype).unbind(1)
                terms = [align(factor, number) * number for factor, number in zip(factors, drawn, strict=True)]
                parts.append(sum(terms[1:], terms[0]).sum(0))
            total = parts if not total else [a + b for a, b in zip(total, parts, strict=True)]
        return total

    def _drawn(self, place: int, size: torch.Size, cell: Tensor, node: Tensor) -> list[Tensor]:
        """The normal numbers of nodes, `(N, *size)` each: of each row a stream, of each column a place in it."""
        count = self._count
        rows, columns = (1, 1) if not size else (size[0], math.prod(size[1:]))
        half = rows // 2
        row = torch.arange(rows, dtype=torch.int32, device=node.device)
        seed = self.seed
        if self.antithetic:
            row = row % half
            seed = seed[:half].repeat(2) if seed.dim() else seed
        if seed.dim():  # whose rows have streams of their own already
            row = torch.zeros_like(row)
            cell, node = (x if x.dim() > 1 else x[:, None] for x in (cell, node))
        words = signed(seed), signed((seed >> 32) + place * _GOLDEN)  # leaves have streams of their own
        # two numbers come of one draw: those of two columns, or of two functions of a node
        paired = count == 1
        column = torch.arange((columns + 1) // 2 if paired else columns, dtype=torch.int32, device=node.device)
        found: list[Tensor] = []
        for draw in range((count + 1) // 2):
            key = threefry(words, (signed(cell), signed(node + (draw << 31))))
            low, high = (word.reshape(len(node), -1, 1) for word in key)
            found.extend(normals(threefry((low, high), (row[:, None], column)), self.dtype))
        if paired:
            found = [torch.cat(found, -1)[..., :columns]]
        made = [number.reshape(len(node), *size) for number in found[:count]]
        if not self.antithetic:
            return made
        return [torch.cat((number[:, :half], -number[:, :half]), 1) for number in made]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Times stay float64 and seeds whole numbers: of what modules do to their tensors only the device counts."""
        device = fn(self.t0.to(torch.get_default_dtype())).device
        if device != self.t0.device:
            for name in ("t0", "t1", "seed"):
                setattr(self, name, getattr(self, name).to(device))
            self.cells, self._blocks = self.cells.to(device), Blocks(device)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _cells(t0: Tensor, t1: Tensor, grid: Any) -> Cells:
    """The partition that a user's `grid` means.

    Raises:
        OptionError: If it means none.
    """
    span = t1 - t0
    if grid is None:
        return Cells(t0, span)
    if isinstance(grid, (int, float)) and not isinstance(grid, bool):
        if not 0 < grid < math.inf:
            raise OptionError(f"grid={grid!r}; wanted a number of cells, or their length, above 0")
        return Cells(t0, span / grid if isinstance(grid, int) else grid * span.sign())
    try:
        borders = torch.as_tensor(grid, dtype=torch.float64, device=t0.device)
    except (TypeError, ValueError) as error:
        raise OptionError(f"grid={grid!r}; wanted a number of cells, their length, or their borders") from error
    steps = borders.diff()
    if borders.dim() != 1 or len(borders) < 2 or not bool((steps > 0).all() | (steps < 0).all()):
        raise OptionError("grid is no sequence of at least two times, strictly increasing or decreasing")
    return Cells(t0, None, borders)


def _listed(t: Tensor) -> str:
    return f"{float(t):g}" if t.dim() == 0 else str([float(f"{x:g}") for x in t.tolist()])


def _sizes(shape: NoiseShape) -> Any:
    return shape.tree([tuple(size) for size in shape.sizes])
