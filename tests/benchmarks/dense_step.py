"""A training step of a dense network with dynamic mismatch on every weight, against the plain step.

python tests/benchmarks/dense_step.py [--own] [--allocator=system] [--vectors=512]
python tests/benchmarks/dense_step.py --deviations gaussian log-normal ... [--gradient through] [as above]

`--own` leaves out the other generators. `--deviations` measures the named deviations instead (those of `MADE`, or any
kind at a relative standard deviation of 0.1), all of them in turn with the plain step in one run: each with the
straight-through gradient, and the ones after the first also as the difference of their ratio from that of the first.
"""

import argparse
import statistics
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from side_by_side import interleaved, report, settle_environment

import limpet
from limpet.deviations._kinds import DEVIATIONS, deviation_class
from limpet.hardware._leaf_draw import Gradient

# Layer sizes, batch size, and how many steps to measure at once: about as long for each.
NETWORKS = [
    ((1024, 2048, 2048, 2048, 10), 128, 5),
    ((1024, 2048, 2048, 2048, 10), 32, 8),
    ((784, 512, 512, 10), 128, 80),
]
OPTIMIZERS = {"Adam": optax.adam(1e-3), "SGD": optax.sgd(1e-3)}
ROUNDS, OTHERS_ROUNDS = 15, 7
GENERATORS = {"limpet.fast": limpet.fast, "threefry": "threefry2x32", "rbg": "rbg"}
PROGRAMMING = limpet.Programming(spread=(0.0105392, 0.0786, -0.046924))
MADE: dict[str, limpet.Deviation] = {
    "additive": limpet.Additive(spread=0.05),
    "additive-by-column": limpet.Additive(spread=0.05, relative_to="column"),
    "additive-by-tile": limpet.Additive(spread=0.05),
    "programming": PROGRAMMING,
    "programming-by-column": limpet.Programming(spread=PROGRAMMING.spread, relative_to="column"),
    "programming-by-tile": PROGRAMMING,
    "quantised-additive": limpet.Chain((limpet.Quantize(bits=8), limpet.Additive(spread=0.05))),
    "pairs": limpet.Crossbar(PROGRAMMING),
}
"""Deviations that are measured under names of their own; all others at a relative standard deviation of 0.1."""
TILES = limpet.Array(rows=1024, columns=1024)
"""The arrays of those whose names end in -by-tile: 2 or 4 of them for each large kernel."""
GRADIENTS: tuple[Gradient, ...] = ("straight_through", "through")
Injection = Callable[[Any, jax.Array], Any]
Way = Literal["dispatched", "awaited", "compiled"]
WAYS: dict[Way, str] = {
    "dispatched": "dispatched from Python without waiting",
    "awaited": "dispatched from Python, each awaited",
    "compiled": "in one compiled loop",
}


def loss(params: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    *hidden, last = params.values()
    for kernel in hidden:
        x = jax.nn.relu(x @ kernel)
    return optax.softmax_cross_entropy_with_integer_labels(x @ last, y).mean()


def nominal(params: Any, number: jax.Array) -> Any:
    """The plain step: the loss sees the parameters themselves."""
    return params


def copied(params: Any, number: jax.Array) -> Any:
    """The floor of any method that hands the loss a tree of other values: as many are written, at no computation."""
    factor = (number >= 0).astype(jnp.float32)  # 1, but the compiler does not know
    return jax.tree.map(lambda value: value * factor, params)


def deviated(gradient: Gradient, generator: Any, kind: str = "gaussian") -> Injection:
    """Fresh mismatch on every weight."""
    deviation = MADE.get(kind) or deviation_class(kind)(sigma=0.1)  # pyright: ignore[reportCallIssue]

    def inject(params: Any, number: jax.Array) -> Any:
        array = TILES if kind.endswith("-by-tile") else limpet.Array()
        mismatch = limpet.Mismatch(dict.fromkeys(params, True), deviation, gradient, array=array)
        return mismatch(jax.random.fold_in(jax.random.key(0, impl=generator), number), params)

    return inject


def training(network: tuple[tuple[int, ...], int, int], optimizer: Any, inject: Injection, way: Way) -> Any:
    """Some steps as a function that keeps their state."""
    sizes, batch, steps = network
    keys = jax.random.split(jax.random.key(0), len(sizes) + 1)
    params = {
        f"layer_{index}": jax.random.normal(keys[index], shape) / shape[0] ** 0.5
        for index, shape in enumerate(pairwise(sizes))
    }
    x = jax.random.normal(keys[-2], (batch, sizes[0]))
    y = jax.random.randint(keys[-1], (batch,), 0, sizes[-1])

    def step(state: Any, x: jax.Array, y: jax.Array) -> Any:
        params, moments, number = state
        grads = jax.grad(lambda params: loss(inject(params, number), x, y))(params)
        updates, moments = optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments, number + 1

    def loop(state: Any, x: jax.Array, y: jax.Array) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, state: step(state, x, y), state)

    state = [(params, optimizer.init(params), jnp.int32(0))]
    compiled = jax.jit(loop if way == "compiled" else step, donate_argnums=0).lower(state[0], x, y).compile()

    def run() -> None:
        for _ in range(1 if way == "compiled" else steps):
            state[0] = compiled(state[0], x, y)
            if way == "awaited":
                jax.block_until_ready(state)
        jax.block_until_ready(state)

    run.temporary = compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore[reportFunctionMemberAccess]
    run.parameters = 4 * sum(kernel.size for kernel in params.values())  # pyright: ignore[reportFunctionMemberAccess]
    return run


VARIANTS = {"copied": copied} | {
    f"{name}, {gradient}": deviated(gradient, generator)
    for name, generator in GENERATORS.items()
    for gradient in GRADIENTS
}
OWN = ("copied", "limpet.fast, straight_through", "limpet.fast, through")


def measure_generators(own: bool) -> None:
    """The Gaussian under each generator, and a copy; each against the plain step alone."""
    for network, (name, optimizer), (way, said) in product(NETWORKS, OPTIMIZERS.items(), WAYS.items()):
        sizes, batch, steps = network
        print(f"{'-'.join(map(str, sizes))}, batch {batch}, {name}; {steps} steps {said}")
        for variant, inject in VARIANTS.items():
            if variant in OWN or (way == "dispatched" and not own):
                plain = training(network, optimizer, nominal, way)
                other = training(network, optimizer, inject, way)
                rounds = ROUNDS if variant in OWN else OTHERS_ROUNDS
                report(interleaved({"plain": plain, variant: other}, rounds), "plain")
                extra = (other.temporary - plain.temporary) / plain.parameters
                print(f"{'':45}temporary memory: {extra:+.2f} times the parameters")


def measure_deviations(kinds: list[str], gradient: Gradient) -> None:
    """The named deviations and the plain step, all in turn."""
    for network, (way, said) in product(NETWORKS[:2], WAYS.items()):
        sizes, batch, steps = network
        print(f"{'-'.join(map(str, sizes))}, batch {batch}, Adam, {gradient}; {steps} steps {said}")
        injections = {"plain": nominal} | {kind: deviated(gradient, limpet.fast, kind) for kind in kinds}
        runs = {kind: training(network, OPTIMIZERS["Adam"], inject, way) for kind, inject in injections.items()}
        times = interleaved(runs, ROUNDS)
        report(times, "plain")
        first, *others = kinds
        for kind in others:
            rounds = zip(times[kind], times[first], times["plain"], strict=True)
            low, median, high = statistics.quantiles([(other - base) / plain for other, base, plain in rounds], n=4)
            print(f"  {kind} less {first:31} ratio {median:+6.3f} ({low:+.3f} to {high:+.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--deviations", nargs="+", choices=[*DEVIATIONS, *MADE])
    parser.add_argument("--gradient", choices=GRADIENTS, default="straight_through")
    options, _ = parser.parse_known_args()  # `settle_environment` reads the others
    settle_environment()
    if options.deviations:
        measure_deviations(options.deviations, options.gradient)
    else:
        measure_generators(options.own)


if __name__ == "__main__":
    main()
