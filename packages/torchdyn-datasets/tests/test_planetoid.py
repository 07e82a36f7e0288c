"""Planetoid's graphs: the safe copy, the public pickles, and pickles that are neither."""

import gzip
import os
import pickle
import shutil
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
    cora,
    planetoid,
)
from torchdyn_datasets.real import parsed
from torchdyn_datasets.real import planetoid as planetoid_module


def public_cora(folder, data):
    """The eight public files of Cora, made of the safe copy: pickles, nodes to be tested in another order."""
    stored = np.load(Path(data, "planetoid/cora.npz"), allow_pickle=False)
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
    def test_cora_is_cora(self, data):
        graph = cora()
        assert graph.features.shape == (2708, 1433) and int(graph.features.sum()) == 49216
        assert graph.edge_index.shape == (2, 2 * 5278) and graph.classes == 7
        assert [len(part) for part in (graph.train, graph.validation, graph.test)] == [140, 500, 1000]
        assert graph.labels[graph.train].bincount().tolist() == [20] * 7
        assert torch.equal(graph.test, torch.arange(1708, 2708))
        sums = cora(normalise=True).features.sum(1)
        assert torch.allclose(sums, torch.ones(2708))

    def test_the_public_pickles_give_the_same_arrays(self, data, folder):
        public_cora(folder, data)
        found = cora()  # their checksum is that of the safe copy's arrays, or this would raise
        shutil.copytree(Path(data, "planetoid"), folder / "planetoid", dirs_exist_ok=True)
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

    def test_a_users_files_stay_where_the_cache_is_the_users_folder(self, folder, monkeypatch):
        public_tiny(folder)
        monkeypatch.setenv("TORCHDYN_CACHE", str(folder))
        with pytest.raises(ChecksumError, match="was left there"):
            planetoid("citeseer", sha256="0" * 64)
        assert len(list((folder / "planetoid").iterdir())) == 8

    @pytest.mark.parametrize(
        "changes",
        [
            {"test.index": b"4\n6\n99999999999999999999\n"}, {"test.index": b"4\n6\n100000000000000\n"},
            {"test.index": gzip.compress(b"4\n6\n3\n", mtime=0)[:-9]}, {"test.index": b"\xff"},
            {"graph": {0: [10**30]}}, {"graph": {0: 5}}, {"graph": {0: [[1]]}}, {"y": 5},
            {"allx": b"\x80\x05\x96\xff\xff\xff\xff\x01\0\0\0."},
            {"tx": b""}, {"ty": [[1, 0], [0, 1], [1, 0]]}, {"graph": b"cos\nsystem\n."},
        ],
        ids=str,
    )  # fmt: skip
    def test_files_of_the_cache_that_are_broken_are_removed(self, cache, changes):
        cache.mkdir()
        public_tiny(cache, **changes)
        with pytest.raises(FormatError, match="removed from the cache; the next call downloads it again"):
            planetoid("citeseer", sha256="0" * 64)
        assert not [path for path in cache.rglob("*") if path.is_file()]

    def test_files_without_a_checksum_stay_until_there_is_one(self, cache):
        cache.mkdir()
        public_tiny(cache)
        with pytest.raises(OptionError, match="no checksum of it has been published"):
            planetoid("citeseer")
        assert len(list((cache / "planetoid").iterdir())) == 8

    @pytest.mark.parametrize("index", [b"4\n6\n16777216\n", b"4\n6\n3\n67108863\n", b"4\n6\n9999999999\n"])
    def test_a_number_does_not_make_more_nodes_than_fit(self, folder, index):
        x = np.ones((index.count(b"\n"), 3), np.float32)
        onehot = np.eye(2)[[0] * len(x)]
        public_tiny(folder, tx=scipy.sparse.csr_matrix(x), ty=onehot, **{"test.index": index})
        with pytest.raises(FormatError, match=r"the graph has [0-9]+ nodes with 3 features or classes: refused"):
            planetoid("citeseer", sha256="0" * 64)

    def test_features_do_not_make_more_numbers_than_fit(self, folder):
        wide = scipy.sparse.csr_matrix((3, 1 << 25), dtype=np.float32)
        public_tiny(folder, allx=wide, tx=wide)
        with pytest.raises(FormatError, match="7 nodes with 33554432 features or classes: refused"):
            planetoid("citeseer", sha256="0" * 64)

    def test_one_list_does_not_make_many_edges(self, folder, monkeypatch):
        others = [1] * 10_001
        public_tiny(folder, graph=dict.fromkeys(range(1000), others))  # pickled once
        with pytest.raises(FormatError, match="the graph has 10001000 edges: refused"):
            planetoid("citeseer", sha256="0" * 64)

    @pytest.mark.parametrize("given", ["", "abc", "g" * 64, "0" * 65, 5])
    def test_what_is_no_checksum_is_refused_before_anything_is_read(self, given):
        with pytest.raises(OptionError, match=r"sha256=.*; wanted 64 hexadecimal digits, or None"):
            planetoid("citeseer", sha256=given)

    def test_a_checksum_may_be_written_large(self, data):
        assert planetoid("cora", sha256=planetoid_module._PARSED["cora"].upper()).name == "cora"

    def test_the_copy_may_be_gzipped(self, data, folder):
        (folder / "planetoid").mkdir()
        content = Path(data, "planetoid/cora.npz").read_bytes()
        (folder / "planetoid/cora.npz.gz").write_bytes(gzip.compress(content, 1))
        assert len(cora()) == 2708

    def test_a_copy_that_holds_no_graph_is_refused(self, folder):
        (folder / "planetoid").mkdir()
        path = folder / "planetoid/citeseer.npz"
        np.savez(path, x_data=np.ones(3))
        whole = path.read_bytes()
        with path.open("wb") as file:
            np.save(file, np.ones(3))
        for content in (whole, whole[:-30], b"", b"text", path.read_bytes()):
            path.write_bytes(content)
            with pytest.raises(FormatError, match="was left there"):
                planetoid("citeseer", sha256="0" * 64)
        assert path.exists()

    def test_a_copy_of_arrays_beyond_the_memory_is_refused(self, folder, monkeypatch):
        monkeypatch.setattr(parsed, "LARGEST", 10_000)
        (folder / "planetoid").mkdir()
        np.savez_compressed(folder / "planetoid/citeseer.npz", x_data=np.zeros(2000))
        with pytest.raises(FormatError, match="arrays of more than 10000 bytes: refused"):
            planetoid("citeseer", sha256="0" * 64)

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

    def test_a_changed_copy_is_refused_and_left_alone(self, data, folder):
        (folder / "planetoid").mkdir()
        path = folder / "planetoid/cora.npz"
        content = Path(data, "planetoid/cora.npz").read_bytes()
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
