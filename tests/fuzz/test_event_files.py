"""Damaged event files beside a good run: readers never raise, the good run stays what it is, of the other one no number
is read that was not written, unless a warning says that something is wrong there.
"""

import json
import warnings

import numpy as np
import pytest
from chance import case, cases, damaged
from logged_curves import curve
from tab_routes import TabRoutes

from limpet.tensorboard import CurveWriter, logged_runs
from limpet.tensorboard._event_files import first_tags, own_and_foreign
from limpet.tensorboard._records import masked_checksum, records_of
from limpet.tensorboard._summaries import curve_summary

STEPS = (1, 2, 5)
CURVES = {step: curve(0.1 * step, chips=5) for step in STEPS}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The directory of a run, without its pictures and scalars: three evaluations, in one file."""
    directory = tmp_path_factory.mktemp("good")
    writer = CurveWriter(directory)
    writer.text("limpet/config", "seed: 0")
    for step, evaluation in CURVES.items():
        writer._add(curve_summary(evaluation, target=0.9), step)
    writer.close()
    return directory


def hostile(path, rng):
    """The bytes of a damaged file, and whether each record still has its checksum, so that nobody can tell."""
    if rng.random() < 0.7:
        return damaged(path.read_bytes(), rng), False
    content, records = b"", list(records_of(path))
    chosen = rng.randrange(len(records))
    for place, record in enumerate(records):
        data = damaged(record, rng) if place == chosen else record
        length = len(data).to_bytes(8, "little")
        parts = (
            length,
            masked_checksum(length).to_bytes(4, "little"),
            data,
            masked_checksum(data).to_bytes(4, "little"),
        )
        content += b"".join(parts)
    return content, True


def test_a_damaged_event_file_takes_nothing_else_down(tmp_path, good):
    (source,) = good.iterdir()
    root, directory = tmp_path / "logs", tmp_path / "logs" / "bad"
    directory.mkdir(parents=True)
    (root / "good").symlink_to(good)
    whole = seen = 0
    for seed, rng in cases(500):
        with case(seed), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            content, is_unnoticed = hostile(source, rng)
            file = directory / f"events.out.tfevents.{seed}.limpet"
            file.write_bytes(content)
            seen += 1
            runs = logged_runs(root)
            own_and_foreign(directory)
            first_tags(file)
            assert runs["good"].targets == {"accuracy": 0.9}
            assert all("/bad/" in str(warning.message) for warning in caught)
            for step in STEPS:
                np.testing.assert_array_equal(runs["good"].curves["accuracy"][step].values, CURVES[step].values)
            found = runs["bad"].curves.get("accuracy", {}) if "bad" in runs else {}
            if not is_unnoticed:
                # Nothing is missing in silence, but for what stood behind a cut between two records.
                assert caught or found.keys() == CURVES.keys() or source.read_bytes().startswith(content)
                for step in found:  # a prefix of those written: a step that was not would be missing here
                    np.testing.assert_array_equal(found[step].values, CURVES[step].values)
                whole += found.keys() == CURVES.keys()
            if seed % 10 == 0 and not is_unnoticed:  # TensorBoard itself fails on a record that is no event
                routes = TabRoutes(root)
                status, body = routes.ask("runs")
                assert status == 200
                assert "good" in json.loads(body)["runs"]
                status, body = routes.ask("table", metric="accuracy", run=["bad", "good"], sigma=0.1)
                assert status == 200
                assert json.loads(body)["good"]["step"] == 5
            file.unlink()
    assert seen == 1 or whole < seen / 2
