"""Augmentation and depth variance for neural ODEs: ANODE, higher order, data control, Galerkin layers, ANODEv2."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchdyn_augment.anodev2 import ANODEv2, WeightAugmentation
    from torchdyn_augment.bases import Basis, Chebyshev, Fourier, GaussianRBF, Legendre, PiecewiseConstant, Polynomial
    from torchdyn_augment.data_controlled import DataControlled
    from torchdyn_augment.depth_concat import DepthConcat
    from torchdyn_augment.depth_variant import DepthSequential, DepthVariant
    from torchdyn_augment.galerkin import GalerkinConv1d, GalerkinConv2d, GalerkinLinear
    from torchdyn_augment.higher_order import HigherOrder
    from torchdyn_augment.hyper_field import HyperField
    from torchdyn_augment.lift import InputLayerAugmentation, ZeroAugmentation
    from torchdyn_augment.weight_dynamics import LearnedDynamics, ReactionDiffusionAdvection, WeightDynamics
    from torchdyn_augment.wrapper import WrappedField

_HOME = {
    "ANODEv2": "anodev2",
    "Basis": "bases",
    "Chebyshev": "bases",
    "DataControlled": "data_controlled",
    "DepthConcat": "depth_concat",
    "DepthSequential": "depth_variant",
    "DepthVariant": "depth_variant",
    "Fourier": "bases",
    "GalerkinConv1d": "galerkin",
    "GalerkinConv2d": "galerkin",
    "GalerkinLinear": "galerkin",
    "GaussianRBF": "bases",
    "HigherOrder": "higher_order",
    "HyperField": "hyper_field",
    "InputLayerAugmentation": "lift",
    "LearnedDynamics": "weight_dynamics",
    "Legendre": "bases",
    "PiecewiseConstant": "bases",
    "Polynomial": "bases",
    "ReactionDiffusionAdvection": "weight_dynamics",
    "WeightAugmentation": "anodev2",
    "WeightDynamics": "weight_dynamics",
    "WrappedField": "wrapper",
    "ZeroAugmentation": "lift",
}

__all__ = [
    "ANODEv2",
    "Basis",
    "Chebyshev",
    "DataControlled",
    "DepthConcat",
    "DepthSequential",
    "DepthVariant",
    "Fourier",
    "GalerkinConv1d",
    "GalerkinConv2d",
    "GalerkinLinear",
    "GaussianRBF",
    "HigherOrder",
    "HyperField",
    "InputLayerAugmentation",
    "LearnedDynamics",
    "Legendre",
    "PiecewiseConstant",
    "Polynomial",
    "ReactionDiffusionAdvection",
    "WeightAugmentation",
    "WeightDynamics",
    "WrappedField",
    "ZeroAugmentation",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
