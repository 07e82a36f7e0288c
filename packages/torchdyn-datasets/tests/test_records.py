"""Records: what they refuse, how they are cut and batched, and their pictures."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from torchdyn_core import IrregularSeries, MissingExtraError, OptionError, ShapeError
from torchdyn_datasets import (
    Graph,
    Images,
    Points,
    Series,
    Trajectories,
    crossing_trajectories,
    double_ornstein_uhlenbeck,
    moons,
    ornstein_uhlenbeck,
    periodic,
    robertson,
    spheres,
    spring,
    three_body,
    two_body,
)

LONG = torch.long


def pictures(n=30):
    return Images("noise", "train", torch.randint(256, (n, 1, 8, 8)).to(torch.uint8), torch.arange(n) % 3)


def pair(**changes):
    part = torch.tensor([0])
    edges = torch.tensor([[0, 1], [1, 0]])
    fields = {"features": torch.eye(2), "edge_index": edges, "labels": torch.tensor([0, 1])}
    return Graph("pair", "public", **{**fields, "train": part, "validation": part, "test": part + 1, **changes})


@pytest.fixture
def pyplot():
    plt = pytest.importorskip("matplotlib.pyplot", reason="pictures are the extra `plot`")
    yield plt
    plt.close("all")


def test_records_are_frozen():
    for record in (moons(4), spring(2), periodic(2), pictures(), pair()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.name = "another"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Points("p", "all", torch.zeros(3)), r"points \(3,\); wanted 2 axes"),
        (lambda: Points("p", "all", torch.zeros(3, 2), torch.zeros(2)), r"labels \(2,\); wanted 3 rows"),
        (lambda: Points("p", "all", torch.zeros(3, 2), targets=torch.zeros(4, 1)), r"targets \(4, 1\); wanted 3 rows"),
        (lambda: Trajectories("t", "all", torch.zeros(4), torch.zeros(2, 3, 1)), r"times \(4,\), values \(2, 3, 1\)"),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 1), torch.zeros(2, 3)),
            r"slopes \(2, 3\); wanted those of values, \(2, 3, 1\)",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 1), channels=("a", "b")),
            r"channels \('a', 'b'\); wanted 1 names",
        ),
        (lambda: Points("p", "all", torch.zeros(3, 2, dtype=LONG)), r"points are torch\.int64; wanted real floating"),
        (lambda: Points("p", "all", torch.zeros(3, 2, dtype=torch.cfloat)), r"points are torch\.complex64; wanted"),
        (
            lambda: Points("p", "all", torch.zeros(3, 2), targets=torch.zeros(3, 1, dtype=LONG)),
            r"targets are torch\.int64; wanted real",
        ),
        (
            lambda: Trajectories("t", "all", torch.arange(3), torch.zeros(2, 3, 1)),
            r"times are torch\.int64; wanted real floating-point numbers",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 1, dtype=LONG)),
            r"values are torch\.int64; wanted real",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 1), torch.zeros(2, 3, 1) * 1j),
            r"slopes are torch\.complex64; wanted real",
        ),
        (
            lambda: Series("s", "all", IrregularSeries(torch.arange(3)[None], torch.zeros(1, 3, 1))),
            r"times are torch\.int64; wanted real",
        ),
        (
            lambda: Series("s", "all", IrregularSeries(torch.zeros(1, 3), torch.zeros(1, 3, 1, dtype=LONG))),
            r"values are torch\.int64; wanted real",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 2), planes=((0, 7),)),
            r"planes \(\(0, 7\),\); wanted pairs of channels, from 0 to 1",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 2), planes=((0, 1), (-1, 0))),
            r"planes .*; wanted pairs of channels",
        ),
        (
            lambda: Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, 2), planes=((0, 1, 1),)),
            r"planes .*; wanted pairs of channels",
        ),
        (lambda: Series("s", "all", periodic(3).series, torch.zeros(2)), r"labels \(2,\); wanted 3 rows"),
        (lambda: Series("s", "all", periodic(3).series, channels=("a", "b")), r"wanted 1 names"),
        (lambda: Images("i", "all", torch.zeros(2, 1, 4, 4), torch.zeros(2)), r"torch.float32; wanted uint8"),
        (lambda: pair(edge_index=torch.tensor([[0, 2], [1, 0]])), r"edge_index names nodes from 0 to 2; there are 2"),
        (lambda: pair(test=torch.tensor([-1])), r"test names nodes from -1 to -1"),
        (lambda: pair(edge_index=torch.zeros(2, 2)), r"edge_index \(2, 2\) torch.float32; wanted \(2, E\) long"),
        (lambda: pair(labels=torch.tensor([0])), r"labels \(1,\); wanted 2 rows"),
    ],
)
def test_shapes_that_disagree_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_planes_are_the_first_two_channels_unless_told_otherwise():
    for channels, planes in ((1, ((0, 0),)), (2, ((0, 1),)), (5, ((0, 1),)), (0, ())):
        assert Trajectories("t", "all", torch.zeros(3), torch.zeros(2, 3, channels)).planes == planes


class TestTo:
    """A record is moved as a tensor is: a dtype changes what is floating-point alone."""

    def records(self):
        series = Series("s", "all", double_ornstein_uhlenbeck(4).series, torch.arange(4))
        return [moons(4), crossing_trajectories(4), spring(2), ornstein_uhlenbeck(2), periodic(2), series, pair()]

    @staticmethod
    def tensors(record):
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            parts = [value] if isinstance(value, torch.Tensor) else []
            if isinstance(value, IrregularSeries):
                parts = [value.times, value.values, value.mask, value.lengths]
            yield from parts

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_a_dtype_changes_floating_point_numbers_alone(self, dtype):
        for record in self.records():
            found = record.to(dtype)
            assert type(found) is type(record) and (found.name, found.split) == (record.name, record.split)
            for before, after in zip(self.tensors(record), self.tensors(found), strict=True):
                assert after.dtype is (dtype if before.is_floating_point() else before.dtype)
                assert torch.equal(before.to(after.dtype), after)

    def test_what_is_no_tensor_stays(self):
        record = three_body(2, steps=3, t1=0.1)
        found = record.to(torch.float64)
        assert (found.channels, found.planes) == (record.channels, record.planes)
        series = Series("s", "all", periodic(2).series, unit="h")
        assert (series.to(torch.float64).channels, series.to(torch.float64).unit) == (series.channels, "h")

    def test_a_device_changes_all(self):
        for record in (moons(4), crossing_trajectories(4), spring(2), pictures(3)):
            assert all(tensor.device.type == "meta" for tensor in self.tensors(record.to("meta")))
        for record in (*self.records(), pictures(3)):
            for before, after in zip(self.tensors(record), self.tensors(record.to(torch.device("cpu"))), strict=True):
                assert torch.equal(before, after)

    @pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool])
    def test_no_dtype_cuts_numbers_off(self, dtype):
        for record in self.records():
            with pytest.raises(OptionError, match=rf"to\({dtype}\); wanted a dtype of real floating-point numbers"):
                record.to(dtype)

    def test_pictures_stay_bytes(self):
        with pytest.raises(OptionError, match=r"to\(torch\.float32\); wanted a device: pictures are bytes"):
            pictures(3).to(torch.float32)


class TestDivide:
    def test_parts_are_the_whole(self):
        for record in (moons(10), spring(10), double_ornstein_uhlenbeck(10), pictures(10)):
            train, test = record.divide(0.7)
            assert (len(train), len(test)) == (7, 3) and (train.split, test.split) == ("train", "test")
            assert train.name == record.name
            for row in range(10):
                wanted = record.dataset()[row]
                found = train.dataset()[row] if row < 7 else test.dataset()[row - 7]
                assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))

    def test_times_are_shared(self):
        train, test = spring(10).divide(0.5)
        assert torch.equal(train.times, test.times) and len(train.times) == 30

    @pytest.mark.parametrize("share", [0, 1, -0.5, 0.01, True])
    def test_no_part_is_empty(self, share):
        with pytest.raises(OptionError, match="share="):
            moons(10).divide(share)


class TestBatches:
    def test_points_and_trajectories_come_in_batches(self):
        points, labels = next(iter(DataLoader(moons(10).dataset(), batch_size=4)))
        assert points.shape == (4, 2) and labels.shape == (4,)
        values, slopes = next(iter(DataLoader(spring(10).dataset(), batch_size=4)))
        assert values.shape == slopes.shape == (4, 30, 2)
        assert len(ornstein_uhlenbeck(3).dataset()[0]) == 1  # paths with noise have no slope

    def test_states_of_trajectories_are_points(self):
        data = spring(10)
        states = data.states()
        assert torch.equal(states.points[31], data.values[1, 1]) and torch.equal(states.targets[31], data.slopes[1, 1])

    def test_trajectories_are_series_too(self):
        data = spring(3).series()
        assert data.series.times.shape == (3, 30) and bool(data.series.mask.all()) and data.channels == ("q", "p")

    def test_series_are_padded_to_the_longest_of_the_batch(self):
        data = double_ornstein_uhlenbeck(20)
        labels = torch.arange(20)
        rows = Series("s", "all", data.series, labels).dataset()
        batches = list(DataLoader(rows, batch_size=8, collate_fn=rows.collate))
        assert [len(series) for series, _ in batches] == [8, 8, 4]
        for number, (series, label) in enumerate(batches):
            assert isinstance(series, IrregularSeries)
            assert series.times.shape[1] == int(series.lengths.max())
            part = slice(8 * number, 8 * number + len(series))
            assert torch.equal(label, labels[part]) and torch.equal(series.lengths, data.series.lengths[part])
            width = series.times.shape[1]
            assert torch.equal(series.values, data.series.values[part, :width])
            assert torch.equal(series.mask, data.series.mask[part, :width])

    def test_series_without_labels_come_alone(self):
        rows = periodic(4).dataset()
        assert isinstance(next(iter(DataLoader(rows, batch_size=2, collate_fn=rows.collate))), IrregularSeries)

    def test_pictures_are_scaled_when_they_are_asked_for(self):
        data = pictures()
        image, label = data.dataset(0.5, 0.25)[4]
        assert torch.allclose(image, (data.images[4] / 255 - 0.5) / 0.25) and int(label) == 1
        with pytest.raises(OptionError, match="std=0; wanted a finite number > 0"):
            data.dataset(0.5, 0)


class TestPictures:
    def test_every_record_has_one_with_names_on_its_axes(self, pyplot):
        records = [moons(20), spheres(20), crossing_trajectories(4), spring(3), two_body(2), periodic(3), pair()]
        for record in [*records, double_ornstein_uhlenbeck(3), ornstein_uhlenbeck(3), robertson(steps=5, t1=0.01)]:
            figure = record.plot()
            assert isinstance(figure, pyplot.Figure)
            assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
            assert figure.get_suptitle().startswith(f"{record.name} ({record.split}): ")
            figure.canvas.draw()

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_every_precision_is_drawn(self, pyplot, dtype):
        series = Series("s", "all", double_ornstein_uhlenbeck(3).series)
        records = [moons(20), crossing_trajectories(4), spring(3), ornstein_uhlenbeck(3), periodic(3), series, pair()]
        for record in records:
            record.to(dtype).plot().canvas.draw()
        axes = spring(3, noise=0.0).to(dtype).plot().axes[0]
        wanted = spring(3, noise=0.0).values[0, :, 0].to(dtype)
        assert axes.lines[0].get_ydata().tolist() == wanted.tolist()

    def test_parts_of_a_graph_are_drawn(self, pyplot):
        def alive(tensor):
            return tensor.clone().requires_grad_() * 1

        data = spring(3)
        series = periodic(3).series
        records = [
            Points("p", "all", alive(torch.randn(5, 2))), Points("p", "all", alive(torch.randn(5, 1))),
            Points("p", "all", torch.randn(5, 1), targets=alive(torch.randn(5, 1))),
            Trajectories("t", "all", data.times, alive(data.values)),
            Trajectories("t", "all", alive(data.times), alive(data.values[..., :1])),
            Series("s", "all", IrregularSeries(series.times, alive(series.values))),
        ]  # fmt: skip
        for record in records:
            figure = record.plot()
            figure.canvas.draw()
            assert all(axes.lines or axes.collections for axes in figure.axes)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_one_time_is_drawn_as_points(self, pyplot, channels):
        axes = Trajectories("t", "all", torch.zeros(1), torch.randn(2, 1, channels)).plot().axes[0]
        assert {line.get_marker() for line in axes.lines} == {"."}
        assert {line.get_marker() for line in spring(2).plot().axes[0].lines} == {"None"}

    def test_classes_have_colours_of_their_own(self, pyplot):
        figure = moons(20).plot()
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 0", "class 1"]
        first, second = figure.axes[0].collections
        assert first.get_facecolor().tolist() != second.get_facecolor().tolist()
        assert len(first.get_offsets()) == len(second.get_offsets()) == 10

    def test_points_without_classes_are_drawn_too(self, pyplot):
        assert not Points("p", "all", torch.randn(9, 2)).plot().legends
        assert len(Points("p", "all", torch.randn(9, 1)).plot().axes[0].lines) == 9
        assert Points("p", "all", torch.randn(9, 5)).plot().axes[0].get_ylabel() == "x2"

    def test_lines_show_what_was_observed(self, pyplot):
        data = double_ornstein_uhlenbeck(3)
        axes = data.plot().axes[0]
        seen = data.series.mask[0]
        assert sorted(len(line.get_xdata()) for line in axes.lines) == sorted(seen.sum(0).tolist())

    def test_more_channels_than_colours_differ_by_their_lines(self, pyplot):
        lines = three_body(1, steps=3, t1=0.1).plot().axes[0].lines
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 12

    def test_the_title_counts(self, pyplot):
        assert robertson(steps=5, t1=0.01).plot().get_suptitle() == "robertson (all): 1 trajectory"
        assert two_body(4).plot().get_suptitle() == "two_body (all): 1 of 4 trajectories"

    def test_events_are_counted(self, pyplot):
        events = IrregularSeries(torch.tensor([[1.0, 2.0, 5.0]]), torch.ones(1, 3, 1))
        axes = Series("events", "all", events).plot().axes[0]
        assert axes.get_ylabel() == "events so far" and axes.lines[0].get_ydata().tolist() == [1, 2, 3]

    def test_pictures_are_shown_under_their_labels(self, pyplot):
        data = pictures(3)
        figure = data.plot()
        assert [axes.get_title() for axes in figure.axes] == ["0", "1", "2"]
        assert figure.axes[1].images[0].get_array().tolist() == data.images[1, 0].tolist()

    def test_a_graph_is_shown_by_class(self, pyplot):
        labels = torch.tensor([1, 2, 0, -1])
        edges = torch.tensor([[0, 3], [3, 0]])
        part = torch.tensor([0])
        graph = Graph("g", "public", torch.eye(4), edges, labels, part, part + 1, part + 3)
        matrix, bars = graph.plot().axes
        # sorted by class: node 3, which has none, then 2, 0, 1
        assert matrix.collections[0].get_offsets().tolist() == [[0, 2], [2, 0]]
        assert sum(bar.get_height() for bar in bars.patches) == 2

    def test_without_matplotlib_the_error_says_what_to_install(self):
        code = (
            "import sys; sys.modules['matplotlib'] = None\n"
            "from torchdyn_datasets import moons\n"
            "from torchdyn_core import MissingExtraError\n"
            "try: moons(4).plot()\n"
            "except MissingExtraError as error: print(error)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == 'pictures need matplotlib; install it with: pip install "torchdyn-datasets[plot]"'
        assert issubclass(MissingExtraError, ImportError)
