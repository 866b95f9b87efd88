"""A training step of a recurrent DynapSim network with dynamic mismatch on its weights, against the plain step.

python tests/benchmarks/dynapse_step.py [--allocator=system] [--vectors=512]
"""

import logging
import warnings
from typing import Any

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from rockpool.devices.dynapse import DynapSim  # noqa: E402
from rockpool.nn.combinators import Sequential  # noqa: E402
from rockpool.nn.modules import LinearJax  # noqa: E402
from side_by_side import interleaved, report, settle_environment  # noqa: E402

import limpet  # noqa: E402

INPUTS, TIMESTEPS, BATCH, ROUNDS = 16, 200, 8, 21


def main() -> None:
    settle_environment()
    for neurons in (64, 256):
        np.random.seed(0)
        net = Sequential(LinearJax((INPUTS, neurons), has_bias=False), DynapSim((neurons, neurons), has_rec=True))
        x = (jax.random.uniform(jax.random.key(0), (BATCH, TIMESTEPS, INPUTS)) < 0.05).astype(jnp.float32)
        params = jax.tree.map(jnp.float32, net.parameters())
        mismatch = limpet.Mismatch(limpet.dynamic_mismatch_prototype(net), limpet.Gaussian(0.1))

        def loss(params: Any, x: jax.Array = x, net: Any = net) -> jax.Array:
            _, _, record = net.set_attributes(params).reset_state()(x, record=True)
            return record["1_DynapSim"]["isyn"].mean() * 1e9

        @jax.jit
        def plain(params: Any, number: jax.Array, loss: Any = loss) -> Any:
            return jax.value_and_grad(loss)(params)

        @jax.jit
        def deviated(params: Any, number: jax.Array, loss: Any = loss, mismatch: Any = mismatch) -> Any:
            key = jax.random.fold_in(jax.random.key(0, impl=limpet.fast), number)
            return jax.value_and_grad(lambda params: loss(mismatch(key, params)))(params)

        runs: dict[str, Any] = {
            "plain": lambda run=plain, params=params: run(params, jnp.int32(1)),
            "limpet.fast": lambda run=deviated, params=params: run(params, jnp.int32(1)),
        }
        print(f"{INPUTS} inputs, {neurons} recurrent neurons, T = {TIMESTEPS}, batch {BATCH}: loss and gradient")
        report(interleaved(runs, ROUNDS), "plain")


if __name__ == "__main__":
    main()
