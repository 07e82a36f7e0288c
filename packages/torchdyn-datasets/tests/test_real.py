"""Real data: the copies in the folder of `TORCHDYN_DATA`, and public originals that are put together from them."""

import gzip
import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from torchdyn_core import OptionError
from torchdyn_datasets import (
    ChecksumError,
    FormatError,
    Pendulum,
    brusselator,
    mnist,
    physionet2012,
    point_processes,
    real_pendulum,
)
from torchdyn_datasets.fetch import RemoteFile
from torchdyn_datasets.real import brusselator as brusselator_module
from torchdyn_datasets.real import mnist as mnist_module
from torchdyn_datasets.real import pendulum as pendulum_module
from torchdyn_datasets.real import point_processes as processes_module
from torchdyn_datasets.real.parsed import digest


def pack(images):
    return struct.pack(f">4B{images.ndim}I", 0, 0, 8, images.ndim, *images.shape) + images.tobytes()


class TestMNIST:
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


class TestPendulum:
    def test_the_parts_are_those_of_the_paper(self, data):
        train, test, whole = (real_pendulum(split, dtype=torch.float64) for split in ("train", "test", "all"))
        assert [len(part.times) for part in (train, test, whole)] == [445, 110, 555]
        steps = whole.times.diff() * 6  # now and then pictures are missing
        assert float(whole.times[0]) == 5.0 and torch.allclose(steps, steps.round(), atol=1e-6) and steps.min() < 1.5
        assert torch.equal(test.values, whole.values[:, 444:554])
        assert torch.equal(train.values, torch.cat((whole.values[:, :444], whole.values[:, 554:]), 1))
        assert torch.allclose(whole.slopes[:, :-1], whole.values.diff(dim=1) / whole.times.diff()[:, None], rtol=1e-9)

    def test_it_is_a_pendulum_that_friction_slows_down(self, data):
        energy = Pendulum(2.4).energy(real_pendulum("all").values)[0]
        assert 1.0 < float(energy[:50].mean()) < 3.0 and float(energy[-50:].mean()) < 0.8 * float(energy[:50].mean())

    def test_the_archive_may_be_gzipped(self, data, folder):
        (folder / "schmidt_lipson").mkdir()
        content = Path(data, "schmidt_lipson/invar_datasets.zip").read_bytes()
        (folder / "schmidt_lipson/invar_datasets.zip.gz").write_bytes(gzip.compress(content))
        assert len(real_pendulum().times) == 445

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
    def test_it_is_the_published_file(self, data):
        series = brusselator(dtype=torch.float64).series
        assert len(series) == 1000 and int(series.lengths.sum()) == 24409
        assert series.lengths.min() == 20 and series.lengths.max() == 29
        inside = torch.arange(29) < series.lengths[:, None]
        assert abs(float((series.mask.all(-1) & inside).sum() / inside.sum()) - 0.8) < 0.01
        # by hand, the first rows of the file that are of series 0
        row = int((series.times[0] - 22.1).abs().argmin())
        assert torch.allclose(series.values[0, row], torch.tensor([1.0322197675704956, 5.058597087860107]).double())

    def test_the_unpacked_original_serves_too(self, data, folder):
        (folder / "brusselator").mkdir()
        content = gzip.decompress(Path(data, "brusselator/BXLator.csv.gz").read_bytes())
        (folder / "brusselator/BXLator.csv").write_bytes(content)
        assert len(brusselator()) == 1000
        (folder / "brusselator/BXLator.csv").write_bytes(content + b"\n")
        with pytest.raises(ChecksumError, match=r"BXLator\.csv"):
            brusselator()


class TestPointProcesses:
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


# the module that names the file, what it names it with, where it lies, and what reads it
READERS = {
    "mnist": (mnist_module, "_FILES", "images.gz", mnist),
    "pendulum": (pendulum_module, "_FILE", "invar.zip", real_pendulum),
    "brusselator": (brusselator_module, "_FILE", "table.csv", brusselator),
    "point_processes": (processes_module, "RemoteFile", "training.csv", point_processes),
}


class TestFilesThatAreBroken:
    """Where a checksum does not tell, the readers do; what they refuse leaves the cache."""

    @pytest.fixture(params=READERS)
    def unchecked(self, request, monkeypatch, cache):
        module, name, path, make = READERS[request.param]
        file = RemoteFile(path, (), ())
        unchecked = {"_FILES": {"train": (file, file)}, "_FILE": file, "RemoteFile": lambda *described: file}
        monkeypatch.setattr(module, name, unchecked[name])
        place = cache / path
        cache.mkdir()
        return place, make

    @pytest.mark.parametrize(
        "content",
        [
            b"text",
            b"\xff\xfe",
            gzip.compress(b"text")[:-9],
            gzip.compress(b"text")[:4] + b"text",
            b"PK\3\4" + bytes(40),
        ],
        ids=["text", "no-utf8", "gzip-cut", "gzip-of-text", "zip-of-zeros"],  # gzip's header holds the time of day
    )
    def test_they_are_refused_and_removed(self, unchecked, content):
        place, make = unchecked
        place.write_bytes(content)
        with pytest.raises(FormatError, match="it was removed from the cache; the next call downloads it again"):
            make()
        assert not place.exists()


@pytest.mark.parametrize("make", [real_pendulum, brusselator, point_processes, physionet2012])
def test_no_dtype_cuts_the_data_off(make):
    for dtype in (torch.int64, torch.complex64):
        with pytest.raises(OptionError, match=rf"dtype={dtype}; wanted one of real floating-point numbers"):
            make(dtype=dtype)


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
