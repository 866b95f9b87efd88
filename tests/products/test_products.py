"""`limpet.products` around training: where it is forgotten, what is new at each product, modules, gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import limpet
from limpet.leaves.rockpool import imported, quietly
from limpet.measure import _programs

NOISE = limpet.Product(outputs=limpet.Converter(noise=0.1), relative_to=1.0)
CONVERTERS = limpet.Product(
    inputs=limpet.Converter(bits=8, range="dynamic"),
    outputs=limpet.Converter(bits=6, bound=8.0, noise=0.04, gain=0.05, offset=0.02),
)
KEY = limpet.virtual_chip(seed=0, chip=0)
X = jax.random.normal(jax.random.key(1), (16, 8))
PARAMS = {"w": jax.random.normal(jax.random.key(2), (8, 4))}


def recipe_of(product, params=PARAMS, leaves="w", **part):
    return limpet.Hardware(weights=limpet.Part(leaves, limpet.Gaussian(0.1), product=product, **part)).on(params)


NOISY, ANALOG = recipe_of(NOISE), recipe_of(CONVERTERS)


def loss_of(params, x=X):
    return ((x @ params["w"]) ** 2).mean()


def test_draws_that_are_compiled_or_computed_outside_are_refused_and_told_the_line_to_add():
    wrap = r"leaf 'w' has a product .*\n.*limpet.products\(lambda p: loss_fn\(callback.inject\(p, step\), batch\)\)"
    for run in (jax.jit(lambda p: loss_of(ANALOG(KEY, p))), jax.jit(jax.grad(lambda p: loss_of(ANALOG(KEY, p))))):
        with pytest.raises(limpet.LimpetError, match=wrap):
            run(PARAMS)
    with pytest.raises(limpet.LimpetError, match=wrap):
        ANALOG(KEY, PARAMS)
    drawn_outside = jax.jit(lambda p: limpet.products(loss_of)(ANALOG(KEY, p)))
    with pytest.raises(limpet.LimpetError, match=wrap), pytest.warns(UserWarning, match="no leaf with a product"):
        drawn_outside(PARAMS)
    with pytest.raises(limpet.LimpetError, match="limpet.on_chip"):
        limpet.freeze(PARAMS, ANALOG)
    with pytest.raises(limpet.LimpetError, match=r"fn = 3: give a function"):
        limpet.products(3)
    with pytest.warns(UserWarning, match="no leaf with a product is drawn in this function"):
        assert limpet.products(loss_of)(PARAMS) == loss_of(PARAMS)


def test_what_has_no_product_is_refused_and_regularisers_of_leaves_are_not():
    recipe = recipe_of(NOISE, {"w": jnp.ones((8, 4)), "b": jnp.ones(4)}, "*")
    with pytest.raises(limpet.LimpetError, match="leaf 'b' has a product, and the function contracts it with nothing"):
        limpet.products(lambda p: (X @ (tree := recipe(KEY, p))["w"] + tree["b"]).sum())(
            {"w": jnp.ones((8, 4)), "b": jnp.ones(4)}
        )
    quiet = recipe_of(limpet.Product(outputs=limpet.Converter(bits=8, bound=8.0)))

    def penalised(params):
        tree = quiet(KEY, params)
        return loss_of(tree) + (tree["w"] ** 2).sum()

    alone = limpet.products(lambda p: loss_of(quiet(KEY, p)))(PARAMS)
    weights = quiet.without_products()(KEY, PARAMS)["w"]
    np.testing.assert_allclose(limpet.products(penalised)(PARAMS), alone + (weights**2).sum(), rtol=1e-6)


def test_a_gradient_within_is_refused():
    within = limpet.products(lambda p: jax.grad(lambda p: loss_of(ANALOG(KEY, p)))(p)["w"].sum())
    with pytest.raises(limpet.LimpetError, match=r"leaf 'w': a gradient is taken within limpet.products"):
        within(PARAMS)


def noise_of(function, *args):
    """What the function adds to outputs that are 0: numbers of standard deviation .1, if each is its own."""
    return np.asarray(function(*args), np.float64)


ZEROS = jnp.zeros((64, 8))
WAYS = {
    "a batch": lambda p, x: x @ NOISY(KEY, p)["w"],
    "examples mapped within": lambda p, x: jax.vmap(lambda row: row @ NOISY(KEY, p)["w"])(x),
    "a loop": lambda p, x: jax.lax.map(lambda row: row @ NOISY(KEY, p)["w"], x),
    "a loop that carries": lambda p, x: jax.lax.scan(lambda s, row: (s, row @ s["w"]), NOISY(KEY, p), x)[1],
    "a loop of loops": lambda p, x: jax.lax.map(
        lambda rows: jax.lax.map(lambda row: row @ NOISY(KEY, p)["w"], rows), x.reshape(8, 8, 8)
    ),
    "used twice": lambda p, x: jnp.concatenate([x[:32] @ (tree := NOISY(KEY, p))["w"], x[32:] @ tree["w"]]),
    "rematerialised": lambda p, x: jax.checkpoint(lambda x: x @ NOISY(KEY, p)["w"])(x),
}


@pytest.mark.parametrize("way", [*WAYS, "examples mapped around", "examples and chips mapped around"])
def test_noise_is_new_for_each_example_turn_and_product(way):
    """Of 256 independent numbers, none is there twice, and their spread is within 4.5 standard errors of .1 (a false
    alarm once in 10^5)."""
    if way == "examples mapped around":
        one = limpet.products(lambda p, row: row @ NOISY(KEY, p)["w"])
        found = noise_of(jax.jit(jax.vmap(one, (None, 0))), PARAMS, ZEROS)
    elif way == "examples and chips mapped around":
        one = limpet.products(lambda key, row: row @ NOISY(key, PARAMS)["w"])
        of_chips = jax.vmap(one, (0, None))
        found = noise_of(jax.jit(jax.vmap(of_chips, (None, 0))), jax.random.split(KEY, 8), ZEROS[:8])
    else:
        found = noise_of(jax.jit(limpet.products(WAYS[way])), PARAMS, ZEROS)
    assert len(np.unique(found)) == found.size == 256
    assert abs(found.std() / 0.1 - 1) < 4.5 / np.sqrt(2 * found.size)


def test_noise_is_of_the_step_the_read_and_the_draw():
    injection = limpet.Injection(PARAMS, NOISY, chip=3)
    outputs = jax.jit(limpet.products(lambda p, step, draw: ZEROS @ injection.inject(p, step, draw)["w"]))
    first, again, later, other = (outputs(PARAMS, *name) for name in ((0, 0), (0, 0), (1, 0), (0, 1)))
    np.testing.assert_array_equal(first, again)
    assert not (first == later).any()
    assert not (first == other).any()


def test_gains_and_offsets_stay_with_the_chip_and_change_with_fresh_chips():
    own = recipe_of(limpet.Product(outputs=limpet.Converter(gain=0.2, offset=0.1), relative_to=1.0))
    one_chip = limpet.Injection(PARAMS, own, chip=3)
    fresh = limpet.Injection(PARAMS, own)

    def outputs(injection):
        return jax.jit(limpet.products(lambda p, step: X @ injection.inject(p, step)["w"]))

    stays, changes = outputs(one_chip), outputs(fresh)
    np.testing.assert_array_equal(stays(PARAMS, 0), stays(PARAMS, 7))
    assert not (changes(PARAMS, 0) == changes(PARAMS, 7)).any()


class Normalised(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(8, 8, rngs=rngs)
        self.norm, self.dropout = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


def test_modules_keep_what_they_write():
    """Batch statistics and counters of dropout, as without products, in a jitted step with a gradient."""
    hardware = limpet.Hardware(weights=limpet.Part("*/kernel", limpet.Gaussian(0.1), product=limpet.Product()))
    models = [Normalised(nnx.Rngs(0)) for _ in range(2)]
    injection = limpet.Injection(models[0], hardware)
    plain = limpet.Injection(models[1], hardware.without_products())

    def step(injection, wrap):
        def loss(model, x, step):
            return (injection.inject(model, step)(x) ** 2).mean()

        return nnx.jit(lambda *args: nnx.value_and_grad(wrap(loss))(*args))

    def held(tree):
        leaves = jax.tree.leaves(tree)
        return [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in leaves]

    found = step(injection, limpet.products)(models[0], X, jnp.int32(0))
    expected = step(plain, lambda loss: loss)(models[1], X, jnp.int32(0))
    jax.tree.map(np.testing.assert_array_equal, held(found), held(expected))
    jax.tree.map(np.testing.assert_array_equal, *(held(nnx.state(model)) for model in models))
    assert (models[0].norm.mean[...] != 0).all()


def test_gradients_are_accumulated_over_draws_of_one_step():
    injection = limpet.Injection(PARAMS, ANALOG)
    gradient = jax.jit(jax.grad(limpet.products(lambda p, draw, x: loss_of(injection.inject(p, 0, draw), x))))

    @jax.jit
    def accumulated(params, x):
        def add(total, part):
            return jax.tree.map(jnp.add, total, gradient(params, *part)), None

        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), (jnp.arange(4), x.reshape(4, 4, 8)))[0]

    one_by_one = sum(gradient(PARAMS, draw, x)["w"] for draw, x in enumerate(X.reshape(4, 4, 8)))
    np.testing.assert_allclose(accumulated(PARAMS, X)["w"], one_by_one, rtol=1e-4, atol=1e-5)


def test_policies_of_checkpoints_are_kept():
    """What a policy saves, it saves of analog products: the gradient is the same, and computes fewer of them again."""

    def gradient(policy):
        def loss(params):
            tree = ANALOG(KEY, params)
            return jax.checkpoint(lambda w: jnp.sin(X @ w).sum(), policy=policy)(tree["w"])

        return jax.grad(limpet.products(loss))

    saving, nothing = jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.nothing_saveable
    dots = [str(jax.make_jaxpr(gradient(policy))(PARAMS)).count("dot_general") for policy in (saving, nothing)]
    assert dots[0] < dots[1]
    np.testing.assert_allclose(gradient(saving)(PARAMS)["w"], gradient(nothing)(PARAMS)["w"], rtol=1e-6)


def test_bfloat16_is_summed_in_float32():
    """Codes of 8 bits are exact in bfloat16; so are the products of tiles, summed in float32."""
    params = {"w": (jax.random.randint(jax.random.key(0), (96, 4), -8, 8) / 8).astype(jnp.bfloat16)}
    x = (jax.random.randint(jax.random.key(1), (16, 96), -127, 128) / 127).astype(jnp.bfloat16)
    product = limpet.Product(limpet.Converter(bits=8, range=1.0), limpet.Converter(bits=12, bound=40.0))
    part = limpet.Part("w", limpet.deviations.Exact(), array=limpet.Array(rows=32), product=product)
    recipe = limpet.Hardware(weights=part).on(params)
    found = limpet.products(lambda p: jnp.matmul(x, recipe(KEY, p)["w"], preferred_element_type=jnp.float32))(params)
    exact = np.round(np.asarray(x, float) * 127) / 127 @ np.asarray(params["w"], float)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, atol=3 * 0.5 * 40 / 2047 + 1e-4)


SHARDED = Mesh(np.array(jax.devices()[:8]).reshape(4, 2), ("data", "model"))


@pytest.mark.parametrize(
    "spec", [PartitionSpec("data", None), PartitionSpec(None, "model"), PartitionSpec("data", "model")]
)
def test_sharded_parameters_are_not_gathered_for_what_products_draw(spec):
    """The step of analog products moves what the plain step moves, but for maxima."""
    params = {"w": jnp.ones((512, 256))}
    product = limpet.Product(limpet.Converter(bits=8, range=3.0), CONVERTERS.outputs)
    recipe = recipe_of(product, params)

    def moved(loss):
        w = jax.ShapeDtypeStruct((512, 256), jnp.float32, sharding=NamedSharding(SHARDED, spec))
        x = jax.ShapeDtypeStruct((64, 512), jnp.float32, sharding=NamedSharding(SHARDED, PartitionSpec("data")))
        text = jax.jit(jax.grad(loss)).lower({"w": w}, x).compile().as_text()
        return [
            text.count(f" {name}(") + text.count(f" {name}-start(")
            for name in ("all-gather", "all-to-all", "collective-permute")
        ]

    analog = moved(limpet.products(lambda p, x: loss_of(recipe(KEY, p), x)))
    assert analog <= moved(loss_of)


def test_rockpool_networks_compute_with_products():
    with quietly():
        modules, dynapse = imported("rockpool.nn.modules"), imported("rockpool.devices.dynapse")
        sequential = imported("rockpool.nn.combinators").Sequential
        nets = [
            sequential(modules.LinearJax((3, 4)), modules.LIFJax(4)),
            sequential(modules.LinearJax((3, 4)), dynapse.DynapSim((4, 4), has_rec=True)),
        ]
    x = jnp.abs(jax.random.normal(jax.random.key(0), (1, 3, 3)))
    for net, leaves in zip(nets, (["0_LinearJax/weight"], ["0_LinearJax/weight", "1_DynapSim/w_rec"]), strict=True):
        tree = limpet.attributes(net)
        spikes = {}
        for name, product in (("ideal", limpet.Product()), ("analog", CONVERTERS)):
            recipe = limpet.Hardware(p=limpet.Part(leaves, limpet.deviations.Exact(), product=product)).on(net)

            def outputs(tree, recipe=recipe, net=net):
                return net.set_attributes(recipe(KEY, tree))(x)[0]

            spikes[name] = limpet.products(outputs)(tree)
        np.testing.assert_array_equal(spikes["ideal"], net.set_attributes(tree)(x)[0])
        assert spikes["analog"].shape == spikes["ideal"].shape


def test_training_with_products_by_configuration(tmp_path):
    """Objectives wrap by themselves: the callback's loss trains, and its curve is that of analog chips."""
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(0.1), product=CONVERTERS))
    goal = X @ PARAMS["w"]

    def error(params, batch):
        return ((batch @ params["w"] - goal) ** 2).mean()

    callback = limpet.MismatchCallback(
        PARAMS,
        hardware,
        metric_fn=error,
        eval_batch=X,
        scales=[0, 1],
        chips=4,
        every_steps=3,
        higher_is_better=False,
        logdir=tmp_path,
    )
    loss, optimizer = callback.loss(error), optax.sgd(0.05)

    @jax.jit
    def update(params, state, step):
        value, slopes = jax.value_and_grad(loss)(params, step, X)
        updates, state = optimizer.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, value

    params, state = {"w": jnp.zeros((8, 4)) + 0.01}, optimizer.init(PARAMS)
    with callback:
        for step in range(6):
            params, state, value = update(params, state, step)
            callback(step, params, {"loss": value})
        curve = callback.evaluate(6, params)["error"]
    on_chip = limpet.on_chip(error, hardware, chip=2, condition=limpet.Condition(read=6))
    np.testing.assert_allclose(curve.values[1, 2], on_chip(params, X), rtol=1e-5)
    assert curve.values[0].std() == 0


def test_linen_modules_need_no_change():
    model = nn.Dense(4)
    variables = model.init(jax.random.key(0), X)
    recipe = recipe_of(limpet.Product(outputs=limpet.Converter(bits=8, bound=8.0)), variables, "*/kernel")
    found = limpet.products(lambda v: model.apply(recipe(KEY, v), X))(variables)
    np.testing.assert_allclose(found, model.apply(recipe.without_products()(KEY, variables), X), atol=0.1)


CELLS = {
    "pairs": {},
    "slices": {"significances": (1.0, 4.0), "filling": "lowest first", "smallest": 0.1},
    "single devices": {"mapping": "single", "smallest": 0.1, "significances": (1.0, 2.0)},
}


@pytest.mark.parametrize("case", CELLS)
def test_columns_of_devices_that_are_converted_apart_add_up_to_the_weights(case):
    """Without rounding, to what they give together; with it, each column of each device is rounded by itself."""
    crossbar = limpet.Crossbar(limpet.Programming(spread=(0.05,)), **CELLS[case])
    wide = limpet.Product(limpet.Converter(range=4.0), limpet.Converter(bound=1e4), cells="apart")
    array = limpet.Array(rows=5)

    def outputs(product):
        part = limpet.Part("w", crossbar, array=array, product=product)
        recipe = limpet.Hardware(weights=part).on(PARAMS)
        return jax.jit(jax.value_and_grad(limpet.products(lambda p: jnp.sin(X @ recipe(KEY, p)["w"]).sum())))(PARAMS)

    value, slopes = outputs(wide)
    expected, expected_slopes = outputs(limpet.Product(wide.inputs, wide.outputs))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(slopes["w"], expected_slopes["w"], rtol=1e-3, atol=1e-3)


def test_each_column_of_devices_has_a_converter_of_its_own():
    """Of a pair, the columns that add give floor(step), those that subtract as well: sums lie on the grid of both."""
    outputs = limpet.Converter(levels=9, bound=8.0, signed=True)
    product = limpet.Product(limpet.Converter(range=1.0), outputs, cells="apart")
    part = limpet.Part("w", limpet.Crossbar(limpet.deviations.Exact()), product=product)
    recipe = limpet.Hardware(weights=part).on({"w": jnp.zeros((6, 1))})
    w = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -0.5])[:, None]
    x = jnp.array([[0.9, 0.9, 0.9, 0.9, 0.9, 0.9]])
    found = limpet.products(lambda p: x @ recipe(KEY, p)["w"])({"w": w})
    assert float(found[0, 0]) == pytest.approx(2 * round(2.7 / 2) - 2 * round(2.25 / 2))  # steps of 8 / 4


def test_columns_of_their_own_need_devices():
    with pytest.raises(limpet.LimpetError, match=r"Product.cells = 'apart': the devices .* limpet.Crossbar"):
        limpet.Part("w", limpet.Gaussian(0.1), product=limpet.Product(outputs=CONVERTERS.outputs, cells="apart"))


def test_parts_of_arrays_within_shard_map_are_refused():
    rows = PartitionSpec("data")

    def loss(params):
        return ANALOG(KEY, params, sharding={"w": rows})["w"].sum()[None]

    within = jax.shard_map(loss, mesh=SHARDED, in_specs=({"w": rows},), out_specs=rows)
    with pytest.raises(limpet.LimpetError, match="leaf 'w' has a product, and a device holds a part of its arrays"):
        within(PARAMS)


def test_what_is_computed_at_once_is_not_taken_for_a_program_without_draws():
    injection = limpet.Injection(PARAMS, limpet.Hardware(w=limpet.Part("w", limpet.Gaussian(0.1), product=CONVERTERS)))
    noisy = limpet.with_mismatch(lambda params, x: (x @ params["w"]).sum(), injection)
    assert jax.grad(noisy)(PARAMS, 0, X)["w"].any()
    injection.audit.close()


def test_a_second_curve_compiles_nothing():
    """Also of another function of the same content."""

    def curve():
        return limpet.robustness_curve(
            lambda params, x: loss_of(params, x), PARAMS, ANALOG, scales=[1], chips=3, batch=X, higher_is_better=False
        )

    first, kept = curve(), len(_programs._KEPT)
    np.testing.assert_array_equal(curve().values, first.values)
    assert len(_programs._KEPT) == kept


@pytest.mark.parametrize("cells", ["together", "apart"])
def test_an_array_holds_what_was_drawn_whatever_number_it_is_multiplied_by(cells):
    """Converters see the products of the leaf; the number is digital."""
    outputs = limpet.Converter(bits=4, bound=2.0)
    product = limpet.Product(limpet.Converter(bits=4, range="dynamic"), outputs, cells=cells)
    part = limpet.Part("w", limpet.Crossbar(limpet.deviations.Exact()), product=product)
    recipe = limpet.Hardware(weights=part).on(PARAMS)

    def computed(function):
        return jax.jit(limpet.products(lambda p: function(recipe(KEY, p)["w"])))(PARAMS)

    once = computed(lambda w: X @ w)
    for factor, function in {
        0.25: lambda w: X @ (w / 4),
        -3.0: lambda w: X @ (-w * 3),
        0.0: lambda w: X @ (w * 0.0),
        float(X[0, 0]): lambda w: jax.lax.scan(lambda _, x: (None, x @ (w * X[0, 0])), None, X)[1],
    }.items():
        np.testing.assert_allclose(computed(function), factor * once, rtol=1e-5, atol=1e-6)


def test_scanned_layers_carry_no_numbers_of_columns_beside_their_weights():
    """A stack of layers would need as much memory again."""
    layers = {"w": jnp.ones((6, 8, 8))}
    product = limpet.Product(outputs=limpet.Converter(bits=8, bound=8.0, gain=0.1))
    recipe = recipe_of(product, layers, array=limpet.Array(stack=0))

    def network(params):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), X, recipe(KEY, params)["w"], reverse=True)[0]

    jaxpr = jax.make_jaxpr(limpet.products(network))(layers)
    (scan,) = [equation for equation in jaxpr.eqns if equation.primitive.name == "scan"]
    assert [v.aval.shape for v in scan.invars if v.aval.dtype == jnp.int32 and v.aval.ndim == 3] == []


@pytest.mark.parametrize("tracked", [True, False])
def test_noise_differs_from_device_to_device_within_shard_map(tracked):
    """Columns on several devices, and examples on several devices."""
    columns = {"w": jnp.ones((8, 64))}
    recipe = recipe_of(NOISE, columns)

    def outputs(params):
        w = recipe(KEY, params)["w"]
        specs = PartitionSpec("data"), PartitionSpec(None, "model")
        within = {"mesh": SHARDED, "in_specs": specs, "out_specs": PartitionSpec("data", "model"), "check_vma": tracked}
        return jax.shard_map(lambda x, w: x @ w, **within)(ZEROS[:16], w)

    found = noise_of(jax.jit(limpet.products(outputs)), columns)
    assert len(np.unique(found)) > 1000  # of 1024; two numbers may be equal by chance
    assert abs(found.std() / 0.1 - 1) < 4.5 / np.sqrt(2 * found.size)


@pytest.mark.parametrize("product", [None, limpet.Product(), limpet.Product(outputs=limpet.Converter(gain=0.2))])
def test_gains_of_calibration_act_behind_arrays_with_any_product_or_none(product):
    goal = X @ PARAMS["w"]

    def error(params, batch):
        return ((batch[0] @ params["w"] - batch[1]) ** 2).mean()

    hardware = limpet.Hardware(w=limpet.Part("w", limpet.LogNormal(0.2), product=product))
    fit = limpet.GradientFit(error, [(X[:8], goal[:8])], trainable=(), gains=("w",), steps=60)
    settings = {"metric_fn": error, "batch": (X[8:], goal[8:]), "scales": [1], "higher_is_better": False}
    found = limpet.calibrate(fit, PARAMS, hardware, chips=limpet.Chips(4, progress=False), **settings)
    assert found.after.mean()[0] < 0.9 * found.before.mean()[0]
