"""Where the variance of a metric over chips comes from: parts, levels of variation, leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import flag, shown
from .._errors import LimpetError, MetricError, warn_user
from ..deviations._sourced import READ, Level, is_known, random_levels
from ..draws._keys import path_hash, typed_key
from ..draws._mixed import mixed_key
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import digest, shapes_of, summary
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._decomposition import Decomposition
from ._beyond_limits import require_every_chip
from ._chips import Chips, counted_chips
from ._measurement import Chip, Measurement, gathered, on_device
from ._metric import UNNAMED, ScalarMetric, function_name, of_one_number
from ._monte_carlo import ahead
from ._progress import progress_bar

By = Literal["part", "level", "leaf"]
PRODUCT = "product"
"""The level of the converters' own gains and offsets."""
TEST_SET = "test set"
"""The source of examples that are drawn anew."""
THOUSAND = Chips(1000)


def decompose(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    by: By | Sequence[By] = ("part", "level"),
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = THOUSAND,
    batch: Any = None,
    test_set: bool = False,
) -> Decomposition:
    """Find how much of the variance of a metric over chips comes from where.

    Sources are parts of the hardware, levels of variation (chip, core, device, read), leaves, or combinations of them.
    All that is random belongs to one of them. The first-order share of a source is the part of the variance that goes
    if it alone is known, its total share the part that stays if all else is known (Sobol' indices):

        S_i = Var E[f | source i] / Var f,    T_i = E Var[f | all but source i] / Var f.

    S says what a source does by itself; T - S, what it does together with others. First-order shares add up to 1 where
    nothing acts together. Shares are of the variance around the mean: what mismatch costs on average,
    `limpet.sensitivity` says.

    For each pair of chips A and B, the metric is measured on both, and for each source on the chip that takes it from B
    and all else from A: `chips * (2 + sources)` evaluations. See `limpet.Decomposition.shares` for the estimates.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving one scalar.
        tree: the whole tree of nominal values, or a Flax nnx module.
        mismatch: the hardware, or its recipe.
        by: what sources are told apart by: "part", the parts of the hardware; "level", the levels as `Hardware.without`
            names them, beside "read" for what is new at each read and "product" for gains and offsets that
            converters have of their own; "leaf", the leaves; or several of them. What several parts or leaves have in
            common is a source of its own, called by the name of its level.
        condition: the condition of the chips: a `limpet.Condition`, or a number, which is the scale.
        chips: the pairs of virtual chips: their number, or `limpet.Chips`. Pair n of a seed is of its virtual chips 2n
            and 2n + 1. With 1000 pairs, shares are right to some 0.03 (standard error), small ones better.
        batch: the argument of the metric; a pytree of arrays.
        test_set: whether the test set is a source as well. Each chip is then measured on a test set of its own, drawn
            with replacement from the examples of the batch, which the first axis of its arrays counts (bootstrap).
            Its share says how much of what differs from chip to chip, and from one test set of that size to
            another, is no property of chips.

    Raises:
        MetricError: the metric gives no scalar, nothing is drawn, the batch holds no examples to draw from, chips are
            antithetic, or the metric is a number on no
            pair of chips.
        LimpetError: `by` names something else; parts are asked for of a recipe by hand, which has none; or the hardware
            has limits whose policy is "error".

    Examples:
        >>> import limpet
        >>> params = {"a": jnp.ones(()), "b": jnp.ones(())}
        >>> hardware = Hardware(
        ...     a=limpet.Part("a", limpet.Gaussian(sigma=0.1)),
        ...     b=limpet.Part("b", limpet.Gaussian(sigma=0.2)),
        ... )
        >>> def total(tree, _):  # of variance 0.1^2 + 0.2^2, of which b has 80%
        ...     return tree["a"] + tree["b"]
        >>> found = decompose(total, params, hardware, by="part", chips=2000)
        >>> for source, share in found.ranking():
        ...     print(f"{source}: {share.first_order:.1f} {share.total:.1f}")
        b: 0.8 0.8
        a: 0.2 0.2
    """
    chips, condition = counted_chips(chips, "decompose"), known_condition(condition)
    if chips.antithetic:
        raise MetricError("chips.antithetic: a chip and its mirror image are not independent; leave it out")
    coordinates = _checked_by(by)
    recipe = checked_recipe(mismatch, tree)
    if not recipe.random:
        raise MetricError("mismatch: nothing is drawn, so that all chips are the same and there is no variance")
    require_every_chip(recipe, "and shares are of all chips")
    metric_fn = of_one_number(metric_fn, "decompose is of one metric")
    sources, groups = _sources(recipe, coordinates)
    batch = on_device(batch)
    examples = _examples(batch) if flag("test_set", test_set) else 0
    if examples and TEST_SET in sources:
        raise LimpetError(f"test_set: a source of the hardware is called {TEST_SET!r}, too: rename it")
    sources += (TEST_SET,) if examples else ()
    by_levels = recipe.by_level()
    seen = condition.checked()

    def on_chip(metric: Any, chip: Chip, tree: Any, from_second: jax.Array, extra: Any) -> dict[str, jax.Array]:
        data, condition = extra
        stream, adapter = typed_key(data, chips.generator), adapter_of(tree)
        first, second = (jax.random.fold_in(stream, 2 * chip.number + place) for place in (0, 1))
        leaves = adapter.leaves(tree)

        def key_of(source: int) -> jax.Array:
            words = [jax.random.key_data(key) for key in (second, first)]
            return typed_key(jnp.where(from_second[source], *words), chips.generator)

        drawn: dict[str, Any] = {}
        for group, paths in groups.items():
            nominal = {path: leaves[path] for path in paths}
            if group.mixed:
                key = mixed_key(first, second, from_second[np.array(group.weights)], chips.generator)
                deviated = by_levels.weights_on_leaves(key, nominal, condition)
            else:
                key = key_of(group.weights[0]) if group.weights else first
                deviated = recipe.weights_on_leaves(key, nominal, condition)
            if group.products:
                own = key if group.own is None else key_of(group.own)
                read = None if group.read is None else key_of(group.read)
                deviated = recipe.with_products(own, nominal, deviated, condition, read_key=read)
            drawn |= deviated
        on_mixed = adapter.with_values(tree, lambda leaves: leaves | drawn)
        if not examples:
            return metric(on_mixed)
        key = jax.random.fold_in(key_of(len(sources) - 1), jnp.uint32(path_hash(f"limpet: {TEST_SET}")))
        rows = jax.random.randint(key, (examples,), 0, examples)
        return metric(on_mixed, lambda batch: jax.tree.map(lambda held: held[rows] if held.ndim else held, batch))

    # The chips that A and B are; then one for each source. Which they are is data: one program serves all of them.
    count = len(sources)
    cases = jnp.asarray(np.concatenate([np.zeros((1, count)), np.ones((1, count)), np.eye(count)]).astype(bool))
    extra = (jax.random.key_data(chips.key), seen)
    measurement = Measurement(metric_fn, recipe.paths, on_chip, chips, extra, recipe=recipe)
    with progress_bar("decompose", chips.most, chips.progress) as advance:
        found = gathered(ahead(measurement.prepare(tree, batch, cases).rounds(0, chips.most)), advance)
    if not found:
        raise KeyboardInterrupt
    first, second, *mixed = found[UNNAMED].astype(np.float64)
    if len(first) < chips.most:
        warn_user(f"interrupted: the decomposition is that of the {len(first)} pairs of chips evaluated so far")
    result = Decomposition(
        metric=function_name(metric_fn),
        sources=sources,
        first=first,
        second=second,
        mixed=np.array(mixed),
        by=coordinates,
        seed=chips.seed,
        generator=chips.generator,
        fingerprint=digest(recipe, shapes_of(tree)),
        hardware=summary(recipe, shapes_of(tree)),
        condition=condition,
        test_set=examples,
    )
    if result.failed == len(first):
        raise MetricError(f"metric_fn '{result.metric}' gives a number on no pair of chips: there is no variance")
    if result.failed:
        warn_user(f"decompose: {result.failed} of {len(first)} pairs are left out, where the metric is no number")
    return result


@dataclass(frozen=True)
class _Group:
    """From which sources some leaves are drawn; the numbers of sources.

    Attributes:
        weights: the source of each level of the deviation, in the order of `random_levels`.
        mixed: whether weights are drawn with a mixed key.
        products: whether the leaves have products.
        own: the source of what converters have of their own; None for none.
        read: the source of what is new at each product; None for none.
    """

    weights: tuple[int, ...]
    mixed: bool
    products: bool
    own: int | None
    read: int | None


def _sources(recipe: Recipe, by: tuple[By, ...]) -> tuple[tuple[str, ...], dict[_Group, list[str]]]:
    """The names of the sources, and the leaves that are drawn alike from them.

    Raises:
        MetricError: the devices of a leaf have columns of their own, and would belong to several sources.
    """
    rules = {path: rule for path, rule in recipe.rules.items() if rule is not None}
    part_of = {path: name for name, member in recipe.parts.items() for path in member.paths}
    if "part" in by and not part_of:
        raise LimpetError(
            f"by = {by}: a recipe by hand has no parts; give the limpet.Hardware, or by='leaf', 'level' or both"
        )
    levels = {path: random_levels(rule.deviation) for path, rule in rules.items()}
    of_products = {
        path: [Level(name) for name, drawn in ((PRODUCT, rule.product.own), (READ, rule.product.fresh)) if drawn]
        for path, rule in rules.items()
        if rule.product is not None
    }
    sharing: dict[Level, list[str]] = {}
    for path, found in levels.items():
        for level in found:
            sharing.setdefault(level, []).append(path)
    names: dict[str, int] = {}

    def source(path: str, level: Level) -> int:
        words = {"part": part_of.get(path, ""), "level": level.name, "leaf": path}
        drawing = sharing[level] if level.common else [path]
        several = {"part": len(set(map(part_of.get, drawing))) > 1, "level": False, "leaf": len(drawing) > 1}
        name = f"{level.name}, in common" if any(several[key] for key in by) else ", ".join(words[key] for key in by)
        return names.setdefault(name, len(names))

    groups: dict[_Group, list[str]] = {}
    for path, rule in rules.items():
        weights = tuple(source(path, level) for level in levels[path])
        product = {level.name: source(path, level) for level in of_products.get(path, ())}
        apart = rule.product is not None and rule.product.cells == "apart"
        if apart and len({*weights, *product.values()}) > 1:
            raise MetricError(
                f"leaf '{path}': columns of devices of their own (Product.cells = 'apart') are drawn with all else of "
                f"the leaf; take by='part' or by='leaf', or cells='together'"
            )
        mixed = not apart and (len(set(weights)) > 1 or not is_known(rule.deviation))
        group = _Group(weights, mixed, rule.product is not None, product.get(PRODUCT), product.get(READ))
        groups.setdefault(group, []).append(path)
    return tuple(names), groups


def _examples(batch: Any) -> int:
    """How many examples a batch holds.

    Raises:
        MetricError: it holds none, or its arrays hold different numbers.
    """
    counts = {np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if np.ndim(leaf)}
    if len(counts) != 1:
        found = f"first axes of lengths {listing(map(str, sorted(counts)))}" if counts else "no array of examples"
        raise MetricError(f"test_set: the batch has {found}; give arrays whose first axis counts the same examples")
    return counts.pop()


def _checked_by(by: Any) -> tuple[By, ...]:
    given = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, Sequence) else (by,)
    if not given or len(set(given)) < len(given) or any(one not in get_args(By) for one in given):
        raise LimpetError(f"by = {shown(by)}: allowed are {listing(map(repr, get_args(By)))}, or several of them")
    return tuple(one for one in get_args(By) if one in given)
