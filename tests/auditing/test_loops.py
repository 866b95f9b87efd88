"""Whole training loops, good and bad, however they log: what the audit says of them.

A bad loop is one whose network meets one draw for ever, or none. Each is refused (`MismatchNotApplied`); where nothing
but the loop itself knows that it runs more than one step, a warning is enough, and the table of `LoopAudit` says so.
"""

import inspect
import warnings

import jax
import jax.numpy as jnp
import optax
import pytest

import limpet

KEYS = jax.random.split(jax.random.key(0), 4)
PARAMS = {"w": jax.random.normal(KEYS[0], (5, 4)), "v": jax.random.normal(KEYS[1], (4, 3)), "b": jnp.ones(3)}
X, Y = jax.random.normal(KEYS[2], (8, 5)), jax.random.normal(KEYS[3], (8, 3))
HARDWARE = limpet.Hardware(weights=limpet.Part(["w", "v"], limpet.Gaussian(sigma=0.1)))
LOOPS = {"good": {}, "refused": {}, "warned of": {}}


def loop(verdict):
    def register(function):
        LOOPS[verdict][function.__name__] = function
        return function

    return register


def network(tree, x):
    return jnp.tanh(x @ tree["w"]) @ tree["v"] + tree.get("b", 0.0)


def loss(tree, x=X, y=Y):
    return ((network(tree, x) - y) ** 2).mean()


def moved(params, grads):
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def run(callback, update, steps=3, log=True):
    """The usual loop: a compiled update, and perhaps the callback after it."""
    params, update = PARAMS, jax.jit(update)
    for step in range(steps):
        params = update(params, jnp.int32(step), X, Y)
        if log:
            callback(step, params, {"loss": 1.0})
    return params


def scanned(callback, turn, carry=None, rows=None, steps=4):
    """A compiled loop of steps."""
    turns = jnp.arange(steps) if rows is None else rows
    jitted = jax.jit(lambda carry, epoch, turns: jax.lax.scan(lambda c, r: (turn(c, r, epoch), None), carry, turns)[0])
    out = jitted(PARAMS if carry is None else carry, jnp.int32(0), turns)
    callback(turns if rows is None else jnp.arange(steps), out if carry is None else out[0])


# ---- Good.


@loop("good")
def the_usual_one(callback):
    run(callback, lambda p, step, x, y: moved(p, jax.grad(lambda p: loss(callback.inject(p, step), x, y))(p)))


@loop("good")
def adapters_beside_a_frozen_base(callback):
    @jax.jit
    def update(adapters, step):
        return moved(adapters, jax.grad(lambda a: loss(callback.inject(PARAMS, step) | {"b": a}))(adapters))

    adapters = jnp.zeros(3)
    for step in range(3):
        adapters = update(adapters, jnp.int32(step))
        callback(step, PARAMS, {"loss": 1.0})


@loop("good")
def adapters_beside_a_base_that_is_drawn_outside_of_the_loss(callback):
    @jax.jit
    def update(adapters, step):
        deviated = callback.inject(PARAMS, step)
        return moved(adapters, jax.grad(lambda a: loss(deviated | {"b": a}))(adapters))

    adapters = jnp.zeros(3)
    for step in range(3):
        adapters = update(adapters, jnp.int32(step))
        callback(step, PARAMS, {"loss": 1.0})


@loop("good")
def biases_alone_are_trained(callback):
    def update(params, step, x, y):
        grad = jax.grad(lambda b: loss(callback.inject(params, step) | {"b": b}, x, y))(params["b"])
        return params | {"b": params["b"] - 0.1 * grad}

    run(callback, update)


@loop("good")
def roll_outs_come_first(callback):
    act = jax.jit(lambda p, step: network(callback.inject(p, step), X))
    for step in range(3):
        act(PARAMS, jnp.int32(step))
        callback(step, PARAMS, {"reward": 1.0})
    update = jax.jit(lambda p, step: moved(p, jax.grad(lambda p: loss(callback.inject(p, step)))(p)))
    params = PARAMS
    for step in range(3, 6):
        params = update(params, jnp.int32(step))
        callback(step, params, {"reward": 1.0})


@loop("good")
def a_noisy_validation_comes_first(callback):
    jax.jit(lambda p, step: loss(callback.inject(p, step)))(PARAMS, jnp.int32(0))
    run(callback, lambda p, step, x, y: moved(p, jax.grad(lambda p: loss(callback.inject(p, step), x, y))(p)))


@loop("good")
def a_head_is_used_later(callback):
    def hidden(tree):
        return (jnp.tanh(X @ tree["w"]) ** 2).mean()

    for first, last, of in ((0, 3, hidden), (3, 6, loss)):
        update = jax.jit(lambda p, step, of=of: moved(p, jax.grad(lambda p: of(callback.inject(p, step)))(p)))
        params = PARAMS
        for step in range(first, last):
            params = update(params, jnp.int32(step))
            callback(step, params, {"loss": 1.0})


@loop("good")
def steps_in_a_scan(callback):
    scanned(callback, lambda p, step, _: moved(p, jax.grad(lambda p: loss(callback.inject(p, step)))(p)))


@loop("good")
def a_scan_that_counts_its_own_steps(callback):
    def turn(carry, _, __):
        params, step = carry
        return moved(params, jax.grad(lambda p: loss(callback.inject(p, step)))(params)), step + 1

    scanned(callback, turn, carry=(PARAMS, jnp.int32(0)))


@loop("good")
def micro_batches_that_are_summed(callback):
    def update(params, step, x, y):
        def part(total, batch):
            return jax.tree.map(
                jnp.add, total, jax.grad(lambda p: loss(callback.inject(p, step), *batch))(params)
            ), None

        halves = (x.reshape(2, 4, 5), y.reshape(2, 4, 3))
        return moved(params, jax.lax.scan(part, jax.tree.map(jnp.zeros_like, params), halves)[0])

    run(callback, update)


@loop("good")
def micro_batches_with_a_draw_each(callback):
    several = optax.MultiSteps(optax.sgd(0.1), 2)

    def turn(carry, _, __):
        params, state = carry
        grads = jax.grad(lambda p: loss(callback.inject(p, state.gradient_step, draw=state.mini_step)))(params)
        updates, state = several.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    scanned(callback, turn, carry=(PARAMS, several.init(PARAMS)))


@loop("good")
def a_line_search_on_one_chip(callback):
    solver = optax.lbfgs()

    def update(params, step, x, y):
        def fn(p):
            return loss(callback.inject(p, step), x, y)

        state = solver.init(params)
        value, grad = jax.value_and_grad(fn)(params)
        updates, _ = solver.update(grad, state, params, value=value, grad=grad, value_fn=fn)
        return optax.apply_updates(params, updates)

    run(callback, update)


@loop("good")
def two_networks_with_losses_of_their_own(callback):
    def updated(params, step, x, y):
        for own in ("w", "v"):
            grad = jax.grad(lambda q, own=own: loss(callback.inject(params | {own: q}, step), x, y))(params[own])
            yield own, params[own] - 0.1 * grad

    run(callback, lambda params, *args: params | dict(updated(params, *args)))


@loop("good")
def a_population_on_the_same_chips(callback):
    def update(params, step, x, y):
        members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
        grads = jax.lax.map(lambda p: jax.grad(lambda p: loss(callback.inject(p, step), x, y))(p), members)
        return moved(params, jax.tree.map(lambda g: g.mean(0), grads))

    run(callback, update)


@loop("good")
def one_chip_over_the_time_of_an_input(callback):
    def update(params, step, x, y):
        def over_time(p):
            def turn(state, now):
                return network(callback.inject(p, step), now[None])[0] + state, None

            return (jax.lax.scan(turn, jnp.zeros(3), x)[0] ** 2).mean()

        return moved(params, jax.grad(over_time)(params))

    run(callback, update)


@loop("good")
def a_norm_of_parameters_is_logged_and_weights_decay(callback):
    def update(params, step, x, y):
        def lost(p):
            return loss(callback.inject(p, step), x, y) + 0.01 * sum((leaf**2).sum() for leaf in p.values())

        grads, _ = optax.clip_by_global_norm(1.0).update(jax.grad(lost)(params), optax.EmptyState())
        return moved(params, grads)

    run(callback, update)


@loop("good")
def warm_up_by_a_logger_of_ones_own(callback):
    plain = jax.jit(lambda p: moved(p, jax.grad(loss)(p)))
    params = plain(PARAMS)
    update = jax.jit(lambda p, step: moved(p, jax.grad(lambda p: loss(callback.inject(p, step)))(p)))
    callback.evaluate(1, update(params, jnp.int32(0)))


@loop("good")
def a_compiled_loss_that_is_differentiated_in_python(callback):
    compiled = jax.jit(lambda p, step: loss(callback.inject(p, step)))
    params = PARAMS
    for step in range(3):
        params = moved(params, jax.grad(compiled)(params, jnp.int32(step)))
        callback(step, params, {"loss": 1.0})


@loop("good")
def the_gradient_is_taken_of_several_chips(callback):
    noisy = limpet.with_mismatch(loss, callback, draws=2)
    run(callback, lambda p, step, x, y: moved(p, jax.grad(noisy)(p, step, x, y)))


@loop("good")
def a_recipe_with_new_keys(callback):
    noisy = limpet.with_mismatch(loss, HARDWARE.on(PARAMS))
    update = jax.jit(lambda p, key: moved(p, jax.grad(noisy)(p, key)))
    for key in KEYS:
        update(PARAMS, key)


@loop("good")
def a_chip_that_stays(callback):
    injection = limpet.Injection(PARAMS, HARDWARE, chip=3)
    jax.jit(lambda p: moved(p, jax.grad(lambda p: loss(injection.inject(p, 0)))(p)))(PARAMS)


# ---- Bad: refused.


@loop("refused")
def erased_with_a_logger_of_ones_own(callback):
    run(
        callback,
        lambda p, step, x, y: moved(p, jax.grad(lambda p: loss(callback.inject(p, step) | p, x, y))(p)),
        log=False,
    )


@loop("refused")
def erased_in_an_injection(callback):
    injection = limpet.Injection(PARAMS, HARDWARE)
    run(
        callback,
        lambda p, step, x, y: moved(p, jax.grad(lambda p: loss(injection.inject(p, step) | p, x, y))(p)),
        log=False,
    )


@loop("refused")
def erased_in_part(callback):
    def update(params, step, x, y):
        return moved(params, jax.grad(lambda p: loss(callback.inject(p, step) | {"w": p["w"]}, x, y))(params))

    run(callback, update, log=False)


@loop("refused")
def erased_in_a_loss_under_mismatch(callback):
    noisy = limpet.with_mismatch(lambda tree, p: loss(tree | p), HARDWARE.on(PARAMS))
    jax.jit(lambda p, key: jax.grad(noisy)(p, key, p))(PARAMS, KEYS[0])


@loop("refused")
def erased_in_a_compiled_loss_that_is_differentiated_in_python(callback):
    compiled = jax.jit(lambda p, step: loss(callback.inject(p, step) | p))
    params = PARAMS
    for step in range(2):
        params = moved(params, jax.grad(compiled)(params, jnp.int32(step)))
        callback(step, params, {"loss": 1.0})


@loop("refused")
def erased_in_a_scan(callback):
    scanned(callback, lambda p, step, _: moved(p, jax.grad(lambda p: loss(callback.inject(p, step) | p))(p)))


@loop("refused")
def one_step_captured_and_an_evaluation(callback):
    step, params = 0, PARAMS
    update = jax.jit(lambda p: moved(p, jax.grad(lambda p: loss(callback.inject(p, step)))(p)))
    for _ in range(5):
        params = update(params)
    callback.evaluate(5, params)


@loop("refused")
def one_step_captured(callback):
    update = jax.jit(lambda p: moved(p, jax.grad(lambda p: loss(callback.inject(p, 0)))(p)))
    params = PARAMS
    for step in range(3):
        params = update(params)
        callback(step, params, {"loss": 1.0})


@loop("refused")
def one_step_captured_as_an_array(callback):
    start = jnp.int32(7) * 2
    update = jax.jit(lambda p: moved(p, jax.grad(lambda p: loss(callback.inject(p, start)))(p)))
    params = PARAMS
    for step in range(3):
        params = update(params)
        callback(step, params, {"loss": 1.0})


@loop("refused")
def the_start_of_a_scan(callback):
    start = 3
    scanned(callback, lambda p, _, __: moved(p, jax.grad(lambda p: loss(callback.inject(p, start)))(p)))


@loop("refused")
def the_epoch_in_a_scan(callback):
    scanned(callback, lambda p, _, epoch: moved(p, jax.grad(lambda p: loss(callback.inject(p, epoch)))(p)))


@loop("refused")
def the_epoch_in_a_scan_of_epochs(callback):
    def epoch(params, number):
        def turn(p, batch):
            return moved(p, jax.grad(lambda p: loss(callback.inject(p, number), *batch))(p)), None

        return jax.lax.scan(turn, params, (X[:, None], Y[:, None]))[0], None

    callback(1, jax.jit(lambda p: jax.lax.scan(epoch, p, jnp.arange(2))[0])(PARAMS))


@loop("refused")
def the_start_of_a_fori_loop(callback):
    @jax.jit
    def steps(params, start):
        def turn(_, p):
            return moved(p, jax.grad(lambda p: loss(callback.inject(p, start)))(p))

        return jax.lax.fori_loop(0, 4, turn, params)

    callback(3, steps(PARAMS, jnp.int32(0)))


@loop("refused")
def the_start_of_a_scan_of_an_injection(callback):
    injection = limpet.Injection(PARAMS, HARDWARE)
    scanned(callback, lambda p, _, epoch: moved(p, jax.grad(lambda p: loss(injection.inject(p, epoch)))(p)))


@loop("refused")
def one_key_for_a_scan(callback):
    noisy = limpet.with_mismatch(loss, HARDWARE.on(PARAMS))
    scanned(callback, lambda p, _, __: moved(p, jax.grad(noisy)(p, KEYS[0])))


@loop("refused")
def updates_counted_in_a_scan(callback):
    several = optax.MultiSteps(optax.sgd(0.1), 2)

    def turn(carry, _, __):
        params, state = carry
        grads = jax.grad(lambda p: loss(callback.inject(p, state.gradient_step)))(params)
        updates, state = several.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    scanned(callback, turn, carry=(PARAMS, several.init(PARAMS)))


@loop("refused")
def updates_counted_in_python(callback):
    several = optax.MultiSteps(optax.adam(0.1), 2)
    params, state = PARAMS, several.init(PARAMS)

    @jax.jit
    def update(params, opt_state):
        grads = jax.grad(lambda p: loss(callback.inject(p, opt_state.gradient_step)))(params)
        updates, opt_state = several.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for _ in range(4):
        params, state = update(params, state)


@loop("refused")
def weight_decay_alone(callback):
    def lost(p, step, x, y):
        return loss(p, x, y) + 0.01 * sum((leaf**2).sum() for leaf in callback.inject(p, step).values())

    run(callback, lambda p, step, x, y: moved(p, jax.grad(lost)(p, step, x, y)), log=False)


@loop("refused")
def weight_decay_alone_of_one_leaf(callback):
    injection = limpet.Injection({"w": PARAMS["w"]}, limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1)))

    def lost(p, step, x):
        return ((x @ p["w"]) ** 2).mean() + 0.01 * (injection.inject(p, step)["w"] ** 2).sum()

    jax.jit(lambda p, step, x: moved(p, jax.grad(lost)(p, step, x)))({"w": PARAMS["w"]}, jnp.int32(0), X)


@loop("refused")
def the_validation_alone(callback):
    update = jax.jit(lambda p: moved(p, jax.grad(loss)(p)))
    validate = jax.jit(lambda p, step: loss(callback.inject(p, step)))
    params = PARAMS
    for step in range(2):
        params = update(params)
        validate(params, jnp.int32(step))
        callback(step, params, {"loss": 1.0})


@loop("refused")
def beside_the_loss(callback):
    def update(params, step, x, y):
        def lost(p):
            return loss(p, x, y), loss(callback.inject(p, step), x, y)

        return moved(params, jax.grad(lost, has_aux=True)(params)[0])

    run(callback, update)


@loop("refused")
def never_injected(callback):
    run(callback, lambda p, step, x, y: moved(p, jax.grad(loss)(p, x, y)))


@loop("refused")
def a_leaf_that_no_loss_ever_reads(callback):
    def update(params, step, x, y):
        return moved(params, jax.grad(lambda p: (jnp.tanh(x @ callback.inject(p, step)["w"]) ** 2).mean())(params))

    run(callback, update)


# ---- Bad, but one program cannot show it: a warning.


@loop("warned of")
def one_step_captured_in_an_injection(callback):
    injection = limpet.Injection(PARAMS, HARDWARE)
    jax.jit(lambda p: moved(p, jax.grad(lambda p: loss(injection.inject(p, 0)))(p)))(PARAMS)


@loop("warned of")
def one_key_captured(callback):
    noisy = limpet.with_mismatch(loss, HARDWARE.on(PARAMS))
    jax.jit(lambda p: moved(p, jax.grad(noisy)(p, KEYS[0])))(PARAMS)


@loop("warned of")
def never_injected_and_only_evaluated(callback):
    update = jax.jit(lambda p: moved(p, jax.grad(loss)(p)))
    callback.evaluate(0, PARAMS)
    callback.evaluate(10, update(PARAMS))


@pytest.mark.parametrize(("verdict", "name"), [(verdict, name) for verdict in LOOPS for name in LOOPS[verdict]])
def test_the_verdict_is_the_truth(verdict, name, tmp_path):
    measured = {"metric_fn": lambda tree, batch: loss(tree, *batch), "eval_batch": (X, Y), "scales": [1.0], "chips": 4}
    evaluates = "callback.evaluate" in inspect.getsource(LOOPS[verdict][name])
    settings = {**measured, "every_steps": 1000, "higher_is_better": False} if evaluates else {}
    callback = limpet.MismatchCallback(PARAMS, HARDWARE, logdir=tmp_path, **settings)
    said, text = "good", ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            LOOPS[verdict][name](callback)
            callback.close()
        except limpet.MismatchNotApplied as error:
            said, text = "refused", str(error)
    if said == "good" and (told := [str(item.message) for item in caught if item.category is RuntimeWarning]):
        said, text = "warned of", told[0]
    callback.injection.audit.done = True
    assert said == verdict, text
