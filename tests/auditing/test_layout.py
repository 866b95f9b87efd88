"""Where leaves sit, as their use shows it; and what is said where the hardware says something else."""

import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from leaf_uses import uses_in

import limpet
from limpet.auditing._layout_check import _SAID, contradictions
from limpet.leaves.rockpool import imported, quietly

X = jnp.ones((5, 8))
Array = limpet.Array
UNSAID = Array()


def dense(p, x):
    return x @ p["w"]


def scanned(p, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, p["w"])[0]


def picked(p, x):
    for layer in range(len(p["w"])):
        x = jnp.tanh(x @ p["w"][layer])
    return x


def experts(p, x):
    return jnp.einsum("ebd,edf->ebf", x, p["w"])


def heads(p, x):
    return jnp.einsum("bd,dhk->bhk", x, p["w"])


def blocks(p, x):
    return jnp.einsum("bgi,igo->bgo", x.reshape(5, 4, 2), p["w"].reshape(2, 4, 3))


def looked_up(p, x):
    return p["e"][jnp.argmax(x, axis=-1)] @ p["w"]


def with_positions(p, x):
    return (x + p["e"]) @ p["w"]


def layers_with_biases(p, x):
    return jax.lax.scan(lambda x, own: (jnp.tanh(x @ own["w"] + own["e"]), None), x, p)[0]


def merged(p, x):
    return x @ (p["w"] + p["e"] @ p["f"])


def leaf(*shape, **others):
    return {"w": jnp.ones(shape), **{name: jnp.ones(of) for name, of in others.items()}}


W, STACK = leaf(8, 6), leaf(12, 8, 8)

CONTRADICTED = [
    (
        lambda p, x: x @ p["w"],
        W,
        Array(stack=0),
        "w (8, 6) sums over axis 0 and gives axis 1: 1 array of 8 x 6, taken for 8 arrays of 1 x 6; "
        "say array=limpet.Array(stack=())",
    ),
    (
        lambda p, x: x @ p["w"].T,
        leaf(6, 8),
        Array(stack=1),
        "w (6, 8) sums over axis 1 and gives axis 0: 1 array of 8 x 6, taken for 8 arrays of 1 x 6; "
        "say array=limpet.Array(stack=(), outputs=(0,))",
    ),
    (
        scanned,
        STACK,
        Array(),
        "w (12, 8, 8) is scanned over axis 0: 12 arrays of 8 x 8, taken for 1 array of 96 x 8; "
        "say array=limpet.Array(stack=(0,))",
    ),
    (
        picked,
        leaf(3, 8, 8),
        Array(),
        "w (3, 8, 8) is picked from along axis 0: 3 arrays of 8 x 8, taken for 1 array of 24 x 8; "
        "say array=limpet.Array(stack=(0,))",
    ),
    (
        lambda p, x: experts(p, jnp.broadcast_to(x, (3, 5, 8))),
        leaf(3, 8, 6),
        Array(rows=4),
        "w (3, 8, 6) meets inputs of their own along axis 0: 6 arrays of 4 x 6, taken for 6 arrays of 4 x 6; "
        "say array=limpet.Array(stack=(0,))",
    ),
    (
        lambda p, x: scanned({"w": p["w"].swapaxes(0, 2)}, x),
        leaf(8, 8, 12),
        Array(),
        "w (8, 8, 12) is scanned over axis 2 and sums over axis 1 and gives axis 0: 12 arrays of 8 x 8, taken for 1 "
        "array of 64 x 12; say array=limpet.Array(stack=(2,), outputs=(0,))",
    ),
    (
        heads,
        leaf(8, 2, 3),
        Array(),
        "w (8, 2, 3) sums over axis 0 and gives axes 1, 2: 1 array of 8 x 6, taken for 1 array of 16 x 3; "
        "say array=limpet.Array(outputs=(1, 2)) (or stack=(1,), if each is an array of its own)",
    ),
    (
        lambda p, x: dense({"w": p["w"].T}, x),
        leaf(6, 8),
        Array(),
        "w (6, 8) sums over axis 1 and gives axis 0: 1 array of 8 x 6, taken for 1 array of 6 x 8; "
        "say array=limpet.Array(outputs=(0,))",
    ),
    (
        lambda p, x: jax.vmap(lambda w: x @ w)(p["w"]),
        leaf(3, 8, 6),
        Array(),
        "w (3, 8, 6) sums over axis 1 and gives axes 0, 2: 1 array of 8 x 18, taken for 1 array of 24 x 6; "
        "say array=limpet.Array(outputs=(0, 2)) (or stack=(0,), if each is an array of its own)",
    ),
    (
        lambda p, x: jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"]),
        leaf(8, 8),
        Array(outputs=0),
        "w (8, 8) sums over axis 0 and gives axis 1: 1 array of 8 x 8, taken for 1 array of 8 x 8, whose outputs are "
        "along axis 0; say array=limpet.Array(outputs=(1,))",
    ),
    (
        blocks,
        leaf(2, 12),
        Array(),
        "w (2, 12) is used in 4 groups: 4 arrays of 2 x 3, taken for 1 array of 2 x 12; "
        "say array=limpet.Array(groups=4)",
    ),
]

AGREED = [
    (dense, W, Array()),
    (dense, W, Array(rows=2, columns=3)),
    (dense, leaf(8, 1), Array()),
    (dense, leaf(8), Array()),
    (scanned, STACK, Array(stack=0)),
    (scanned, leaf(1, 8, 8), Array()),
    (heads, leaf(8, 2, 3), Array(stack=1)),
    (heads, leaf(8, 2, 3), Array(outputs=(1, 2))),
    (heads, leaf(8, 1, 6), Array()),
    (blocks, leaf(2, 12), Array(groups=12)),
    (lambda p, x: dense(p, x) @ p["w"].T, W, Array()),
    (lambda p, x: dense(p, x) @ p["w"].T, W, Array(outputs=0)),
    (lambda p, x: p["w"].std() + p["w"].mean(), W, Array()),  # which is no network
    (lambda p, x: x, W, Array()),
]


@pytest.mark.parametrize(("function", "tree", "said", "words"), CONTRADICTED)
def test_what_is_used_otherwise_than_it_is_said_to_sit_is_named(function, tree, said, words):
    assert contradictions(uses_in(function, tree, X), {"w": said}) == {"w": words}
    gradient = jax.grad(lambda p, x: (function(p, x) ** 2).sum())
    assert contradictions(uses_in(gradient, tree, X), {"w": said}, differentiated=True) == {"w": words}


@pytest.mark.parametrize(("function", "tree", "said", "words"), CONTRADICTED)
def test_what_the_words_advise_to_say_agrees(function, tree, said, words):
    advice, _, other = words.partition("say array=")[2].partition(" (or ")
    for text in [advice, f"limpet.Array({other.partition(', if each')[0]})"] if other else [advice]:
        advised = eval(text, {"limpet": limpet})
        assert not contradictions(uses_in(function, tree, X), {"w": advised.over(said, tree["w"].ndim)})


@pytest.mark.parametrize(("function", "tree", "said"), AGREED)
def test_what_agrees_is_not_named(function, tree, said):
    assert not contradictions(uses_in(function, tree, X), {"w": said})


@pytest.mark.parametrize(
    ("function", "tree", "use", "taken_for"),
    [
        (looked_up, leaf(8, 6, e=(8, 8)), "gathered", "1 array of 8 x 8"),
        (with_positions, leaf(8, 6, e=(5, 8)), "added", "1 array of 5 x 8"),
        (layers_with_biases, leaf(3, 8, 8, e=(3, 8)), "scanned over axis 0 and added", "1 array of 3 x 8"),
        (merged, leaf(8, 6, e=(8, 2), f=(2, 6)), "multiplied with another leaf", "1 array of 8 x 2"),
    ],
)
def test_a_matrix_that_meets_no_product_is_named_with_what_uses_it(function, tree, use, taken_for):
    expected = (
        f"e {tree['e'].shape} meets no product with data: it is {use}, but taken for {taken_for}; if no crossbar holds "
        f"it, leave it out of the part"
    )
    said = {"w": Array(stack=0) if function is layers_with_biases else Array(), "e": Array()}
    assert contradictions(uses_in(function, tree, X), said) == {"e": expected}


def hardware(deviation, leaves="w", array=UNSAID):
    return limpet.Hardware(part=limpet.Part(leaves, deviation, array=array))


def warned(call):
    """The warnings of a call, apart from others than those of layouts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught if "arrays of" in str(warning.message)]


STACKED = (
    "w (3, 8, 8) is scanned over axis 0: 3 arrays of 8 x 8, taken for 1 array of 24 x 8; "
    "say array=limpet.Array(stack=(0,))"
)


def metric(tree, batch):
    return scanned({"w": tree["w"]}, batch).mean()


def curve_of(tree, mismatch, **options):
    return limpet.robustness_curve(
        metric, tree, mismatch, batch=X, scales=[1], chips=2, higher_is_better=True, **options
    )


def test_a_curve_warns_once_of_a_stack_that_is_taken_for_one_array():
    part, tree = hardware(limpet.Additive(spread=0.0511)), leaf(3, 8, 8)
    (words,) = warned(lambda: curve_of(tree, part))
    assert words == STACKED
    assert not warned(lambda: curve_of(tree, part))
    assert warned(lambda: curve_of(leaf(4, 8, 8), part))  # another network


def test_a_curve_does_not_warn_of_a_stack_that_is_said():
    part = hardware(limpet.Additive(spread=0.0511), array=Array(stack=0))
    assert not warned(lambda: curve_of(leaf(3, 8, 8), part))


@pytest.mark.parametrize("deviation", [limpet.Gaussian(sigma=0.1), limpet.DropConnect(0.1)])
def test_deviations_of_single_devices_are_the_same_on_any_array(deviation):
    assert not warned(lambda: curve_of(leaf(3, 8, 8), hardware(deviation)))


def test_sensitivities_and_calibrations_warn_too():
    tree = {**leaf(3, 8, 8), "b": jnp.zeros(8)}

    def loss(tree, batch):
        return ((metric(tree, batch) + tree["b"].sum()) ** 2).mean()

    mismatch = hardware(limpet.Additive(spread=0.0512))
    call = lambda: limpet.sensitivity(loss, tree, mismatch, batch=X, chips=2, higher_is_better=False)  # noqa: E731
    assert len(warned(call)) == 1
    fit = limpet.GradientFit(loss, [X + 1], trainable=["b"], steps=1)
    mismatch = hardware(limpet.Additive(spread=0.0513))
    options = {"metric_fn": loss, "batch": X, "chips": 2, "scales": [1], "higher_is_better": False}
    assert len(warned(lambda: limpet.calibrate(fit, tree, mismatch, **options))) == 1


@pytest.mark.parametrize("draws", [None, 1, 3, "per_example"])
def test_a_loop_warns_once_of_a_stack_that_is_taken_for_one_array(draws):
    """Whether it injects by itself, or through an objective that draws once, several times, or for each example."""
    tree = {**leaf(3, 8, 8), "b": jnp.ones(6)}
    mismatch = hardware(limpet.Additive(spread=0.052)).on(tree)

    def loss(tree, x):
        return scanned({"w": tree["w"]}, x).mean() + tree["b"].sum() ** 2

    if draws is None:
        injection = limpet.Injection(tree, mismatch)
        noisy = lambda tree, step, x: loss(injection.inject(tree, step), x)  # noqa: E731
    else:
        noisy = limpet.with_mismatch(loss, mismatch, draws=draws)
    number = jnp.int32(0) if draws is None else jax.random.key(0)

    def update():
        jax.jit(jax.grad(noisy)).trace(tree, number, X)

    _SAID.clear()
    (words,) = warned(update)
    assert words == STACKED
    assert not warned(update)


def test_a_loop_does_not_warn_of_what_agrees_nor_of_backward_products():
    tree = {**leaf(3, 8, 8), "out": jnp.ones((8, 6))}
    mismatch = hardware(limpet.Additive(spread=0.053), array={"w": Array(stack=0)}, leaves=["w", "out"]).on(tree)

    def loss(tree, key, x):
        return jax.checkpoint(lambda p, x: (scanned({"w": p["w"]}, x) @ p["out"]).mean())(tree, x)

    noisy = limpet.with_mismatch(lambda tree, x: loss(tree, None, x), mismatch)
    assert not warned(lambda: jax.jit(jax.grad(noisy)).trace(tree, jax.random.key(0), X))


def test_the_audit_of_a_function_warns_too():
    tree = leaf(3, 8, 8)
    mismatch = hardware(limpet.Additive(spread=0.055))
    assert len(warned(lambda: limpet.audit(metric, tree, mismatch, X))) == 1


def test_many_leaves_are_named_in_one_warning():
    tree = {f"w{number}": jnp.ones((2, 8, 8)) for number in range(6)}

    def metric(tree, batch):
        return sum(scanned({"w": w}, batch).mean() for w in tree.values())

    options = {"batch": X, "scales": [1], "chips": 2, "higher_is_better": True}
    mismatch = hardware(limpet.Additive(spread=0.0514), "*")
    (words,) = warned(lambda: limpet.robustness_curve(metric, tree, mismatch, **options))
    assert words.count("is scanned over axis 0") == 3
    assert words.endswith("and others of the kind: w3, w4, w5")


def test_a_layout_is_printed_beside_what_the_hardware_says():
    tree = {"e": jnp.ones((11, 8)), "h": jnp.ones((8, 2, 4)), "layers": jnp.ones((12, 8, 8)), "b": jnp.ones(8)}

    def network(p, tokens):
        x = p["e"][tokens]
        x = scanned({"w": p["layers"]}, x) + p["b"]
        return jnp.einsum("tld,dhk->tlhk", x, p["h"]).sum() + (x @ p["e"].T).mean()

    seen = limpet.layout(network, tree, jax.ShapeDtypeStruct((2, 5), "int32"))
    assert str(seen).splitlines() == [
        "leaf    shape       arrays              calls  otherwise",
        "b       8           -                   -      added",
        "e       11 x 8      1 array of 8 x 11   1      gathered",
        "h       8 x 2 x 4   1 array of 8 x 8    1      -",
        "layers  12 x 8 x 8  12 arrays of 8 x 8  1      -",
    ]
    assert set(seen.arrays) == {"e", "h", "layers"}
    assert all(seen.arrays[path].layout(tree[path].shape).arrays == 1 for path in "eh")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    part = hardware(limpet.Additive(spread=0.1), ["layers", "h"])
    beside = limpet.layout(network, shapes, jax.ShapeDtypeStruct((2, 5), "int32"), hardware=part)
    assert {leaf.path: str(leaf.said) for leaf in beside.leaves if leaf.said} == {
        "layers": "1 array of 96 x 8",
        "h": "1 array of 16 x 4",
    }
    assert "the hardware says" in str(beside)
    assert seen.arrays == beside.arrays


def test_calls_are_counted_over_all_uses():
    def network(p, x):
        return jax.lax.scan(lambda h, row: (jnp.tanh(row @ p["u"] + h @ p["w"]), None), x[0] @ p["w"], x)[0]

    seen = limpet.layout(network, {"u": jnp.ones((8, 8)), "w": jnp.ones((8, 8))}, X)
    assert {leaf.path: leaf.calls for leaf in seen.leaves} == {"u": 5, "w": 6}


def test_layouts_of_modules():
    model = nnx.Linear(8, 6, rngs=nnx.Rngs(0))
    assert set(limpet.layout(lambda model, x: model(x), model, X).arrays) == {"kernel"}
    abstract = nnx.eval_shape(lambda: nnx.Linear(8, 6, rngs=nnx.Rngs(0)))
    assert set(limpet.layout(lambda model, x: SimpleNamespace(y=model(x)).y, abstract, X).arrays) == {"kernel"}
    with quietly():
        net = imported("rockpool.nn.modules").LinearJax((8, 6))
    seen = limpet.layout(
        lambda tree, x: net.set_attributes(tree)(x[None])[0],
        net,
        X,
        hardware=hardware(limpet.Additive(spread=0.1), "dynapse-weights"),
    )
    assert set(seen.arrays) == {"weight"}
    assert not any(leaf.said for leaf in seen.leaves if leaf.path == "weight")


def test_what_a_layout_shows_can_be_said_as_it_is():
    tree = {**leaf(3, 8, 8), "v": jnp.ones((6, 8))}

    def metric(tree, x):
        return (scanned({"w": tree["w"]}, x) @ tree["v"].T).mean()

    options = {"batch": X, "scales": [1], "chips": 2, "higher_is_better": True}
    deviation = limpet.Additive(spread=0.054)
    assert warned(lambda: limpet.robustness_curve(metric, tree, hardware(deviation, "*"), **options))
    said = hardware(deviation, "*", limpet.layout(metric, tree, X).arrays)
    assert not warned(lambda: limpet.robustness_curve(metric, tree, said, **options))


@pytest.mark.parametrize(
    ("fn", "tree", "message"),
    [
        (3, {"w": jnp.ones(2)}, "fn = 3: give the function"),
        (lambda tree: tree, None, "None has no leaves: give a tree"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(fn, tree, message):
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.layout(fn, tree)


def test_a_leaf_that_has_a_product_and_meets_none_is_named():
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}
    product = limpet.Product(outputs=limpet.Converter(bits=8, bound=4.0))
    hardware = limpet.Hardware(all=limpet.Part("*", limpet.Gaussian(0.1), product=product))
    seen = limpet.layout(lambda p, x: x @ p["kernel"] + p["bias"], params, jnp.ones((2, 4)), hardware=hardware)
    assert str(seen).count("in no product, though the hardware gives it one") == 1
