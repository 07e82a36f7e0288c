"""What this package brings to the registry."""

from __future__ import annotations

from torchdyn_core.plugin import Component, hookimpl

__all__ = ["torchdyn_components"]

_HERE = "torchdyn_augment"


@hookimpl
def torchdyn_components() -> tuple[Component, ...]:
    """Augmentations, wrappers of fields, layers that vary with depth."""
    return (
        Component(
            "augmentation", "zero", f"{_HERE}:ZeroAugmentation", "Further dimensions that start at zero",
            "arXiv:1904.01681",
        ),
        Component(
            "augmentation", "input_layer", f"{_HERE}:InputLayerAugmentation", "Dimensions that a layer computes",
            "arXiv:2002.08071",
        ),
        Component(
            "augmentation", "weights", f"{_HERE}:WeightAugmentation", "A network's weights, beside the state",
            "arXiv:1906.04596",
        ),
        Component(
            "field", "higher_order", f"{_HERE}:HigherOrder", "Only the highest derivative is learned",
            "arXiv:2002.08071",
        ),
        Component(
            "field", "data_controlled", f"{_HERE}:DataControlled", "Sees the initial state", "arXiv:2002.08071"
        ),
        Component("field", "depth_concat", f"{_HERE}:DepthConcat", "Sees the time as a feature", "arXiv:1806.07366"),
        Component(
            "field", "depth_sequential", f"{_HERE}:DepthSequential", "Layers, some of which vary with depth",
            "arXiv:2002.08071",
        ),
        Component("field", "hyper", f"{_HERE}:HyperField", "Weights from a hypernetwork of depth", "arXiv:1609.09106"),
        Component(
            "field", "anodev2", f"{_HERE}:ANODEv2", "Weights that move by their own equation", "arXiv:1906.04596"
        ),
        Component("layer", "galerkin_linear", f"{_HERE}:GalerkinLinear", "A linear layer", "arXiv:2002.08071"),
        Component("layer", "galerkin_conv1d", f"{_HERE}:GalerkinConv1d", "Convolution (1-D)", "arXiv:2002.08071"),
        Component("layer", "galerkin_conv2d", f"{_HERE}:GalerkinConv2d", "Convolution (2-D)", "arXiv:2002.08071"),
    )  # fmt: skip
