"""Order conditions of every tableau, by rooted trees (Hairer, Noersett, Wanner I, II.2), to rounding."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import DOP853, RK23, RK45

from torchdyn_core import ButcherTableau
from torchdyn_core.registry import Registry
from torchdyn_core.tableau import cubic_hermite

Tree = tuple  # a rooted tree is the sorted tuple of the trees that hang on its root

CORE = Registry(entry_points=tuple)
SOLVERS = {name: CORE.get("solver", name) for name in CORE.names("solver")}
EMBEDDED = {"midpoint": 1, "heun": 1, "ralston": 1, "bosh3": 2, "dopri5": 4, "tsit5": 4, "dopri8": 5}
ROUNDING = 8 * np.finfo(float).eps


@functools.cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with `order` vertices."""

    def forests(size: int, most: Tree | None) -> list[Tree]:
        if size == 0:
            return [()]
        found = []
        for count in range(size, 0, -1):
            for tree in trees(count):
                if most is None or (count, tree) <= most:
                    found += [(tree, *rest) for rest in forests(size - count, (count, tree))]
        return found

    return tuple(sorted(tuple(sorted(forest)) for forest in forests(order - 1, None)))


@functools.cache
def vertices(tree: Tree) -> int:
    return 1 + sum(vertices(child) for child in tree)


@functools.cache
def density(tree: Tree) -> int:
    """gamma: the order condition of a tree is `b . weight = 1 / gamma`."""
    return vertices(tree) * math.prod(density(child) for child in tree)


class Stages:
    """Elementary weights of every stage, those of the continuous extension included."""

    def __init__(self, tableau: ButcherTableau) -> None:
        rows = [(), *tableau.a, *(row for _, row in tableau.extra)]
        self.a = np.zeros((len(rows), len(rows)))
        for index, row in enumerate(rows):
            self.a[index, : len(row)] = row

    def weights(self, tree: Tree, sizes: bool = False) -> np.ndarray:
        """One number a stage; with `sizes` computed from absolute values, which bounds what rounding can do."""
        a = np.abs(self.a) if sizes else self.a
        value = np.ones(len(a))
        for child in tree:
            value = value * (a @ self.weights(child, sizes))
        return value

    def residual(self, row: tuple[float, ...], tree: Tree, wanted: float) -> float:
        """`row . weights - wanted` in units of the largest term that it is the sum of."""
        row = np.pad(np.asarray(row), (0, len(self.a) - len(row)))
        size = max(np.abs(row) @ self.weights(tree, sizes=True), abs(wanted))
        return abs(row @ self.weights(tree) - wanted) / size if size else 0.0


def solution_residual(tableau: ButcherTableau, order: int) -> float:
    stages = Stages(tableau)
    return max(stages.residual(tableau.b, tree, 1 / density(tree)) for tree in trees(order))


def estimate_residual(tableau: ButcherTableau, row: tuple[float, ...], order: int) -> float:
    stages = Stages(tableau)
    return max(stages.residual(row, tree, 0.0) for tree in trees(order))


def dense_residual(tableau: ButcherTableau, order: int) -> float:
    """Each power of theta has a condition of its own: `sum_i dense[i][j] weight_i = [j + 1 == |tree|] / gamma`."""
    stages, columns = Stages(tableau), list(zip(*tableau.dense, strict=True))
    columns += [()] * (order - len(columns))
    return max(
        stages.residual(column, tree, (power == order) / density(tree))
        for tree in trees(order)
        for power, column in enumerate(columns, start=1)
    )


def test_there_are_as_many_rooted_trees_as_in_the_literature() -> None:
    assert [len(trees(order)) for order in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    assert all(len(set(trees(order))) == len(trees(order)) for order in range(1, 10))


@pytest.mark.parametrize("name", SOLVERS)
def test_solution_satisfies_all_order_conditions_and_not_the_next(name: str) -> None:
    solver = SOLVERS[name]
    for order in range(1, solver.order + 1):
        assert solution_residual(solver.tableau, order) < order * ROUNDING
    assert solution_residual(solver.tableau, solver.order + 1) > 1e-6


@pytest.mark.parametrize("name", EMBEDDED)
def test_error_estimate_is_of_the_embedded_order(name: str) -> None:
    tableau, order = SOLVERS[name].tableau, EMBEDDED[name]
    for lower in range(1, order + 1):
        assert estimate_residual(tableau, tableau.error, lower) < lower * ROUNDING
    assert estimate_residual(tableau, tableau.error, order + 1) > 1e-6


def test_second_estimate_of_dopri8_is_of_order_three() -> None:
    tableau = SOLVERS["dopri8"].tableau
    for order in (1, 2, 3):
        assert estimate_residual(tableau, tableau.error_low, order) < order * ROUNDING
    assert estimate_residual(tableau, tableau.error_low, 4) > 1e-6


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - set(EMBEDDED)))
def test_methods_without_an_estimate_say_so(name: str) -> None:
    solver = SOLVERS[name]
    assert solver.tableau.error is None
    assert not solver.has_error_estimate


@pytest.mark.parametrize("name", SOLVERS)
def test_dense_output_satisfies_continuous_order_conditions_up_to_its_order(name: str) -> None:
    solver = SOLVERS[name]
    for order in range(1, solver.dense_order + 1):
        assert dense_residual(solver.tableau, order) < 4 * order * ROUNDING
    assert dense_residual(solver.tableau, solver.dense_order + 1) > 1e-6


@pytest.mark.parametrize("name", SOLVERS)
def test_dense_output_ends_at_the_solution(name: str) -> None:
    tableau = SOLVERS[name].tableau
    rows = np.array(tableau.dense)
    b = np.pad(tableau.b, (0, len(rows) - len(tableau.b)))
    assert len(rows) == len(tableau.c) + len(tableau.extra)
    assert np.all(np.abs(rows.sum(1) - b) <= ROUNDING * np.abs(rows).sum(1))


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - {"euler"}))
def test_dense_output_leaves_and_arrives_along_the_slopes(name: str) -> None:
    tableau = SOLVERS[name].tableau
    rows = np.array(tableau.dense)
    stages = Stages(tableau)
    b = np.pad(tableau.b, (0, len(rows) - len(tableau.b)))
    last = next(i for i in reversed(range(len(rows))) if np.array_equal(stages.a[i], b))  # the stage at the new state
    assert np.allclose(rows[:, 0], np.eye(len(rows))[0], rtol=0, atol=1e-13)
    powers = np.arange(1, rows.shape[1] + 1)
    size = np.abs(rows) @ powers
    assert np.all(np.abs(rows @ powers - np.eye(len(rows))[last]) <= 4 * ROUNDING * np.maximum(size, 1))


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_sum_to_their_nodes(name: str) -> None:
    tableau = SOLVERS[name].tableau
    assert tableau.c[0] == 0.0
    for node, row in [*zip(tableau.c[1:], tableau.a, strict=True), *tableau.extra]:
        assert abs(math.fsum(row) - node) <= ROUNDING * max(1.0, sum(map(abs, row)))
    assert abs(math.fsum(tableau.b) - 1) <= ROUNDING * sum(map(abs, tableau.b))


def test_first_same_as_last_methods_are_known_as_such() -> None:
    assert {name for name, solver in SOLVERS.items() if solver.tableau.first_same_as_last} == {
        "bosh3", "dopri5", "tsit5", "dopri8",
    }  # fmt: skip
    for solver in SOLVERS.values():
        tableau = solver.tableau
        if tableau.first_same_as_last:
            assert tableau.c[-1] == 1.0
            assert np.array_equal(Stages(tableau).a[len(tableau.c) - 1, : len(tableau.b)], tableau.b)


@pytest.mark.parametrize(("name", "peer"), [("bosh3", RK23), ("dopri5", RK45), ("dopri8", DOP853)])
def test_coefficients_are_those_of_scipy(name: str, peer: type) -> None:
    tableau = SOLVERS[name].tableau
    stages = len(peer.B)
    theirs = np.asarray(peer.A)[:stages, : stages - 1]
    assert np.allclose(Stages(tableau).a[:stages, : stages - 1], theirs, rtol=1e-14, atol=0)
    assert np.allclose(tableau.b[:stages], peer.B, rtol=1e-14, atol=0)
    assert np.allclose(tableau.c[:stages], np.asarray(peer.C)[:stages], rtol=1e-14, atol=0)
    estimates = (
        [(tableau.error, peer.E5), (tableau.error_low, peer.E3)] if peer is DOP853 else [(tableau.error, peer.E)]
    )
    for row, theirs in estimates:
        sign = np.sign(row[0] * theirs[0])  # an estimate may be written with either sign
        assert np.allclose(sign * np.array(row), theirs, rtol=1e-13, atol=1e-17)
    if peer is not DOP853:  # SciPy keeps that one in Hairer's nested form
        assert np.allclose(tableau.dense, peer.P, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_coefficient_wrong_in_its_tenth_digit_breaks_an_order_condition(name: str) -> None:
    """The conditions can fail: whichever entry of `a` or `b` is touched, row sums kept as the class checks."""
    solver = SOLVERS[name]
    tableau = solver.tableau
    for index, row in [*enumerate(tableau.a), (None, tableau.b)]:
        places = [place for place, entry in enumerate(row) if entry]
        if len(places) < 2:
            continue
        wrong = list(row)
        wrong[places[0]] += 1e-10
        wrong[places[-1]] -= 1e-10
        if index is None:
            broken = replace(tableau, b=tuple(wrong))
            assert (
                max(solution_residual(broken, order) for order in range(1, solver.order + 1)) > solver.order * ROUNDING
            )
        elif index + 1 < len(tableau.c) - tableau.first_same_as_last:
            broken = replace(tableau, a=(*tableau.a[:index], tuple(wrong), *tableau.a[index + 1 :]))
            assert (
                max(solution_residual(broken, order) for order in range(1, solver.order + 1)) > solver.order * ROUNDING
            )


def test_mistyped_tableaux_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sums to 0.4, wanted its node 0.5"):
        ButcherTableau(c=(0.0, 0.5), a=((0.4,),), b=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"b sums to 0.9, wanted 1"):
        ButcherTableau(c=(0.0, 0.5), a=((0.5,),), b=(0.0, 0.9))
    with pytest.raises(ValueError, match=r"wanted its node 1.0"):
        ButcherTableau(c=(0.0,), a=(), b=(1.0,), extra=((1.0, (0.9,)),))


def test_cubic_hermite_takes_slopes_and_values_at_both_ends() -> None:
    rows = np.array(cubic_hermite((0.25, 0.75)))
    assert rows.shape == (3, 3)
    assert np.allclose(rows.sum(1), [0.25, 0.75, 0.0])
    assert np.allclose(rows @ [1, 2, 3], [0, 0, 1])
    assert np.array_equal(rows[:, 0], [1, 0, 0])
