"""A transformer sorts ten digits, on phase-change memory: what belongs on a crossbar, and what does not.

python examples/sorting_transformer.py
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from rich.console import Console
from rich.table import Table

import limpet

TOKENS, LENGTH = 10, 10
TIMES = ("25 s", "1 day", "1 year")

Batch = tuple[jax.Array, jax.Array]


def of_two_axes(_: Any, variable: Any) -> bool:
    """An nnx filter: parameters with two axes or more, whatever a network does with them."""
    return isinstance(variable, nnx.Param) and variable.get_value().ndim > 1


SELECTIONS: Mapping[str, Any] = {
    "kernels alone": "matrices",
    "kernels, embedding, positions": ["*/kernel", "embedding/*", "positions"],
    "all with two axes": of_two_axes,
}
"""What stands on crossbars, by its name in the table."""


class Block(nnx.Module):
    """Attention and two linear layers, each behind a norm and beside a residual connection."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(nnx.gelu(self.up(self.norm(x))))


class Transformer(nnx.Module):
    """Blocks whose parameters are stacked along their first axis, between an embedding and a linear layer."""

    def __init__(self, width: int, heads: int, depth: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(TOKENS, width, rngs=rngs)
        self.positions = nnx.Param(0.1 * jax.random.normal(rngs.params(), (LENGTH, width)))
        self.blocks = nnx.split_rngs(splits=depth)(nnx.vmap(lambda rngs: Block(width, heads, rngs)))(rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, TOKENS, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def through(block: Block, x: jax.Array) -> jax.Array:
            return block(x)

        return self.head(self.norm(through(self.blocks, self.embedding(tokens) + self.positions)))


def batch_of(key: jax.Array, size: int) -> Batch:
    """Sequences of digits, and the same sequences sorted."""
    tokens = jax.random.randint(key, (size, LENGTH), 0, TOKENS)
    return tokens, jnp.sort(tokens)


def loss_fn(model: Transformer, batch: Batch) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()


def accuracy(model: Transformer, batch: Batch) -> jax.Array:
    """The fraction of places at which the right digit stands."""
    return (model(batch[0]).argmax(axis=-1) == batch[1]).mean()


def trained(steps: int, seed: int) -> Transformer:
    """A network that was trained without mismatch."""
    model = Transformer(width=48, heads=4, depth=4, rngs=nnx.Rngs(seed))
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, min(100, steps // 2), steps)
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)

    @nnx.jit
    def update(model: Transformer, optimizer: nnx.Optimizer, key: jax.Array) -> jax.Array:
        loss, grads = nnx.value_and_grad(loss_fn)(model, batch_of(key, 64))
        optimizer.update(model, grads)
        return loss

    for step in range(steps):
        update(model, optimizer, jax.random.fold_in(jax.random.key(seed), step))
    return model


def rows_of(model: Transformer, which: limpet.Chips, batch: Batch, names: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracies on virtual chips by what stands on crossbars, without and with drift compensation."""
    rows = []
    for compensated in (False, True):
        for name in names:
            leaves = SELECTIONS[name]
            array = limpet.Array(rows=512, columns=512)
            hardware = limpet.preset("pcm-hermes", leaves=leaves, array=array, drift_compensation=compensated)
            curve = limpet.robustness_curve(accuracy, model, hardware, times=TIMES, chips=which, batch=batch)
            row = {"on crossbars": name, "compensated": compensated}
            rows.append(row | dict(zip(TIMES, curve.mean().tolist(), strict=True)))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="steps of training")
    parser.add_argument("--chips", type=int, default=50, help="virtual chips that are measured")
    parser.add_argument("--seed", type=int, default=0, help="seed of the network and of the chips")
    parser.add_argument("--only", action="append", choices=SELECTIONS, help="what stands on crossbars; all if left out")
    parser.add_argument("--json", type=Path, help="write the table there")
    arguments = parser.parse_args()
    batch = batch_of(jax.random.key(arguments.seed + 1), 200)
    model = trained(arguments.steps, arguments.seed)
    print(f"accuracy as trained: {float(accuracy(model, batch)):.3f}")
    which = limpet.Chips(arguments.chips, seed=arguments.seed)
    rows = rows_of(model, which, batch, arguments.only or list(SELECTIONS))
    table = Table(title=f"Mean accuracy (%) on {arguments.chips} virtual chips")
    for column in ("on crossbars", "drift"):
        table.add_column(column, no_wrap=True)
    for column in TIMES:
        table.add_column(column, justify="right")
    for row in rows:
        drift = "compensated" if row["compensated"] else "as it is"
        table.add_row(row["on crossbars"], drift, *(f"{100 * row[time]:.1f}" for time in TIMES))
    Console().print(table)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
