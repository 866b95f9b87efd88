"""optax: the tracker among its wrappers, and losses under one chip, several, or one for each part of the batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from shared_work import BATCH as X
from shared_work import KERNEL_MISMATCH as MISMATCH
from shared_work import PARAMS
from shared_work import regression as loss

import limpet
from limpet.draws._keys import step_key

KEY = jax.random.key(1, impl=limpet.fast)

NOISY = limpet.with_mismatch(loss, MISMATCH)
WRAPPED = {
    "chain": lambda track: optax.chain(track, optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
    "last in chain": lambda track: optax.chain(optax.adam(1e-2), track),
    "masked": lambda track: optax.chain(
        track, optax.masked(optax.add_decayed_weights(1e-3), {"kernel": True, "bias": False}), optax.sgd(1e-2)
    ),
    "partition": lambda track: optax.chain(
        track,
        optax.partition({"fast": optax.adam(1e-1), "slow": optax.sgd(1e-3)}, {"kernel": "fast", "bias": "slow"}),
    ),
    "inside partition": lambda track: optax.partition(
        {"fast": optax.chain(track, optax.adam(1e-1)), "slow": optax.sgd(1e-3)}, {"kernel": "fast", "bias": "slow"}
    ),
    "around MultiSteps": lambda track: optax.chain(
        track, optax.MultiSteps(optax.adam(1e-2), every_k_schedule=2).gradient_transformation()
    ),
    "around apply_if_finite": lambda track: optax.chain(track, optax.apply_if_finite(optax.adam(1e-2), 3)),
    "inject_hyperparams": lambda track: optax.chain(
        track, optax.inject_hyperparams(optax.adam)(learning_rate=optax.linear_schedule(1e-2, 0.0, 10))
    ),
    "schedule_free": lambda track: optax.chain(track, optax.contrib.schedule_free(optax.sgd(1e-2), learning_rate=1e-2)),
    "inside schedule_free": lambda track: optax.contrib.schedule_free(
        optax.chain(track, optax.sgd(1e-2)), learning_rate=1e-2
    ),
    "sam": lambda track: optax.chain(
        track,
        optax.contrib.sam(optax.sgd(1e-2), optax.chain(optax.contrib.normalize(), optax.sgd(1e-2)), sync_period=2),
    ),
    "with_extra_args_support": lambda track: optax.with_extra_args_support(optax.chain(track, optax.sgd(1e-2))),
}


@pytest.fixture(params=WRAPPED, ids=str)
def optimizer(request):
    return WRAPPED[request.param](limpet.track_mismatch(seed=3))


def updating(optimizer, traces):
    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, x):
        traces.append(x)
        value, grads = jax.value_and_grad(NOISY)(params, limpet.mismatch_key(state), x)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    return update


def test_it_counts_and_draws_among_optax_wrappers(optimizer):
    """Donated parameters and state, one trace, a stable structure, dtypes kept, a new draw at each step."""
    traces = []
    update = updating(optimizer, traces)
    # Copies, because what is donated is gone, and some states hold the very parameters.
    params, state = jax.tree.map(jnp.copy, PARAMS), jax.tree.map(jnp.copy, optimizer.init(PARAMS))
    described = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), state)
    keys = []
    for step in range(4):
        key = limpet.mismatch_key(state)
        assert key == step_key(3, step)
        keys.append(np.asarray(jax.random.key_data(key)))
        params, state, value = update(params, state, X)
        assert np.isfinite(value)
        assert int(optax.tree.get(state, "mismatch_step")) == step + 1
    assert len(traces) == 1
    assert len(np.unique(keys, axis=0)) == 4
    assert jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), state) == described
    assert not np.array_equal(params["kernel"], PARAMS["kernel"])


def test_it_leaves_updates_alone_whatever_their_dtype():
    track = limpet.track_mismatch()
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        updates = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), PARAMS)
        state = track.init(updates)
        out, after = track.update(updates, state, updates, value=1.0, anything="else")
        assert all(one is other for one, other in zip(jax.tree.leaves(out), jax.tree.leaves(updates), strict=True))
        assert jax.tree.structure(state) == jax.tree.structure(after)


def test_lookahead_takes_it():
    optimizer = optax.chain(
        limpet.track_mismatch(3), optax.lookahead(optax.sgd(1e-2), sync_period=2, slow_step_size=0.5)
    )
    params = optax.LookaheadParams.init_synced(PARAMS)
    state = optimizer.init(params)
    for _ in range(3):
        grads = jax.grad(NOISY)(params.fast, limpet.mismatch_key(state), X)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    assert int(optax.tree.get(state, "mismatch_step")) == 3


def test_a_skipped_update_does_not_repeat_the_draw():
    optimizer = optax.chain(limpet.track_mismatch(3), optax.apply_if_finite(optax.sgd(1e-2), 5))
    state = optimizer.init(PARAMS)
    _, after = optimizer.update(jax.tree.map(lambda leaf: leaf * jnp.nan, PARAMS), state, PARAMS)
    assert limpet.mismatch_key(after) == step_key(3, 1)


@pytest.mark.parametrize("generator", ["fast", "threefry2x32"])
def test_its_state_is_plain_numbers_that_checkpoints_take(generator):
    from flax import serialization

    optimizer = optax.chain(limpet.track_mismatch(3, generator), optax.adam(1e-2))
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(PARAMS, state, PARAMS)
    restored = serialization.from_bytes(optimizer.init(PARAMS), serialization.to_bytes(state))
    key = limpet.mismatch_key(restored)
    assert key.dtype == step_key(3, 1, generator).dtype
    assert key == step_key(3, 1, generator)
    with pytest.raises(limpet.LimpetError, match="was cast to bfloat16, so its key is lost"):
        limpet.mismatch_key(optax.tree.cast(state, jnp.bfloat16))


def test_a_state_without_one_or_with_two_is_refused():
    with pytest.raises(limpet.LimpetError, match=r"holds no limpet.track_mismatch: chain exactly one"):
        limpet.mismatch_key(optax.adam(1e-2).init(PARAMS))
    twice = optax.chain(limpet.track_mismatch(), limpet.track_mismatch())
    with pytest.raises(limpet.LimpetError, match="holds 2 limpet.track_mismatch"):
        limpet.mismatch_key(twice.init(PARAMS))
    with pytest.raises(limpet.LimpetError, match="seed = -1"):
        limpet.track_mismatch(-1)


def test_the_wrapped_loss_is_the_loss_on_the_drawn_chip():
    value, grads = jax.jit(jax.value_and_grad(NOISY))(PARAMS, KEY, X)
    np.testing.assert_allclose(value, loss(MISMATCH(KEY, PARAMS), X), rtol=1e-6)
    direct = jax.grad(lambda params: loss(MISMATCH(KEY, params), X))(PARAMS)
    np.testing.assert_allclose(grads["kernel"], direct["kernel"], rtol=1e-5)


def chip(draw):
    return MISMATCH(jax.random.fold_in(KEY, draw), PARAMS)


def test_several_draws_are_averaged():
    noisy = jax.jit(
        limpet.with_mismatch(lambda params, x: (loss(params, x), params["kernel"].sum()), MISMATCH, draws=3)
    )
    value, total = noisy(PARAMS, KEY, X)
    np.testing.assert_allclose(value, np.mean([loss(chip(draw), X) for draw in range(3)]), rtol=1e-6)
    np.testing.assert_allclose(total, np.mean([chip(draw)["kernel"].sum() for draw in range(3)]), rtol=1e-5)


def test_each_example_has_its_own_chip():
    noisy = jax.jit(limpet.with_mismatch(loss, MISMATCH, draws="per_example"))
    expected = np.mean([loss(chip(draw), X[draw : draw + 1]) for draw in range(len(X))])
    np.testing.assert_allclose(noisy(PARAMS, KEY, X), expected, rtol=1e-5)
    with pytest.raises(limpet.LimpetError, match=r"one leading axis are needed, got \[15, 16\]"):
        limpet.with_mismatch(lambda params, x, y: 0.0, MISMATCH, draws="per_example")(PARAMS, KEY, X, X[:15])


def mesh_of(*shape):
    names = ("data", "model")[: len(shape)]
    devices = jax.devices()[: int(np.prod(shape))]
    return jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(shape), devices=devices)


@pytest.mark.long
def test_each_replica_has_its_own_chip_at_no_more_work():
    mesh = mesh_of(4, 2)
    noisy = limpet.with_mismatch(loss, MISMATCH, draws="per_replica", mesh=mesh, axis="data")
    expected = np.mean([loss(chip(draw), X[4 * draw : 4 * draw + 4]) for draw in range(4)])
    np.testing.assert_allclose(jax.jit(noisy)(PARAMS, KEY, X), expected, rtol=1e-5)
    batch = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data")))
    sharded = jax.tree.map(
        lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)),
        PARAMS,
        {"kernel": PartitionSpec("data"), "bias": PartitionSpec()},
    )
    step = jax.jit(jax.value_and_grad(noisy))
    value, grads = step(sharded, KEY, batch)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(grads["kernel"], jax.grad(noisy)(PARAMS, KEY, X)["kernel"], rtol=1e-4, atol=1e-7)
    # Each device computes the tanh of its own four examples for one chip: not of all sixteen.
    shapes = str(step.lower(sharded, KEY, batch).compile().as_text())
    assert "f32[1,4,3]" in shapes or "f32[4,3]" in shapes
    assert "f32[4,4,3]" not in shapes


def test_inside_shard_map_each_replica_names_its_own_draw():
    @partial(
        jax.shard_map, mesh=mesh_of(4, 2), in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec()
    )
    def replicated(params, x):
        drawn = MISMATCH(jax.random.fold_in(KEY, jax.lax.axis_index("data")), params)
        return jax.lax.pmean(loss(drawn, x), "data")

    expected = np.mean([loss(chip(draw), X[4 * draw : 4 * draw + 4]) for draw in range(4)])
    np.testing.assert_allclose(jax.jit(replicated)(PARAMS, X), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws = 0: allowed are"),
        ({"draws": True}, "draws = True: allowed are"),
        ({"draws": "each"}, "draws = 'each': allowed are"),
        ({"draws": "per_replica"}, "needs the mesh"),
        ({"draws": "per_replica", "mesh": True, "axis": "batch"}, "axis = 'batch': the mesh has 'data', 'model'"),
        ({"draws": 2, "mesh": True}, "mesh and axis are for draws = 'per_replica'"),
    ],
)
def test_wrong_options_are_named(options, message):
    options = options | ({"mesh": mesh_of(4, 2)} if "mesh" in options else {})
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.with_mismatch(loss, MISMATCH, **options)


def test_a_batch_that_cannot_be_divided_is_named():
    noisy = limpet.with_mismatch(loss, MISMATCH, draws="per_replica", mesh=mesh_of(4, 2))
    with pytest.raises(limpet.LimpetError, match=r"shape \(15, 4\) cannot be divided among 4 chips"):
        noisy(PARAMS, KEY, X[:15])


def test_with_a_callback_it_goes_by_step(tmp_path):
    config = limpet.Config.model_validate(
        {
            "hardware": {"weights": {"leaves": "kernel", "sigma": 0.1}},
            "training": {"dynamic": {}},
            "tensorboard": {"logdir": tmp_path},
        }
    )
    callback = limpet.MismatchCallback(PARAMS, config)
    noisy = jax.jit(jax.value_and_grad(limpet.with_mismatch(loss, callback, draws=2)))
    keys = [jax.random.fold_in(step_key(0, 5), draw) for draw in range(2)]
    expected = np.mean([loss(MISMATCH(key, PARAMS), X) for key in keys])
    np.testing.assert_allclose(noisy(PARAMS, 5, X)[0], expected, rtol=1e-6)
    callback(5, PARAMS, {"loss": 0.0})  # the audit has seen the draws reach the loss


def test_an_injection_goes_by_step_and_opens_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hardware = limpet.Hardware(weights=limpet.Part("kernel", limpet.Gaussian(0.1)))
    injection = limpet.Injection(PARAMS, hardware, scale=0.5, schedule=optax.linear_schedule(0.0, 1.0, 10))
    noisy = jax.jit(limpet.with_mismatch(loss, injection))
    np.testing.assert_allclose(noisy(PARAMS, 5, X), loss(MISMATCH(step_key(0, 5), PARAMS, 0.25), X), rtol=1e-6)
    np.testing.assert_allclose(noisy(PARAMS, 0, X), loss(PARAMS, X), rtol=1e-6)
    assert noisy._cache_size() == 1
    assert not list(tmp_path.iterdir())
    assert len(repr(injection)) < 200


def test_scales_move_the_strength():
    noisy = limpet.with_mismatch(loss, MISMATCH, condition=2.0)
    np.testing.assert_allclose(noisy(PARAMS, KEY, X), loss(MISMATCH(KEY, PARAMS, 2.0), X), rtol=1e-6)
    with pytest.raises(limpet.LimpetError, match="draws has a condition of its own"):
        limpet.with_mismatch(loss, limpet.Injection(PARAMS, MISMATCH), condition=2.0)


@pytest.mark.parametrize("mismatch", [{"kernel": True}, limpet.Hardware(w=limpet.Part("kernel", limpet.Gaussian(0.1)))])
def test_what_cannot_draw_is_refused_at_once(mismatch):
    with pytest.raises(limpet.LimpetError, match=r"give a recipe, hardware.on\(model\)"):
        limpet.with_mismatch(loss, mismatch)


class TestNnx:
    """An nnx module and its optimizer."""

    @pytest.fixture
    def model(self):
        return nnx.Linear(4, 3, rngs=nnx.Rngs(0))

    @staticmethod
    def recipe(model):
        return limpet.Mismatch(limpet.prototype(model, ("kernel", True)), limpet.Gaussian(0.1))

    def test_the_optimizer_of_a_module_names_the_draw(self, model):
        optimizer = nnx.Optimizer(model, optax.chain(limpet.track_mismatch(0), optax.sgd(0.1)), wrt=nnx.Param)
        noisy = limpet.with_mismatch(lambda model, x: (model(x) ** 2).mean(), self.recipe(model))

        @nnx.jit
        def update(model, optimizer, x):
            key = limpet.mismatch_key(optimizer.opt_state)
            loss, grads = nnx.value_and_grad(lambda model: noisy(model, key, x))(model)
            optimizer.update(model, grads)
            return loss

        nominal = nnx.clone(model)
        first = update(model, optimizer, X)
        expected = (self.recipe(nominal)(step_key(0, 0), nominal)(X) ** 2).mean()
        np.testing.assert_allclose(first, expected, rtol=1e-5)
        key = jax.random.key_data(limpet.mismatch_key(optimizer.opt_state))
        assert np.array_equal(key, jax.random.key_data(step_key(0, 1)))

    def test_the_step_of_an_optimizer_is_a_step(self, model):
        optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
        injection = limpet.Injection(model, self.recipe(model))
        kernel = injection.inject(model, optimizer.step).kernel.get_value()
        assert np.array_equal(kernel, injection.inject(model, 0).kernel.get_value())

    @pytest.mark.parametrize("draws", [8, "per_example"])
    def test_several_draws_of_a_module_are_those_of_its_state(self, model, draws):
        noisy = limpet.with_mismatch(lambda model, x: (model(x) ** 2).mean(), self.recipe(model), draws=draws)
        value, grads = nnx.jit(nnx.value_and_grad(noisy))(model, KEY, X)
        graph, state = nnx.split(model)
        of_state = limpet.with_mismatch(
            lambda state, x: (nnx.merge(graph, state)(x) ** 2).mean(), self.recipe(state), draws=draws
        )
        expected, slopes = jax.jit(jax.value_and_grad(of_state))(state, KEY, X)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(grads.kernel.get_value(), slopes.kernel.get_value(), rtol=1e-5)

    def test_a_state_where_the_module_belongs_is_refused(self, model):
        injection = limpet.Injection(model, self.recipe(model))
        with pytest.raises(limpet.LimpetError, match=r"an nnx module is needed.*not nnx.state\(model\)"):
            injection.inject(nnx.state(model), 0)


@pytest.mark.parametrize(
    "condition", [limpet.Condition(0.5, "1 day"), limpet.Condition(2.0, 3600.0, read=3, mirrored=True)]
)
def test_a_condition_reaches_the_chips_of_a_loss(condition):
    """Of an objective with one draw, and of the pairs of the antithetic one, whose second chip is the mirror image."""
    chain = limpet.Chain((limpet.Drift(exponent=0.05, spread=0.3), limpet.ReadNoise(spread=0.05)))
    recipe = limpet.Mismatch({"kernel": True, "bias": False}, chain)
    noisy = limpet.with_mismatch(loss, recipe, condition=condition)
    np.testing.assert_allclose(noisy(PARAMS, KEY, X), loss(recipe(KEY, PARAMS, condition), X), rtol=1e-5)
    pair = limpet.objectives.antithetic(loss, recipe, condition=condition)(PARAMS, KEY, X)
    keys = [jax.random.fold_in(KEY, 0)] * 2
    both = [
        loss(recipe(key, PARAMS, condition._replace(mirrored=mirrored)), X)
        for key, mirrored in zip(keys, (False, True), strict=True)
    ]
    np.testing.assert_allclose(pair, np.mean(both), rtol=1e-5)
