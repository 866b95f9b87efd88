"""The audit finds draws that never reach the loss, wherever the step differentiates."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet._jax import Function
from limpet.flow._probe import ProbeNotes
from limpet.flow._uses import uses_in
from limpet.leaves._probed import probed

PARAMS = {"w": jnp.linspace(1.0, 2.0, 500), "b": jnp.zeros(500)}
MISMATCH = limpet.Mismatch({"w": True, "b": True}, limpet.Gaussian(0.1))


def good_loss(tree, x):
    return (tree["w"] * x + tree["b"]).sum()


def erased(tree, x):
    """What goes wrong with Rockpool: the parameters are set again after the draw."""
    return good_loss({**tree, "w": PARAMS["w"]}, x)


def test_the_report_gives_strengths_by_leaf():
    report = limpet.audit(good_loss, PARAMS, MISMATCH, 2.0)
    by_path = {leaf.path: leaf for leaf in report.leaves}
    assert by_path["w"].reaches_loss
    assert by_path["w"].sigma_asked == 0.1
    # 500 values: 5 standard errors of a standard deviation are 16% (false alarm 6e-7). Fixed seed.
    assert abs(by_path["w"].sigma_realised / 0.1 - 1) < 0.16
    assert by_path["b"].count == 0
    assert np.isnan(by_path["b"].sigma_realised)
    assert "reaches the loss" in str(report)


def test_an_erased_draw_is_an_error_that_says_so():
    with pytest.raises(limpet.MismatchNotApplied, match=r"the draw of w does not reach.*set_attributes\(params\)"):
        limpet.audit(erased, PARAMS, MISMATCH, 2.0)


def test_losses_with_auxiliaries_and_numpy_batches():
    report = limpet.audit(lambda tree, x: (good_loss(tree, x), tree), PARAMS, MISMATCH, np.ones(500))
    assert all(leaf.reaches_loss for leaf in report.leaves)
    with pytest.raises(limpet.MismatchNotApplied):  # reaching only what is returned beside the loss is not enough
        limpet.audit(lambda tree, x: (jnp.sum(x), tree), PARAMS, MISMATCH, np.ones(500))


def test_the_loss_is_traced_once_and_never_run():
    calls = []

    def loss(tree, x):
        calls.append(isinstance(tree["w"], jax.core.Tracer))
        return good_loss(tree, x)

    limpet.audit(loss, PARAMS, MISMATCH, 1.0)
    assert calls == [True]


OVER = SimpleNamespace(done=True)
"""An audit that is over, so that nothing is told to it, whatever the process listens to."""
STEPS = {
    "plain": lambda step: step,
    "value and gradient": lambda step: jax.value_and_grad(step),
    "gradient alone": lambda step: jax.grad(step),
    "rematerialised": lambda step: jax.grad(jax.checkpoint(step)),
    "mapped": lambda step: jax.vmap(step, in_axes=({"w": None, "b": None}, 0)),
    "forward mode": lambda step: lambda tree, x: jax.jvp(lambda tree: step(tree, x), (tree,), (tree,)),
    "scanned": lambda step: lambda tree, x: jax.lax.scan(lambda c, x: (c, jax.grad(step)(tree, x)), 0, x)[1],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("loss", [good_loss, erased])
def test_probes_see_what_is_compiled(name, loss):
    notes = ProbeNotes(OVER)
    x = jnp.ones((3, 500))

    def step(tree, x):
        # squared, so that the gradient alone depends on the values
        return loss(probed(tree, ["w"], notes), x).sum() ** 2

    use = uses_in(Function(jax.make_jaxpr(STEPS[name](step))(PARAMS, x))).get(notes)
    assert notes.planted == {"w"}
    assert (use.reached if use else set()) == ({"w"} if loss is good_loss else set())


def test_a_gradient_is_reach_enough():
    notes = ProbeNotes(OVER)
    traced = jax.make_jaxpr(jax.grad(lambda tree: probed(tree, ["w"], notes)["w"].sum()))(PARAMS)
    assert notes.planted == uses_in(Function(traced))[notes].reached == {"w"}


def test_outside_jit_nothing_is_noted():
    notes = ProbeNotes(OVER)
    jax.grad(lambda tree: erased(probed(tree, ["w"], notes), 1.0))(PARAMS)
    assert not notes.planted


def test_probes_leave_nothing_in_the_compiled_program():
    plain = jax.jit(good_loss).lower(PARAMS, 1.0).as_text()
    watched = jax.jit(lambda tree, x: good_loss(probed(tree, ["w"], ProbeNotes(OVER)), x)).lower(PARAMS, 1.0).as_text()
    assert watched.replace("jit__lambda", "jit_good_loss") == plain


def test_a_current_that_the_simulator_never_reads_is_no_error(dynapse_net):
    frozen = limpet.Mismatch(limpet.frozen_mismatch_prototype(dynapse_net), limpet.Gaussian(0.1))

    def loss(tree):
        return dynapse_net.set_attributes(tree).reset_state()(jnp.ones((1, 3, 3)))[0].sum()

    report = limpet.audit(loss, limpet.attributes(dynapse_net), frozen)
    assert [leaf.path for leaf in report.leaves if not leaf.reaches_loss] == ["1_DynapSim/If_nmda"]
    assert len(report.leaves) == 24
