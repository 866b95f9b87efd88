"""What every objective keeps: by hand, by step, with a module and its state, from a configuration."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from event_files import scalars
from flax import nnx
from nnx_network import KEY, Net, X, Y, on
from shared_work import BATCH, KERNEL_MISMATCH, PARAMS

import limpet
from limpet import objectives
from limpet.draws._keys import step_key

TEACHER = jax.tree.map(lambda leaf: 1.1 * leaf, PARAMS)


def loss_fn(params, x):
    logits = 2 * x @ params["kernel"] + params["bias"]
    return -jax.nn.log_softmax(logits)[:, 0].mean(), logits


OBJECTIVES = {
    "mean": partial(limpet.with_mismatch, lambda params, x: loss_fn(params, x)[0], draws=3),
    "antithetic": partial(objectives.antithetic, loss_fn, pairs=2),
    "cvar": partial(objectives.cvar, loss_fn, draws=4, share=0.4),
    "worst": partial(objectives.worst_of, loss_fn, draws=4),
    "varied": partial(objectives.varied, loss_fn, low=0.5, high=1.5, draws=2),
    "consistency": partial(objectives.consistency, loss_fn, draws=3, weight=0.7),
    "distillation": lambda mismatch, **rest: objectives.distillation(
        loss_fn, mismatch, TEACHER, draws=2, weight=0.3, temperature=1.5, **rest
    ),
    "adversarial": partial(objectives.adversarial, loss_fn, zeta=0.2, weight=0.5, steps=2),
    "a-trice": partial(objectives.a_trice, loss_fn, spread=0.2, bound=0.5, zeta=0.2, weight=0.5, steps=2),
    "weight-perturbation": partial(objectives.weight_perturbation, loss_fn, radius=0.1),
    "adaptive-sam": partial(objectives.adaptive_sam, loss_fn, radius=0.1),
}
"""Each member, of a recipe or of what draws by step."""
IN_A_FILE = {
    "mean": {"draws": 3},
    "antithetic": {"pairs": 2},
    "cvar": {"draws": 4, "share": 0.4},
    "worst": {"draws": 4},
    "varied": {"low": 0.5, "high": 1.5, "draws": 2},
    "consistency": {"draws": 3, "weight": 1.4, "schedule": {"kind": "constant", "factor": 0.5}},
    "distillation": {"draws": 2, "weight": 0.3, "temperature": 1.5},
    "adversarial": {"zeta": 0.2, "weight": 0.5, "steps": 2},
    "a-trice": {"spread": 0.2, "bound": 0.5, "zeta": 0.2, "weight": 0.5, "steps": 2},
    "weight-perturbation": {"radius": 0.1},
    "adaptive-sam": {"radius": 0.1},
}
HARDWARE = limpet.Hardware(weights=limpet.Part("kernel", limpet.Gaussian(0.1)))


@jax.jit
def by_hand(params, key, x):
    """Value and gradient of every objective; compiled at once."""
    return {name: jax.value_and_grad(make(KERNEL_MISMATCH))(params, key, x) for name, make in OBJECTIVES.items()}


@pytest.fixture(scope="module")
def results():
    return by_hand(PARAMS, step_key(0, 5), BATCH)


def chips(count, key=None, **options):
    key = step_key(0, 5) if key is None else key
    conditions = limpet.Condition(**options)
    return [KERNEL_MISMATCH(jax.random.fold_in(key, draw), PARAMS, conditions) for draw in range(count)]


def losses(count):
    return np.array([loss_fn(chip, BATCH)[0] for chip in chips(count)])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_a_loss_of_its_own_whose_gradient_is_finite_and_follows_from_the_key(name, results):
    value, slope = results[name]
    assert jnp.shape(value) == ()
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(slope))
    plain = limpet.with_mismatch(lambda *args: loss_fn(*args)[0], KERNEL_MISMATCH)(PARAMS, step_key(0, 5), BATCH)
    assert not np.isclose(value, plain, rtol=1e-6)
    again, other = by_hand(PARAMS, step_key(0, 5), BATCH)[name][0], by_hand(PARAMS, step_key(0, 6), BATCH)[name][0]
    assert value == again != other


def test_they_are_what_their_formulas_say(results):
    values = {name: value for name, (value, _) in results.items()}
    np.testing.assert_allclose(values["mean"], losses(3).mean(), rtol=1e-6)
    np.testing.assert_allclose(values["worst"], losses(4).max(), rtol=1e-6)
    worst = np.sort(losses(4))[::-1]  # 0.4 of 4 chips: one, and 0.6 of another
    np.testing.assert_allclose(values["cvar"], (worst[0] + 0.6 * worst[1]) / 1.6, rtol=1e-6)
    pairs = [loss_fn(chip, BATCH)[0] for mirrored in (False, True) for chip in chips(2, mirrored=mirrored)]
    np.testing.assert_allclose(values["antithetic"], np.mean(pairs), rtol=1e-6)
    probabilities = np.array([jax.nn.softmax(loss_fn(chip, BATCH)[1]) for chip in chips(3)], np.float64)
    mean = probabilities.mean(axis=0)
    divergence = (probabilities * np.log(probabilities / mean)).sum(axis=-1).mean()
    np.testing.assert_allclose(values["consistency"], losses(3).mean() + 0.7 * divergence, rtol=1e-5)
    taught = np.array(jax.nn.softmax(loss_fn(TEACHER, BATCH)[1] / 1.5), np.float64)
    learned = [np.array(jax.nn.softmax(loss_fn(chip, BATCH)[1] / 1.5), np.float64) for chip in chips(2)]
    apart = np.mean([(taught * np.log(taught / student)).sum(axis=-1).mean() for student in learned])
    np.testing.assert_allclose(values["distillation"], 0.7 * losses(2).mean() + 0.3 * 1.5**2 * apart, rtol=1e-5)


def test_weights_are_moved_as_far_as_the_radius_says():
    kernel, key = PARAMS["kernel"], step_key(0, 5)
    slope = jax.grad(lambda kernel: loss_fn(PARAMS | {"kernel": kernel}, BATCH)[0])(kernel)
    for objective, move in (
        (objectives.weight_perturbation, 0.1 * jnp.linalg.norm(kernel) * slope / jnp.linalg.norm(slope)),
        (objectives.adaptive_sam, 0.1 * jnp.sqrt(kernel.size) * kernel**2 * slope / jnp.linalg.norm(kernel * slope)),
    ):
        value = objective(loss_fn, KERNEL_MISMATCH, radius=0.1, condition=0.0)(PARAMS, key, BATCH)
        np.testing.assert_allclose(value, loss_fn(PARAMS | {"kernel": kernel + move}, BATCH)[0], rtol=1e-5)


def test_without_mismatch_they_are_the_loss_and_no_strength_retraces():
    traces = []

    @jax.jit
    def all_of_them(scale, strength, key):
        traces.append(scale)
        made = [
            objectives.antithetic(loss_fn, KERNEL_MISMATCH, condition=scale),
            objectives.cvar(loss_fn, KERNEL_MISMATCH, draws=3, condition=scale),
            objectives.worst_of(loss_fn, KERNEL_MISMATCH, draws=2, condition=scale),
            objectives.varied(loss_fn, KERNEL_MISMATCH, low=0.0, high=strength, condition=scale),
            objectives.consistency(loss_fn, KERNEL_MISMATCH, draws=2, weight=strength, condition=scale),
            objectives.distillation(loss_fn, KERNEL_MISMATCH, TEACHER, weight=strength, condition=scale),
            objectives.adversarial(loss_fn, KERNEL_MISMATCH, weight=strength, steps=1, condition=scale),
            objectives.weight_perturbation(loss_fn, KERNEL_MISMATCH, radius=strength, condition=scale),
            objectives.adaptive_sam(loss_fn, KERNEL_MISMATCH, radius=strength, condition=scale),
            objectives.a_trice(loss_fn, KERNEL_MISMATCH, weight=strength, steps=1, condition=scale),
        ]
        return jnp.stack([objective(PARAMS, key, BATCH) for objective in made])

    np.testing.assert_allclose(all_of_them(0.0, 0.0, KEY), loss_fn(PARAMS, BATCH)[0], rtol=1e-6)
    assert not np.isclose(all_of_them(1.0, 0.5, KEY), loss_fn(PARAMS, BATCH)[0], rtol=1e-6).any()
    assert len(traces) == 1


@pytest.mark.long
def test_from_a_configuration_each_is_what_it_is_by_hand(tmp_path, results):
    """By a callback, whose draws are named by step; of `varied` and `adversarial`, what they draw beside chips too."""
    callbacks = {
        name: limpet.MismatchCallback(
            PARAMS,
            HARDWARE,
            training={"dynamic": {}, "objective": {"kind": name, **settings}},
            logdir=tmp_path / name,
        )
        for name, settings in IN_A_FILE.items()
    }

    @jax.jit
    def all_of_them(step):
        given = {name: {"teacher": TEACHER} if name == "distillation" else {} for name in callbacks}
        made = {name: callback.loss(loss_fn, **given[name]) for name, callback in callbacks.items()}
        return {name: jax.value_and_grad(objective)(PARAMS, step, BATCH) for name, objective in made.items()}

    found = all_of_them(5)
    for name, (value, slope) in results.items():
        np.testing.assert_allclose(found[name][0], value, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(found[name][1]["kernel"], slope["kernel"], rtol=1e-3, atol=1e-5, err_msg=name)
    for callback in callbacks.values():
        callback(5, PARAMS, {"loss": 0.0})  # the audit has seen the draws reach the losses


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"objective": {"kind": "cvar"}}, "objective = 'cvar': .*none is drawn"),
        ({"dynamic": {}, "objective": {"kind": "adversarial", "noise": False}}, "meets none of the chips"),
        ({"dynamic": {}, "objective": {"kind": "cvar", "share": 0}}, "objective.share"),
        ({"dynamic": {}, "objective": {"kind": "cvr"}}, "objective.kind = 'cvr': did you mean cvar. .*adversarial"),
        ({"dynamic": {}, "objective": {"kind": "worst", "share": 0.5}}, "objective.share: unknown key"),
        ({"dynamic": {}, "objective": {"kind": "consistency", "draws": 1}}, "objective.draws"),
        ({"dynamic": {}, "objective": {"kind": "worst", "draws": True}}, "objective.draws"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_key(training, message):
    with pytest.raises(limpet.ConfigError, match=message):
        limpet.MismatchCallback(PARAMS, HARDWARE, training=training)


def test_without_noise_the_attack_needs_no_draws_and_a_teacher_is_for_distillation(tmp_path):
    training = {"objective": {"kind": "adversarial", "noise": False, "steps": 1}}
    callback = limpet.MismatchCallback(PARAMS, HARDWARE, training=training, logdir=tmp_path)
    value = jax.jit(callback.loss(loss_fn))(PARAMS, 3, BATCH)
    by_hand = objectives.adversarial(loss_fn, KERNEL_MISMATCH, noise=False, steps=1)(PARAMS, step_key(0, 3), BATCH)
    np.testing.assert_allclose(value, by_hand, rtol=1e-4)
    with pytest.raises(limpet.ConfigError, match="adversarial takes no teacher"):
        callback.loss(loss_fn, teacher=PARAMS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.cvar(loss_fn, KERNEL_MISMATCH, share=1.5), "share = 1.5: allowed is a number above 0"),
        (
            lambda: objectives.worst_of(loss_fn, KERNEL_MISMATCH, draws=0),
            "draws = 0: allowed is a whole number from 1 on",
        ),
        (
            lambda: objectives.consistency(loss_fn, KERNEL_MISMATCH, draws=1),
            "draws = 1: allowed is a whole number from 2 on",
        ),
        (lambda: objectives.cvar(loss_fn, HARDWARE), "give a recipe, hardware.on"),
        (lambda: objectives.a_trice(loss_fn, object()), "a_trice draws noise of its own"),
        (lambda: limpet.clip_weights(0), "sigmas = 0: allowed is a finite number > 0"),
    ],
)
def test_arguments_that_cannot_be_are_refused(make, message):
    with pytest.raises(limpet.LimpetError, match=message):
        make()


def test_a_loss_that_gives_no_outputs_or_no_scalar_is_named():
    with pytest.raises(limpet.LimpetError, match=r"consistency compares outputs.*tuple \(loss, outputs\)"):
        objectives.consistency(lambda tree, x: loss_fn(tree, x)[0], KERNEL_MISMATCH)(PARAMS, KEY, BATCH)
    with pytest.raises(limpet.LimpetError, match=r"loss_fn gave float32 of shape \(16, 3\): give a scalar"):
        objectives.worst_of(lambda tree, x: loss_fn(tree, x)[1], KERNEL_MISMATCH)(PARAMS, KEY, BATCH)


def of_module(net, x, labels):
    logits = net(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits


def test_a_module_is_trained_with_its_state():
    """Batch statistics and counters move by one step, whatever an objective evaluates beside it."""
    net = Net(nnx.Rngs(0))
    mismatch = on(net, ("*/kernel", True))
    teacher = nnx.clone(net)
    made = {
        "worst": objectives.worst_of(of_module, mismatch, draws=2),
        "distillation": objectives.distillation(of_module, mismatch, teacher),
        "adversarial": objectives.adversarial(of_module, mismatch, steps=2),
        "adaptive-sam": objectives.adaptive_sam(of_module, mismatch),
    }

    @nnx.jit
    def steps(nets, key):
        return {name: nnx.value_and_grad(made[name])(net, key, X, Y) for name, net in nets.items()}

    nets = {name: nnx.clone(net) for name in made}
    for name, (value, grads) in steps(nets, KEY).items():
        assert np.isfinite(value), name
        kernel = grads["hidden"]["kernel"].get_value()
        assert np.isfinite(kernel).all(), name
        assert kernel.any(), name
        assert int(nets[name].dropout.rngs.count[...]) == int(net.dropout.rngs.count[...]) + 1, name
        assert not np.array_equal(nets[name].norm.mean[...], net.norm.mean[...]), name
    assert np.array_equal(teacher.norm.mean[...], net.norm.mean[...])


def test_weights_are_clipped_to_standard_deviations():
    generator = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(generator.normal(size=(50, 3)) * [1, 2, 4]), "bias": jnp.full(3, 9.0)}
    grads = jax.tree.map(lambda leaf: -0.1 * leaf, params)
    for per, axis in (("array", None), ("column", 0)):
        optimizer = optax.chain(optax.sgd(1.0), limpet.clip_weights(1.5, per=per))
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        found: Any = optax.apply_updates(params, updates)
        moved = np.asarray(params["kernel"], np.float64) * 1.1
        bound = 1.5 * moved.std(axis=axis)
        np.testing.assert_allclose(found["kernel"], np.clip(moved, -bound, bound), rtol=1e-5)
        np.testing.assert_allclose(found["bias"], 9.9, rtol=1e-6)
    with pytest.raises(limpet.LimpetError, match="needs the parameters"):
        optimizer.update(grads, optimizer.init(params))


NO_KERNELS = {
    "time constants": np.full((6, 2), 0.02),
    "trained time constants": 0.02 + 1e-4 * np.random.default_rng(3).normal(size=(6, 2)),
    "logarithms of scales": np.log([[[10.0]], [[10.1]], [[9.0]], [[30.0]]]),
    "a number": np.array([[5.0]]),
    "thresholds": -np.array([[1.0, 0.5], [20.0, 0.1]]),
}


@pytest.mark.parametrize("per", ["array", "column"])
@pytest.mark.parametrize("name", NO_KERNELS)
def test_what_is_no_kernel_is_not_clipped(name, per):
    """A standard deviation bounds what lies about 0: weights, of both signs. A time constant of 20 ms stays that."""
    params = {"kernel": jnp.array([[1.0, -1.0], [0.5, 9.0]]), "other": jnp.asarray(NO_KERNELS[name], jnp.float32)}
    optimizer = optax.chain(optax.sgd(0.1), limpet.clip_weights(0.5, per=per))
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    found: Any = optax.apply_updates(params, updates)
    np.testing.assert_allclose(found["other"], params["other"] - 0.1, rtol=1e-6)
    assert float(found["kernel"].max()) < 5
    bounds = limpet.clip_bounds(params, sigmas=0.5, per=per)
    assert bounds.keys() == {"kernel"}
    traced = jax.jit(lambda params: limpet.clipped(params, limpet.clip_bounds(params, per=per)))(params)
    np.testing.assert_array_equal(traced["other"], params["other"])


def test_a_kernel_of_one_sign_is_clipped_where_it_is_named():
    params = {"kernel": jnp.array([[1.0, 1.5], [0.5, 9.0]]), "scale": jnp.full((2, 2), 3.0)}
    zero = jax.tree.map(jnp.zeros_like, params)
    for leaves, bound in ((None, 9.0), (["kernel"], 1.5 * float(params["kernel"].std()))):
        updates, _ = limpet.clip_weights(1.5, leaves=leaves).update(zero, optax.EmptyState(), params)
        found: Any = optax.apply_updates(params, updates)
        np.testing.assert_allclose(found["kernel"].max(), bound, rtol=1e-6)
        np.testing.assert_array_equal(found["scale"], params["scale"])
    np.testing.assert_allclose(limpet.clip_bounds(params, ["kernel"], sigmas=1.5)["kernel"], bound, rtol=1e-6)
    with pytest.raises(
        limpet.PrototypeError, match="leaves: '.*/kernel' matches no leaf; the paths are: kernel, scale"
    ):
        limpet.clip_weights(leaves=["*/kernel"]).update(zero, optax.EmptyState(), params)
    with pytest.raises(limpet.PrototypeError, match="none of them has two axes or more and values of both"):
        limpet.clip_bounds(params)


def test_outputs_of_one_input_have_no_spread_of_their_own():
    """Of a kernel of one input, each output has one weight: bounds by output would make all of them 0."""
    params = {"kernel": jnp.array([[1.0, -2.0, 3.0]])}
    zero = jax.tree.map(jnp.zeros_like, params)
    for per, largest in (("column", 3.0), ("array", params["kernel"].std())):
        updates, _ = limpet.clip_weights(1.0, per=per).update(zero, optax.EmptyState(), params)
        found: Any = optax.apply_updates(params, updates)
        np.testing.assert_allclose(found["kernel"].max(), largest, rtol=1e-6)


@pytest.mark.parametrize(
    ("objective", "strength", "message"),
    [
        (limpet.objectives.adversarial, {"zeta": -0.1}, "zeta = -0.1: allowed is a finite number >= 0"),
        (limpet.objectives.adversarial, {"weight": float("nan")}, "weight = nan"),
        (limpet.objectives.consistency, {"weight": -1.0}, "weight = -1.0"),
        (limpet.objectives.varied, {"low": -1.0}, "low = -1.0"),
        (limpet.objectives.varied, {"low": 2, "high": 1}, "low = 2: allowed is a number from 0 to 1"),
        (limpet.objectives.varied, {"low": 1.5}, "low = 1.5: allowed is a number from 0 to 1"),
        (limpet.objectives.varied, {"high": np.float32(-0.1)}, "high = "),
        (limpet.objectives.weight_perturbation, {"radius": "much"}, "radius = 'much'"),
        (limpet.objectives.adaptive_sam, {"radius": float("inf")}, "radius = inf"),
        (
            limpet.objectives.distillation,
            {"teacher": {}, "weight": 2.0},
            "weight = 2.0: allowed is a number from 0 to 1",
        ),
        (limpet.objectives.distillation, {"teacher": {}, "temperature": 0.0}, "temperature = 0.0: allowed is a number"),
    ],
)
def test_strengths_that_are_known_are_checked(objective, strength, message):
    with pytest.raises(limpet.StrengthError, match=message):
        objective(lambda tree: 0.0, limpet.Mismatch({"w": True}, limpet.Gaussian(0.1)), **strength)


def test_bounds_of_weights_are_learned():
    """The gradient of a bound is that of the weights beyond it, with their signs; within it nothing changes."""
    params = {"kernel": jnp.array([[0.5, -3.0, 2.0], [0.1, 0.2, -0.3]]), "bias": jnp.zeros(3)}
    slope = jnp.arange(6.0).reshape(2, 3) + 1

    def loss(params, bounds):
        return (limpet.clipped(params, bounds)["kernel"] * slope).sum()

    bounds = {"kernel": jnp.array([1.0, 1.0, 4.0])}
    of_params, of_bounds = jax.grad(loss, argnums=(0, 1))(params, bounds)
    np.testing.assert_array_equal(of_bounds["kernel"], [0, -2, 0])
    np.testing.assert_array_equal(of_params["kernel"], slope.at[0, 1].set(0))
    initial = limpet.clip_bounds(params, sigmas=2.0, per="column")
    np.testing.assert_allclose(initial["kernel"], 2 * params["kernel"].std(axis=0, keepdims=True), rtol=1e-6)
    kernel = params["kernel"]
    for bound in (-1.0, 1.0):  # one that an update moved below 0 turns no weight around
        limited = limpet.clipped(params, {"kernel": jnp.array(bound)})["kernel"]
        np.testing.assert_array_equal(limited, jnp.clip(kernel, -1, 1))
    assert np.isnan(limpet.clipped(params, {"kernel": jnp.array(jnp.nan)})["kernel"]).all()
    with pytest.raises(limpet.PrototypeError, match=r"'kernel' has the shape \(4, 1, 1\), its leaf \(2, 3\)"):
        limpet.clipped(params, {"kernel": jnp.ones((4, 1, 1))})
    with pytest.raises(limpet.LimpetError, match="leaf 'kernel': its spread is 0, of which no bound"):
        limpet.clip_bounds({"kernel": jnp.ones((3, 2))}, ["kernel"])
    with pytest.raises(limpet.PrototypeError, match="there is no leaf dense"):
        limpet.clipped(params, {"dense": jnp.array(1.0)})
    with pytest.raises(limpet.PrototypeError, match="none of them has two axes"):
        limpet.clip_bounds(params, ["bias"])


def test_noise_of_its_own_needs_draws_and_is_what_the_log_says(tmp_path):
    """Without a fresh draw there is nothing for it to replace; the log shows no sigma of the hardware for it."""
    one_chip = limpet.Injection(PARAMS, HARDWARE, chip=3)
    with pytest.raises(limpet.LimpetError, match="training draws nothing afresh"):
        objectives.a_trice(loss_fn, one_chip)(PARAMS, 0, BATCH)
    tags = {}
    for kind in ("mean", "a-trice"):
        training = {"dynamic": {"scale": 2.0}, "objective": {"kind": kind}}
        callback = limpet.MismatchCallback(PARAMS, HARDWARE, training=training, logdir=tmp_path / kind)
        step = jax.jit(jax.value_and_grad(callback.loss(loss_fn)))
        with callback:
            callback(0, PARAMS, {"loss": step(PARAMS, 0, BATCH)[0]})
        tags[kind] = {tag: values for tag, values in scalars(tmp_path / kind).items() if tag.startswith("mismatch/")}
    assert tags == {
        "mean": {"mismatch/sigma_dynamic": {0: pytest.approx(0.2)}},
        "a-trice": {"mismatch/scale_dynamic": {0: 2.0}},
    }
