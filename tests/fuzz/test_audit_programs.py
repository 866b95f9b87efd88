"""Random training steps, of which it is known by construction which draws reach the loss: the audit finds out."""

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chance import case, cases

import limpet

BLOCKS = 4
"""Processes of a test run share the cases."""

TRAINED = {"used": "fine", "stopped": "warning", "beside": "warning", "erased": "error", "unused": "error"}
"""What may happen to the draw of a leaf that is trained, and what a loop is told: it is read by the loss; it is read
where no gradient comes back; it is read in what the loss returns beside itself; the nominal value is read in its place;
nothing reads it."""
UNTRAINED = {"used": "fine", "erased": "error", "unused": "error"}
REACHES = ("used", "stopped")

ROTATION = jnp.asarray(np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0], jnp.float32)


@jax.custom_vjp
def own_gradient(x, unused):
    return jnp.sin(x)


own_gradient.defvjp(
    lambda x, unused: (jnp.sin(x), (x, unused)), lambda kept, g: (g * jnp.cos(kept[0]), jnp.zeros_like(kept[1]))
)


@jax.custom_vjp
def no_gradient(x):
    return 2 * x


no_gradient.defvjp(lambda x: (2 * x, None), lambda _, g: (jnp.zeros_like(g),))


@jax.custom_jvp
def own_tangent(x):
    return jnp.tanh(x)


own_tangent.defjvp(lambda primals, tangents: (jnp.tanh(primals[0]), tangents[0] * (1 - jnp.tanh(primals[0]) ** 2)))

OPERATIONS = {
    "sin": jnp.sin,
    "scale": lambda x: 1.5 * x + 0.25,
    "rotate": lambda x: ROTATION @ x,
    "shift": lambda x: jnp.concatenate([x[1:], x[:1]]),
    "select": lambda x: jnp.where(jnp.arange(3) > 0, x, 2 * x),
    "mapped": lambda x: jax.vmap(jnp.sin)(x),
    "own gradient": lambda x: own_gradient(x, x),
    "own tangent": own_tangent,
    "half precision": lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
    "slices": lambda x: jax.lax.dynamic_update_slice(x, jax.lax.dynamic_slice(x, (1,), (2,)), (0,)),
}
"""Functions of three numbers, each of which every number that comes out depends on differentiably."""

WRAPPERS = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan over a constant": lambda f: (
        lambda x: jax.lax.scan(lambda carry, y: (0.5 * carry + y * f(x), None), jnp.zeros(3), jnp.ones(2))[0]
    ),
    "scan over a carry": lambda f: lambda x: jax.lax.scan(lambda carry, _: (f(carry), None), x, None, length=2)[0],
    "scan over rows": lambda f: (
        lambda x: jax.lax.scan(lambda carry, row: (carry, f(row)), 0.0, jnp.stack([x, 2 * x]))[1].sum(axis=0)
    ),
    "cond": lambda f: lambda x: jax.lax.cond(x[0] > 0, f, lambda x: 2 * f(x), x),
    "switch": lambda f: lambda x: jax.lax.switch(jnp.int32(x[0] > 0), [f, jnp.cos], x),
    "fori": lambda f: lambda x: jax.lax.fori_loop(0, 2, lambda _, y: f(y), x),
    "vmap": lambda f: lambda x: jax.vmap(f)(jnp.stack([x, -x])).sum(axis=0) + f(x),
    "none": lambda f: f,
}

STOPS = {
    "stop_gradient": jax.lax.stop_gradient,
    "sign": lambda x: jnp.sign(x - 1.0),
    "compare": lambda x: jnp.where(x > 1.0, 1.0, 2.0),
    "round": lambda x: x.astype(jnp.int32).astype(jnp.float32),
    "zeros for a gradient": no_gradient,
    "while": lambda x: jax.lax.while_loop(
        lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] * 2), (0, jax.lax.stop_gradient(x))
    )[1],
}


def round_a_scan(x, y):
    return jax.lax.scan(lambda carry, _: ((carry[0], 2 * carry[1]), None), (x, y), None, length=2)[0][1]


def beside_rows(x, y):
    return jax.lax.scan(lambda carry, row: (carry + row[1], row[0]), jnp.zeros(3), (x[None], y[None]))[0]


DROPS = {
    "dropped": lambda x, y: y,
    "carried round a scan": round_a_scan,
    "rows of a scan": beside_rows,
    "an unused argument of jit": lambda x, y: jax.jit(lambda x, y: 2 * y)(x, y),
    "an unused operand": lambda x, y: jax.lax.cond(y[0] > 0, lambda x, y: y, lambda x, y: 2 * y, x, y),
    "an unused argument": lambda x, y: own_gradient(y, x),
}
"""Functions of two values that depend on the second alone."""


@dataclass
class Program:
    """A random loss, and what is known of it."""

    roles: dict
    trained: dict
    chains: dict
    drops: dict

    def loss(self, drawn, nominal):
        """The loss, and what is returned beside it."""
        terms, beside = [jnp.float32(1.0)], {}
        for name, role in self.roles.items():
            chain, value = self.chains[name], drawn[name]
            if role == "beside":
                beside[name] = chain(value)
            elif role == "erased":
                terms.append(chain(self.drops[name](value, nominal[name])).sum())
            elif role == "unused":
                terms.append(self.drops[name](value, jnp.ones(3)).sum())
            else:
                terms.append(chain(value).sum())
        return sum(term**2 for term in terms), beside

    def step(self, inject, params, step):
        def lost(trained):
            given = {**params, **trained}
            return self.loss(inject(given, step), given)

        return jax.value_and_grad(lost, has_aux=True)({name: params[name] for name, on in self.trained.items() if on})

    @property
    def verdict(self):
        found = {(TRAINED if self.trained[name] else UNTRAINED)[role] for name, role in self.roles.items()}
        return next(verdict for verdict in ("error", "warning", "fine") if verdict in found)

    @property
    def lost(self):
        return {name for name, role in self.roles.items() if role not in REACHES}

    def __str__(self):
        return f"{self.roles}, trained: {self.trained}"


def program_of(rng):
    def pick(options):
        return options[rng.choice(list(options))]

    def chain(role):
        function = pick(OPERATIONS)
        for _ in range(rng.randint(1, 3)):
            inner, operation = function, pick(OPERATIONS)
            function = pick(WRAPPERS)(lambda x, inner=inner, operation=operation: operation(inner(x)))
        stop = pick(STOPS) if role == "stopped" else lambda x: x
        return lambda x: function(stop(x))

    def role_of(trained):
        # Half of the leaves are simply used, so that most verdicts hang on one leaf.
        return "used" if rng.random() < 0.5 else rng.choice(list(TRAINED if trained else UNTRAINED))

    names = [f"leaf{index}" for index in range(rng.randint(1, 3))]
    trained = {name: not index or rng.random() < 0.7 for index, name in enumerate(names)}
    roles = {name: role_of(trained[name]) for name in names}
    chains = {name: chain(roles[name]) for name in names}
    return Program(roles, trained, chains, {name: pick(DROPS) for name in names})


def params_of(program):
    return {name: jnp.linspace(0.6, 1.7, 3) + 0.1 * index for index, name in enumerate(program.roles)}


def told(program, params, recipe):
    """What a loop is told."""
    injection = limpet.Injection(params, recipe)
    injection.audit.told = True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            jax.jit(lambda params, step: program.step(injection.inject, params, step)).lower(params, jnp.int32(0))
            injection.audit.check(0)
            injection.audit.check(1)
            injection.audit.close()
        except limpet.MismatchNotApplied:
            return "error"
    return "warning" if caught else "fine"


def named_by_audit(program, params, recipe):
    """The leaves that `limpet.audit` names as lost."""
    try:
        limpet.audit(lambda tree: program.loss(tree, params), params, recipe)
    except limpet.MismatchNotApplied as error:
        return {name for name in params if name in str(error).split(" does not ")[0]}
    return set()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_audits_know_which_draws_reach_the_loss(block):
    for seed, rng in cases(150):
        if seed % BLOCKS != block:
            continue
        with case(seed):
            program = program_of(rng)
            params = params_of(program)
            recipe = limpet.Mismatch(dict.fromkeys(params, True), limpet.Gaussian(0.1))
            assert named_by_audit(program, params, recipe) == program.lost, str(program)
            assert told(program, params, recipe) == program.verdict, str(program)


def test_the_programs_are_what_they_say():
    """By the numbers: the loss changes with a leaf that reaches it, and with no other."""
    for seed, rng in cases(12):
        with case(seed):
            program = program_of(rng)
            params = params_of(program)
            loss = jax.jit(lambda drawn, program=program, params=params: program.loss(drawn, params)[0])
            for name in params:
                changed = {float(loss({**params, name: params[name] + change})) for change in (0.0, 1.1, -1.1)}
                assert (len(changed) > 1) == (name not in program.lost), f"{name} of {program}"
