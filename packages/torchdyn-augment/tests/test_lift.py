"""Augmentations: what they add, where, and what they refuse."""

import pytest
import torch
from torch import nn

from torchdyn_augment import InputLayerAugmentation, WeightAugmentation, ZeroAugmentation
from torchdyn_core import NeuralODE, OptionError, ShapeError, autonomous
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
        (InputLayerAugmentation(nn.Conv1d(2, 2, 3, padding=1), 2), torch.ones(2, 5), r"Conv1d.*\(N, C, W\)"),
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
