"""The numbers of an event directory as TensorBoard shows them, by each of its loaders: the slow one, in Python, and the
fast one, a server of its own."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import grpc
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.context import RequestContext
from tensorboard.data import grpc_provider
from tensorboard.util.tensor_util import make_ndarray

ALL = 1_000_000
SHOWN = ("train/", "mismatch/", "robustness_", "virtual_chips", "limpet/curve")
"""What the tags of everything that is shown over steps begin with."""


def slow(logdir):
    """By tag, what the slow loader holds: (step, bytes of the value) in its order."""
    events = EventAccumulator(str(logdir), size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto).tobytes()) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag.startswith(SHOWN)
    }


def fast(logdir):
    """By tag, what the fast loader holds, likewise; skips the test where its server does not run, but never in CI."""
    server = _server_binary()
    if server is None:
        if "CI" in os.environ:
            pytest.fail("the fast loader does not run here: install tensorboard-data-server")
        pytest.skip("the fast loader does not run on this platform")
    logdir = Path(logdir)
    with tempfile.TemporaryDirectory() as folder:
        # A copy that stands alone: beside it may lie what other tests made to be hard to read.
        port_file, alone = Path(folder) / "port", Path(folder) / "logs"
        shutil.copytree(logdir, alone / logdir.name)
        command = [server, f"--logdir={alone}", "--reload=once", "--port=0", f"--port-file={port_file}"]
        command += ["--samples-per-plugin=scalars=all,histograms=all,limpet=all", "--die-after-stdin"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                return _held(_port(port_file), logdir.name)
            finally:
                process.kill()


def _server_binary():
    try:
        from tensorboard_data_server import server_binary
    except ImportError:
        return None
    return server_binary()


def _port(file):
    for _ in range(600):
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return int(text)
        time.sleep(0.05)
    raise AssertionError("the server of the fast loader did not start")


def _held(port, run):
    address = f"localhost:{port}"
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)  # the port is written before the server listens on it
        provider = grpc_provider.GrpcDataProvider(address, grpc_provider.make_stub(channel))
        ctx, where = RequestContext(), {"experiment_id": ""}
        # The server answers before it has read everything, and begins to show a run when it has read some of it.
        before, now = None, _read(provider, ctx, where, run)
        while now != before or not now:
            time.sleep(0.3)
            before, now = now, _read(provider, ctx, where, run)
        return now


def _read(provider, ctx, where, run):
    held = {}
    for plugin in ("scalars", "histograms", "limpet"):
        if plugin == "scalars":
            found = provider.read_scalars(ctx, **where, plugin_name=plugin, downsample=ALL).get(run, {})
            values = {tag: [(datum.step, datum.value) for datum in series] for tag, series in found.items()}
        else:
            found = provider.read_tensors(ctx, **where, plugin_name=plugin, downsample=ALL).get(run, {})
            values = {tag: [(datum.step, datum.numpy.tobytes()) for datum in series] for tag, series in found.items()}
        held |= {tag: series for tag, series in values.items() if tag.startswith(SHOWN)}
    return held
