"""Random bits and normal numbers."""

import math

import mpmath
import pytest
import torch
from scipy import stats

from torchdyn_sde.node_noise import _KEY
from torchdyn_sde.normal import normals
from torchdyn_sde.threefry import signed, threefry

# Known answers of Random123's own tests for 20 rounds: counter, key, words.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values):
    return tuple(signed(torch.tensor(value)) for value in values)


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_known_answers(counter, key, wanted):
    assert tuple(int(word) & 0xFFFFFFFF for word in threefry(words(*key), words(*counter))) == wanted


def test_compiled_bits_are_the_same():
    count = torch.arange(1000, dtype=torch.int32)
    key = words(123456789, 0xDEADBEEF)
    compiled = torch.compile(lambda count: _KEY(*key, count, count), fullgraph=True)
    for got, want in zip(compiled(count), threefry(key, (count, count)), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_normal_numbers_are_the_same_to_rounding(dtype):
    count = torch.arange(1000, dtype=torch.int32)
    key = words(123456789, 0xDEADBEEF)
    compiled = torch.compile(lambda count: normals(key, (count, count), dtype), fullgraph=True)
    for got, want in zip(compiled(count), normals(key, (count, count), dtype), strict=True):
        torch.testing.assert_close(got, want, rtol=4 * torch.finfo(dtype).eps, atol=0.0)


def drawn(count, dtype=torch.float64, seed=0):
    key, counter = words(seed, 0), (torch.arange(count, dtype=torch.int32), torch.zeros((), dtype=torch.int32))
    return threefry(key, counter), torch.stack(normals(key, counter, dtype))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_they_are_normal_and_independent(seed):
    _, (x, y) = drawn(500_000, seed=seed)
    for numbers in (x, y, (x + y) / math.sqrt(2), (x[1:] - x[:-1]) / math.sqrt(2)):
        thinned = numbers[::2]  # differences of neighbours share numbers
        assert stats.kstest(thinned.numpy(), "norm").pvalue > 1e-3
    several = torch.stack((x[:-1], y[:-1], x[1:], y[1:]))
    assert (torch.corrcoef(several) - torch.eye(4)).abs().max() < 0.01
    assert abs(float(x.pow(4).mean()) - 3) < 0.05
    assert (torch.corrcoef(several.square()) - torch.eye(4)).abs().max() < 0.01


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 4), (torch.float32, 4)])
def test_they_are_right_to_four_units_in_the_last_place(dtype, bound):
    bits, found = drawn(2000, dtype)
    mpmath.mp.dps = 40
    worst = 0.0
    for index in range(2000):
        word, angle = (int(x[index]) & 0xFFFFFFFF for x in bits)
        # the uniform number as it is rounded; what is made of it is what is judged
        uniform = mpmath.mpf(float(torch.tensor(word >> 1, dtype=torch.int64).to(dtype) * 2.0**-31 + 2.0**-32))
        turn = angle & 0x3FFFFFFF
        turn = turn - (1 << 30) if turn >= 1 << 29 else turn
        phase = (mpmath.mpf(angle >> 30) + mpmath.mpf(turn) / 2**30) * mpmath.pi / 2
        radius = mpmath.sqrt(-2 * mpmath.log(uniform))
        for got, want in zip(found[:, index], (radius * mpmath.cos(phase), radius * mpmath.sin(phase)), strict=True):
            if uniform == 1:
                assert got == 0
                continue
            ulp = 2.0 ** (math.floor(math.log2(abs(float(want)))) - (52 if dtype == torch.float64 else 23))
            worst = max(worst, float(abs(mpmath.mpf(float(got)) - want)) / ulp)
    assert worst <= bound


def test_both_dtypes_have_the_same_numbers():
    (_, double), (_, single) = drawn(10_000), drawn(10_000, torch.float32)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
