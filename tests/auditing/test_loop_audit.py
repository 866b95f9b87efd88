"""The audit of a loop: the table of `LoopAudit`, row by row, as training steps with a known verdict."""

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import pytest

import limpet

PARAMS = {"a": jnp.linspace(1.0, 2.0, 4), "b": jnp.linspace(-1.0, 1.0, 4)}
RECIPE = limpet.Mismatch({"a": True, "b": True, "x": False}, limpet.Gaussian(0.1))
STEPS = {"fine": {}, "warning": {}, "error": {}}
"""Training steps by verdict and name: functions of `inject`, parameters and the number of the step."""


def expect(verdict):
    def register(step):
        STEPS[verdict][step.__name__] = step
        return step

    return register


def loss(tree):
    return (tree["a"] ** 2).sum() + (tree["b"] ** 3).sum()


def half(tree, name):
    return (tree[name] ** 2).sum()


@jax.custom_vjp
def first_of(x, y):
    return 2 * x


@jax.custom_vjp
def without_gradient_by_the_second(x, y):
    return x * y


first_of.defvjp(lambda x, y: (2 * x, y), lambda y, g: (2 * g, jnp.zeros_like(y)))
without_gradient_by_the_second.defvjp(lambda x, y: (x * y, y), lambda y, g: (y * g, jnp.zeros_like(y)))


@expect("fine")
def a_loss(inject, params, step):
    return jax.value_and_grad(lambda p: loss(inject(p, step)))(params)


@expect("fine")
def a_jitted_loss(inject, params, step):
    return jax.grad(lambda p: jax.jit(loss)(inject(p, step)))(params)


@expect("fine")
def drawn_in_a_jitted_loss(inject, params, step):
    return jax.grad(jax.jit(lambda p: loss(inject(p, step))))(params)


@expect("fine")
def rematerialised(inject, params, step):
    return jax.grad(lambda p: jax.checkpoint(loss)(inject(p, step)))(params)


@expect("fine")
def beside_nominal_values(inject, params, step):
    return jax.grad(lambda p: loss(inject(p, step)) + loss(p))(params)


@expect("fine")
def forwards(inject, params, step):
    return jax.jacfwd(lambda p: loss(inject(p, step)))(params)


@expect("fine")
def linearised(inject, params, step):
    return jax.linearize(lambda p: loss(inject(p, step)), params)[1](params)


@expect("fine")
def scanned_within(inject, params, step):
    def scanned(p):
        tree = inject(p, step)
        return jax.lax.scan(lambda total, x: (total + x * loss(tree), None), 0.0, jnp.ones(3))[0]

    return jax.grad(scanned)(params)


@expect("fine")
def in_a_scan_of_steps(inject, params, step):
    def one(p, number):
        return jax.tree.map(lambda p, g: p - g, p, jax.grad(lambda p: loss(inject(p, number)))(p)), None

    return jax.lax.scan(one, params, step + jnp.arange(3))[0]


@expect("fine")
def several_draws(inject, params, step):
    draws = jnp.arange(2)
    return jax.grad(lambda p: jax.vmap(lambda draw: loss(inject(p, step, draw)))(draws).mean())(params)


@expect("fine")
def returned_and_used(inject, params, step):
    def with_tree(p):
        tree = inject(p, step)
        return loss(tree), tree

    return jax.value_and_grad(with_tree, has_aux=True)(params)


@expect("fine")
def a_network_that_is_not_trained(inject, params, step):
    return jax.value_and_grad(lambda a: loss(inject({**params, "a": a}, step)))(params["a"])


@expect("fine")
def only_what_does_not_deviate_is_trained(inject, params, step):
    return jax.grad(lambda x: x * loss(inject({**params, "x": x}, step)))(1.0)


@expect("fine")
def adversaries(inject, params, step):
    """Two networks in one tree, each trained by a loss of its own."""
    return [jax.grad(lambda own, n=n: half(inject({**params, n: own}, step), n))(params[n]) for n in ("a", "b")]


@expect("error")
def carried_through_a_while_loop_unused(inject, params, step):
    def lost(a):
        tree = inject({**params, "a": a}, step)
        end = jax.lax.while_loop(lambda state: state[0] < 3, lambda state: (state[0] + 1, state[1]), (0, tree["b"]))
        return half(tree, "a") + end[0]

    return jax.value_and_grad(lost)(params["a"])


@expect("error")
def handed_unused_to_a_function_with_its_own_gradient(inject, params, step):
    def lost(a):
        tree = inject({**params, "a": a}, step)
        return half(tree, "a") + first_of(1.0, tree["b"][0])

    return jax.value_and_grad(lost)(params["a"])


@expect("warning")
def two_losses_by_all_leaves(inject, params, step):
    return [jax.grad(lambda p, n=n: half(inject(p, step), n))(params) for n in ("a", "b")]


@expect("warning")
def a_second_loss_that_erases_a_leaf(inject, params, step):
    first = jax.grad(lambda p: loss(inject(p, step)))(params)
    return first, jax.grad(lambda p: loss({**inject(p, step), "a": p["a"]}))(params)


@expect("warning")
def beside_the_loss_alone(inject, params, step):
    return jax.value_and_grad(lambda p: (loss(p), inject(p, step)), has_aux=True)(params)


@expect("warning")
def a_logged_norm(inject, params, step):
    return jax.value_and_grad(lambda p: (loss(p), loss(inject(p, step))), has_aux=True)(params)


@expect("warning")
def an_argument_without_gradient(inject, params, step):
    def lost(p):
        tree = inject(p, step)
        return without_gradient_by_the_second(tree["a"], tree["b"]).sum()

    return jax.grad(lost)(params)


@expect("warning")
def gradients_stopped(inject, params, step):
    """The straight-through gradient by hand: the draw is read, and no gradient comes back along it."""

    def through(p):
        return loss(jax.tree.map(lambda n, d: n + jax.lax.stop_gradient(d - n), p, inject(p, step)))

    return jax.grad(through)(params)


@expect("warning")
def compared(inject, params, step):
    def branch(p):
        tree = inject(p, step)
        return jnp.where(tree["b"] > 0, tree["a"], 2 * tree["a"]).sum()

    return jax.grad(branch)(params)


@expect("error")
def erased(inject, params, step):
    return jax.grad(lambda p: loss({**inject(p, step), **p}))(params)


@expect("error")
def erased_in_part(inject, params, step):
    return jax.grad(lambda p: loss({**inject(p, step), "a": p["a"]}))(params)


@expect("error")
def an_evaluation_that_reads_the_draw_comes_first(inject, params, step):
    seen = jax.jit(lambda p: loss(inject(p, step)))(params)
    return seen, jax.grad(lambda p: loss({**inject(p, step), **p}))(params)


@expect("error")
def a_leaf_that_no_loss_uses(inject, params, step):
    return jax.grad(lambda p: half(inject(p, step), "a"))(params)


@expect("error")
def an_argument_that_is_not_used(inject, params, step):
    def lost(p):
        tree = inject(p, step)
        return (first_of(tree["a"], tree["b"]) ** 2).sum()

    return jax.value_and_grad(lost)(params)


@expect("error")
def handed_to_a_branch_unused(inject, params, step):
    def lost(a):
        tree = inject({**params, "a": a}, step)
        return jax.lax.cond(tree["a"][0] > 0, lambda a, b: (a**2).sum(), lambda a, b: a.sum(), tree["a"], tree["b"])

    return jax.value_and_grad(lost)(params["a"])


@expect("error")
def carried_through_a_scan_unused(inject, params, step):
    def lost(p):
        tree = inject(p, step)
        end, _ = jax.lax.scan(lambda c, x: ((c[0] * x, c[1]), None), (tree["a"], tree["b"]), jnp.ones(3))
        return end[0].sum()

    return jax.grad(lost)(params)


@expect("error")
def one_loss_that_erases_everything(inject, params, step):
    first = jax.grad(lambda p: loss(inject(p, step)))(params)
    return first, jax.grad(lambda p: loss({**inject(p, step), **p}))(params)


@expect("error")
def outside_the_loss(inject, params, step):
    return inject(params, step), jax.grad(loss)(params)


@expect("error")
def the_gradient_at_deviated_values(inject, params, step):
    return jax.grad(loss)(inject(params, step))


def told():
    """What a loop injects that tells which steps it did."""
    injection = limpet.Injection({**PARAMS, "x": 1.0}, RECIPE)
    injection.audit.told = True
    return injection


def judged(step_fn, steps=2):
    """What a loop is told that compiles a training step and calls it that often."""
    injection = told()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for step in range(steps):
                if not step:
                    jax.jit(lambda params, step: step_fn(injection.inject, params, step)).lower(PARAMS, jnp.int32(0))
                injection.audit.check(step, trained=True)
            injection.audit.close()
        except limpet.MismatchNotApplied as error:
            return "error", str(error)
    return ("warning", str(caught[0].message)) if caught else ("fine", "")


@pytest.mark.parametrize(("verdict", "name"), [(verdict, name) for verdict in STEPS for name in STEPS[verdict]])
@pytest.mark.parametrize("steps", [1, 2])
def test_the_verdict_is_the_truth(verdict, name, steps):
    """Whether a run has one step, and is judged at its end, or more."""
    assert judged(STEPS[verdict][name], steps)[0] == verdict


def test_a_step_that_is_compiled_anew_each_time_is_named():
    injection = told()
    update = jax.jit(lambda params, step: a_loss(injection.inject, params, step), static_argnums=1)
    update.lower(PARAMS, 0)
    injection.audit.check(0, trained=True)
    update.lower(PARAMS, 1)
    with pytest.warns(RuntimeWarning, match=r"traced anew for step 1, .*so every step is compiled.*jnp\.int32\(step\)"):
        injection.audit.check(1, trained=True)


@pytest.mark.parametrize(
    ("deviation", "fine"),
    [
        (limpet.Exact(), True),
        (limpet.Quantize(bits=4), True),
        (limpet.Systematic(0.7), True),
        (limpet.Gaussian(0.1), False),
    ],
)
def test_what_draws_nothing_may_have_one_number_for_all_steps(deviation, fine):
    """By an injection and by a key; but it has to reach the loss, as all that is on a chip."""
    params, recipe = {"a": PARAMS["a"]}, limpet.Mismatch({"a": True}, deviation)
    injection, noisy = limpet.Injection(params, recipe), limpet.with_mismatch(lambda p: half(p, "a"), recipe)

    def scanned(gradient):
        def turn(params, _):
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient(params)), None

        jax.make_jaxpr(jax.jit(lambda p: jax.lax.scan(turn, p, None, 2)[0]))(params)

    for gradient in (
        jax.grad(lambda p: half(injection.inject(p, 0), "a")),
        lambda p: jax.grad(noisy)(p, jax.random.key(0)),
    ):
        if fine:
            scanned(gradient)
        else:
            with pytest.raises(limpet.MismatchNotApplied, match="every turn of a loop"):
                scanned(gradient)
    with pytest.raises(limpet.MismatchNotApplied, match="does not reach the loss"):
        limpet.audit(lambda p: half(params, "a"), params, recipe)


def test_what_is_said_names_the_leaves():
    for name, message in {
        "erased": "the draw of a, b does not reach the loss",
        "erased_in_part": "the draw of a does not reach the loss",
        "outside_the_loss": "no gradient was taken through what it gave",
        "a_logged_norm": "no gradient comes back along the draw of a, b",
        "compared": "no gradient comes back along the draw of b",
        "a_second_loss_that_erases_a_leaf": "the draw of a reaches one loss, but not another one",
    }.items():
        (step,) = (steps[name] for steps in STEPS.values() if name in steps)
        assert message in judged(step)[1]


def test_a_step_that_is_never_compiled_is_no_fault():
    injection = told()
    jax.eval_shape(lambda params: a_loss(injection.inject, params, 0), PARAMS)
    jax.jit(lambda params, step: a_loss(injection.inject, params, step)).lower(PARAMS, jnp.int32(0))
    injection.audit.check(0, trained=True)
    injection.audit.check(1, trained=True)


@pytest.mark.parametrize("warm", [1, 2, 500])
def test_steps_without_mismatch_may_come_first(warm):
    injection = told()
    with pytest.warns(RuntimeWarning, match="nothing deviates yet"):
        injection.audit.check(0, trained=True)
    for step in range(1, warm):  # once is enough: a warning is an error here
        injection.audit.check(step, trained=True)
    jax.jit(lambda params, step: a_loss(injection.inject, params, step)).lower(PARAMS, jnp.int32(0))
    for step in range(warm, warm + 3):
        injection.audit.check(step, trained=True)
    injection.audit.close()


def test_what_is_open_when_python_exits_is_said():
    """A loop of one's own, without a callback, whose update reads one leaf's draw and never the other's."""
    program = """
import jax, jax.numpy as jnp, limpet
params = {"a": jnp.ones(4), "b": jnp.ones(4)}
injection = limpet.Injection(params, limpet.Mismatch({"a": True, "b": True}, limpet.Gaussian(0.1)))
update = jax.jit(lambda p, step: jax.grad(lambda p: (injection.inject(p, step)["a"] ** 2).sum())(p))
update(params, jnp.int32(0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("limpet: the draw of b does not reach the loss")
    failed = subprocess.run([sys.executable, "-c", program + "raise SystemError"], capture_output=True, text=True)
    assert "limpet:" not in failed.stderr


def test_where_jax_tells_nothing_the_audit_says_that_it_cannot_see(monkeypatch):
    monkeypatch.setattr("limpet._jax._TRACED", "renamed")
    monkeypatch.setattr("limpet._jax._LOWERED", "renamed")
    monkeypatch.setattr("limpet.auditing._listening.LISTENING", [False])
    injection = told()
    jax.jit(lambda params, step: a_loss(injection.inject, params, step)).lower(PARAMS, jnp.int32(0))
    with pytest.warns(RuntimeWarning, match="could not see what was compiled"):
        injection.audit.check(0)
    injection.audit.check(1)
    injection.audit.close()
