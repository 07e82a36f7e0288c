"""The reader of pickled arrays: what it reads, and all that it refuses."""

import collections
import contextlib
import copyreg
import io
import pickle
import struct

import numpy as np
import pytest
import scipy.sparse

from torchdyn_datasets import FormatError
from torchdyn_datasets import array_pickle as module
from torchdyn_datasets.array_pickle import SparseRows, load_arrays

PROTOCOLS = range(5)


def read(data, protocol=2):
    return load_arrays(io.BytesIO(data if isinstance(data, bytes) else pickle.dumps(data, protocol)), "it.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
class TestItReads:
    @pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i4", ">i2", "|b1", "|u1", "<c16"])
    def test_arrays(self, protocol, dtype):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        for wanted in (array, np.asfortranarray(array), array[1], np.array(3).astype(dtype)):
            found = read(wanted, protocol)
            assert found.dtype == wanted.dtype and found.shape == wanted.shape and np.array_equal(found, wanted)

    def test_what_is_empty(self, protocol):
        """Without content, older protocols of Python 3 call the type of bytes."""
        found = read(np.zeros((0, 3), np.float32), protocol)
        assert found.shape == (0, 3) and found.dtype == np.float32
        assert (
            read([b""], protocol) == [b""]
            and read([], protocol) == []
            and read(collections.defaultdict(list), protocol) == {}
        )
        found = read(scipy.sparse.csr_matrix((2, 3), dtype=np.float32), protocol)
        assert found.dense().tolist() == [[0.0] * 3] * 2

    def test_numbers(self, protocol):
        assert read(np.float32(2.5), protocol) == 2.5 and read(np.int64(-3), protocol) == -3

    def test_sparse_matrices(self, protocol):
        matrix = scipy.sparse.random(5, 7, 0.3, format="csr", dtype=np.float32, rng=0)
        found = read(matrix, protocol)
        assert isinstance(found, SparseRows) and found.shape == (5, 7)
        assert np.array_equal(found.dense(), matrix.toarray())

    def test_dicts_of_lists(self, protocol):
        graph = collections.defaultdict(list, {0: [1, 2], 1: [0], 2: [0]})
        assert read(graph, protocol) == dict(graph)


def test_it_reads_what_python_2_wrote():
    """As numpy 1 and Python 2 wrote an array and a matrix, in protocol 0 and in 2, by hand."""
    data = struct.pack("<2f", 1.0, -2.0)
    text = "".join(f"\\x{byte:02x}" for byte in data).encode()
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    array = empty + b"(I1\n(I2\nt" + dtype + b"I00\nS'" + text + b"'\ntb"
    assert read(array + b".").tolist() == [1.0, -2.0]
    whole = b"cnumpy\ndtype\n(S'i4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"

    def ints(*values):
        text = "".join(f"\\x{byte:02x}" for byte in struct.pack(f"<{len(values)}i", *values)).encode()
        return empty + b"(I1\n(I%d\nt" % len(values) + whole + b"I00\nS'" + text + b"'\ntb"

    matrix = (
        b"ccopy_reg\n_reconstructor\n(cscipy.sparse.csr\ncsr_matrix\nc__builtin__\nobject\nNtR(dS'_shape'\n(I2\nI3\ntsS'data'\n"
        + array + b"sS'indices'\n" + ints(2, 0) + b"sS'indptr'\n" + ints(0, 1, 2) + b"sS'maxprint'\nI50\nsb."
    )  # fmt: skip
    assert read(matrix).dense().tolist() == [[0.0, 0.0, 1.0], [-2.0, 0.0, 0.0]]
    graph = b"ccollections\ndefaultdict\n(c__builtin__\nlist\ntRI0\n(lI1\naI2\nasI1\n(lI0\nas."
    assert read(graph) == {0: [1, 2], 1: [0]}


def test_what_python_2_wrote_may_be_empty():
    dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I0\nt" + dtype + b"I00\nS''\ntb."
    )
    assert read(array).shape == (0,)


def test_a_protocol_for_buffers_is_refused():
    for value in (np.arange(6), np.zeros((0, 3))):
        with pytest.raises(FormatError, match="refused"):
            read(value, 5)


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_run(protocol, tmp_path):
    import os

    mark = tmp_path / "mark"
    attacks = [
        Attack(os.system, f"touch {mark}"),
        Attack(exec, f"open({str(mark)!r}, 'w')"),
        Attack(open, str(mark), "w"),
    ]
    attacks += [np.array([attacks[0]], dtype=object), {0: attacks[0]}, collections.defaultdict(os.getcwd, {})]
    for attack in attacks:
        with pytest.raises(FormatError, match=r"^it\.pkl names '.*', which is no type of arrays: refused"):
            read(attack, protocol)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (print, "names '.*print', which is no type of arrays: refused"),
        (scipy.sparse.csc_matrix(np.eye(2)), "names 'scipy.sparse._csc.csc_matrix'"),
        (np.array([{}, []], dtype=object), "has an array made of list: refused|has an array of object: refused"),
        (np.array(["text"]), "has an array of <U.: refused; wanted plain numbers"),
        (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "has a dtype of several parts: refused"),
        (np.datetime64("2020-01-01"), "refused"),
        ({1, 2}, "refused"),
        (np.dtype("f4"), "holds _DType, which is no array: refused"),
        (np.ndarray, "holds type, which is no array: refused"),
    ],
)
def test_what_is_no_plain_array_is_refused(value, message):
    for protocol in (2, 4):
        with pytest.raises(FormatError, match=message):
            read(value, protocol)


def test_broken_pickles_are_refused():
    whole = pickle.dumps({0: np.arange(5), 1: scipy.sparse.eye(3, format="csr")}, 2)
    read(whole)
    for cut in range(len(whole)):
        with pytest.raises(FormatError):
            read(whole[:cut])
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x5A
        with contextlib.suppress(FormatError):
            read(bytes(changed))  # values may differ, which a checksum tells, but nothing else may come of it


def tampered(**changes):
    matrix = scipy.sparse.eye(3, format="csr", dtype=np.float32)
    matrix.__dict__.update(changes)
    return matrix


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": np.array([0, 1, 3], np.int32)},
        {"indices": np.array([0, 1, -1], np.int32)},
        {"indices": np.array([0, 1], np.int32)},
        {"indices": np.array([0.0, 1.0, 2.0])},
        {"indptr": np.array([0, 2, 1, 3], np.int32)},
        {"indptr": np.array([0, 1, 2, 9], np.int32)},
        {"indptr": np.array([1, 1, 2, 3], np.int32)},
        {"indptr": np.array([0, 3], np.int32)},
        {"_shape": (3,)},
        {"_shape": (3, -3)},
        {"_shape": (3, 3, 3)},
        {"data": [1.0, 1.0, 1.0]},
        {"data": np.ones((3, 1), np.float32)},
    ],
    ids=str,
)
def test_matrices_with_entries_outside_are_refused(changes):
    with pytest.raises(FormatError, match=r"it\.pkl (has|holds) a"):
        read(tampered(**changes))


def test_entries_that_stand_twice_count_twice():
    matrix = scipy.sparse.csr_matrix((np.ones(2, np.float32), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    assert read(matrix).dense().tolist() == [[0.0, 2.0, 0.0]] == matrix.toarray().tolist()


@pytest.mark.parametrize(
    "name",
    ["cnumpy.core.multiarray\n_reconstruct\n", "c_codecs\nencode\n", "c__builtin__\nlist\n", "cnumpy\nndarray\n"],
)
def test_a_pickle_cannot_change_the_reader(name):
    """A state that is set on what a name stands for, and not on an object made of it, is refused."""
    for state in (b"}U\x01xI1\ns", b"N}U\x01xI1\ns\x86"):  # attributes; no attributes, and slots
        with pytest.raises(FormatError):
            read(name.encode() + state + b"b.")
    assert np.array_equal(read(np.arange(3)), np.arange(3))


def test_a_pickle_cannot_reserve_memory_beyond_its_size():
    """C's unpickler would fill a table of 2^31 entries here."""
    assert read(b"I1\nr\xff\xff\xff\x7f.") == 1
    for huge in (b"B\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x00", b"\x8b\xff\xff\xff\x7f"):
        with pytest.raises(FormatError):
            read(b"\x80\x04" + huge + b"x.")


OPERATIONS = {
    "EXT1": b"\x82\x4d", "EXT2": b"\x83\x4d\x00", "EXT4": b"\x84\x4d\x00\x00\x00",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 1 << 31), "NEXT_BUFFER": b"\x97", "READONLY_BUFFER": b"K\x01\x98",
    "PERSID": b"Pname\n", "BINPERSID": b"K\x01Q", "INST": b"(i__builtin__\nlist\n", "OBJ": b"(c__builtin__\nlist\no",
    "EMPTY_SET": b"\x8f", "ADDITEMS": b"](\x90", "FROZENSET": b"(\x91",
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_no_array_needs_are_refused(name):
    with pytest.raises(FormatError, match=f"has the operation {name}, which no array needs: refused"):
        read(b"\x80\x05" + OPERATIONS[name] + b".")


def test_what_others_have_registered_by_number_is_not_run(tmp_path):
    """Python asks for a name once; what it then remembers, it would hand to every pickle."""
    import os

    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(b"\x80\x02\x82\x4d.") is os.system  # now it is remembered
        for operation in (OPERATIONS["EXT1"], OPERATIONS["EXT2"], OPERATIONS["EXT4"]):
            run = b"\x80\x02" + operation + pickle.dumps((f"touch {tmp_path / 'mark'}",), 2)[2:-1] + b"R."
            with pytest.raises(FormatError, match="has the operation EXT"):
                read(run)
        with pytest.raises(FormatError, match="has the extension code 77"):
            module._Reader(io.BytesIO()).get_extension(77)
    finally:
        copyreg.remove_extension("os", "system", 77)
    assert not (tmp_path / "mark").exists()


class TestBombs:
    """A few bytes that would take all memory or time, if what they say were done."""

    def test_what_stands_in_many_places_is_walked_through_once(self):
        levels = 60
        nested = b"\x80\x02K\x01\x85q\x00"
        for level in range(levels):
            nested += bytes([0x68, level, 0x68, level, 0x86, 0x71, level + 1])  # (a, a), with the level below as a
        found = read(nested + b".")
        for _ in range(levels):
            assert found[0] is found[1]
            found = found[0]
        assert found == (1,)
        # of such tuples, what looks at all of it would not come to an end either
        for use in (b"}(" + b"h\x3cK\x01u", b"}h\x3cK\x01s", b"(h\x3cK\x01d"):
            with pytest.raises(FormatError, match="has a key that is a tuple"):
                read(nested + b"0" + use + b".")
        for use in (b"cnumpy\ndtype\nh\x3c\x85R", b"cnumpy\ndtype\nh\x3cN\x87R"):
            with pytest.raises(FormatError):
                read(nested + b"0" + use + b".")
        reconstruct = b"cnumpy.core.multiarray\n_reconstruct\nh\x3c\x85R"
        with pytest.raises(FormatError, match="makes an object of what is no type of arrays"):
            read(nested + b"0" + reconstruct + b".")
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R"
            b"(K\x01h\x3c\x85cnumpy\ndtype\nU\x02f4\x85RNU\x04abcdtb"
        )
        with pytest.raises(FormatError, match="size is a tuple"):
            read(nested + b"0" + array + b".")

    def test_what_holds_itself_is_refused(self):
        for loop in (b"(lp0\ng0\na.", b"(dp0\nI0\ng0\ns."):
            with pytest.raises(FormatError, match="that holds itself"):
                read(loop)

    def test_what_is_nested_deeply_is_refused(self):
        with pytest.raises(FormatError, match="RecursionError"):
            read(b"]" * 100_000 + b"a" * 99_999 + b".")

    @pytest.mark.parametrize("shape", [(3, 1 << 27), (3, 1 << 40), (1 << 15, 1 << 13)])
    def test_a_matrix_is_not_made_of_more_zeros_than_fit(self, shape):
        rows = SparseRows()
        pointers = np.zeros(shape[0] + 1, np.int32)
        rows.fill(np.zeros(0), np.zeros(0, np.int32), pointers, shape)
        with pytest.raises(FormatError, match=r"a sparse matrix of shape \(.*\) is refused; wanted 134217728 entries"):
            rows.dense()

    def test_one_text_does_not_make_many_arrays(self, monkeypatch):
        monkeypatch.setattr(module, "_MOST_BYTES", 10_000)
        block = np.zeros(1000, np.uint8)
        read([block.copy() for _ in range(4)], 4)
        data = b"\x80\x04B" + struct.pack("<I", 1000) + bytes(1000) + b"q\x000"
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R"
            b"(K\x01M\xe8\x03\x85cnumpy\ndtype\nU\x02u1\x85RNh\x00tb"
        )
        assert len(read(data + b"](" + 10 * array + b"e.")) == 10
        with pytest.raises(FormatError, match="makes arrays of more than 10000 bytes"):
            read(data + b"](" + 11 * array + b"e.")
        text = b"\x80\x04X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x000"
        encoded = b"c_codecs\nencode\nh\x00U\x06latin1\x86R"
        assert len(read(text + b"](" + 10 * encoded + b"e.")) == 10
        with pytest.raises(FormatError, match="makes arrays of more than 10000 bytes"):
            read(text + b"](" + 11 * encoded + b"e.")

    def test_lists_and_dicts_are_made_empty(self):
        for text in (
            b"c__builtin__\nlist\n(K\x01K\x02t\x85R.",
            b"ccollections\ndefaultdict\n(c__builtin__\nbytes\ntR.",
        ):
            with pytest.raises(FormatError, match="of something: refused"):
                read(text)
