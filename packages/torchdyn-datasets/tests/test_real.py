"""Real data: the copies in the folder of `TORCHDYN_DATA`, and public originals that are put together from them."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from torchdyn_core import OptionError
from torchdyn_datasets import (
    ChecksumError,
    DownloadError,
    FormatError,
    Pendulum,
    brusselator,
    cora,
    mnist,
    physionet2012,
    planetoid,
    point_processes,
    real_pendulum,
)
from torchdyn_datasets.fetch import RemoteFile
from torchdyn_datasets.real import icu_files
from torchdyn_datasets.real import mnist as mnist_module
from torchdyn_datasets.real import planetoid as planetoid_module
from torchdyn_datasets.real.parsed import digest

DATA = os.environ.get("TORCHDYN_DATA", "")  # read before the tests take it away

needs_data = pytest.mark.skipif(not DATA, reason="TORCHDYN_DATA names no folder with the real data sets")


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setenv("TORCHDYN_DATA", DATA)
    return Path(DATA)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of data to put files into."""
    made = tmp_path / "data"
    made.mkdir()
    monkeypatch.setenv("TORCHDYN_DATA", str(made))
    return made


def pack(images):
    return struct.pack(f">4B{images.ndim}I", 0, 0, 8, images.ndim, *images.shape) + images.tobytes()


class TestMNIST:
    @needs_data
    @pytest.mark.parametrize(
        ("split", "counts"),
        [
            ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
            ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ],
    )
    def test_it_is_mnist(self, data, split, counts):
        digits = mnist(split)
        assert digits.images.shape == (sum(counts), 1, 28, 28) and digits.labels.bincount().tolist() == counts
        if split == "train":
            assert digits.labels[:5].tolist() == [5, 0, 4, 1, 9]
            pixels = digits.images.double() / 255
            assert abs(float(pixels.mean()) - 0.1307) < 1e-4 and abs(float(pixels.std()) - 0.3081) < 1e-4

    @pytest.fixture
    def small(self, server, monkeypatch):
        """Five pictures, as the public source would send them."""
        images, labels = np.arange(5 * 28 * 28, dtype=np.uint8).reshape(5, 28, 28), np.arange(5, dtype=np.uint8)
        files = []
        for name, content in (("images", images), ("labels", labels)):
            server.files[f"/{name}"] = gzip.compress(pack(content))
            sums = (hashlib.sha256(server.files[f"/{name}"]).hexdigest(),)
            files.append(RemoteFile(f"mnist/{name}.gz", (server.url(f"/{name}"),), sums))
        monkeypatch.setattr(mnist_module, "_FILES", {"train": tuple(files)})
        return torch.from_numpy(images), torch.from_numpy(labels)

    def test_it_is_downloaded_and_read(self, small, cache):
        digits = mnist("train")
        assert torch.equal(digits.images[:, 0], small[0]) and torch.equal(digits.labels, small[1].long())
        assert sorted(path.name for path in cache.rglob("*.gz")) == ["images.gz", "labels.gz"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is no IDX file"),
            (b"\0\0\x0d\x01\0\0\0\x01\0", "is no IDX file"),
            (b"\0\0\x08\x03\0\0\0\x01", "is no IDX file"),
            (pack(np.zeros((2, 3), np.uint8))[:-1], r"holds 5 bytes behind its header; wanted \[2, 3\]"),
            (pack(np.zeros((2, 3), np.uint8)) + b"\0", "holds 7 bytes"),
            (b"\0\0\x08\x02" + b"\xff" * 8 + b"\0", "holds 1 bytes"),
        ],
    )
    def test_what_is_no_idx_file_is_refused(self, tmp_path, content, message):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(FormatError, match=message):
            mnist_module.read_idx(tmp_path / "file")


def public_cora(folder):
    """The eight public files of Cora, made of the safe copy: pickles, nodes to be tested in another order."""
    stored = np.load(Path(DATA, "planetoid/cora.npz"), allow_pickle=False)
    shape = tuple(stored["x_shape"])
    x = scipy.sparse.csr_matrix((stored["x_data"], stored["x_indices"], stored["x_indptr"]), shape=shape)
    onehot = np.eye(7)[stored["labels"]]
    order = np.random.default_rng(0).permutation(stored["test_idx"])
    graph = {node: [] for node in range(shape[0])}
    for source, target in stored["edge_index"].T.tolist():
        graph[source] += [target, target]  # the public file has edges twice
    graph[3].append(3)  # and loops
    parts = {
        "x": x[:140], "y": onehot[:140], "allx": x[:1708], "ally": onehot[:1708], "tx": x[order], "ty": onehot[order],
        "graph": graph,
    }  # fmt: skip
    (folder / "planetoid").mkdir()
    for part, value in parts.items():
        (folder / f"planetoid/ind.cora.{part}").write_bytes(pickle.dumps(value, 2))
    (folder / "planetoid/ind.cora.test.index").write_text("".join(f"{node}\n" for node in order))


def public_tiny(folder, name="citeseer", **changes):
    """A graph of seven nodes: 2 to train on, 3 known, then 4, 6 and 3 to be tested; of 5 nothing is known."""
    x = np.arange(18, dtype=np.float32).reshape(6, 3)
    parts = {
        "x": scipy.sparse.csr_matrix(x[:2]), "y": np.eye(2)[[0, 1]], "allx": scipy.sparse.csr_matrix(x[:3]),
        "ally": np.eye(2)[[0, 1, 1]], "tx": scipy.sparse.csr_matrix(x[3:]), "ty": np.eye(2)[[0, 1, 0]],
        "graph": {0: [1, 6], 1: [0, 1], 2: [4, 4], 6: [0]}, **changes,
    }  # fmt: skip
    (folder / "planetoid").mkdir(exist_ok=True)
    for part, value in parts.items():
        path = folder / f"planetoid/ind.{name}.{part}"
        path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, 2))
    if "test.index" not in changes:
        (folder / f"planetoid/ind.{name}.test.index").write_text("4\n6\n3\n")


class TestPlanetoid:
    @needs_data
    def test_cora_is_cora(self, data):
        graph = cora()
        assert graph.features.shape == (2708, 1433) and int(graph.features.sum()) == 49216
        assert graph.edge_index.shape == (2, 2 * 5278) and graph.classes == 7
        assert [len(part) for part in (graph.train, graph.validation, graph.test)] == [140, 500, 1000]
        assert graph.labels[graph.train].bincount().tolist() == [20] * 7
        assert torch.equal(graph.test, torch.arange(1708, 2708))
        sums = cora(normalise=True).features.sum(1)
        assert torch.allclose(sums, torch.ones(2708))

    @needs_data
    def test_the_public_pickles_give_the_same_arrays(self, folder):
        public_cora(folder)
        found = cora()  # their checksum is that of the safe copy's arrays, or this would raise
        shutil.copytree(Path(DATA, "planetoid"), folder / "planetoid", dirs_exist_ok=True)
        wanted = cora()
        for name in ("features", "edge_index", "labels", "train", "validation", "test"):
            assert torch.equal(getattr(found, name), getattr(wanted, name))

    def test_nodes_stand_where_the_index_puts_them(self, folder, monkeypatch):
        monkeypatch.setattr(planetoid_module, "_VALIDATED", 1)
        public_tiny(folder)
        with pytest.raises(OptionError) as caught:
            planetoid("citeseer")
        given = str(caught.value).rpartition("sha256='")[2].removesuffix("'")
        graph = planetoid("citeseer", sha256=given)
        x = torch.arange(18.0).reshape(6, 3)
        assert torch.equal(graph.features, torch.stack((x[0], x[1], x[2], x[5], x[3], torch.zeros(3), x[4])))
        assert graph.labels.tolist() == [0, 1, 1, 0, 0, -1, 1]
        assert graph.edge_index.T.tolist() == [[0, 1], [0, 6], [1, 0], [2, 4], [4, 2], [6, 0]]
        assert (graph.train.tolist(), graph.validation.tolist(), graph.test.tolist()) == ([0, 1], [2], [3, 4, 6])

    def test_another_checksum_is_refused(self, folder):
        public_tiny(folder)
        with pytest.raises(ChecksumError, match=f"has the sha256 [0-9a-f]{{64}}, wanted {'0' * 64}"):
            planetoid("citeseer", sha256="0" * 64)
        assert len(list((folder / "planetoid").iterdir())) == 8  # the user's own files are left alone

    def test_files_of_the_cache_that_are_not_cora_are_removed(self, server, cache, tmp_path, monkeypatch):
        public_tiny(tmp_path, "cora")
        for path in (tmp_path / "planetoid").iterdir():
            server.files[f"/{path.name}"] = path.read_bytes()
        monkeypatch.setattr(planetoid_module, "_SOURCE", server.url("/"))
        with pytest.raises(ChecksumError, match="planetoid cora: what was read has the sha256"):
            cora()
        assert len(server.requests) == 8 and not [path for path in cache.rglob("*") if path.is_file()]

    def test_a_pickle_that_wants_to_run_something_is_refused(self, folder, tmp_path):
        class Attack:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'mark'}",)

        public_tiny(folder, graph={0: Attack()})
        with pytest.raises(FormatError, match=r"ind\.citeseer\.graph names '(posix|nt)\.system'"):
            planetoid("citeseer", sha256="0" * 64)
        assert not (tmp_path / "mark").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"graph": {0: [7]}}, {"graph": {0: [-1]}}, {"graph": np.zeros(3)}, {"graph": {}}, {"x": 3, "allx": 3},
            {"ty": np.eye(2)[[0, 1]]}, {"ally": np.eye(2)}, {"test.index": b"4 6\n"}, {"test.index": b"2 4 6\n"},
            {"test.index": b"4 4 6\n"}, {"test.index": b"four\n"}, {"test.index": b""},
        ],
        ids=str,
    )  # fmt: skip
    def test_parts_that_do_not_fit_are_refused(self, folder, changes):
        public_tiny(folder, **changes)
        with pytest.raises(FormatError):
            planetoid("citeseer", sha256="0" * 64)

    @needs_data
    def test_a_changed_copy_is_refused_and_left_alone(self, folder):
        (folder / "planetoid").mkdir()
        path = folder / "planetoid/cora.npz"
        content = Path(DATA, "planetoid/cora.npz").read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ChecksumError, match=r"cora\.npz"):
            cora()
        assert path.exists()

    def test_without_a_network_the_safe_copy_is_named(self, monkeypatch):
        monkeypatch.setattr(planetoid_module, "_SOURCE", "http://127.0.0.1:9/")
        with pytest.raises(
            DownloadError, match=r"put 'planetoid/ind\.cora\.x', or 'planetoid/cora\.npz', into a folder"
        ):
            cora()


class TestPendulum:
    @needs_data
    def test_the_parts_are_those_of_the_paper(self, data):
        train, test, whole = (real_pendulum(split, dtype=torch.float64) for split in ("train", "test", "all"))
        assert [len(part.times) for part in (train, test, whole)] == [445, 110, 555]
        steps = whole.times.diff() * 6  # now and then pictures are missing
        assert float(whole.times[0]) == 5.0 and torch.allclose(steps, steps.round(), atol=1e-6) and steps.min() < 1.5
        assert torch.equal(test.values, whole.values[:, 444:554])
        assert torch.equal(train.values, torch.cat((whole.values[:, :444], whole.values[:, 554:]), 1))
        assert torch.allclose(whole.slopes[:, :-1], whole.values.diff(dim=1) / whole.times.diff()[:, None], rtol=1e-9)

    @needs_data
    def test_it_is_a_pendulum_that_friction_slows_down(self, data):
        energy = Pendulum(2.4).energy(real_pendulum("all").values)[0]
        assert 1.0 < float(energy[:50].mean()) < 3.0 and float(energy[-50:].mean()) < 0.8 * float(energy[:50].mean())

    def test_another_archive_is_refused(self, folder):
        (folder / "schmidt_lipson").mkdir()
        with zipfile.ZipFile(folder / "schmidt_lipson/invar_datasets.zip", "w") as archive:
            archive.writestr("real_pend_h_1.txt", "% o v\n0 0 0 0\n")
        with pytest.raises(ChecksumError, match="9794ee02"):
            real_pendulum()

    def test_a_share_is_a_share(self):
        with pytest.raises(OptionError, match="share=1; wanted a number between 0 and 1"):
            real_pendulum(share=1)


class TestBrusselator:
    @needs_data
    def test_it_is_the_published_file(self, data):
        series = brusselator(dtype=torch.float64).series
        assert len(series) == 1000 and int(series.lengths.sum()) == 24409
        assert series.lengths.min() == 20 and series.lengths.max() == 29
        inside = torch.arange(29) < series.lengths[:, None]
        assert abs(float((series.mask.all(-1) & inside).sum() / inside.sum()) - 0.8) < 0.01
        # by hand, the first rows of the file that are of series 0
        row = int((series.times[0] - 22.1).abs().argmin())
        assert torch.allclose(series.values[0, row], torch.tensor([1.0322197675704956, 5.058597087860107]).double())

    @needs_data
    def test_the_unpacked_original_serves_too(self, data, folder):
        (folder / "brusselator").mkdir()
        content = gzip.decompress(Path(DATA, "brusselator/BXLator.csv.gz").read_bytes())
        (folder / "brusselator/BXLator.csv").write_bytes(content)
        assert len(brusselator()) == 1000
        (folder / "brusselator/BXLator.csv").write_bytes(content + b"\n")
        with pytest.raises(ChecksumError, match=r"BXLator\.csv"):
            brusselator()


class TestPointProcesses:
    @needs_data
    @pytest.mark.parametrize(
        ("process", "wanted"), [("poisson", 100.0), ("exponential_hawkes", 44.94), ("powerlaw_hawkes", 72.79)]
    )
    def test_their_likelihood_is_that_of_their_intensity(self, data, process, wanted):
        """Mean negative log-likelihood of the test sequences under the documented intensity, on [0, 100]."""
        record = point_processes(process, "test", dtype=torch.float64)
        assert [len(point_processes(process, split)) for split in ("train", "validation", "test")] == [300, 100, 100]
        total = 0.0
        for times, *_ in (record.dataset()[row] for row in range(100)):
            apart = times[:, None] - times
            if process == "poisson":
                intensity, integral = torch.ones_like(times), 100.0
            elif process == "exponential_hawkes":
                intensity = 0.2 + 0.8 * torch.where(apart > 0, (-apart).exp(), 0.0).sum(1)
                integral = 20 + 0.8 * (1 - (times - 100).exp()).sum()
            else:
                intensity = 0.2 + 1.6 * torch.where(apart > 1, apart.pow(-3), 0.0).sum(1)
                integral = 20 + 0.8 * torch.where(times < 99, 1 - (100 - times).pow(-2), 0.0).sum()
            total += float(integral - intensity.log().sum())
        assert abs(total / 100 - wanted) < 0.05

    def test_unknown_names_are_answered_with_close_ones(self):
        with pytest.raises(OptionError, match="did you mean 'exponential_hawkes'"):
            point_processes("exponential_hawk")
        with pytest.raises(OptionError, match="did you mean 'test'"):
            point_processes("poisson", "tests")


def patients(archive, outcomes, arrays, records):
    """The public archive and outcomes of some patients, out of arrays."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as made:
        for number in records[::-1]:  # in another order
            first, last = arrays["offset"][number : number + 2]
            record = arrays["record_id"][number]
            lines = ["Time,Parameter,Value", f"00:00,RecordID,{record}"]
            for minute, param, value in zip(
                *(arrays[name][first:last].tolist() for name in ("minute", "param", "value")), strict=True
            ):
                lines.append(f"{minute // 60:02}:{minute % 60:02},{icu_files.PARAMETERS[param]},{np.float32(value)}")
            content = ("\n".join(lines) + "\n").encode()
            member = tarfile.TarInfo(f"set-a/{record}.txt")
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    names = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"
    rows = [",".join(map(str, [arrays["record_id"][n], *arrays["outcomes"][n].tolist()])) for n in records]
    outcomes.write_text("\n".join([names, *rows]) + "\n")


@pytest.fixture
def three():
    """Three patients: one with descriptors only, one seen late, one with two values in one interval."""
    return {
        "record_id": np.array([7, 9, 12], np.int32), "offset": np.array([0, 2, 5, 9]),
        "minute": np.array([0, 0, 30, 30, 61, 0, 60, 61, 2880], np.uint16),
        "param": np.array([0, 2, 19, 20, 19, 0, 19, 19, 20], np.uint8),
        "value": np.array([54.0, -1.0, 70.0, 4.5, 90.0, 60.0, 80.0, 84.0, 5.25], np.float32),
        "outcomes": np.array([[1, 2, 3, -1, 0], [1, 2, 3, 4, 1], [1, 2, 3, -1, 0]], np.int16),
    }  # fmt: skip


class TestPhysioNet:
    @needs_data
    def test_it_is_part_a(self, data):
        record = physionet2012("a", n=500)
        assert record.series.values.shape[2] == 41 and record.labels.unique().tolist() == [0, 1]
        inside = record.series.values[record.series.mask]
        assert float(inside.min()) >= 0 and float(inside.max()) <= 1
        assert float(record.series.times.max()) <= 48.0 and bool((record.series.times[:, 0] == 0).all())

    @needs_data
    def test_all_of_part_a_and_c(self, data):
        record = physionet2012("a", quantization=1.0)
        assert record.labels.bincount().tolist() == [4000 - 554, 554]
        assert physionet2012("c", quantization=2.0, n=10).labels.tolist() == [-1] * 10

    @needs_data
    def test_the_public_archive_gives_the_same_arrays(self, data, folder):
        arrays = icu_files._from_copy(data / "physionet2012/set-a.npz")
        (folder / "physionet2012").mkdir()
        archive, outcomes = (folder / f"physionet2012/{name}" for name in ("set-a.tar.gz", "Outcomes-a.txt"))
        patients(archive, outcomes, arrays, range(4000))
        found = icu_files.read_part("a", None, False)  # has the checksum of the copy's arrays, or this would raise
        assert digest(found) == digest(arrays)

    @pytest.fixture
    def public(self, folder, three):
        (folder / "physionet2012").mkdir()
        paths = [folder / f"physionet2012/{name}" for name in ("set-b.tar.gz", "Outcomes-b.txt")]
        patients(*paths, three, range(3))
        return paths

    def test_rows_are_means_of_what_falls_together(self, public, three):
        record = physionet2012("b", quantization=0.5, scale=False, sha256=digest(three), dtype=torch.float64)
        series = record.series
        assert series.lengths.tolist() == [1, 3, 3] and record.labels.tolist() == [0, 1, 0]
        assert series.times.tolist() == [[0, 0, 0], [0, 0.5, 1.0], [0, 1.0, 48.0]]
        seen = [(i, j, k) for i, j, k in series.mask.nonzero().tolist()]
        assert seen == [(0, 0, 0), (0, 0, 2), (1, 1, 19), (1, 1, 20), (1, 2, 19), (2, 0, 0), (2, 1, 19), (2, 2, 20)]
        assert series.values[series.mask].tolist() == [54.0, -1.0, 70.0, 4.5, 90.0, 60.0, 82.0, 5.25]

    def test_parameters_are_scaled_by_their_own_range(self, public, three):
        record = physionet2012("b", quantization=None, sha256=digest(three), dtype=torch.float64)
        assert record.series.times[2].tolist() == [0.0, 1.0, 61 / 60, 48.0]
        values = record.series.values[record.series.mask].tolist()
        assert values == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.7, 1.0])

    def test_the_user_vouches_for_what_nobody_has_published(self, public, three):
        with pytest.raises(OptionError, match=f"pass sha256='{digest(three)}'"):
            physionet2012("b")
        with pytest.raises(ChecksumError, match=f"has the sha256 {digest(three)}, wanted 0"):
            physionet2012("b", sha256="0" * 64)

    @pytest.mark.parametrize("line", ["00:10,Pulse,70", "00:10,HR,fast", "later,HR,70", "00:10,HR", "00:10,HR,70,80"])
    def test_what_is_no_record_is_refused(self, public, line):
        content = f"Time,Parameter,Value\n{line}\n".encode()
        with tarfile.open(public[0], "w:gz") as archive:
            member = tarfile.TarInfo("set-b/1.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        with pytest.raises(FormatError):
            physionet2012("b")

    @pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
    def test_a_broken_archive_is_refused(self, public, share):
        content = public[0].read_bytes()
        public[0].write_bytes(content[: int(share * len(content))])
        with pytest.raises(FormatError, match=r"set-b\.tar\.gz is no archive of patients"):
            physionet2012("b")

    def test_a_text_that_is_far_too_long_is_refused_unread(self, public):
        with tarfile.open(public[0], "w:gz") as archive:
            member = tarfile.TarInfo("set-b/1.txt")
            member.size = 1 << 21
            archive.addfile(member, io.BytesIO(b"0" * member.size))
        with pytest.raises(FormatError, match=r"1\.txt has 2097152 bytes"):
            physionet2012("b")

    def test_a_patient_without_an_outcome_is_named(self, public):
        public[1].write_text("".join(public[1].read_text().splitlines(keepends=True)[:-1]))
        with pytest.raises(FormatError, match="there is no outcome of patient 12"):
            physionet2012("b")

    def test_without_a_network_the_copy_is_named(self, monkeypatch):
        monkeypatch.setattr(icu_files, "_SOURCE", "http://127.0.0.1:9/")
        with pytest.raises(DownloadError, match=r"or 'physionet2012/set-a\.npz', into a folder"):
            physionet2012()


class TestDigest:
    def test_it_does_not_depend_on_the_layout(self):
        array = np.arange(6, dtype="<i8").reshape(2, 3)
        same = [
            {"a": array},
            {"a": np.asfortranarray(array)},
            {"a": array.astype(">i8")},
            {"a": array[:, ::-1][:, ::-1]},
        ]
        assert len({digest(arrays) for arrays in same}) == 1

    def test_it_depends_on_all_else(self):
        array = np.arange(6, dtype="<i8")
        others = [
            {"a": array}, {"b": array}, {"a": array.reshape(2, 3)}, {"a": array.astype("<i4")}, {"a": array + 1},
            {"a": array, "b": array},
        ]  # fmt: skip
        assert len({digest(arrays) for arrays in others}) == len(others)
