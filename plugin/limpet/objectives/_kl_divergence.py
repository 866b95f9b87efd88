"""The Kullback-Leibler divergence of two networks' outputs."""

import jax
import jax.numpy as jnp


def kl_divergence(reference: jax.Array, outputs: jax.Array) -> jax.Array:
    """Mean over examples of KL(p || q), with p = softmax(reference) and q = softmax(outputs) over the last axis.

    It is the sum over classes of p (log p - log q), in nats, and 0 where both are alike.

    Args:
        reference: logits, shape (..., classes).
        outputs: logits, of the same shape.

    Examples:
        >>> print(f"{kl_divergence(jnp.array([[0.0, 0.0]]), jnp.log(jnp.array([[0.9, 0.1]]))):.4f}")
        0.5108
    """
    log_p, log_q = jax.nn.log_softmax(reference), jax.nn.log_softmax(outputs)
    return (jnp.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean()
