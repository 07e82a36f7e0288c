"""Finding the tensors that a field can reach, so that no gradient is silently zero.

Forward passes under a checkpointing or continuous adjoint run without a graph. Autograd is then told which leaves the
solve depends on: all that can be found by walking the field, and every replayed step is checked against that list.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core.errors import GradientError
from torchdyn_core.field import shallow_copy
from torchdyn_core.tree import leaves as tree_leaves
from torchdyn_core.tree import tree_map

__all__ = ["Reach", "check_known", "isolate", "reach", "unknown"]

_MODULE_STORES = frozenset(nn.Module().__dict__)
_LONGEST_CONTAINER = 10_000
_ACCUMULATE = type(torch.zeros(1, requires_grad=True).view(1).grad_fn.next_functions[0][0])  # type: ignore[union-attr]
"""The class of the nodes that stand for leaves in autograd's graph."""


@dataclass
class Reach:
    """What a walk found: leaves and derived tensors that require grad, constants that do not, modules, generators."""

    leaves: list[Tensor] = field(default_factory=list)
    derived: list[tuple[str, Tensor]] = field(default_factory=list)
    modules: list[nn.Module] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    generators: list[torch.Generator] = field(default_factory=list)

    def marks(self) -> list[int]:
        """Versions of all constants and modes of all modules: whatever changes one of them changes this."""
        versions = [0 if constant.is_inference() else constant._version for constant in self.constants]
        return versions + [module.training for module in self.modules]

    def buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Buffers of the modules found."""
        for module in self.modules:
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield f"{type(module).__name__}.{name}", buffer


def reach(*roots: object) -> Reach:
    """Walk modules, closures, the globals that functions name, `__self__`, partials, containers and attributes."""
    found, seen = Reach(), set()
    stack: list[tuple[str, Any]] = [("field", root) for root in reversed(roots)]
    while stack:
        name, item = stack.pop()
        if item is None or isinstance(item, (str, bytes, int, float, complex, type, torch.dtype, torch.device)):
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            if item.requires_grad:
                if item.is_leaf:
                    found.leaves.append(item)
                else:
                    found.derived.append((name, item))
            else:
                found.constants.append(item)
            continue
        if isinstance(item, torch.Generator):
            found.generators.append(item)
            continue
        if isinstance(item, nn.Module):
            found.modules.append(item)
        stack.extend(reversed(list(_inside(name, item))))
    return found


def _inside(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, nn.Module):
        for store in (item._parameters, item._buffers, item._modules):
            for key, value in store.items():
                yield f"{name}.{key}", value
        for key, value in item.__dict__.items():
            if key not in _MODULE_STORES:
                yield f"{name}.{key}", value
        if not type(item).__module__.startswith("torch."):
            yield from _inside_function(f"{name}.forward", type(item).forward, type(item))
    elif isinstance(item, types.FunctionType):
        yield from _inside_function(name, item, None)
    elif isinstance(item, functools.partial):
        yield from ((name, part) for part in (item.func, item.args, item.keywords))
    elif isinstance(item, types.MethodType):
        yield name, item.__self__
        yield from _inside_function(name, item.__func__, type(item.__self__))
    elif isinstance(item, (tuple, list, set, frozenset)):
        if len(item) <= _LONGEST_CONTAINER:
            yield from ((f"{name}[{index}]", value) for index, value in enumerate(item))
    elif isinstance(item, dict):
        if len(item) <= _LONGEST_CONTAINER:
            yield from ((f"{name}[{key!r}]", value) for key, value in item.items())
    elif not isinstance(item, (types.ModuleType, types.BuiltinFunctionType)):
        for key, value in getattr(item, "__dict__", {}).items():
            yield f"{name}.{key}", value
        for kind in type(item).__mro__:
            for slot, member in vars(kind).items():
                if isinstance(member, types.MemberDescriptorType):
                    yield f"{name}.{slot}", getattr(item, slot, None)
        call = getattr(type(item), "__call__", None)  # noqa: B004 - its code is walked, not its callability asked
        if isinstance(call, types.FunctionType):
            yield from _inside_function(name, call, type(item))


def _inside_function(name: str, function: Any, owner: type | None) -> Iterator[tuple[str, Any]]:
    if not isinstance(function, types.FunctionType) or (function.__module__ or "").split(".")[0] == "torch":
        return
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield variable, cell.cell_contents
        except ValueError:  # a cell that is not filled yet holds nothing
            continue
    yield from ((name, value) for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()))
    names = set(_names(function.__code__))
    for variable in names:
        value = function.__globals__.get(variable)
        if isinstance(value, types.ModuleType):
            # `config.weight`: attributes of modules that this function names, if they can hold a gradient
            yield from (
                (f"{variable}.{inner}", vars(value)[inner])
                for inner in names & vars(value).keys()
                if isinstance(vars(value)[inner], (Tensor, nn.Module))
            )
        else:
            yield variable, value
        method = getattr(owner, variable, None) if owner is not None else None
        if isinstance(method, types.FunctionType):
            yield f"{name}.{variable}", method
    if hasattr(function, "__wrapped__"):
        yield name, function.__wrapped__


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def isolate(module: nn.Module) -> tuple[nn.Module, list[Tensor], list[Tensor]]:
    """A copy of a module in which every derived tensor that requires grad is a leaf of its own.

    A control taken from an encoder, a drawn mask, weights put in by `functional_call`: their graph lies
    outside the solve. Replayed steps differentiate with respect to the leaves; autograd carries on from the originals.

    Returns:
        The copy (the module itself if nothing had to change), the originals, and their leaves.
    """
    originals: list[Tensor] = []
    proxies: dict[int, Tensor] = {}
    memo: dict[int, nn.Module] = {}

    def proxy(value: Tensor) -> Tensor:
        if not value.requires_grad or value.is_leaf:
            return value
        if id(value) not in proxies:
            originals.append(value)
            proxies[id(value)] = value.detach().requires_grad_()
        return proxies[id(value)]

    def derived(value: Any) -> bool:
        if isinstance(value, (Tensor, tuple, list, dict)):
            return any(t.requires_grad and not t.is_leaf for t in tree_leaves(value))
        return False

    def visit(item: nn.Module) -> nn.Module:
        if id(item) in memo:
            return memo[id(item)]
        memo[id(item)] = item
        children = {key: visit(child) for key, child in item._modules.items() if child is not None}
        moved = any(children[key] is not item._modules[key] for key in children)
        attributes = {
            key: value for key, value in item.__dict__.items() if key not in _MODULE_STORES and derived(value)
        }
        if not (moved or attributes or derived(dict(item._parameters)) or derived(dict(item._buffers))):
            return item
        new = shallow_copy(item)
        new.__dict__["_modules"].update(children)
        for store in ("_parameters", "_buffers"):
            new.__dict__[store] = {k: proxy(v) if isinstance(v, Tensor) else v for k, v in new.__dict__[store].items()}
        for key, value in attributes.items():
            new.__dict__[key] = tree_map(proxy, value)
        memo[id(item)] = new
        return new

    return visit(module), originals, list(proxies.values())


def check_known(outputs: Iterable[Tensor], known: set[int], sequence: int) -> None:
    """Raise if the graph of `outputs` reaches a leaf that is not known, or leaves the step that it belongs to.

    Arguments:
        outputs: Tensors that one step computed.
        known: `id` of every leaf that a gradient is delivered to.
        sequence: Sequence number of autograd when the step began: nodes before it belong to somebody else.
    """
    stack = [out.grad_fn for out in outputs if out.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if type(node) is _ACCUMULATE:
            variable = node.variable  # type: ignore[attr-defined]
            if id(variable) not in known:
                raise unknown(f"a leaf of shape {tuple(variable.shape)}")
            continue
        if node._sequence_nr() < sequence:
            raise unknown(f"the result of {node.name()}, computed outside the solve")
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)


def unknown(what: str) -> GradientError:
    """The error for something whose gradient would be lost."""
    return GradientError(
        f"the field uses {what} that requires grad and could not be found by walking the field, so its gradient would "
        "be lost. Pass it through args=, make it a parameter of the field's module, or use adjoint='direct'."
    )
