"""How often intervals of rare failures hold what is known, how far off the estimates are, and what they cost.

Limit states of known probability: a linear boundary, resistance less load, four branches. And a network that reads
digits, whose probabilities are counted on millions of plain chips, with levels along the accuracy on 100 images and
along a margin.

    python tests/benchmarks/tail_coverage.py                  # the limit states, 200 seeds each
    python tests/benchmarks/tail_coverage.py --digits 10e6    # the network, 40 seeds, beside ten million plain chips

Columns: the probability that is known; chips of a level; chips evaluated; mean and standard deviation of the estimate,
as fractions of it, and the standard deviation that results say; how often 95% intervals cover, and the ratio of their
ends; how many times as many plain chips a standard error of 20% takes; seconds a run.
"""

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import integrate, stats
from sklearn.datasets import load_digits

import limpet

SIZE = 100
PLAIN_FOR_20_PERCENT = 25
"""So many failing chips have a standard error of 20%."""


def linear(tree: Any, _: Any) -> jax.Array:
    return (tree["w"] - 1).sum() / (0.1 * SIZE**0.5)


def reserve(tree: Any, _: Any) -> jax.Array:
    return tree["r"] - tree["s"]


def branches(tree: Any, _: Any) -> jax.Array:
    first, second = 10 * (tree["x"] - 1)
    bent, total, apart = (first - second) ** 2 / 10, (first + second) / 2**0.5, first - second
    straight = 7 / 2**0.5
    return jnp.minimum(jnp.minimum(3 + bent - total, 3 + bent + total), straight - jnp.abs(apart))


def failing_branches(beyond: float) -> float:
    """The probability that the four branches fall below -beyond: given the difference, they are bounds on the sum."""
    scale, end = 2**0.5, 7 / 2**0.5 + beyond

    def given(apart: float) -> float:
        most = 1.0 if abs(apart) > end else 2 * stats.norm.sf(scale * (3 + beyond + apart**2 / 10), scale=scale)
        return float(most * stats.norm.pdf(apart, scale=scale))

    return integrate.quad(given, -30, 30, points=[-end, end], limit=500)[0]


def repeated(
    name: str, wanted: float, seeds: int, tail: Callable[[int, int], limpet.TailYield], chips: tuple[int, ...]
) -> None:
    """Measure a tail whose probability is known with each of some seeds, and say how it came out."""
    for count in chips:
        start, found = time.perf_counter(), [tail(count, seed) for seed in range(seeds)]
        seconds = (time.perf_counter() - start) / seeds
        ratio = np.array([one.failure for one in found]) / wanted
        held = np.mean([one.interval()[0] <= wanted <= one.interval()[1] for one in found])
        width = np.median([one.interval()[1] / max(one.interval()[0], 1e-30) for one in found])
        said = math.sqrt(np.mean([min(one.relative_error, 9) ** 2 for one in found]))
        cost = np.mean([one.evaluations for one in found])
        for_20 = cost * (ratio.std() / 0.2) ** 2
        print(
            f"{name:24} {wanted:9.2e} {count:6d} {cost:8.0f} {ratio.mean():6.2f} {ratio.std():6.2f} {said:6.2f} "
            f"{held:6.1%} {width:6.1f} {PLAIN_FOR_20_PERCENT / wanted / for_20:9.0f} {seconds:7.2f}",
            flush=True,
        )


def limit_states(seeds: int, chips: tuple[int, ...]) -> None:
    gaussian = limpet.Gaussian(sigma=0.1)
    of_w, of_x = limpet.Mismatch({"w": True}, gaussian), limpet.Mismatch({"x": True}, gaussian)
    w, x, r_and_s = {"w": jnp.ones(SIZE)}, {"x": jnp.ones(2)}, {"r": jnp.asarray(7.0), "s": jnp.asarray(2.0)}
    of_r = limpet.Hardware(
        r=limpet.Part("r", limpet.Gaussian(sigma=1 / 7)), s=limpet.Part("s", limpet.Gaussian(sigma=1 / 2))
    )
    states: list[Any] = [
        (f"linear, {distance} sigma", linear, w, of_w, -distance, stats.norm.sf(distance))
        for distance in (3.09, 4.265, 5.2)
    ]
    states += [
        (f"R - S below {level:g}", reserve, r_and_s, of_r, level, stats.norm.sf((5 - level) / 2**0.5))
        for level in (0.0, -1.03)
    ]
    states += [
        (f"four branches, {beyond:g}", branches, x, of_x, -beyond, failing_branches(beyond)) for beyond in (0.0, 1.476)
    ]
    for name, metric, tree, hardware, target, wanted in states:

        def tail(count: int, seed: int, at: tuple[Any, Any, Any, float] = (metric, tree, hardware, target)) -> Any:
            metric, tree, hardware, target = at
            walk = limpet.Chips(count, seed=seed)
            return limpet.tail_yield(
                metric, tree, hardware, target=target, failure=1e-6, chips=walk, higher_is_better=True
            )

        repeated(name, wanted, seeds, tail, chips)


def digits(plain: int, seeds: int, chips: tuple[int, ...]) -> None:
    """A network of 64, 32 and 10, trained under mismatch of .1, on chips of .2, with 100 images."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    data = jnp.asarray(images[order] / 16.0, jnp.float32), jnp.asarray(labels[order])
    shapes = {"hidden": (64, 32), "output": (32, 10)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    params = {
        name: jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    hardware = limpet.Hardware(weights=limpet.Part("*", limpet.Gaussian(sigma=0.1)))
    mismatch, optimizer = hardware.on(params), optax.adam(3e-3)

    def logits(params: Any, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x @ params["hidden"]) @ params["output"]

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()

    def margin(allowed: int) -> Callable[[Any, Any], jax.Array]:
        """How clear the image of the least clear ones is that may not be wrong if so many may."""

        def of_image(params: Any, batch: Any) -> jax.Array:
            found, right = logits(params, batch[0]), jax.nn.one_hot(batch[1], 10)
            clear = (found * right).sum(axis=-1) - jnp.where(right > 0, -jnp.inf, found).max(axis=-1)
            return jnp.sort(clear)[allowed]

        return of_image

    @jax.jit
    def trained(params: Any) -> Any:
        def step(carry: Any, number: jax.Array) -> Any:
            params, state = carry
            chosen = jax.random.randint(jax.random.fold_in(jax.random.key(1), number), (128,), 0, 1400)

            def loss(params: Any) -> jax.Array:
                found = logits(mismatch(limpet.virtual_chip(5, number), params), data[0][chosen])
                return optax.softmax_cross_entropy_with_integer_labels(found, data[1][chosen]).mean()

            updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(1500))[0][0]

    params, batch = trained(params), (data[0][1400:1500], data[1][1400:1500])
    start, counts = time.perf_counter(), np.zeros(101, np.int64)
    for seed in range(math.ceil(plain / 1_000_000)):
        curve = limpet.robustness_curve(
            accuracy, params, hardware, scales=[2], batch=batch, chips=limpet.Chips(1_000_000, seed=seed)
        )
        counts += np.bincount(np.round(100 * curve.values[0]).astype(int), minlength=101)
    print(
        f"{counts.sum()} plain chips in {time.perf_counter() - start:.0f} s; the share of chips with less right of 100:"
    )
    below = np.cumsum(counts) - counts
    print(", ".join(f"{right}: {below[right] / counts.sum():.2e}" for right in range(101) if below[right] >= 5)[:400])
    nearest = {
        round(-math.log10(wanted)): min(
            range(101), key=lambda right: abs(math.log((below[right] + 0.1) / counts.sum() / wanted))
        )
        for wanted in (1e-3, 1e-4, 1e-5)
    }
    for right in nearest.values():
        wanted, target = below[right] / counts.sum(), right / 100
        for name, margin_fn in (("accuracy", None), ("margin", margin(100 - right))):

            def tail(count: int, seed: int, at: tuple[Any, float] = (margin_fn, target)) -> limpet.TailYield:
                margin_fn, target = at
                walk = limpet.Chips(count, seed=seed)
                return limpet.tail_yield(
                    accuracy,
                    params,
                    hardware,
                    target=target,
                    failure=1e-6,
                    condition=2,
                    margin_fn=margin_fn,
                    chips=walk,
                    batch=batch,
                )

            repeated(f"digits below {right}, {name}", wanted, seeds, tail, chips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=float, metavar="CHIPS", help="the network, beside so many plain chips")
    parser.add_argument("--seeds", type=int, help="200 for limit states, 40 for the network")
    parser.add_argument("--chips", type=int, nargs="+", default=[1000, 4000], help="of a level")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # which say what a wide interval says here
    print(
        f"{'':24} {'wanted':>9} {'chips':>6} {'evaluat.':>8} {'mean':>6} {'sd':>6} {'said':>6} {'cover':>6} "
        f"{'h / l':>6} {'x fewer':>9} {'s':>7}"
    )
    if arguments.digits:
        digits(int(arguments.digits), arguments.seeds or 40, tuple(arguments.chips))
    else:
        limit_states(arguments.seeds or 200, tuple(arguments.chips))


if __name__ == "__main__":
    main()
