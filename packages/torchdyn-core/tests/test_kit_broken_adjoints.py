"""Adjoints that break one clause of the contract each; beside it the test of `AdjointSuite` that has to notice.

Those that are wrong where a solve is compiled stand in `test_kit_compiled.py`.
"""

import dataclasses

import pytest
import torch

from torchdyn_core import Direct, IncompatibleError
from torchdyn_core.adjoint.base import find
from torchdyn_core.testing import AdjointSuite, rotation
from torchdyn_core.tree import tree_map


class Altered(Direct):
    """Autograd through the loop, and what comes out of it changed."""

    def leaf(self, a):
        return a

    def run(self, problem, loop):
        trajectory = super().run(problem, loop)
        return dataclasses.replace(trajectory, outputs=tree_map(self.leaf, trajectory.outputs))


class Wrong(Altered):
    """Gradients one per cent too large."""

    def leaf(self, a):
        return 1.01 * a - (0.01 * a).detach()


class WrongOfDerived(Wrong):
    """The same, where a function closes over a tensor that was computed from another."""

    def run(self, problem, loop):
        return (super() if find(problem).derived else Direct()).run(problem, loop)


class WrongUnlessDerived(Wrong):
    def run(self, problem, loop):
        return (Direct() if find(problem).derived else super()).run(problem, loop)


class RefusesWithoutRemedy(Direct):
    def run(self, problem, loop):
        if find(problem).derived:
            raise IncompatibleError("no")
        return super().run(problem, loop)


class WritesGradients(Direct):
    """Leaves a gradient on parameters that have none."""

    where = ""

    def run(self, problem, loop):
        for name, parameter in problem.field.source.named_parameters():
            if self.where in name:
                parameter.grad = torch.ones_like(parameter)
        return super().run(problem, loop)


class WritesToFrozen(WritesGradients):
    where = "frozen"


class WritesToSpare(WritesGradients):
    where = "spare"


class Nothing(Altered):
    """Gradients of zero."""

    def leaf(self, a):
        return a.detach() + 0 * a


class Graph(Direct):
    """Builds a graph whatever is asked for."""

    def run(self, problem, loop):
        with torch.enable_grad():
            return super().run(problem, loop)


class Requires(Altered):
    """Results that require a gradient, of nothing."""

    def leaf(self, a):
        return a + torch.zeros((), dtype=a.dtype, requires_grad=True)


class RequiresOnTheWay(Requires):
    def run(self, problem, loop):
        trajectory = Direct().run(problem, loop)
        interior = tree_map(self.leaf, trajectory.outputs.interior)
        return dataclasses.replace(trajectory, outputs=trajectory.outputs._replace(interior=interior))


class Fading(Altered):
    """Each backward pass gives half of the one before."""

    def leaf(self, a):
        passes = []

        def halve(grad):
            passes.append(1)
            return grad * 0.5 ** len(passes)

        if a.requires_grad:
            a.register_hook(halve)
        return a


class FirstDerivativesOnly(Altered):
    """The gradient is right and carries only part of its own."""

    def leaf(self, a):
        if a.requires_grad:
            a.register_hook(torch.Tensor.detach)
        return a


class WrongInSingle(Altered):
    """Gradients one per cent too large, in single precision alone."""

    def leaf(self, a):
        if a.dtype == torch.float32:
            return a + 0.01 * (a - a.detach())
        return a


class CountsDerivedTwice(Wrong):
    """Arguments that depend on what the state depends on."""

    def run(self, problem, loop):
        depends = problem.y0.requires_grad and isinstance(problem.field.args, torch.Tensor)
        return (super() if depends else Direct()).run(problem, loop)


class HooksAgain(Direct):
    """Hooks of parameters are called once more, when their gradients are there."""

    def run(self, problem, loop):
        def again(parameter):
            for hook in parameter._backward_hooks.values():
                hook(parameter.grad)

        for parameter in problem.field.source.parameters():
            parameter.register_post_accumulate_grad_hook(again)
        return super().run(problem, loop)


BROKEN = [
    (Wrong, "test_gradients_of_state_parameters_and_times", rotation, "fixed"),
    (Wrong, "test_gradients_of_state_parameters_and_times", rotation, "adaptive"),
    (Wrong, "test_gradients_with_steps_per_sample", "fixed"),
    (Wrong, "test_gradients_backwards_in_time"),
    (Wrong, "test_gradients_of_a_running_loss", False),
    (Wrong, "test_gradients_of_arguments"),
    (Wrong, "test_gradients_of_what_a_function_closes_over"),
    (WrongUnlessDerived, "test_gradients_of_what_a_function_closes_over"),
    (WrongOfDerived, "test_gradients_of_what_a_function_closes_over"),
    (RefusesWithoutRemedy, "test_gradients_of_what_a_function_closes_over"),
    (Wrong, "test_a_leaf_that_is_used_late_gets_its_gradient"),
    (Wrong, "test_a_field_that_differentiates_inside"),
    (WritesToFrozen, "test_frozen_and_unused_parameters"),
    (WritesToSpare, "test_frozen_and_unused_parameters"),
    (Nothing, "test_frozen_and_unused_parameters"),
    (Graph, "test_no_gradient_where_none_is_asked_for"),
    (RequiresOnTheWay, "test_no_gradient_where_none_is_asked_for"),
    (Requires, "test_no_gradient_where_none_is_asked_for"),
    (WrongInSingle, "test_single_precision"),
    (Fading, "test_two_backward_passes"),
    (FirstDerivativesOnly, "test_second_derivatives_are_right_or_refused"),
    (CountsDerivedTwice, "test_an_input_that_depends_on_another_counts_once"),
    (HooksAgain, "test_hooks_fire_once"),
    (WritesGradients, "test_hooks_fire_once"),
]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: f"{row[0].__name__}-{row[1]}")
def test_a_broken_adjoint_is_found_out(fails, row):
    fails(AdjointSuite, *row)


def test_second_derivatives_that_are_said_not_to_be_there_have_to_be_refused(fails):
    fails(AdjointSuite, Direct, "test_second_derivatives_are_right_or_refused", double_backward=False)


def test_every_test_of_the_suite_finds_something():
    assert {row[1] for row in BROKEN} == set(AdjointSuite._tests) - {"test_gradients_of_compiled_solves"}
