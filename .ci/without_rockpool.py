"""Whether Limpet misses Rockpool: a run with callback, curve and gate where Rockpool cannot be imported.

Run it by the interpreter of an environment that has Limpet, with Rockpool or without. Flax is used where it is there.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from tempfile import TemporaryDirectory


class NoRockpool(MetaPathFinder):
    """An environment in which Rockpool is not installed, whether or not this one is such an environment."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == "rockpool":
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)
        return None


sys.meta_path.insert(0, NoRockpool())

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

import limpet  # noqa: E402
from limpet.cli import main  # noqa: E402

for name in limpet.__all__:
    assert getattr(limpet, name) is not None

x = jax.random.normal(jax.random.key(0), (256, 8))
labels = jnp.sign(x.sum(axis=1))
params = {"w": jax.random.normal(jax.random.key(1), (8,)) / 3, "b": jnp.zeros(())}
hardware = limpet.Hardware(crossbar=limpet.Part("w", limpet.Gaussian(sigma=0.1)))


def logits(tree, inputs):
    """A linear classifier."""
    return inputs @ tree["w"] + tree["b"]


def accuracy(tree, batch):
    """The share of examples on the right side."""
    return (jnp.sign(logits(tree, batch[0])) == batch[1]).mean()


with TemporaryDirectory() as logdir:
    callback = limpet.MismatchCallback(
        params, hardware, metric_fn=accuracy, eval_batch=(x, labels), scales=[0, 1], chips=50, logdir=logdir
    )
    optimizer = optax.adam(0.05)

    @jax.jit
    def update(params, state, step):
        """One step under mismatch."""

        def loss_fn(p):
            return jnp.logaddexp(0, -labels * logits(callback.inject(p, step), x)).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    with callback:
        for step in range(60):
            params, state, loss = update(params, state, step)
            callback(step, params, {"loss": loss})
        callback.evaluate(59, params)
    assert main(["gate", logdir, "--sigma", "0.1", "--target", "0.8", "--yield", "0.5"]) == 0

if find_spec("flax") is not None:
    from flax import nnx

    class Linear(nnx.Module):
        """The same classifier as a module."""

        def __init__(self):
            self.w = nnx.Param(params["w"])

    network = Linear()
    mismatch = limpet.Injection(network, hardware)
    assert (mismatch.inject(network, 0).w[...] != network.w[...]).all()
    assert (limpet.freeze(network, hardware, chip=3).w[...] != network.w[...]).all()

said = ""
try:
    limpet.dynapse.bias_currents("Itau_mem")
except limpet.LimpetError as error:
    said = str(error)
assert "python -m pip install 'limpet[rockpool]'" in said, f"limpet.dynapse without Rockpool says: {said!r}"
assert not [name for name in sys.modules if name.partition(".")[0] == "rockpool"]
print("Limpet works without Rockpool")
