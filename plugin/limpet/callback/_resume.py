"""Going on where a run ended: what a checkpoint says of the run, and whether that is this run's."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from limpet import DRAWS_VERSION, ConfigError
from limpet.checks import whole

from ..config._config import Config

FREE = {"tensorboard", "train"}
"""Sections that may differ: where logs go, and what is the user's own."""


def run_checkpoint(config: Config, step: int, fingerprint: str, run: str | None) -> dict[str, Any]:
    """What a checkpoint keeps beside parameters and optimizer state: plain JSON.

    Args:
        config: the configuration of the run, by which a later one is compared.
        step: the last one that the parameters hold.
        fingerprint: the fingerprint of the hardware on the model that is trained.
        run: which run the log directory holds; None where nothing was logged.
    """
    sections = json.loads(json.dumps(config.model_dump(exclude=FREE)))  # tuples become lists, as in a file
    versions = {"draws_version": DRAWS_VERSION, "fingerprint": fingerprint}
    return {"step": step, "run": run, **versions, "config": sections}


def resumed_step(config: Config, checkpoint: Mapping[str, Any], fingerprint: str) -> int:
    """The first step that is still to do.

    Raises:
        ConfigError: the checkpoint is none, or of another configuration or draws version; names what differs.
    """
    try:
        before, step = dict(_flat({**checkpoint, "step": 0, "run": None})), whole("step", checkpoint["step"])
        if not isinstance(checkpoint.get("run"), str | None):
            raise TypeError("run is no text")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"resume = {checkpoint!r}: give what callback.checkpoint returned ({error!r})") from None
    now = dict(_flat(run_checkpoint(config, 0, fingerprint, None)))
    different = [
        f"{key.removeprefix('config.')} was {_said(before, key)} and is {_said(now, key)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if different:
        raise ConfigError(f"the checkpoint is of another configuration: {'; '.join(different)}; resume with the same")
    return step + 1


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for name, value in node.items():
        yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))


def _said(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "not there"
