"""What looks at a computation from outside: gradients, `torch.func`, forward mode, inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["differentiated", "kept", "transformed"]


def transformed() -> bool:
    """Whether a transform of `torch.func` or forward mode is at work; not one within what is being compiled."""
    if torch.compiler.is_compiling():  # where the stack of transforms is not to be seen
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def differentiated(tensor: Tensor) -> bool:
    """Whether a tensor is one that something is differentiated by: what is made of it must not be kept."""
    if tensor.requires_grad:
        return True
    if not transformed():
        return False
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return wrapped or forward_ad.unpack_dual(tensor).tangent is not None


@contextmanager
def kept() -> Iterator[None]:
    """For what is made once and kept: ordinary tensors, whatever transform or mode it is first asked for under."""
    if torch.compiler.is_compiling():
        yield
        return
    with torch.inference_mode(False), torch._C._DisableFuncTorch(), forward_ad._set_fwd_grad_enabled(False):
        yield
