"""The pictures of the concepts, drawn by the library itself, each in a light and a dark form."""

import io
import re
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import mkdocs_gen_files
import numpy as np

import limpet
from limpet.arrays._reductions import Per, reduced_shape, spread
from limpet.results._yield import yield_of

THEMES = {"light": ("#222", "#888"), "dark": ("#ddd", "#777")}
"""Colours of text and of axes."""
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "limpet",
    "savefig.transparent": True,
}


def picture(name: str, draw: Callable[[], Any]) -> None:
    """Write a picture in both forms."""
    for theme, (text, lines) in THEMES.items():
        colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), text)
        with plt.rc_context(STYLE | colours | {"axes.edgecolor": lines}):
            figure = draw()
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            plt.close(figure)
        with mkdocs_gen_files.open(f"assets/{name}-{theme}.svg", "w") as file:
            file.write(buffer.getvalue())


def deviations() -> Any:
    """What one value becomes on many devices, under five deviations."""
    size = 2_000_000
    shown = {
        "Gaussian": limpet.Gaussian(sigma=0.3),
        "log-normal": limpet.LogNormal(sigma=0.3),
        "truncated at 2 sigma": limpet.TruncatedGaussian(sigma=0.3, bound=2.0),
        "uniform": limpet.Uniform(sigma=0.3),
        "Student's t, 3 degrees": limpet.StudentT(sigma=0.3, degrees=3.0),
    }
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    edges = np.linspace(-0.2, 2.4, 131)
    for label, deviation in shown.items():
        values = limpet.Mismatch({"w": True}, deviation)(limpet.virtual_chip(seed=0, chip=0), {"w": jnp.ones(size)})[
            "w"
        ]
        density, _ = np.histogram(values, edges, density=True)
        axes.plot((edges[1:] + edges[:-1]) / 2, density, label=label)
    axes.set_xlabel("value on the chip, as a multiple of the nominal one")
    axes.set_yticks([])
    axes.set_ylabel("density")
    axes.legend(fontsize="small")
    return figure


def shapes() -> Any:
    """Relative and additive deviations of a matrix, value by value."""
    nominal = {"w": jax.random.normal(jax.random.key(0), (60, 60)) / 3}
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained", sharey=True)
    shown = {
        "relative: gaussian": limpet.Gaussian(sigma=0.2),
        "additive": limpet.Additive(spread=0.1),
        "programming": limpet.Programming(spread=[0.05, 0.1, -0.13]),
    }
    for axis, (label, deviation) in zip(axes, shown.items(), strict=True):
        chip = limpet.Mismatch({"w": True}, deviation)(limpet.virtual_chip(seed=0, chip=0), nominal)["w"]
        axis.plot(np.ravel(nominal["w"]), np.ravel(chip), ".", markersize=2, alpha=0.6)
        axis.plot([-1, 1], [-1, 1], linewidth=0.8, color="tab:orange")
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("weight as trained")
    axes[0].set_ylabel("weight on the chip")
    return figure


def arrays() -> Any:
    """What one largest value is taken of, in a leaf that holds two layers."""
    shape = (2, 12, 10)
    shown: list[tuple[str, limpet.Array, Per]] = [
        ('relative to "tensor"', limpet.Array(), "tensor"),
        ("stack=0", limpet.Array(stack=0), "array"),
        ("stack=0, rows=6, columns=5", limpet.Array(stack=0, rows=6, columns=5), "array"),
        ('the same, relative to "column"', limpet.Array(stack=0, rows=6, columns=5), "column"),
    ]
    colours = np.concatenate([plt.get_cmap(name)(range(20)) for name in ("tab20", "tab20b")])
    figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), layout="constrained")
    for column, (title, array, per) in enumerate(shown):
        layout = array.layout(shape)
        numbers = spread(
            jnp.arange(float(np.prod(reduced_shape(layout, per)))).reshape(reduced_shape(layout, per)), layout, per
        )
        for layer in range(2):
            axis = axes[layer, column]
            axis.imshow(colours[np.asarray(numbers[layer], int)])
            axis.set_xticks(np.arange(-0.5, 10), [], minor=True)
            axis.set_yticks(np.arange(-0.5, 12), [], minor=True)
            axis.grid(which="minor", color="white", linewidth=0.5)
            axis.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
            axis.spines[:].set_visible(False)
        axes[0, column].set_title(title, fontsize=9)
        axes[1, column].set_xlabel("outputs", fontsize=8)
    for layer in range(2):
        axes[layer, 0].set_ylabel(f"layer {layer}: inputs", fontsize=8)
    return figure


def products() -> Any:
    """The way from inputs to outputs on two row tiles; and outputs of one layer over the exact ones, stage by stage."""
    figure = plt.figure(figsize=(9, 5), layout="constrained")
    top, *below = figure.subplot_mosaic([["way"] * 4, [*"abcd"]], height_ratios=[1.1, 1]).values()
    _way_of_products(top)
    x = jax.random.normal(jax.random.key(0), (250, 64))
    params = {"w": jax.random.normal(jax.random.key(1), (64, 4)) / 8}
    inputs, noisy = limpet.Converter(bits=4, range=3.0), limpet.Converter(noise=0.15)
    outputs = limpet.Converter(bits=5, bound=4.0, noise=0.15)
    whole, tiles = limpet.Array(), limpet.Array(rows=16)
    stages = {
        "inputs of 4 bits": (limpet.Product(inputs), whole),
        "and noise of columns": (limpet.Product(inputs, noisy), whole),
        "and outputs of 5 bits": (limpet.Product(inputs, outputs), whole),
        "the same, on 4 row tiles": (limpet.Product(inputs, outputs), tiles),
    }
    exact = np.ravel(x @ params["w"])
    for axis, (title, (product, array)) in zip(below, stages.items(), strict=True):
        hardware = limpet.Hardware(w=limpet.Part("w", product=product, array=array))
        found = limpet.on_chip(lambda params, x: x @ params["w"], hardware)(params, x)
        axis.plot(exact, np.ravel(found), ".", markersize=2, alpha=0.6)
        axis.plot([-3, 3], [-3, 3], linewidth=0.8, color="tab:orange")
        axis.set_xlim(-3, 3)
        axis.set_ylim(-3, 3)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("exact product", fontsize=9)
    below[0].set_ylabel("output of arrays", fontsize=9)
    return figure


def _way_of_products(axis: Any) -> None:
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 30)
    axis.axis("off")
    arrow = {"arrowstyle": "->", "color": plt.rcParams["axes.edgecolor"]}

    def box(x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
        axis.add_patch(plt.Rectangle((x, y), width, height, facecolor=colour, alpha=0.35, linewidth=0))
        axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)

    def to(start: tuple[float, float], end: tuple[float, float]) -> None:
        axis.annotate("", end, start, arrowprops=arrow)

    axis.text(4, 15, "digital\ninputs", ha="center", va="center", fontsize=9)
    for y, rows in ((18, "rows 0 to 31"), (1, "rows 32 to 63")):
        middle = y + 5.5
        to((8, 15), (13, middle))
        box(13, y, 13, 11, "input\nconverters\nrange r", "tab:blue")
        to((26, middle), (31, middle))
        box(31, y, 18, 11, f"array: {rows}\nweights up to m", "tab:green")
        to((49, middle), (60, middle))
        axis.text(54.5, middle + 1, "+ noise", ha="center", va="bottom", fontsize=8)
        box(60, y, 15, 11, "output\nconverters\nbound · r · m", "tab:orange")
        to((75, middle), (82, 15))
    box(82, 11, 6, 8, "sum", "tab:gray")
    to((88, 15), (92, 15))
    axis.text(96.5, 15, "digital\noutputs", ha="center", va="center", fontsize=9)


def converters() -> Any:
    """What the guide on converters prints: accuracy by bits and rows."""
    page = (Path(__file__).parents[1] / "guides/converters.md").read_text()
    found = re.findall(r"^(\d+) bits +(.+)%$", page, re.MULTILINE)
    names = re.findall(r"^ +(?=bound 10)(.+)$", page, re.MULTILINE)[0].split("  ")
    bits, lines = [int(bits) for bits, _ in found], [re.split("% +", values) for _, values in found]
    figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, values in zip(filter(None, names), np.array(lines, float).T, strict=True):
        style = ":" if name.startswith("bound 10") else "-"
        axis.plot(bits, values, f"o{style}", label=name.strip().replace("found", "bounds found"))
    axis.set_xticks(bits)
    axis.set_xlabel("bits of output converters")
    axis.set_ylabel("accuracy on chips, %")
    axis.grid(alpha=0.2)
    axis.legend(fontsize="small")
    return figure


def chips() -> Any:
    """A robustness curve: every chip, their mean and 5th percentile."""
    x = jax.random.normal(jax.random.key(0), (400, 16))
    w = jax.random.normal(jax.random.key(1), (16, 4))
    labels = (x @ w).argmax(axis=1)

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return ((batch[0] @ params["w"]).argmax(axis=1) == batch[1]).mean()

    hardware = limpet.Hardware(crossbar=limpet.Part("w", limpet.Gaussian(sigma=0.2)))
    curve = limpet.robustness_curve(
        accuracy, {"w": w}, hardware, scales=np.linspace(0, 2, 9).tolist(), chips=100, batch=(x, labels)
    )
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axes.plot(curve.sigmas, curve.values, color="tab:blue", linewidth=0.5, alpha=0.25)
    axes.plot(curve.sigmas, curve.mean(), color="tab:blue", linewidth=2.5, label="mean of 100 chips")
    axes.plot(curve.sigmas, curve.quantile(0.05), color="tab:red", linewidth=2, linestyle="--", label="5th percentile")
    axes.set_xlabel("sigma")
    axes.set_ylabel("accuracy")
    axes.legend()
    return figure


def intervals() -> Any:
    """What a yield of 95% that was observed says of all chips, by how many were drawn."""
    counts = np.unique(np.geomspace(20, 3000, 40).astype(int) // 20 * 20)
    yields = [yield_of(round(0.95 * count), int(count), 0.95, "exact") for count in counts]
    ends = np.array([(each.low, each.high) for each in yields])
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.fill_between(counts, 100 * ends[:, 0], 100 * ends[:, 1], alpha=0.3, linewidth=0, label="95% interval")
    axes.axhline(95, linewidth=1, color="tab:orange", label="observed: 95 of 100")
    axes.set_xscale("log")
    axes.set_xticks([20, 100, 300, 1000, 3000], ["20", "100", "300", "1,000", "3,000"])
    axes.set_xlabel("chips drawn")
    axes.set_ylabel("yield of all chips, %")
    axes.legend(loc="lower right")
    return figure


def drift() -> Any:
    """Weights of phase-change memory over time, on one chip."""
    chip = limpet.preset("pcm-nandakumar2019", leaves="w").on({"w": jnp.linspace(0.1, 1.0, 10)[None]})
    nominal = {"w": jnp.linspace(0.1, 1.0, 10)[None]}
    times = np.geomspace(1, 3.15e7, 40)
    key = limpet.virtual_chip(seed=0, chip=0)
    values = jax.vmap(lambda time: chip(key, nominal, limpet.Condition(time=time))["w"][0])(jnp.asarray(times))
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(times, np.asarray(values))
    axes.set_xscale("log")
    axes.set_xticks([1, 60, 3600, 86400, 2.6e6, 3.15e7], ["1 s", "1 minute", "1 hour", "1 day", "1 month", "1 year"])
    axes.minorticks_off()
    axes.set_xlabel("time since programming")
    axes.set_ylabel("weight")
    return figure


def curve() -> Any:
    """What `curve.plot()` draws: two networks on one hardware."""
    x = jax.random.normal(jax.random.key(0), (400, 16))
    w = jax.random.normal(jax.random.key(1), (16, 4))
    labels = (x @ w).argmax(axis=1)

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return ((batch[0] @ params["w"]).argmax(axis=1) == batch[1]).mean()

    hardware = limpet.Hardware(crossbar=limpet.Part("w", limpet.Additive(spread=0.05)))
    figure, axes = plt.subplots(figsize=(5, 3.2))
    for name, params in (("as trained", {"w": w}), ("clipped at 1.7", {"w": jnp.clip(w, -1.7, 1.7)})):
        measured = limpet.robustness_curve(
            accuracy, params, hardware, scales=[0, 0.5, 1, 1.5, 2], chips=100, batch=(x, labels)
        )
        measured.plot(axes, label=name)
    return figure


def times() -> Any:
    """What `curve.plot()` draws of a curve over times."""
    x = jax.random.normal(jax.random.key(0), (400, 16))
    w = jax.random.normal(jax.random.key(1), (16, 4))
    labels = (x @ w).argmax(axis=1)

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return ((batch[0] @ params["w"]).argmax(axis=1) == batch[1]).mean()

    chip = limpet.preset("pcm-nandakumar2019", leaves="w")
    measured = limpet.robustness_curve(
        accuracy, {"w": w}, chip, times=["25 s", "1 h", "1 day", "1 month", "1 year"], chips=100, batch=(x, labels)
    )
    return measured.plot().figure


def _guided() -> tuple[Any, Any, Any]:
    """Metric, parameters and batch of the guide to sensitivities."""
    x = jax.random.normal(jax.random.key(0), (500, 16))
    params = {
        "hidden": {"kernel": jax.random.normal(jax.random.key(1), (16, 24)) / 4, "bias": jnp.full(24, 0.3)},
        "out": {"kernel": jax.random.normal(jax.random.key(2), (24, 4)) / 5, "gain": jnp.ones(4)},
    }

    def logits(params: Any, x: jax.Array) -> jax.Array:
        hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return hidden @ params["out"]["kernel"] * params["out"]["gain"]

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return (logits(params, batch[0]).argmax(axis=1) == batch[1]).mean()

    return accuracy, params, (x, logits(params, x).argmax(axis=1))


def sensitivity() -> Any:
    """What `sensitivity.plot()` draws, of the network of the guide."""
    accuracy, params, batch = _guided()
    hardware = limpet.Hardware(
        crossbars=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.3)),
        amplifiers=limpet.Part("out/gain", limpet.LogNormal(sigma=0.1)),
        biases=limpet.Part("*/bias", limpet.Gaussian(sigma=0.1)),
    )
    groups = {"hidden layer": ["hidden/*"], "output weights": ["out/kernel"]}
    return limpet.sensitivity(accuracy, params, hardware, chips=200, batch=batch, groups=groups).plot().figure


def decomposition() -> Any:
    """What `decomposition.plot()` draws, of the same network."""
    accuracy, params, batch = _guided()
    die = limpet.Shared(limpet.LogNormal(sigma=0.15), across="chip")
    deviation = limpet.Chain((die, limpet.Gaussian(sigma=0.2), limpet.ReadNoise(spread=0.1)))
    hardware = limpet.Hardware(
        crossbars=limpet.Part("*/kernel", deviation),
        amplifiers=limpet.Part("out/gain", limpet.LogNormal(sigma=0.1)),
    )
    return limpet.decompose(accuracy, params, hardware, batch=batch, test_set=True).plot().figure


def corners() -> Any:
    """What `corners.plot()` draws, of the network of the guide."""
    x = jax.random.normal(jax.random.key(0), (400, 16))
    params = {"w": jax.random.normal(jax.random.key(1), (16, 4))}
    device = (limpet.Gaussian(sigma=0.08), limpet.Drift(exponent=0.05, spread=0.008), limpet.ReadNoise(spread=0.02))
    hardware = limpet.Hardware(crossbar=limpet.Part("w", limpet.Chain(device)))

    def accuracy(params: Any, batch: Any) -> jax.Array:
        return ((batch[0] @ params["w"]).argmax(axis=1) == batch[1]).mean()

    conditions = {
        "fresh": limpet.Condition(),
        "a year": limpet.Condition(time="1 year"),
        "poor wafer": limpet.Condition(scale=1.5),
    }
    batch = (x, (x @ params["w"]).argmax(axis=1))
    return limpet.corners(accuracy, params, hardware, conditions, target=0.9, batch=batch, chips=1000).plot().figure


@cache
def _signed_off() -> dict[str, Any]:
    """What the programs of the guide to sign-off find."""
    page = (Path(__file__).parents[1] / "guides/signoff.md").read_text()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder), redirect_stdout(io.StringIO()):
        for program in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            exec(program, found)
    return found


def signoff(name: str) -> Any:
    """What `plot()` draws of one of them."""
    return _signed_off()[name].plot().figure


for name, draw in {
    "deviations": deviations,
    "shapes": shapes,
    "arrays": arrays,
    "products": products,
    "converters": converters,
    "chips": chips,
    "intervals": intervals,
    "drift": drift,
    "curve": curve,
    "times": times,
    "sensitivity": sensitivity,
    "decomposition": decomposition,
    "corners": corners,
    **{f"signoff-{name}": partial(signoff, name) for name in ("curve", "corners", "shares")},
}.items():
    picture(name, draw)
