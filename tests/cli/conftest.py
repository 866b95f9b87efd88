"""What the tests of commands share: logged runs, a place to work in, and output that is no terminal."""

import sys

import numpy as np
import pytest
from logged_curves import curve, log

CONFIG = """
seed: 5
hardware:
  kernels: {leaves: '*/kernel', percent_deviation: 0.3}
  biases: {leaves: '*/bias', deviation: {kind: log-normal, sigma: 0.05}}
training:
  dynamic: {parts: [kernels], scale: 2, schedule: {kind: linear, steps: 300}}
  frozen: {parts: [biases], chip: 3}
robustness: {scales: [0.0, 1.0], chips: 10}
"""
NETS = """
import jax
import jax.numpy as jnp
params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones(2), "step": 3}}
shapes = jax.eval_shape(lambda: params)
number = 3
array = jnp.ones(3)
dead = {"dense": {"kernel": jnp.full((3, 2), jnp.nan), "bias": jnp.ones(2)}}
twice = {"dense/kernel": jnp.ones(2), "dense": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
def build():
    return params
def from_config(config):
    return {"dense": {"kernel": jnp.full((config.robustness.chips, 2), 2.0), "bias": jnp.ones(2)}}
def talks():
    print("building")
    return params
def task():
    def metric(tree, batch):
        def layer(x, own):
            return jnp.tanh(x @ own[0] + own[1]), None
        return jax.lax.scan(layer, batch, (tree["layers"], tree["shift"]))[0].mean()
    tree = {"layers": jnp.ones((5, 4, 4)), "shift": jnp.ones((5, 4)), "unused": jnp.ones(2)}
    return {"tree": tree, "metric_fn": metric, "batch": jnp.ones((3, 4))}
def needs_two(config, size):
    return params
def fails():
    raise RuntimeError("no weights\\nhere")
def leaves():
    raise SystemExit(4)
def interrupted():
    raise KeyboardInterrupt
class Namespace:
    build = staticmethod(build)
"""
DEVIATIONS = """
from dataclasses import dataclass
import limpet
print("importing")
@dataclass(frozen=True)
class Offset(limpet.Deviation):
    volts: float
    def deviate(self, draw, value, strength):
        return value + self.volts * strength * draw.normal(())
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, each with two evaluations of an accuracy and the second one of a loss too; and saved curves."""
    root = tmp_path_factory.mktemp("runs")
    log(root / "logs/plain", [(100, curve(2.0)), (200, curve(1.0))], target=0.9)
    loss = curve(1.0, "loss", higher_is_better=False)
    log(root / "logs/robust", [(100, curve(1.0)), (200, curve(0.5)), (200, loss)])
    curve(0.5).save(root / "curve.npz")
    (root / "empty").mkdir()
    (root / "broken.npz").write_bytes((root / "curve.npz").read_bytes()[:100])
    (root / "notes.txt").write_text("no curve")
    return root


@pytest.fixture(autouse=True)
def piped(monkeypatch):
    """Output that is no terminal, whatever the environment of the tests says."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A current directory with a configuration, modules of one's own, and saved parameters."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "nets_of_test_cli.py").write_text(NETS)
    (tmp_path / "deviations_of_test_cli.py").write_text(DEVIATIONS)
    (tmp_path / "raises_of_test_cli.py").write_text("import no_such_module_anywhere\n")
    np.savez("params.npz", **{"dense/kernel": np.ones((3, 2), np.float32), "dense/bias": np.ones(2, np.float32)})
    np.savez("objects.npz", a=np.array([None, {}], dtype=object))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_of_test_cli")]:
        del sys.modules[name]
