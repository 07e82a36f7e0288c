"""The pictures of the records. matplotlib is imported when one is drawn, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchdyn_core import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchdyn_datasets.records import Graph, Images, Points, Series, Trajectories

__all__ = ["plot_graph", "plot_images", "plot_points", "plot_series", "plot_trajectories"]

_SHOWN = 12
"""So many trajectories or channels fit a picture before it is one blot."""

_POINTS = 5000
"""So many points do."""

_ONE = {"points": "point", "trajectories": "trajectory", "pictures": "picture", "nodes": "node"}


def plot_points(record: Points) -> Figure:
    """A scatter plot of points in one to three dimensions, or of the first two of more.

    Example:
        >>> from torchdyn_datasets import moons
        >>> moons(20).plot().axes[0].get_xlabel()
        'x1'
    """
    dims = record.points.shape[1]
    if dims == 1:
        return _plot_lines(record)
    figure, axes = _figure(6.0, 5.0, projection="3d" if dims == 3 else None)
    names = [f"x{index + 1}" for index in range(min(dims, 3))] if dims <= 3 else ["x1", "x2"]
    points = record.points[:_POINTS]
    labels = torch.zeros(len(points), dtype=torch.long) if record.labels is None else record.labels[: len(points)]
    for number, label in enumerate(labels.unique().tolist()):
        columns = _numbers(points[labels == label][:, : len(names)]).T
        name = None if record.labels is None else f"class {label}"
        style: Any = {"color": f"C{number % 10}", "label": name, "s": 8, "alpha": 0.7, "linewidths": 0}
        axes.scatter(*columns, **style)
    _name_axes(axes, names[0], names[1])
    if dims == 3:
        axes.set_box_aspect((1, 1, 1), zoom=0.85)  # type: ignore[arg-type, call-arg] # of axes in three dimensions
        axes.set_zlabel(names[2])  # type: ignore[attr-defined] # the same
        axes.locator_params(nbins=4)
    else:
        axes.set_aspect("equal", adjustable="datalim")
    if record.labels is not None:
        figure.legend(loc="outside right upper", frameon=False, markerscale=2)
    return _titled(figure, record, len(points), len(record), "points")


def plot_trajectories(record: Trajectories) -> Figure:
    """The first trajectory over time; some of them, the start marked, in the planes that the record names.

    Example:
        >>> from torchdyn_datasets import spring
        >>> [axes.get_xlabel() for axes in spring(3).plot().axes]
        ['t', 'q']
    """
    plane = record.values.shape[2] > 1
    figure, axes = _panels(2 if plane else 1)
    times = _numbers(record.times)
    marks = "." if len(times) == 1 else ""  # a line of one point is not seen
    if plane:
        for index, name in enumerate(record.channels):
            style = ("-", "--", ":")[index // 10 % 3]  # there are ten colours
            axes[0].plot(times, _numbers(record.values[0, :, index]), marks + style, label=name)
        axes[0].legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        _name_axes(axes[0], "t", "state of the first")
        if len(times) > 1 and times[-1] > 1000 * times[1] > 0:  # they were chosen to be seen like this
            axes[0].set_xscale("log")
        _draw_planes(axes[1], record)
    else:
        for row in _numbers(record.values[:_SHOWN, :, 0]):
            axes[0].plot(times, row, marks + "-", linewidth=1)
        _name_axes(axes[0], "t", record.channels[0])
    shown = 1 if len(record.planes) > 1 else min(_SHOWN, len(record))
    return _titled(figure, record, shown, len(record), "trajectories")


def plot_series(record: Series) -> Figure:
    """What was observed of the first series over time; where there is one channel, of several series.

    Example:
        >>> from torchdyn_datasets import periodic
        >>> periodic(3).plot().axes[0].get_ylabel()
        'y'
    """
    series = record.series
    assert series.mask is not None
    figure, (axes,) = _panels(1)
    _name_axes(axes, f"t, {record.unit}" if record.unit else "t", "value")
    if series.values.shape[2] > 1:
        counts = series.mask[0].sum(0)
        for channel in counts.argsort(descending=True, stable=True)[: _SHOWN // 2].sort().values.tolist():
            seen = series.mask[0, :, channel]
            _draw_observed(axes, series.times[0, seen], series.values[0, seen, channel], label=record.channels[channel])
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return _titled(figure, record, 1, len(record), "series")
    rows = range(min(_SHOWN // 2, len(record)))
    steps = bool((series.values[series.mask] == 1).all())  # events: how many there were tells more than that they were
    for row in rows:
        seen = series.mask[row, :, 0]
        values = torch.arange(1, int(seen.sum()) + 1) if steps else series.values[row, seen, 0]
        _draw_observed(axes, series.times[row, seen], values, marks="," if steps else "o")
    axes.set_ylabel("events so far" if steps else record.channels[0])
    return _titled(figure, record, len(rows), len(record), "series")


def plot_images(record: Images) -> Figure:
    """The first pictures in a grid, each under its label.

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Images
        >>> pictures = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> Images("black", "train", pictures, torch.arange(3)).plot().axes[2].get_title()
        '2'
    """
    pyplot = _pyplot()
    count = min(24, len(record))
    columns = min(8, count)
    rows = -(-count // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(columns, 1.3 * rows + 0.4), layout="constrained", squeeze=False
    )
    for index, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if index < count:
            picture = record.images[index].permute(1, 2, 0).cpu().numpy()
            axes.imshow(picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=255)
            axes.set_title(str(int(record.labels[index])), fontsize="medium")
    return _titled(figure, record, count, len(record), "pictures")


def plot_graph(record: Graph) -> Figure:
    """The adjacency matrix with nodes sorted by class, and how many nodes there are of each.

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Graph
        >>> edges, part = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0])
        >>> figure = Graph("pair", "public", torch.eye(2), edges, torch.tensor([0, 1]), part, part, part + 1).plot()
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['node, sorted by class', 'class']
    """
    figure, (matrix, bars) = _panels(2)
    place = record.labels.argsort(stable=True).argsort()
    source, target = place[record.edge_index].cpu().numpy()
    matrix.scatter(target, source, s=2, linewidths=0, alpha=0.5)
    edges = torch.bincount(record.labels + 1).cumsum(0)[:-1].tolist()
    for edge in edges[1:]:
        matrix.axhline(edge, color="0.7", linewidth=0.5)
        matrix.axvline(edge, color="0.7", linewidth=0.5)
    matrix.set_aspect("equal")
    matrix.set_xlim(-0.5, len(record) - 0.5)
    matrix.set_ylim(len(record) - 0.5, -0.5)
    _name_axes(matrix, "node, sorted by class", "node, sorted by class")
    base = torch.zeros(record.classes)
    for name in ("train", "validation", "test"):
        labels = record.labels[getattr(record, name)]
        counts = torch.bincount(labels[labels >= 0], minlength=record.classes).cpu()
        bars.bar(range(record.classes), counts.tolist(), bottom=base.tolist(), label=name)
        base = base + counts
    bars.legend(frameon=False)
    bars.set_xticks(range(record.classes))
    _name_axes(bars, "class", "nodes of the split")
    return _titled(figure, record, len(record), len(record), "nodes")


def _plot_lines(record: Points) -> Figure:
    """Points of the line at one time and, where they have targets, these at a later one."""
    figure, axes = _figure(5.0, 4.0)
    points = _numbers(record.points[:_POINTS, 0])
    ends = points if record.targets is None else _numbers(record.targets[: len(points), 0])
    colours = [0] * len(points) if record.labels is None else record.labels[: len(points)].tolist()
    for start, end, colour in dict.fromkeys(zip(points.tolist(), ends.tolist(), colours, strict=True)):
        axes.plot([0, 1], [start, end], "o-", color=f"C{colour % 10}", linewidth=1, markersize=5)
    axes.set_xticks([0, 1], ["point", "target"])
    _name_axes(axes, "where each is, and where it is to go", "x1")
    return _titled(figure, record, len(points), len(record), "points")


def _draw_planes(axes: Axes, record: Trajectories) -> None:
    several = len(record.planes) > 1
    names = record.channels
    shown = 1 if several else _SHOWN
    for number, (first, second) in enumerate(record.planes):
        for row in _numbers(record.values[:shown, :, [first, second]]):
            label = f"({names[first]}, {names[second]})" if several else None
            (line,) = axes.plot(row[:, 0], row[:, 1], linewidth=1, label=label)
            axes.plot(*row[0], "o", color=line.get_color(), markersize=4)
        if number == 0:
            _name_axes(axes, names[first], names[second])
    if several:
        _name_axes(axes, "first coordinate", "second coordinate")
        axes.legend(frameon=False)
        axes.set_aspect("equal", adjustable="datalim")


def _draw_observed(axes: Axes, times: Tensor, values: Tensor, *, marks: str = "o", label: str | None = None) -> None:
    axes.plot(_numbers(times), _numbers(values), marks + "-", markersize=3, linewidth=0.8, alpha=0.8, label=label)


def _numbers(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor as matplotlib takes it, wherever and in whichever precision it is, a part of a graph or not."""
    numbers: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return numbers


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError(
            'pictures need matplotlib; install it with: pip install "torchdyn-datasets[plot]"'
        ) from error
    return pyplot


def _figure(width: float, height: float, projection: str | None = None) -> tuple[Figure, Axes]:
    figure = _pyplot().figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot(projection=projection)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure, axes = _pyplot().subplots(1, count, figsize=(5.5 * count, 4.2), layout="constrained", squeeze=False)
    return figure, list(axes[0])


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _titled(figure: Figure, record: Any, shown: int, count: int, what: str) -> Figure:
    what = _ONE.get(what, what) if count == 1 else what
    some = f"{shown} of {count} {what}" if shown < count else f"{count} {what}"
    figure.suptitle(f"{record.name} ({record.split}): {some}", fontsize="medium")
    return figure
