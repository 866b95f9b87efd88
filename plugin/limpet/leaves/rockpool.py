"""Everything Limpet knows about Rockpool, and the only file that does.

Rockpool itself is never imported: its modules are met as objects and recognised by the names of their classes, so
`import limpet` costs nothing to those who do not use it (Rockpool's import takes seconds and warns).

Rockpool 3.1's `rockpool.devices.dynapse` and `rockpool.transform.mismatch` are the oracle: same names, same results.
"""

import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError, PrototypeError
from .._jax import is_traced
from ..arrays._array import Array
from ..draws._strength import sigma_of_percent
from ._adapter import Leaves, Range
from ._layer_leaf import LayerLeaf, digital
from ._paths import is_real, leaves_by_path, listing
from .tree import PlainTree, nested, shapes_of

_FROZEN: Mapping[str, frozenset[str]] = {
    "DynapSim": frozenset(
        "Idc If_nmda Igain_ahp Igain_mem Igain_syn Ipulse_ahp Ipulse Iref Ispkthr Itau_ahp Itau_mem Itau_syn Iw_ahp "
        "C_ahp C_syn C_pulse_ahp C_pulse C_ref C_mem Io kappa_n kappa_p Ut Vth".split()
    )
}
_DYNAMIC: Mapping[str, frozenset[str]] = {"DynapSim": frozenset({"w_rec"}), "LinearJax": frozenset({"weight"})}

# DynapSim registers the NMDA gate current for the chip's configuration, but its `evolve` never reads it.
_UNREAD = frozenset({"If_nmda"})

_IO = 5e-13
"""The leakage of a transistor in amperes, as the simulator has it: what is below counts as this."""

_BIASES: Mapping[str, tuple[str, float]] = {
    "Idc": ("P", 0.38),
    "If_nmda": ("N", 1.05),
    "Igain_ahp": ("P", 0.68),
    "Igain_mem": ("N", 1.05),
    "Igain_syn": ("P", 0.68),
    "Ipulse_ahp": ("N", 0.92),
    "Ipulse": ("N", 0.92),
    "Iref": ("N", 1.05),
    "Ispkthr": ("P", 0.38),
    "Itau_ahp": ("P", 0.2),
    "Itau_mem": ("N", 0.61),
    "Itau_syn": ("P", 0.2),
    "Iw_ahp": ("N", 0.92),
}
"""By name, the type of the transistor that makes a bias current of DYNAP-SE2, and the factor on what the bias generator
gives. (The four dendrites share the factors of Itau_syn and of Igain_syn.)"""

_GENERATED: Mapping[str, tuple[float, float]] = {"N": (4.9361e-13, 2.2759e-6), "P": (3.7279e-13, 2.2449e-6)}
"""The smallest and the largest current in amperes that the bias generator of DYNAP-SE2 gives, over all coarse and fine
values, by type of transistor. Source of both tables: Rockpool 3.1, `rockpool.devices.dynapse.lookup`, `paramgen_se2`
and `scale`."""

_POSITIVE = frozenset("C_ahp C_syn C_pulse_ahp C_pulse C_ref C_mem Io kappa_n kappa_p Ut Vth".split())
"""Capacitances and constants of transistors, of which no table has a range: they are above 0."""

_NOMINAL = "_limpet_nominal"


@contextmanager
def quietly() -> Iterator[None]:
    """Holds back warnings while something of Rockpool is imported or built: it reports each back end that it lacks."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)


def imported(module: str) -> Any:
    """A module of Rockpool's, imported without its warnings.

    Args:
        module: its full name, such as "rockpool.devices.dynapse".

    Raises:
        LimpetError: Rockpool is not installed, or the module cannot be imported; says what to do.
    """
    try:
        with quietly():
            return import_module(module)
    except ImportError as error:
        raise LimpetError(
            f"{module} cannot be imported ({error}): install Rockpool by python -m pip install 'limpet[rockpool]'"
        ) from None


def is_module(model: Any) -> bool:
    """Whether `model` is a Rockpool module.

    Raises:
        PrototypeError: it is one of Rockpool's, but not of its JAX back end.
    """
    names = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(model).__mro__}
    if ("rockpool", "ModuleBase") in names and ("rockpool", "JaxModule") not in names:
        raise PrototypeError(
            f"{type(model).__name__} is a Rockpool module without JAX: use the class of its JAX back end "
            f"(LinearJax, LIFJax, DynapSim, ...)"
        )
    return ("rockpool", "JaxModule") in names


def is_module_class(kind: type) -> bool:
    """Whether a class is one of Rockpool's JAX modules."""
    return any(cls.__name__ == "JaxModule" and cls.__module__.startswith("rockpool.") for cls in kind.__mro__)


def attributes(net: Any) -> dict[str, Any]:
    """The tree of parameters and simulation parameters of a Rockpool module, as `net.set_attributes` takes it.

    Args:
        net: a Rockpool JAX module, nested to any depth.

    Returns:
        Nested dicts: submodule name to dict, attribute name to value as the module holds it (no state).

    Raises:
        PrototypeError: `net` is not a Rockpool JAX module.
    """
    _require_module(net)
    return _mapped(net, lambda module, name, value: value)


def frozen_mismatch_prototype(module: Any) -> dict[str, Any]:
    """Which attributes deviate once per chip: the bias currents, capacitances and transistor constants of DynapSim.

    Equal to `rockpool.devices.dynapse.frozen_mismatch_prototype`; works also where that fails (modules with
    functions or None among their attributes) and counts a subclass of DynapSim as one.

    Args:
        module: a Rockpool JAX module, nested to any depth.

    Returns:
        Nested dicts with a bool for each parameter and simulation parameter.

    Raises:
        PrototypeError: `module` is not a Rockpool JAX module.
    """
    return _prototype(module, _FROZEN)


def dynamic_mismatch_prototype(module: Any) -> dict[str, Any]:
    """Which attributes deviate at every training step: `w_rec` of DynapSim and `weight` of LinearJax.

    Equal to `rockpool.devices.dynapse.dynamic_mismatch_prototype`, with the same extensions, arguments, result and
    errors as `frozen_mismatch_prototype`.
    """
    return _prototype(module, _DYNAMIC)


def dynapse_limits(module: Any) -> dict[str, Range]:
    """Between which values DYNAP-SE2 can hold the attributes of a DynapSim, by path: for each current, the bias
    generator's smallest and largest one.

    The simulator takes time constants' currents and gains (Itau_*, Igain_*) for the leakage Io where they are below it,
    so that their range begins there.

    Args:
        module: a Rockpool JAX module, nested to any depth.

    Raises:
        PrototypeError: `module` is not a Rockpool JAX module, or holds no DynapSim.
    """
    _require_module(module)

    def held(owner: Any, name: str, _: Any) -> Range:
        if not any(cls.__name__ == "DynapSim" for cls in type(owner).__mro__):
            return None, None
        if name in _BIASES:
            kind, factor = _BIASES[name]
            low, high = (current * factor for current in _GENERATED[kind])
            return max(low, _IO) if name.startswith(("Itau_", "Igain_")) else low, high
        return (0.0, None) if name in _POSITIVE else (None, None)

    lows, highs = (leaves_by_path(_mapped(module, lambda *of, end=end: held(*of)[end]))[0] for end in (0, 1))
    if not lows:
        raise PrototypeError(f"{type(module).__name__} holds no DynapSim, whose limits these are")
    return {path: (low, highs.get(path)) for path, low in lows.items()}


def mismatch_generator(
    prototype: dict[str, Any], percent_deviation: float = 0.30, sigma_rule: float = 3.0
) -> Callable[[Any, jax.Array], dict[str, Any]]:
    """A drop-in for `rockpool.transform.mismatch.mismatch_generator`: change one import, keep every value.

    Under `jax.jit` the deviated values are Rockpool's bit for bit (its keys follow the flattening order, unlike
    those of `limpet.Mismatch`); un-jitted, a call takes milliseconds where Rockpool's takes seconds. Like Rockpool's
    it casts floating-point attributes to float32; functions, integers and bools come back as the module holds them.

    Args:
        prototype: nested dicts of bools, from `frozen_mismatch_prototype` or `dynamic_mismatch_prototype`.
        percent_deviation: largest deviation, as a fraction.
        sigma_rule: how many standard deviations that is; sigma = percent_deviation / sigma_rule.

    Returns:
        `regenerate(module, rng_key)`: the module's attribute tree with the selected attributes deviated (float32).

    Raises:
        StrengthError: at once, for a strength that is not a finite number >= 0.
        PrototypeError: by `regenerate`, where prototype and module do not describe the same attributes.
    """
    sigma = sigma_of_percent(percent_deviation, sigma_rule)
    selected, _ = leaves_by_path(prototype)

    def regenerate(module: Any, rng_key: jax.Array) -> dict[str, Any]:
        leaves, structure = leaves_by_path(attributes(module))
        stray = leaves.keys() - selected.keys()
        if stray:
            raise PrototypeError(
                f"the module has leaves that the prototype does not describe: {listing(sorted(stray))}; "
                f"build the prototype from this module"
            )
        keys = dict(zip(selected, jax.random.split(rng_key, len(selected) + 1)[1:], strict=True))
        for path, leaf in leaves.items():
            if is_real(leaf):
                leaves[path] = jnp.asarray(leaf, jnp.float32)
            if selected[path]:
                leaves[path] = _rockpool_draw(keys[path], leaves[path], sigma)
        return structure.unflatten(leaves.values())

    return regenerate


@partial(jax.jit, static_argnames="sigma")
def _rockpool_draw(key: jax.Array, value: jax.Array, sigma: float) -> jax.Array:
    deviation = jnp.float32(sigma) * jax.random.normal(key, value.shape)
    return value + deviation * value


class Rockpool(PlainTree):
    """Rockpool's JAX modules; see `Adapter`. Their trees are nested dicts, as `net.set_attributes` takes them."""

    name = "a Rockpool module"
    selections: Mapping[str, Callable[[Any], Any]] = {
        "dynapse-weights": dynamic_mismatch_prototype,
        "dynapse-frozen": frozen_mismatch_prototype,
    }
    limits: Mapping[str, Callable[[Any], Mapping[str, Range]]] = {"dynapse": dynapse_limits}

    def recognises(self, model: Any) -> bool:
        return is_module(model)

    def leaves(self, model: Any) -> Leaves:
        return leaves_by_path(nominal_attributes(model))[0]

    def layer_leaves(self, model: Any) -> Mapping[str, tuple[LayerLeaf, Array]]:
        # Every module contracts the first axis of what it registers as weights.
        weights = {
            path
            for registered in (model.parameters("weights"), model.simulation_parameters("weights"))
            for path in leaves_by_path(registered)[0]
        }
        found = {}
        for path, shape in shapes_of(self.leaves(model)).items():
            outputs = tuple(range(1, len(shape)))
            leaf = LayerLeaf(shape, outputs) if path in weights else digital(*shape)
            found[path] = leaf, Array(stack=(), outputs=leaf.outputs)
        return found

    def inside(self, model: Any, kind: Any) -> Collection[str] | None:
        if not (isinstance(kind, type) and is_module_class(kind)):
            return None
        return leaves_by_path(_inside(model, kind))[0]

    def prototype(self, model: Any, chosen: Mapping[str, bool]) -> Any:
        return leaves_by_path(attributes(model))[1].unflatten(chosen.values())

    def nominal(self, model: Any) -> Any:
        return nominal_attributes(model)

    def with_values(self, tree: Any, change: Callable[[Leaves], Leaves]) -> Any:
        self.require_tree(tree)

    def require_tree(self, tree: Any) -> None:
        raise PrototypeError(
            f"got the module {type(tree).__name__}: a recipe deviates trees; pass limpet.attributes(net), or make one "
            f"chip of the network with limpet.freeze(net, mismatch, chip=0)"
        )

    def completed(self, model: Any, params: Any) -> Any:
        return _overlaid(nominal_attributes(model), params)

    def require_like(self, model: Any, params: Any) -> None:
        if is_module(params) or not isinstance(params, Mapping):
            raise LimpetError(
                f"got {type(params).__name__}, but parameters are needed, as the optimizer holds them: hand over "
                f"net.parameters() or a part of it, a nested dict"
            )

    def frozen(self, model: Any, change: Callable[[Leaves], Leaves]) -> Any:
        return frozen_copy(model, lambda nominal: PlainTree().with_values(nominal, change))

    def loaded(self, model: Any, values: Mapping[str, Any]) -> Any:
        return model.set_attributes(nested({path: jnp.asarray(value) for path, value in values.items()}))

    def never_read(self, path: str) -> bool:
        return path.rpartition("/")[2] in _UNREAD

    def lumped(self, model: Any) -> Mapping[str, int]:
        of = _mapped(model, lambda module, _, value: module.size_out if np.size(value) == 1 else 1)
        return {path: neurons for path, neurons in leaves_by_path(of)[0].items() if neurons > 1}


def _overlaid(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dict with the entries of another laid over it; entries that only `top` has stay, to be refused."""
    merged = dict(base)
    for name, value in top.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(name), Mapping)
        merged[name] = _overlaid(base[name], value) if nested else value
    return merged


def frozen_copy(net: Any, deviate: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of `net` with `deviate(nominal attributes)` in place, which remembers the nominal values.

    Args:
        net: a Rockpool JAX module, perhaps frozen already: the draw starts from its nominal values again.
        deviate: takes an attribute tree to a deviated one; leaves left as the same objects are not touched.
    """
    nominal = nominal_attributes(net)
    deviated = _replaced(deviate(nominal), nominal)
    copy = net.set_attributes(deviated)
    for module, before, after in _aligned(copy, nominal, deviated):
        changed = {name: (before[name], value) for name, value in after.items()}
        earlier = getattr(module, _NOMINAL, _NominalRecord({})).changed
        object.__setattr__(module, _NOMINAL, _NominalRecord({**earlier, **changed}))
    return copy


def nominal_attributes(net: Any) -> dict[str, Any]:
    """The attribute tree with every frozen attribute at the nominal value it was drawn from.

    An attribute that was assigned anew since the chip was frozen counts as nominal itself.
    """

    def nominal(module: Any, name: str, value: Any) -> Any:
        record = module.__dict__.get(_NOMINAL)
        if record is None or name not in record.changed or is_traced(value):
            return value
        before, after = record.changed[name]
        return before if np.array_equal(value, after, equal_nan=True) else value

    return _mapped(net, nominal)


@dataclass(frozen=True)
class _NominalRecord:
    """What a frozen module deviates from: attribute name to (nominal value, deviated value)."""

    changed: Mapping[str, tuple[Any, Any]]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_NominalRecord":
        # Rockpool copies a module for every attribute that is set; this record never changes.
        return self


def _prototype(module: Any, chosen: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    _require_module(module)
    return _mapped(
        module,
        lambda owner, name, _: any(name in chosen.get(cls.__name__, ()) for cls in type(owner).__mro__),
    )


def _require_module(net: Any) -> None:
    if not is_module(net):
        raise PrototypeError(f"expected a Rockpool JAX module, got {type(net).__name__}; trees need no unpacking")


def _own_attributes(module: Any) -> dict[str, Any]:
    inner = module.modules()
    merged = {**module.parameters(), **module.simulation_parameters()}
    return {name: value for name, value in merged.items() if name not in inner}


def _mapped(module: Any, function: Callable[[Any, str, Any], Any]) -> dict[str, Any]:
    """`function(module, name, value)` over the attributes of a module and its submodules, as nested dicts."""
    own = {name: function(module, name, value) for name, value in _own_attributes(module).items()}
    return {**own, **{name: _mapped(inner, function) for name, inner in module.modules().items()}}


def _inside(module: Any, kind: type) -> dict[str, Any]:
    """The attributes of those modules within a module that are of a class, as nested dicts."""
    if isinstance(module, kind):
        return attributes(module)
    return {name: _inside(inner, kind) for name, inner in module.modules().items()}


def _replaced(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The part of a tree whose leaves are not the very objects of another."""
    parts = {
        name: _replaced(value, old[name]) if isinstance(value, dict) else value
        for name, value in new.items()
        if value is not old[name]
    }
    return {name: part for name, part in parts.items() if not (isinstance(part, dict) and not part)}


def _aligned(module: Any, nominal: dict[str, Any], part: dict[str, Any]) -> Iterator[tuple[Any, dict, dict]]:
    """Each module with its own part of two attribute trees."""
    inner = module.modules()
    own = {name: value for name, value in part.items() if name not in inner}
    if own:
        yield module, nominal, own
    for name, submodule in inner.items():
        if name in part:
            yield from _aligned(submodule, nominal[name], part[name])
