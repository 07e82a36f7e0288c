"""PhysioNet's patients: the copy of arrays, the public archive, and archives that are none."""

import io
import tarfile

import numpy as np
import pytest
import torch

from torchdyn_core import OptionError
from torchdyn_datasets import (
    ChecksumError,
    DownloadError,
    FormatError,
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
