"""Augmentations: what they add, where, and what they refuse."""

import pytest
import torch
from torch import nn

from torchdyn_augment import InputLayerAugmentation, WeightAugmentation, ZeroAugmentation
from torchdyn_core import IncompatibleError, NeuralODE, OptionError, ShapeError, autonomous
from torchdyn_core.registry import default_registry
from torchdyn_core.testing import AugmentationSuite


class TestZero(AugmentationSuite):
    def make(self):
        return ZeroAugmentation(3)


class TestZeroOnImages(AugmentationSuite):
    shape = (3, 2, 4, 4)

    def make(self):
        return ZeroAugmentation(2)


class TestZeroOnTheLastAxis(AugmentationSuite):
    shape = (3, 5, 2)

    def make(self):
        return ZeroAugmentation(2, axis=-1)


class TestLearnedDimensions(AugmentationSuite):
    def make(self):
        torch.manual_seed(0)
        return InputLayerAugmentation(nn.Linear(2, 3), 3)


class TestLearnedState(AugmentationSuite):
    identity = False

    def make(self):
        torch.manual_seed(0)
        return InputLayerAugmentation(nn.Linear(2, 5), 3, whole=True)


class TestLearnedChannels(AugmentationSuite):
    shape = (3, 2, 4, 4)

    def make(self):
        torch.manual_seed(0)
        return InputLayerAugmentation(nn.Conv2d(2, 3, 3, padding=1), 3)


def test_zeros_stand_behind_the_state_on_the_axis_of_channels():
    y = torch.arange(24.0).reshape(2, 3, 2, 2)
    lifted = ZeroAugmentation(2).lift(y)
    assert lifted.shape == (2, 5, 2, 2)
    assert torch.equal(lifted[:, :3], y) and not lifted[:, 3:].any()


def test_a_layer_makes_dimensions_or_the_whole_state():
    layer = nn.Linear(2, 2)
    y = torch.randn(4, 2)
    assert torch.equal(InputLayerAugmentation(layer, 2).lift(y), torch.cat((y, layer(y)), 1))
    wide = nn.Linear(2, 4)
    assert torch.equal(InputLayerAugmentation(wide, 2, whole=True).lift(y), wide(y))
    assert InputLayerAugmentation(wide, 2, whole=True).project(wide(y)).shape == (4, 2)


def test_they_are_found_by_name():
    assert isinstance(default_registry().get("augmentation", "augment.zero")(), ZeroAugmentation)
    layer = NeuralODE(autonomous(nn.Linear(3, 3)), augmentation="augment.zero")
    assert layer(torch.ones(4, 2)).shape == (4, 2)
    with pytest.raises(OptionError, match="no default for layer, dims"):
        NeuralODE(autonomous(nn.Linear(3, 3)), augmentation="augment.input_layer")


@pytest.mark.parametrize("dims", [0, -1, 1.0, True, "2"])
def test_a_number_of_dimensions_is_a_whole_number(dims):
    with pytest.raises(OptionError, match="wanted a whole number >= 1"):
        ZeroAugmentation(dims)
    with pytest.raises(OptionError, match="wanted a whole number >= 1"):
        InputLayerAugmentation(nn.Linear(2, 2), dims)


@pytest.mark.parametrize(
    ("augmentation", "state", "words"),
    [
        (ZeroAugmentation(1), torch.ones(3), r"shape \(3,\), which has no axis 1.*axis=-1"),
        (ZeroAugmentation(1), (torch.ones(3, 2),), "a tuple; wanted a tensor"),
        (
            InputLayerAugmentation(nn.Conv2d(2, 2, 3, padding=1), 2),
            torch.ones(3, 2),
            r"Conv2d.*\(3, 2\).*\(N, C, H, W\)",
        ),
        (InputLayerAugmentation(nn.Conv2d(2, 2, 3, padding=1), 2), torch.ones(2, 5, 5), r"Conv2d.*\(N, C, H, W\)"),
        (InputLayerAugmentation(nn.Conv1d(2, 2, 3, padding=1), 2), torch.ones(2, 5), r"Conv1d.*\(N, C, L\)"),
        (
            InputLayerAugmentation(nn.Conv2d(2, 2, 3), 2),
            torch.ones(3, 2, 5, 5),
            r"made \(3, 2, 3, 3\).*wanted \(3, 2, 5, 5\)",
        ),
        (InputLayerAugmentation(nn.Linear(2, 3), 2), torch.ones(3, 2), r"made \(3, 3\).*wanted \(3, 2\)"),
        (InputLayerAugmentation(nn.Linear(2, 2), 2, whole=True), torch.ones(3, 2), r"made \(3, 2\).*wanted \(3, 4\)"),
    ],
)
def test_states_of_another_rank_are_refused(augmentation, state, words):
    with pytest.raises(ShapeError, match=words):
        augmentation.lift(state)


def test_a_state_that_was_not_lifted_is_not_projected():
    with pytest.raises(ShapeError, match="with 2 dimensions"):
        ZeroAugmentation(2).project(torch.ones(3, 2))


def test_weights_are_put_beside_the_state_and_keep_their_gradient():
    net = nn.Linear(2, 2)
    y, weights = WeightAugmentation(net).lift(torch.ones(3, 2))
    assert weights[0] is net.weight and weights[1] is net.bias
    assert WeightAugmentation(net).project((y, weights)) is y


def test_a_linear_layer_is_for_the_last_axis():
    """Of images it would mix the width, and give the shape that is wanted where both agree."""
    y = torch.ones(3, 2, 4, 4)
    with pytest.raises(ShapeError, match=r"Linear, which mixes the last axis.*on axis 1; wanted axis=-1"):
        InputLayerAugmentation(nn.Linear(4, 4), 2).lift(y)
    assert InputLayerAugmentation(nn.Linear(4, 2), 2, axis=-1).lift(y).shape == (3, 2, 4, 6)


def test_a_layer_that_makes_the_rank_that_it_needs_is_taken():
    layer = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 1, 3, padding=1), nn.Flatten())
    assert InputLayerAugmentation(layer, 2).lift(torch.ones(3, 4)).shape == (3, 6)


def test_autocast_lifts_in_the_states_dtype():
    for whole in (False, True):
        augmentation = InputLayerAugmentation(nn.Linear(2, 4 if whole else 2), 2, whole=whole)
        with torch.autocast("cpu", torch.bfloat16):
            assert augmentation.layer(torch.ones(3, 2)).dtype == torch.bfloat16
            assert augmentation.lift(torch.ones(3, 2)).dtype == torch.float32


def test_another_dtype_is_refused_and_so_is_what_is_no_layer():
    with pytest.raises(ShapeError, match=r"made \(3, 2\) torch.float64.*wanted \(3, 2\) torch.float32"):
        InputLayerAugmentation(Doubled(), 2).lift(torch.ones(3, 2))
    for layer, words in ((None, "layer is None"), (nn.Linear, "the class Linear: call it"), (torch.sin, "<built-in")):
        with pytest.raises(IncompatibleError, match=words):
            InputLayerAugmentation(layer, 2)


class Doubled(nn.Module):
    def forward(self, y):
        return y.double()


def test_weights_beside_the_state_are_the_networks_and_its_own_alone():
    net = nn.Linear(2, 2)
    augmentation, y = WeightAugmentation(net), torch.randn(3, 2)
    state, weights = augmentation.lift(y)
    assert state is y and augmentation.project((state, weights)) is y
    assert [a is b for a, b in zip(weights, net.parameters(), strict=True)] == [True, True]
    assert not list(augmentation.parameters()) and not augmentation.state_dict()
