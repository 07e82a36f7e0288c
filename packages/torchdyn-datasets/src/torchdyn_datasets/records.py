"""What every set of data is handed over as: a small frozen record, with batches and a picture where they make sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from torchdyn_core import IrregularSeries, OptionError, ShapeError
from torchdyn_datasets.batches import ImageDataset, SeriesDataset
from torchdyn_datasets.rows import Target, check_axes, check_real, check_rows, divided, moved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Graph", "Images", "Points", "Series", "Trajectories"]


@dataclass(frozen=True, eq=False)
class Points:
    """Points, each with a class or with a target to be mapped to, or with neither.

    Arguments:
        name: Which data these are.
        split: Which part of them: train, test, all, ...
        points: The points.
        labels: The class of each.
        targets: What each is to be mapped to.

    Shapes:
        points: `(N, D)`.  labels: `(N,)`, long.  targets: `(N, E)`.

    Raises:
        ShapeError: If the shapes disagree, or points or targets are no real floating-point numbers.

    Example:
        >>> from torchdyn_datasets import moons
        >>> train, test = moons(100).divide(0.8)
        >>> train.points.shape, test.split, len(test.dataset())
        (torch.Size([80, 2]), 'test', 20)
    """

    name: str
    split: str
    points: Tensor
    labels: Tensor | None = None
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        check_axes("points", self.points, 2)
        check_real("points", self.points)
        check_real("targets", self.targets)
        check_rows(self, len(self.points), ("labels", "targets"))

    def __len__(self) -> int:
        return len(self.points)

    def dataset(self) -> Dataset[tuple[Tensor, ...]]:
        """Rows of points and, where there are any, targets and labels, in this order."""
        return TensorDataset(*(x for x in (self.points, self.targets, self.labels) if x is not None))

    def divide(self, share: float) -> tuple[Points, Points]:
        """The first `share` of the rows as `train`, the rest as `test`. Generators mix classes, so both have all."""
        return divided(self, len(self), share)

    def to(self, target: Target) -> Points:
        """The same points on a device, or with coordinates of a dtype; labels stay what they are."""
        return moved(self, target)

    def plot(self) -> Figure:
        """A scatter plot of the first dimensions, a colour for each class; lines to the targets of 1-D points."""
        from torchdyn_datasets.plots import plot_points

        return plot_points(self)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Trajectories that were observed at the same times.

    Arguments:
        name: Which system they are of.
        split: Which part of them: train, test, all, ...
        times: When they were observed, in the system's unit.
        values: What was observed.
        slopes: The vector field at the states, free of the noise that `values` may bear.
        channels: A name for each component of the state.
        planes: Pairs of channels that are drawn against each other: a plane of phases, the orbit of a body. Default:
            the first two.

    Shapes:
        times: `(T,)`.  values, slopes: `(N, T, D)`.

    Raises:
        ShapeError: If the shapes disagree, a plane is of channels that there are not, or times, values or slopes are no
            real floating-point numbers.

    Example:
        >>> from torchdyn_datasets import spring
        >>> data = spring(10)
        >>> data.values.shape, data.channels
        (torch.Size([10, 30, 2]), ('q', 'p'))
        >>> state, slope = data.states().dataset()[0]
    """

    name: str
    split: str
    times: Tensor
    values: Tensor
    slopes: Tensor | None = None
    channels: tuple[str, ...] = ()
    planes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_axes("values", self.values, 3)
        for name in ("times", "values", "slopes"):
            check_real(name, getattr(self, name))
        if self.times.shape != self.values.shape[1:2]:
            raise ShapeError(
                f"times {tuple(self.times.shape)}, values {tuple(self.values.shape)}; wanted (T), (N, T, D)"
            )
        if self.slopes is not None and self.slopes.shape != self.values.shape:
            raise ShapeError(f"slopes {tuple(self.slopes.shape)}; wanted those of values, {tuple(self.values.shape)}")
        count = self.values.shape[2]
        names = self.channels or tuple(f"y{index}" for index in range(count))
        if len(names) != count:
            raise ShapeError(f"channels {names}; wanted {count} names")
        planes = self.planes or ((0, min(1, count - 1)),) * (count > 0)
        if not all(len(plane) == 2 and set(plane) <= set(range(count)) for plane in planes):
            raise ShapeError(f"planes {planes}; wanted pairs of channels, from 0 to {count - 1}")
        object.__setattr__(self, "channels", names)
        object.__setattr__(self, "planes", planes)

    def __len__(self) -> int:
        return len(self.values)

    def dataset(self) -> Dataset[tuple[Tensor, ...]]:
        """Rows of whole trajectories `(T, D)` and, where they are known, of their slopes."""
        return TensorDataset(*(x for x in (self.values, self.slopes) if x is not None))

    def states(self) -> Points:
        """Every state of every trajectory as a point of its own, with its slope as the target."""
        slopes = None if self.slopes is None else self.slopes.flatten(0, 1)
        return Points(self.name, self.split, self.values.flatten(0, 1), targets=slopes)

    def series(self) -> Series:
        """The same as irregular series, for the models that take those."""
        times = self.times.expand(self.values.shape[:2])
        return Series(self.name, self.split, IrregularSeries(times, self.values), channels=self.channels)

    def divide(self, share: float) -> tuple[Trajectories, Trajectories]:
        """The first `share` of the trajectories as `train`, the rest as `test`."""
        return divided(self, len(self), share)

    def to(self, target: Target) -> Trajectories:
        """The same trajectories on a device, or with times, values and slopes of a dtype."""
        return moved(self, target)

    def plot(self) -> Figure:
        """The first trajectory over time, and some of them in their planes."""
        from torchdyn_datasets.plots import plot_trajectories

        return plot_trajectories(self)


@dataclass(frozen=True, eq=False)
class Series:
    """Series that were observed at times of their own, some channels missing.

    Arguments:
        name: Which data these are.
        split: Which part of them: train, validation, test, all, ...
        series: Times, values and what was observed.
        labels: The class of each series; -1 where it is not known.
        channels: A name for each channel.
        unit: The unit of time.

    Shapes:
        labels: `(N,)`, long.

    Raises:
        ShapeError: If the shapes disagree, or times or values are no real floating-point numbers.

    Example:
        >>> from torchdyn_datasets import double_ornstein_uhlenbeck
        >>> data = double_ornstein_uhlenbeck(8)
        >>> rows = data.dataset()
        >>> loader = torch.utils.data.DataLoader(rows, batch_size=4, collate_fn=rows.collate)
        >>> len(next(iter(loader)))
        4
    """

    name: str
    split: str
    series: IrregularSeries
    labels: Tensor | None = None
    channels: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        count = self.series.values.shape[2]
        check_real("times", self.series.times)
        check_real("values", self.series.values)
        check_rows(self, len(self.series), ("labels",))
        if self.channels and len(self.channels) != count:
            raise ShapeError(f"channels {self.channels}; wanted {count} names")
        if not self.channels:
            object.__setattr__(self, "channels", tuple(f"y{index}" for index in range(count)))

    def __len__(self) -> int:
        return len(self.series)

    def dataset(self) -> SeriesDataset:
        """Series without their padding; its `collate` makes an `IrregularSeries` of a batch, and labels if known."""
        return SeriesDataset(self.series, self.labels)

    def divide(self, share: float) -> tuple[Series, Series]:
        """The first `share` of the series as `train`, the rest as `test`."""
        return divided(self, len(self), share)

    def to(self, target: Target) -> Series:
        """The same series on a device, or with times and values of a dtype; labels stay what they are."""
        return moved(self, target)

    def plot(self) -> Figure:
        """The channels that were observed most in the first series, over time."""
        from torchdyn_datasets.plots import plot_series

        return plot_series(self)


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures, each with a class.

    Arguments:
        name: Which data these are.
        split: Which part of them: train, test, ...
        images: Grey levels, 0 to 255.
        labels: The class of each.

    Shapes:
        images: `(N, C, H, W)`, uint8.  labels: `(N,)`, long.

    Raises:
        ShapeError: If the shapes disagree.

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Images
        >>> data = Images("noise", "train", torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5))
        >>> image, label = data.dataset(mean=0.5, std=0.5)[1]
        >>> image.shape, float(image.max()), label
        (torch.Size([1, 8, 8]), -1.0, tensor(1))
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        check_axes("images", self.images, 4)
        if self.images.dtype is not torch.uint8:
            raise ShapeError(f"images are {self.images.dtype}; wanted uint8")
        check_rows(self, len(self.images), ("labels",))

    def __len__(self) -> int:
        return len(self.images)

    def dataset(self, mean: float = 0.0, std: float = 1.0) -> ImageDataset:
        """Rows of floating-point pictures and labels: grey levels from 0 to 1, less `mean`, over `std`."""
        return ImageDataset(self.images, self.labels, mean, std)

    def divide(self, share: float) -> tuple[Images, Images]:
        """The first `share` of the pictures as `train`, the rest as `test`."""
        return divided(self, len(self), share)

    def to(self, device: torch.device | str) -> Images:
        """The same pictures on a device. They stay bytes: `dataset()` makes floating-point numbers of them.

        Raises:
            OptionError: If a dtype is given.
        """
        if isinstance(device, torch.dtype):
            raise OptionError(f"to({device}); wanted a device: pictures are bytes, and dataset() makes numbers of them")
        return moved(self, device)

    def plot(self) -> Figure:
        """The first pictures, with their labels."""
        from torchdyn_datasets.plots import plot_images

        return plot_images(self)


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph whose nodes have features and classes; which of them are trained on is told by their numbers.

    Arguments:
        name: Which graph this is.
        split: The standard split that the three lists of nodes make.
        features: What is known of each node.
        edge_index: Source and target of every edge; an edge without direction stands twice.
        labels: The class of each node; -1 where it has none.
        train, validation, test: Numbers of the nodes of each part.

    Shapes:
        features: `(N, F)`.  edge_index: `(2, E)`, long.  labels: `(N,)`, long.

    Raises:
        ShapeError: If the shapes disagree, or an edge has an end that is no node.

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Graph
        >>> edges, part = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0])
        >>> Graph("pair", "public", torch.eye(2), edges, torch.tensor([0, 1]), part, part, part + 1).classes
        2
    """

    name: str
    split: str
    features: Tensor
    edge_index: Tensor
    labels: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        check_axes("features", self.features, 2)
        check_rows(self, len(self.features), ("labels",))
        edges = self.edge_index
        if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.long:
            raise ShapeError(f"edge_index {tuple(edges.shape)} {edges.dtype}; wanted (2, E) long")
        for name in ("edge_index", "train", "validation", "test"):
            nodes = getattr(self, name)
            if nodes.numel() and not (int(nodes.min()) >= 0 and int(nodes.max()) < len(self)):
                raise ShapeError(f"{name} names nodes from {nodes.min()} to {nodes.max()}; there are {len(self)}")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1

    def to(self, target: Target) -> Graph:
        """The same graph on a device, or with features of a dtype; numbers of nodes and classes stay what they are."""
        return moved(self, target)

    def plot(self) -> Figure:
        """The edges between nodes that are sorted by class: blocks on the diagonal are edges within a class."""
        from torchdyn_datasets.plots import plot_graph

        return plot_graph(self)
