"""Pictures as a reader gets them: saved by pyplot, at the width of a paper's column, with nothing cut."""

import io
from itertools import pairwise, product

import matplotlib
import numpy as np
import pytest

import limpet

matplotlib.use("agg")
import matplotlib.pyplot as plt

COLUMN = (3.4, 2.5)
TIMES = {"25 s": 25, "1 h": 3600, "1 day": 86400, "1 week": 604800, "1 month": 2592000, "1 year": 31536000}


def curve(axis="sigma", metric="accuracy", higher_is_better=True, best=0.98, strengths=(0.0, 0.1, 0.2, 0.3)):
    generator = np.random.default_rng(0)
    fall = np.linspace(0, 0.2, len(strengths))[:, None] * generator.uniform(0.5, 1.0, (1, 100))
    values = best - fall if higher_is_better else best + fall
    return limpet.RobustnessCurve(metric, strengths, values, higher_is_better=higher_is_better, axis=axis)


def sensitivity(groups=("1_DynapSim/Itau_syn", "0_LinearJax/weight", "readout", "unused")):
    generator = np.random.default_rng(1)
    cost = np.linspace(0.05, 0.0, len(groups))[:, None] * generator.uniform(0.5, 1.5, (len(groups), 60))
    everything = 0.9 - cost.sum(axis=0)
    return limpet.Sensitivity(groups, 0.9, everything, 0.9 - cost, everything + cost, np.ones(len(groups)), True)


def decomposition(sources=("weights, device", "weights, read", "chip, in common", "biases, device")):
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 200, len(sources))) / (1 + np.arange(len(sources)))
    mixed = [np.where(np.arange(len(sources)) == place, second, first) for place in range(len(sources))]
    return limpet.Decomposition("accuracy", sources, *(np.sum(rows, -1) for rows in (first, second, mixed)))


PICTURES = {
    "sigma": curve().plot,
    "time": curve("time", strengths=tuple(TIMES.values())).plot,
    "two times": curve("time", strengths=(1.0, 31536000.0)).plot,
    "single": curve(strengths=(0.1,)).plot,
    "single time": curve("time", strengths=(86400.0,)).plot,
    "loss": curve("scale", "cross_entropy_loss", False, 2e-6, (0.0, 0.5, 1.0, 2.0)).plot,
    "sensitivity": sensitivity().plot,
    "decomposition": decomposition().plot,
}


@pytest.fixture(autouse=True)
def pyplot():
    plt.close("all")
    yield
    plt.close("all")


def is_cut(figure):
    """Whether titles, labels or anything else that is drawn reach beyond the picture."""
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return drawn.x0 < -0.01 or drawn.y0 < -0.01 or drawn.x1 > width + 0.01 or drawn.y1 > height + 0.01


@pytest.mark.parametrize(
    ("name", "prepare"),
    [*product(PICTURES, ["nothing", "a figure"]), ("sigma", "axes"), ("time", "axes by hand")],
)
def test_pyplot_saves_the_picture_and_nothing_of_it_is_cut(name, prepare):
    given = None
    if prepare == "a figure":
        plt.figure(figsize=COLUMN)
    elif prepare != "nothing":
        _, axes = plt.subplots(figsize=COLUMN)
        given = axes if prepare == "axes by hand" else None
    ax = PICTURES[name](given)
    assert plt.gcf() is ax.figure
    assert tuple(ax.figure.get_size_inches()) == COLUMN or prepare == "nothing"
    assert not is_cut(ax.figure)
    saved = io.BytesIO()
    plt.savefig(saved, format="png")
    saved.seek(0)
    assert plt.imread(saved).std() > 0.02, "a blank picture"
    assert len(plt.get_fignums()) == 1


def test_labels_of_ticks_do_not_overlap_at_a_columns_width():
    for name, size in (("time", COLUMN), ("time", (8, 4)), ("sigma", COLUMN), ("sensitivity", COLUMN)):
        plt.figure(figsize=size)
        ax = PICTURES[name]()
        ax.figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes)), (name, size)


def test_times_are_named_as_they_were_given():
    ax = curve("time", strengths=tuple(TIMES.values())).plot()
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert {"25 s", "1 day", "1 year"} <= set(shown) <= set(TIMES)
    assert ax.get_xlabel() == "time since programming"
    curve("time", strengths=(1.0, 86400.0, 10 * 31536000.0)).plot(ax)  # another network at other times
    assert ax.get_xticklabels()[-1].get_text() == "10 years"


@pytest.mark.parametrize("best", [0.98, 0.3, 1e-6, 3e20])
def test_the_axis_of_values_begins_near_the_data(best):
    measured = curve(best=best, higher_is_better=best > 0.1)
    low, high = measured.plot().get_ylim()
    extent = np.ptp(measured.values)
    assert low <= measured.values.min() <= measured.values.max() <= high
    assert high - low <= 1.2 * max(extent, 0.1 * abs(best))


def test_another_picture_is_another_figure_and_axes_are_shared_where_they_are_given():
    first = curve().plot(label="standard")
    assert curve().plot().figure is not first.figure
    curve(best=0.97).plot(first, label="robust")
    names = [text.get_text() for text in first.get_legend().get_texts()]
    assert names == ["standard", "robust", "5th to 95th percentile", "worst chip"]


def test_bars_have_intervals_where_chips_differ():
    found = sensitivity()
    ax = found.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(found.groups[::-1])
    line = next(container for container in ax.containers if hasattr(container, "patches")).errorbar.lines[2][0]
    ends = np.array([segment[:, 0] for segment in line.get_segments()])[::-1]
    low, high = found.cost_interval()
    np.testing.assert_allclose(ends[:3], np.stack([low, high], axis=1)[:3])
    np.testing.assert_array_equal(ends[3], [0, 0])  # no chip differs: it is in the table, not on the bar
