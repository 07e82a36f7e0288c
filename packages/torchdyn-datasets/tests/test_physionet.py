"""PhysioNet's patients: the copy of arrays, the public archive, and archives that are none."""

import gzip
import io
import tarfile
import zlib

import numpy as np
import pytest
import torch

from torchdyn_core import OptionError
from torchdyn_datasets import (
    ChecksumError,
    DownloadError,
    FormatError,
    fetch,
    physionet2012,
)
from torchdyn_datasets.real import icu_files
from torchdyn_datasets.real.parsed import digest


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


def archived(path, texts):
    """An archive of texts by their names."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


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
    def test_it_is_part_a(self, data):
        record = physionet2012("a", n=500)
        assert record.series.values.shape[2] == 41 and record.labels.unique().tolist() == [0, 1]
        inside = record.series.values[record.series.mask]
        assert float(inside.min()) >= 0 and float(inside.max()) <= 1
        assert float(record.series.times.max()) <= 48.0 and bool((record.series.times[:, 0] == 0).all())

    def test_all_of_part_a_and_c(self, data):
        record = physionet2012("a", quantization=1.0)
        assert record.labels.bincount().tolist() == [4000 - 554, 554]
        assert physionet2012("c", quantization=2.0, n=10).labels.tolist() == [-1] * 10

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
        archived(public[0], {"set-b/1.txt": f"Time,Parameter,Value\n{line}\n"})
        with pytest.raises(FormatError):
            physionet2012("b")

    @pytest.mark.parametrize("time", ["99999:00", "-5:00", "48:01", "00:60", "1:00", "65536:00"])
    def test_what_is_not_of_these_two_days_is_refused(self, public, time):
        archived(public[0], {"1.txt": f"Time,Parameter,Value\n{time},HR,70\n"})
        with pytest.raises(FormatError, match=rf"1\.txt has a row at '{time}'; wanted 00:00 to 48:00"):
            physionet2012("b", sha256="0" * 64)

    @pytest.mark.parametrize("value", ["nan", "inf", "1e60"])
    def test_a_value_that_is_no_number_is_refused(self, public, value):
        archived(public[0], {"1.txt": f"Time,Parameter,Value\n00:10,HR,{value}\n"})
        with pytest.raises(FormatError, match="value has numbers that are not finite in float32"):
            physionet2012("b", sha256="0" * 64)

    @pytest.mark.parametrize("name", ["2147483648.txt", "readme.txt", "-1.txt", "99999999999999999999.txt"])
    def test_a_file_that_is_named_after_no_patient_is_refused(self, public, name):
        archived(public[0], {name: "Time,Parameter,Value\n00:10,HR,70\n"})
        with pytest.raises(FormatError, match=r"record_id runs from 2147483648|named after no patient"):
            physionet2012("b", sha256="0" * 64)

    @pytest.mark.parametrize("outcome", ["99999999", "-32769", "1" + "0" * 30])
    def test_an_outcome_that_is_none_is_refused(self, public, outcome):
        public[1].write_text(public[1].read_text().replace("7,1,2,3,-1,0", f"7,1,2,3,{outcome},0"))
        with pytest.raises(FormatError, match=r"outcomes runs from .*wanted -32768 to 32767"):
            physionet2012("b", sha256="0" * 64)

    @pytest.mark.parametrize("quantization", [1e-20, 1e-4, 0.0, -1.0, "a", float("nan")])
    def test_time_is_not_divided_finer_than_it_is_recorded(self, quantization):
        with pytest.raises(OptionError, match=r"quantization=.*; wanted a"):
            physionet2012("b", quantization=quantization)

    @pytest.mark.parametrize("given", ["", "abc", 5])
    def test_what_is_no_checksum_is_refused(self, given):
        with pytest.raises(OptionError, match="wanted 64 hexadecimal digits"):
            physionet2012("b", sha256=given)

    def test_the_copy_may_be_gzipped(self, data, folder):
        (folder / "physionet2012").mkdir()
        content = (data / "physionet2012/set-c.npz").read_bytes()
        (folder / "physionet2012/set-c.npz.gz").write_bytes(gzip.compress(content, 1))
        assert len(physionet2012("c", n=3, quantization=1.0)) == 3

    @pytest.mark.parametrize(
        "changes",
        [
            {"minute": np.full(9, 2881)}, {"minute": np.full(9, -1)}, {"minute": np.zeros(8, int)},
            {"param": np.full(9, 41)}, {"value": np.full(9, np.nan)}, {"offset": np.array([0, 5, 2, 9])},
            {"offset": np.array([0, 2, 5])}, {"offset": np.array([1, 2, 5, 9])}, {"record_id": np.full(3, 1 << 31)},
            {"outcomes": np.zeros((3, 4), int)}, {"outcomes": np.full((3, 5), 1 << 15)}, {"value": None},
            {"param_names": np.array(["HR"])},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_copy_that_is_no_part_is_refused(self, folder, three, changes):
        (folder / "physionet2012").mkdir()
        path = folder / "physionet2012/set-b.npz"
        arrays = {**three, "param_names": np.array(icu_files.PARAMETERS)}
        np.savez(path, **arrays)
        assert len(physionet2012("b", sha256=digest(three))) == 3
        np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
        with pytest.raises(FormatError, match="was left there"):
            physionet2012("b", sha256="0" * 64)

    def test_nobody_need_have_been_observed(self, public):
        archived(public[0], {"7.txt": "Time,Parameter,Value\n", "9.txt": "Time,Parameter,Value\n00:00,RecordID,9\n"})
        with pytest.raises(OptionError) as caught:
            physionet2012("b")
        record = physionet2012("b", sha256=str(caught.value).rpartition("sha256='")[2].removesuffix("'"))
        assert record.series.lengths.tolist() == [1, 1] and not record.series.mask.any()

    def test_a_name_that_fills_the_memory_is_not_unpacked(self, public, monkeypatch):
        monkeypatch.setattr(fetch, "LARGEST", 1 << 20)
        with tarfile.open(public[0], "w:gz") as archive:
            member = tarfile.TarInfo("x")
            member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 22
            archive.addfile(member, io.BytesIO(b"a" * member.size))
        with pytest.raises(FormatError, match=r"set-b\.tar\.gz holds more than 1048576 bytes, unpacked: refused"):
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


class TestItsDownload:
    """The public files, from a server that stands in for their source."""

    @pytest.fixture
    def served(self, server, tmp_path, three, monkeypatch):
        paths = [tmp_path / name for name in ("set-b.tar.gz", "Outcomes-b.txt")]
        patients(*paths, three, range(3))
        for path in paths:
            server.files[f"/{path.name}"] = path.read_bytes()
        monkeypatch.setattr(icu_files, "_SOURCE", server.url("/"))
        return server

    def test_it_is_downloaded_once_and_kept(self, served, cache, three):
        for _ in range(2):
            assert len(physionet2012("b", sha256=digest(three))) == 3
        assert served.requests == ["/set-b.tar.gz", "/Outcomes-b.txt"]
        assert sorted(path.name for path in (cache / "physionet2012").iterdir()) == ["Outcomes-b.txt", "set-b.tar.gz"]

    def test_of_part_c_no_outcomes_are_wanted(self, served, three):
        served.files["/set-c.tar.gz"] = served.files.pop("/set-b.tar.gz")
        with pytest.raises(ChecksumError):  # it is not the part c that is known
            physionet2012("c")
        assert served.requests == ["/set-c.tar.gz"]

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("set-b.tar.gz", lambda content: content[: len(content) // 2]),
            ("set-b.tar.gz", lambda content: zlib.compress(content)),
            ("set-b.tar.gz", lambda content: gzip.compress(b"")),
            ("Outcomes-b.txt", lambda content: content[:-3]),
            ("Outcomes-b.txt", lambda content: content[:-3] + b"\xff\n"),
            ("Outcomes-b.txt", lambda content: gzip.compress(content)[:-9]),
            ("Outcomes-b.txt", lambda content: b""),
        ],
    )
    def test_broken_files_leave_the_cache(self, served, cache, three, name, change):
        whole = served.files[f"/{name}"]
        served.files[f"/{name}"] = change(whole)
        with pytest.raises(FormatError, match=r"it was removed from the cache; the next call downloads it again"):
            physionet2012("b", sha256=digest(three))
        assert not [path for path in cache.rglob("*") if path.is_file()]
        served.files[f"/{name}"] = whole
        assert len(physionet2012("b", sha256=digest(three))) == 3 and len(served.requests) == 4

    def test_so_do_others_that_are_not_what_they_have_to_be(self, served, cache):
        with pytest.raises(ChecksumError, match=r"wanted 0{64}: .*removed from the cache"):
            physionet2012("b", sha256="0" * 64)
        assert not [path for path in cache.rglob("*") if path.is_file()]

    def test_without_a_checksum_they_stay(self, served, cache, three):
        with pytest.raises(OptionError, match=digest(three)):
            physionet2012("b")
        assert len(physionet2012("b", sha256=digest(three))) == 3 and len(served.requests) == 2
