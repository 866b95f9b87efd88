"""Whether the Limpet that is installed in this environment works; run away from the checkout, by `python -I`."""

import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from tempfile import TemporaryDirectory

import limpet

prefix = Path(sys.prefix).resolve()
assert Path(limpet.__file__).resolve().is_relative_to(prefix), f"{limpet.__file__} is not in {prefix}"
assert limpet.__version__ == version("limpet")


def program(*arguments: str) -> str:
    """What the command `limpet` prints."""
    command = [str(Path(sys.prefix) / "bin" / "limpet"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


assert program("--version") == f"limpet {limpet.__version__}, draws version {limpet.DRAWS_VERSION}\n"
assert "pcm-joshi2020" in program("presets")
with TemporaryDirectory() as folder:
    config = Path(folder) / "config.yaml"
    config.write_text("hardware: {weights: {leaves: 'w*', sigma: 0.3}}\nrobustness: {scales: [0, 1], chips: 10}\n")
    assert "gaussian" in program("check", str(config))

(plugin,) = entry_points(group="tensorboard_plugins", name="limpet")
from tensorboard.plugins.base_plugin import TBLoader  # noqa: E402

assert issubclass(plugin.load(), TBLoader)
from limpet.tensorboard._page_files import page_files  # noqa: E402

assert {"tab.js", "style.css", "report.html"} <= page_files().keys()

import jax.numpy as jnp  # noqa: E402

hardware = limpet.Hardware(crossbar=limpet.Part("w*", limpet.Gaussian(sigma=0.3)))


def positive(tree, batch):
    """The share of outputs above 0."""
    return (tree["w"] @ batch > 0).mean()


curve = limpet.robustness_curve(positive, {"w": jnp.eye(4)}, hardware, scales=[0, 1], chips=20, batch=jnp.ones(4))
assert curve.mean().shape == (2,)
print(f"limpet {limpet.__version__} of {Path(limpet.__file__).parent} works")
