"""Two processes, joined by jax.distributed on loopback, do what one does.

`test_monte_carlo.py` holds the same of several devices of one process, which takes less time.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from shared_work import find_tail, measure, replicated_step

import limpet

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What both processes wrote."""
    try:  # as gloo does, by which JAX joins processes on CPUs
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"processes cannot meet: this machine's name {socket.gethostname()!r} has no address ({error})")
    output = tmp_path_factory.mktemp("processes")
    script = Path(__file__).parents[1] / "support" / "two_processes.py"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    commands = [[sys.executable, str(script), str(rank), str(output), str(port)] for rank in range(2)]
    ran = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    messages = [process.communicate(timeout=180)[1] for process in ran]
    assert not any(process.returncode for process in ran), b"".join(messages).decode()
    return output


def test_a_curve_is_the_same(folder):
    reference = measure()
    for rank in range(2):
        assert np.array_equal(limpet.RobustnessCurve.load(folder / f"curve_{rank}.npz").values, reference.values)


def test_a_walk_takes_the_same_steps(folder):
    reference = find_tail()
    for rank in range(2):
        found = limpet.TailYield.load(folder / f"tail_{rank}.json")
        assert found.chips == reference.chips
        np.testing.assert_allclose(found.values, reference.values, rtol=1e-5)


def test_a_data_parallel_step_is_the_same(folder):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    value, kernel = replicated_step(mesh)
    for rank in range(2):
        with np.load(folder / f"step_{rank}.npz") as found:
            np.testing.assert_allclose(found["value"], value, rtol=1e-6)
            np.testing.assert_allclose(found["kernel"], kernel, rtol=1e-5, atol=1e-8)
