"""A training of any task by any way, compiled once for all seeds and numbers of steps."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import optax
from tasks import Task
from ways import Objective

import limpet

TRIAL = 0.5
"""Seconds that a trial must last to tell how long a step takes."""

KEPT = optax.identity()
"""Updates as they are."""


class Training:
    """A task's training by one objective.

    Args:
        objective: what is differentiated.
        task: what is trained.
        split: "test" or "validation": what will be measured on, and thereby what is trained on.
        rate: Adam's.
        after: done to updates before they are applied, such as `limpet.clip_weights`.
    """

    def __init__(
        self,
        objective: Objective,
        task: Task,
        split: str,
        rate: float,
        after: optax.GradientTransformation = KEPT,
    ) -> None:
        (images, labels), _ = task.shown(split)
        direction = task.direction

        @jax.jit
        def trained(params: Any, kept: Any, key: jax.Array, steps: jax.Array) -> Any:
            def step(number: jax.Array, carry: Any) -> Any:
                params, kept, state = carry
                own = jax.random.fold_in(key, number)
                chosen = jax.random.randint(jax.random.fold_in(own, 0), (task.batch,), 0, len(images))
                batch, progress = (images[chosen], labels[chosen]), number / steps

                def loss(params: Any) -> Any:
                    network = task.joined(params, kept)
                    return objective(network, jax.random.fold_in(own, 1), batch, progress), task.kept_of(network, kept)

                grads, kept = jax.grad(loss, has_aux=True)(params)
                directions, state = direction.update(grads, state, params)
                now = rate * (1 + jnp.cos(jnp.pi * progress)) / 2
                updates = jax.tree.map(lambda to: -now * to, directions)
                updates, _ = after.update(updates, after.init(params), params)
                return optax.apply_updates(params, updates), kept, state

            return jax.lax.fori_loop(0, steps, step, (params, kept, direction.init(params)))[:2]

        self._trained, self._task = trained, task
        self._seconds_per_step = 0.0

    def run(self, seed: int, steps: int) -> Any:
        """The trained network."""
        key = jax.random.key(seed, impl=limpet.fast)
        results = self._trained(*self._task.initialised(seed), key, jnp.int32(steps))
        return self._task.joined(*jax.block_until_ready(results))

    def steps_in(self, seconds: float) -> int:
        """How many steps fit into some seconds of the processor, by trial; compilation is left out.

        What else the machine does meanwhile does not count. On several cores, all of their time does.
        """
        if not self._seconds_per_step:
            self.run(0, 1)
            count = 20
            while True:
                started = time.process_time()
                self.run(0, count)
                taken = time.process_time() - started
                if taken > TRIAL:
                    break
                count *= 4
            self._seconds_per_step = taken / count
        return max(1, round(seconds / self._seconds_per_step))
