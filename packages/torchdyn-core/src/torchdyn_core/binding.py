"""Binding: what a field is inside a solve.

`solve` makes one bound field: arguments applied, begun, its times cast, its results checked. Solvers call it; forward
passes, replayed steps and continuous adjoints use the same one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.errors import IncompatibleError, ShapeError
from torchdyn_core.field import cast, real_dtype
from torchdyn_core.leaves import Reach
from torchdyn_core.tree import Tree, align, flatten, tree_map, unflatten

__all__ = ["NO_ARGS", "BoundField", "RandomnessGuard", "autograd_sequence", "checked_result", "field_time"]

NO_ARGS: Any = object()
"""Stands for `args=None`: the field is called without them."""


Inspect = Callable[[Tree, set[int], int], None]
"""Takes the outputs of an evaluation, the identities of its own leaves, and autograd's sequence number at its start."""


class Calls:
    """Counts evaluations of a field."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class BoundField:
    """A field with everything that belongs to one solve.

    Arguments:
        source: What is called: a `VectorField` that has begun, or any callable.
        args: The tree passed on as a last argument, or `NO_ARGS`.
        known: Whether values of tensors can be looked at; not while a compiler traces the solve.
    """

    def __init__(self, source: Callable[..., Tree], args: Tree = NO_ARGS, known: bool = True) -> None:
        self.source = source
        self.args = args
        self.calls = Calls()
        self._first: RandomnessGuard | None = None
        self._window: tuple[Tensor, Tensor] | None = None
        self._differentiates = False
        self._times: list[Tensor] = []
        self._known = known
        self._versioned = known and not torch.is_inference_mode_enabled()

    def __call__(self, t: Tensor, y: Tree) -> Tree:
        """The slope at time `t` (float64, `()` or `(R,)`)."""
        return self.evaluate(self.source, t, y)

    def evaluate(
        self, function: Callable[..., Tree], t: Tensor, y: Tree, like: Tree | Callable[[Tree, Tree], Tree] | None = None
    ) -> Tree:
        """Call a function of the field (a drift, a diffusion, an energy) as the field itself is called.

        Arguments:
            function: Takes `(t, y)`, and `args` where the solve has them.
            t: float64, `()` or `(R,)`.
            y: The state.
            like: A tree of the shapes and dtypes to expect, or a function of the result and of `y` that checks the
                result and returns it. Default: those of `y`.
        """
        self.calls.count += 1
        time = self.time(t, y)
        if self._first is not None:
            first, self._first = self._first, None
            out = first(lambda z: self._call(function, time, z), y)
        else:
            out = self._call(function, time, y)
        return checked_result(out, y, like)

    def within(self, lower: Tensor, upper: Tensor) -> BoundField:
        """The same field seen between two times: a step that touches a jump sees the limit from its own side."""
        new = copy.copy(self)
        new._window = (lower, upper)
        return new

    def rebound(self, source: Callable[..., Tree], args: Tree, first: RandomnessGuard | None = None) -> BoundField:
        """The same binding of another source and other arguments, with a count of its own."""
        new = copy.copy(self)
        new.source, new.args, new._first = source, args, first
        new.calls = Calls()
        return new

    def time(self, t: Tensor, y: Tree) -> Tensor:
        """A time as the user's functions get it."""
        return field_time(t, y, self._window)

    def take_times(self) -> list[Tensor]:
        """The times that the field has made leaves of its own since this was asked last, to differentiate by them."""
        taken = list(self._times)
        self._times.clear()
        return taken

    def _call(self, function: Callable[..., Tree], time: Tensor, y: Tree) -> Tree:
        if not self._known:
            # nor are versions, which tell of changes in place: the field gets copies that it may change
            return self._called(function, time.clone(), tree_map(torch.clone, y))
        if time.requires_grad:
            return self._called(function, time, y)
        time = time.detach()  # a tensor of its own: what the field does to it, as `requires_grad_`, concerns nobody
        out = self._called(function, time, y)
        if time.requires_grad and torch.is_grad_enabled():
            self._times.append(time)
        return out

    def _called(self, function: Callable[..., Tree], time: Tensor, y: Tree) -> Tree:
        if not self._differentiates:
            before = self._versions(time, y)
            try:
                out = function(time, y) if self.args is NO_ARGS else function(time, y, self.args)
            except RuntimeError as error:
                # A field that differentiates inside needs a state that requires grad; asking for that in every solve
                # would build graphs that nobody uses.
                if "does not require grad" not in str(error):
                    raise
                self._differentiates = True
            else:
                if before is not None and self._versions(time, y) != before:
                    raise IncompatibleError(
                        "the field changed the time t or the state y in place; wanted a new tensor: y * 2 instead of "
                        "y.mul_(2)"
                    )
                return out
        return self._call_with_grad(function, time, y)

    def _call_with_grad(self, function: Callable[..., Tree], time: Tensor, y: Tree) -> Tree:
        graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():

            def alive(leaf: Tensor) -> Tensor:
                leaf = leaf.clone() if leaf.is_inference() else leaf
                return leaf if leaf.requires_grad else leaf.detach().requires_grad_()

            z = tree_map(alive, y)
            time = time.clone() if time.is_inference() else time
            out = function(time, z) if self.args is NO_ARGS else function(time, z, self.args)
        return out if graph else tree_map(torch.Tensor.detach, out)

    def _versions(self, time: Tensor, y: Tree) -> tuple[int, ...] | None:
        if not self._versioned:
            return None
        if isinstance(y, Tensor):
            return time._version, y._version
        return time._version, *(leaf._version for leaf in flatten(y)[0])


def checked_result(out: Tree, y: Tree, like: Tree | Callable[[Tree, Tree], Tree] | None) -> Tree:
    """What a function of the field returned, or an error that says what is wrong with it."""
    if like is None:
        return _checked(out, y)
    return like(out, y) if callable(like) else _checked(out, like)


def field_time(t: Tensor, y: Tree, window: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """A time as the user's field gets it: in the state's real dtype, shaped to multiply the state.

    Arguments:
        t: float64, `()` or `(R,)`.
        y: The state.
        window: Bounds in the state's real dtype that the time is clamped to, its gradient untouched.
    """
    first = y if isinstance(y, Tensor) else flatten(y)[0][0]
    t = cast(t, real_dtype(first))
    if window is not None:
        inside = torch.minimum(torch.maximum(t.detach(), window[0]), window[1])
        t = inside + (t - t.detach()) if t.requires_grad else inside
    return align(t, first) if first is y else t


def _checked(out: Tree, like: Tree) -> Tree:
    """The field's result, or an error that says what is wrong with it."""
    if isinstance(like, Tensor):
        if (
            isinstance(out, Tensor)
            and out.shape == like.shape
            and out.dtype == like.dtype
            and out.device == like.device
        ):
            return out
        return _checked_leaf("", out, like)
    parts, spec = flatten(like)
    try:
        got, got_spec = flatten(out)
    except Exception as error:
        raise ShapeError(f"the field returned {type(out).__name__}; wanted a tree like y0") from error
    if got_spec != spec:
        try:
            got = spec.flatten_up_to(out)  # which takes dicts in any order
        except ValueError as error:
            raise ShapeError(
                f"the field returned {_describe(out)}; wanted a tree like y0: {_describe(like)}"
            ) from error
    return unflatten(
        [_checked_leaf(f" in leaf {i}", g, p) for i, (g, p) in enumerate(zip(got, parts, strict=True))], spec
    )


def _checked_leaf(where: str, out: Any, like: Tensor) -> Tensor:
    if out is None:
        raise ShapeError(f"the field returned None{where}; wanted dy/dt, a tensor like y (is a return missing?)")
    if not isinstance(out, Tensor):
        raise ShapeError(f"the field returned {_describe(out)}{where}; wanted a tensor of shape {tuple(like.shape)}")
    if out.shape != like.shape:
        raise ShapeError(f"the field returned shape {tuple(out.shape)}{where}; wanted y's shape {tuple(like.shape)}")
    if out.device != like.device:
        raise ShapeError(f"the field returned a tensor on {out.device}{where}; wanted y's device {like.device}")
    if out.dtype != like.dtype:
        if torch.is_autocast_enabled(like.device.type) and not (out.is_complex() and not like.is_complex()):
            return out.to(like.dtype)  # autocast's half precision ends at the field; the state keeps its own
        raise ShapeError(
            f"the field returned {out.dtype}{where}; wanted y's dtype {like.dtype}: cast y0, or the field's parameters"
        )
    return out


def _describe(out: Any) -> str:
    if isinstance(out, Tensor):
        return f"a tensor of shape {tuple(out.shape)}"
    if isinstance(out, (tuple, list)):
        return f"{type(out).__name__} of {len(out)}"
    if isinstance(out, dict):
        return f"dict of {sorted(map(str, out))}"
    return type(out).__name__


class RandomnessGuard:
    """Refuses a field that would be replayed differently: one that draws random numbers or changes its buffers.

    Arguments:
        found: What a walk from the field found.
        inspect: Looks at the graph of the first evaluation; None where no graph is wanted.
        args: Arguments that the field must not write to.
    """

    def __init__(self, found: Reach, inspect: Inspect | None = None, args: Sequence[Tensor] = ()) -> None:
        self._found = found
        self._buffers = list(found.buffers())
        self._generators = found.generators
        self._args = [(arg, arg._version) for arg in args if not arg.is_inference()]
        self._inspect = inspect
        self._versions = self._buffer_versions()
        self._random = self._generator_states()

    def __call__(self, evaluate: Callable[[Tree], Tree], y: Tree) -> Tree:
        """The first evaluation, watched."""
        if self._inspect is None or torch.is_inference_mode_enabled():
            out = evaluate(y)
            self.verify()
            return out
        with torch.enable_grad():
            sequence = autograd_sequence()
            alive = tree_map(lambda leaf: leaf.detach().requires_grad_(), y)
            out = evaluate(tree_map(lambda leaf: leaf * 1, alive))  # no leaf, which a field could not change in place
        self.verify()
        self._inspect(out, {id(leaf) for leaf in flatten(alive)[0]}, sequence)
        return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, out)

    def verify(self) -> None:
        """Raise if random numbers were drawn, or a buffer changed, since the guard was made."""
        remedy = (
            "Draw once a solve instead (SolveDropout, or VectorField.begin), put the field into eval mode, or use "
            "adjoint='direct' with controller=Fixed(...), which evaluates each step once."
        )
        if any(arg._version != version for arg, version in self._args):
            raise IncompatibleError(
                "the field changed its args in place; wanted a new tensor: a * 2 instead of a.mul_(2)"
            )
        now = self._found.buffers()
        for (name, old), (_, new), before, after in zip(
            self._buffers, now, self._versions, self._buffer_versions(), strict=True
        ):
            if before != after or old is not new:
                raise IncompatibleError(
                    f"the field changes its buffer {name} while it is evaluated (batch norm in training mode?): a "
                    f"replayed or rejected step would see another field. {remedy}"
                )
        if any(not torch.equal(a, b) for a, b in zip(self._random, self._generator_states(), strict=True)):
            raise IncompatibleError(
                "the field draws random numbers while it is evaluated (dropout in training mode?): a replayed or "
                f"rejected step would see another field. {remedy}"
            )

    def _buffer_versions(self) -> list[int]:
        return [0 if buffer.is_inference() else buffer._version for _, buffer in self._buffers]

    def _generator_states(self) -> list[Tensor]:
        """States of torch's own generators and of those that the field can reach."""
        states = [torch.get_rng_state(), *(generator.get_state() for generator in self._generators)]
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states.extend(torch.cuda.get_rng_state_all())
        return states


def autograd_sequence() -> int:
    """The sequence number of the next graph node of this thread: older nodes have smaller ones."""
    with torch.enable_grad():
        node = (torch.zeros((), requires_grad=True) * 1.0).grad_fn
    assert node is not None
    return int(node._sequence_nr())
