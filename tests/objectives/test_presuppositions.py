"""Objectives say in words what they presuppose of a loss: logits with an axis of classes, and a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from nnx_network import KEY, Net, X, Y, on
from shared_work import BATCH, KERNEL_MISMATCH, PARAMS

import limpet
from limpet import objectives

LABELS = jnp.arange(len(BATCH)) % 3


def logits_of(params, x):
    return x @ params["kernel"] + params["bias"]


def cross_entropy(params, x):
    return optax.softmax_cross_entropy_with_integer_labels(logits_of(params, x), LABELS)


def correct(params, x):
    return logits_of(params, x).argmax(axis=-1) == LABELS


def giving(outputs):
    """A loss function that gives a loss, and something beside it."""
    return lambda params, x: (cross_entropy(params, x).mean(), outputs(params, x))


OBJECTIVES = {
    "consistency": lambda loss, **options: objectives.consistency(loss, KERNEL_MISMATCH, draws=2, **options),
    "distillation": lambda loss, **options: objectives.distillation(loss, KERNEL_MISMATCH, PARAMS, **options),
    "adversarial": lambda loss, **options: objectives.adversarial(loss, KERNEL_MISMATCH, steps=1, **options),
    "a-trice": lambda loss, **options: objectives.a_trice(loss, KERNEL_MISMATCH, steps=1, **options),
}
NO_CLASSES = "have no axis of classes"
NO_GRADIENT = "have no gradient"


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda params, x: correct(params, x).mean(), NO_CLASSES),
        (lambda params, x: correct(params, x).astype(float), NO_CLASSES),
        (lambda params, x: cross_entropy(params, x), NO_CLASSES),
        (lambda params, x: logits_of(params, x)[:, :1], "have one class"),
        (lambda params, x: logits_of(params, x).argmax(axis=-1), f"int32 of shape .16,., which {NO_GRADIENT}"),
        (lambda params, x: jax.nn.one_hot(logits_of(params, x).argmax(axis=-1), 3), NO_GRADIENT),
        (lambda params, x: (logits_of(params, x) > 0).astype(float), NO_GRADIENT),
        (lambda params, x: jax.lax.stop_gradient(logits_of(params, x)), NO_GRADIENT),
        (lambda params, x: {"accuracy": correct(params, x).mean()}, "it gave a tuple whose second is a dict"),
    ],
)
def test_outputs_that_are_no_logits_are_refused_in_words(name, outputs, message):
    with pytest.raises(limpet.LimpetError, match=f"{message}"):
        jax.eval_shape(jax.grad(OBJECTIVES[name](giving(outputs))), PARAMS, jax.random.key(0), BATCH)


@pytest.mark.parametrize(
    "wrap", [jax.jit, jax.checkpoint, lambda f: lambda *args: jax.lax.map(lambda x: f(args[0], x), args[1][None])]
)
def test_a_missing_gradient_is_seen_through_what_wraps_the_loss(wrap):
    counted = giving(lambda params, x: (logits_of(params, x) > 0).astype(float))
    inner = wrap(lambda params, x: jnp.concatenate([counted(params, x)[1].ravel(), counted(params, x)[0][None]]))

    def loss(params, x):
        found = inner(params, x).ravel()
        return found[-1], jax.lax.stop_gradient(found[:-1].reshape(-1, 3))

    made = objectives.consistency(loss, KERNEL_MISMATCH, draws=2)
    for differentiate in (jax.grad, lambda f: jax.jit(jax.grad(f)), lambda f: jax.grad(jax.jit(f))):
        with pytest.raises(limpet.LimpetError, match=NO_GRADIENT):
            jax.eval_shape(differentiate(made), PARAMS, jax.random.key(0), BATCH)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_logits_with_further_values_behind_them_are_accepted(name):
    def with_more(params, x):
        return cross_entropy(params, x).mean(), logits_of(params, x), correct(params, x).mean()

    value, slope = jax.jit(jax.value_and_grad(OBJECTIVES[name](with_more)))(PARAMS, jax.random.key(0), BATCH)
    assert np.isfinite(value)
    assert np.any(slope["kernel"])


def test_a_divergence_of_ones_own_takes_outputs_of_any_shape_that_have_a_gradient():
    def apart(reference, outputs):
        return jnp.square(reference - outputs).mean()

    for outputs in (lambda params, x: logits_of(params, x)[:, :1], lambda params, x: logits_of(params, x).mean()):
        made = OBJECTIVES["adversarial"](giving(outputs), divergence=apart)
        assert jax.eval_shape(jax.grad(made), PARAMS, jax.random.key(0), BATCH)["kernel"].shape == (4, 3)
    made = OBJECTIVES["adversarial"](giving(lambda params, x: correct(params, x).mean()), divergence=apart)
    with pytest.raises(limpet.LimpetError, match=NO_GRADIENT):
        jax.eval_shape(jax.grad(made), PARAMS, jax.random.key(0), BATCH)


def test_a_value_without_a_derivative_asks_for_none():
    """Evaluated alone, or differentiated with respect to something that neither loss nor outputs depend on."""
    made = OBJECTIVES["consistency"](giving(lambda params, x: jax.lax.stop_gradient(logits_of(params, x))))
    assert jax.eval_shape(made, PARAMS, jax.random.key(0), BATCH).shape == ()
    slope = jax.eval_shape(
        jax.grad(lambda weight: objectives.consistency(giving(logits_of), KERNEL_MISMATCH, weight=weight)(
            PARAMS, jax.random.key(0), BATCH
        )),
        1.0,
    )  # fmt: skip
    assert slope.shape == ()


@pytest.mark.long
def test_a_module_is_told_as_well():
    def of_module(net, x, labels):
        found = net(x)
        loss = optax.softmax_cross_entropy_with_integer_labels(found, labels).mean()
        return loss, (found.argmax(axis=-1) == labels).mean()

    net = Net(nnx.Rngs(0))
    made = objectives.consistency(of_module, on(net, ("*/kernel", True)), draws=2)
    with pytest.raises(limpet.LimpetError, match=NO_CLASSES):
        nnx.grad(made)(net, KEY, X, Y)
