"""The Robustness tab in real TensorBoard: routes, and the page in a browser, on logs as of a short training."""

import csv
import html
import json
import urllib.request
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from browser import chromium, console_errors, get, tensorboard, texts, until, wait
from logged_curves import curve, log
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import limpet
from limpet.tensorboard import CurveWriter, logged_runs, start_run
from limpet.tensorboard._summaries import curve_summary

pytestmark = pytest.mark.long  # TensorBoard and a browser are started

HOSTILE_RUN = "<img src=x onerror=\"document.title='run'\"> %{x} &amp;"
HOSTILE_METRIC = "<b onmouseover=\"document.title='metric'\">loss</b>"
SIGMAS = [0.0, 0.1, 0.3]
MANY = 30
MEMBERS = ("__proto__", "toString")
"""Names that every plain object of JavaScript has members of."""
RUNS = 4 + len(MEMBERS) + 2
FOREIGN = [
    {},
    {"curve": 3},
    {"curve": {"metric": "x", "sigmas": "abc"}},
    {"curve": {"metric": "x", "sigmas": [None]}},
    {"curve": {"metric": ["x"], "sigmas": [0.1]}},
    {"kind": "sensitivity", "metric": 3},
]


def train(logdir, sigma, slope):
    """What 24 steps of training under mismatch log, evaluated at 0, 8, 16 and 23."""
    noise = np.random.default_rng(1).normal(size=40)
    writer = start_run(logdir)
    writer.hparams({"dynamic.sigma": sigma, "frozen.sigma": None})
    for step in (0, 8, 16, 23):
        values = 1 - slope * (1 - step / 40) * np.array(SIGMAS)[:, None] * (1 + 0.3 * noise)
        hardware = {"fingerprint": "a3c1f2d4e5b60718", "hardware": "gaussian, sigma 1 on w (scalar), b (scalar)"}
        writer.curve(limpet.RobustnessCurve("accuracy", SIGMAS, values, **hardware), step, target=0.9)
        writer.scalar("train/loss", 1 / (1 + step), step)
    writer.close()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("tab") / "logs"
    train(root / "standard", 0.0, 1.0)
    train(root / "mismatch", 0.3, 0.4)
    rng = np.random.default_rng(0)
    writer = CurveWriter(root / HOSTILE_RUN)
    values = rng.normal(1, 0.1, (2, 20))
    values[1, :2] = np.nan
    writer.curve(limpet.RobustnessCurve(HOSTILE_METRIC, [0.0, 0.2], values, higher_is_better=False), 5)
    groups = ("<i>a</i>", "b")
    writer.sensitivity(
        limpet.Sensitivity(groups, 1.0, rng.random(20), rng.random((2, 20)), rng.random((2, 20)), rng.random(2), False),
        5,
        HOSTILE_METRIC,
    )
    writer.close()
    writer = CurveWriter(root / "many")
    for step in range(MANY):
        writer.curve(limpet.RobustnessCurve("many", [0.1], [[step, step + 1.0]]), step)
    writer.close()
    for member in MEMBERS:
        log(root / member, [(1, curve(0.5, "valueOf"))])
    log(root / "half" / "whole", [(1, curve(0.5, "half"))])
    writer = CurveWriter(root / "half" / "broken")
    summary = curve_summary(curve(0.5, "half"))
    del summary.value[0].tensor.tensor_shape.dim[0]
    writer._add(summary, 1)
    writer.close()
    writer = CurveWriter(root / "foreign")
    for place, described in enumerate(FOREIGN):
        summary = curve_summary(limpet.RobustnessCurve("foreign", [0.1], [[1.0]]))
        content = json.dumps({"format": 1, "kind": "curve"} | described).encode()
        summary.value[0].metadata.plugin_data.content = content
        summary.value[0].tag += str(place)
        writer._add(summary, 1)
    writer.close()
    (root / "foreign" / "events.out.tfevents.1.host").write_bytes(b"no events at all" * 9)
    return root


@pytest.fixture(scope="module")
def logged(logdir):
    """What lies in the event files, read without TensorBoard."""
    with pytest.warns(UserWarning, match="foreign|half/broken.*is left out: a tensor of shape"):
        return logged_runs(logdir)


@pytest.fixture(scope="module")
def address(logdir):
    with tensorboard(logdir) as address:
        until(lambda: len(json.loads(get(f"{address}/data/plugin/limpet/runs")[1])["runs"]) == RUNS)
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(browser, address):
    """The tab, freshly opened, its frame chosen and its curves drawn."""
    browser.get("about:blank")
    browser.get(f"{address}/#limpet")
    wait(browser, "document.querySelector('iframe')?.contentDocument?.querySelector('.plot')?.data?.length > 0")
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    yield browser
    browser.switch_to.default_content()


def ask(address, route, **parameters):
    status, body = get(f"{address}/data/plugin/limpet/{route}?{urlencode(parameters, quote_via=quote, doseq=True)}")
    assert status == 200, body
    return json.loads(body)


def post(address, content):
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(content).encode(), headers)) as answer:
        return json.load(answer)


def choose_metric(page, metric):
    page.execute_script(  # selenium's own way takes no quotes in values
        "const select = document.getElementById('metric'); select.value = arguments[0];"
        "select.dispatchEvent(new Event('change'));",
        metric,
    )
    shown = json.dumps(html.escape(metric, quote=False))
    wait(page, f"document.querySelector('.plot').layout.yaxis.title.text.includes({shown})")


def traces(page, kind):
    """Run to y values of the robustness chart's traces of a kind."""
    script = """const data = document.querySelector('.plot').data.filter(({meta}) => meta?.kind === arguments[0]);
    return data.map(({meta, y}) => [meta.run, y]);"""
    return dict(page.execute_script(script, kind))


def table(page):
    """Run to the table's texts by column."""
    script = """return [...document.querySelectorAll('tbody tr')].map((row) => [row.dataset.run,
    Object.fromEntries([...row.cells].slice(1).map((cell) => [cell.dataset.column, cell.textContent]))]);"""
    return dict(page.execute_script(script))


def move_slider(page, place):
    page.execute_script(
        "const slider = document.getElementById('step'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'));",
        place,
    )


def test_the_tab_shows_the_curves_of_the_event_files(page, logged):
    choose_metric(page, "accuracy")
    runs = logged
    wait(page, "document.querySelectorAll('tbody tr').length === 2")
    shown = traces(page, "mean")
    assert set(shown) == {"standard", "mismatch"}
    for place in range(3):
        for run in shown:
            np.testing.assert_allclose(shown[run][place], runs[run].curves["accuracy"][23].mean()[place], rtol=1e-12)
    assert len(traces(page, "band")) == len(traces(page, "worst")) == 2
    np.testing.assert_allclose(traces(page, "worst")["standard"], runs["standard"].curves["accuracy"][23].worst())
    title = page.execute_script("return document.querySelector('.plot').layout.xaxis.title.text")
    assert title == "mismatch sigma (relative standard deviation)"
    assert console_errors(page) == []


def test_the_slider_moves_curves_and_table(page, logged):
    choose_metric(page, "accuracy")
    curves = logged["standard"].curves["accuracy"]
    wait(page, "document.getElementById('step').max === '3'")
    for place, step in [(0, 0), (1, 8), (3, 23)]:
        move_slider(page, place)
        wait(page, f"document.querySelector('tr[data-run=standard] [data-column=step]').textContent === '{step}'")
        np.testing.assert_allclose(traces(page, "mean")["standard"], curves[step].mean(), rtol=1e-12)
    assert not np.allclose(curves[0].mean(), curves[23].mean())
    assert console_errors(page) == []


def test_the_table_says_what_the_classes_compute(page, logged):
    choose_metric(page, "accuracy")
    Select(page.find_element(By.ID, "sigma")).select_by_value("0.3")
    wait(page, "document.body.textContent.includes('at sigma 0.3;')")
    curve = logged["standard"].curves["accuracy"][23]
    found = curve.yield_at(0.9)[2]
    expected = f"{100 * found.fraction:g}% ({100 * found.low:.0f}\N{EN DASH}{100 * found.high:.0f}%)"
    until(lambda: table(page)["standard"]["yield"] == expected)
    assert table(page)["standard"]["mean"] == f"{curve.mean()[2]:.3f}"
    assert table(page)["standard"]["p5"] == f"{curve.quantile(0.05)[2]:.3f}"
    assert table(page)["standard"]["failed"] == "0 of 40"
    paired = limpet.compare(logged["mismatch"].curves["accuracy"][23], curve)
    difference = f"{float(f'{paired.difference[2]:.3g}'):g}"
    until(lambda: difference in texts(page, "section:has(#second)")[0])


def test_a_target_may_be_chosen(page):
    choose_metric(page, "accuracy")
    target = page.find_element(By.ID, "target")
    assert target.get_property("value") == "0.9"
    target.clear()
    target.send_keys("0.01\n")
    until(lambda: table(page)["standard"]["yield"].startswith("100%"))
    wait(page, "document.querySelectorAll('.plot')[1].layout.shapes?.[0]?.x0 === 0.01")


def test_lines_for_every_chip(page, logged):
    choose_metric(page, "accuracy")
    page.find_element(By.ID, "per-chip").click()
    wait(page, "document.querySelector('.plot').data.some(({meta}) => meta?.kind === 'chips')")
    lines = traces(page, "chips")
    values = logged["mismatch"].curves["accuracy"][23].values
    np.testing.assert_allclose(np.array(lines["mismatch"], float).reshape(40, 4)[:, :3], values.T)
    assert traces(page, "band") == {}


def test_the_numbers_as_csv(page, logged, browser, tmp_path):
    choose_metric(page, "accuracy")
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element(By.ID, "csv").click()
    until(lambda: (tmp_path / "limpet_accuracy.csv").exists())
    rows = list(csv.DictReader((tmp_path / "limpet_accuracy.csv").read_text().splitlines()))
    curve = logged["mismatch"].curves["accuracy"][23]
    of_run = [row for row in rows if row["run"] == "mismatch"]
    assert len(rows) == 6
    np.testing.assert_allclose([float(row["mean"]) for row in of_run], curve.mean(), rtol=1e-12)
    np.testing.assert_allclose([float(row["p95"]) for row in of_run], curve.quantile(0.95), rtol=1e-12)
    assert {row["step"] for row in rows} == {"23"}
    assert {row["hardware"] for row in rows} == {curve.fingerprint}


def test_a_chart_as_picture(page, browser, tmp_path):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element(By.CSS_SELECTOR, ".card .tools button").click()
    picture = tmp_path / "limpet_Robustness-curves.png"
    until(lambda: picture.exists() and picture.stat().st_size > 0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert console_errors(page) == []


def test_runs_can_be_left_out(page):
    choose_metric(page, "accuracy")
    box = page.find_element(By.CSS_SELECTOR, "tr[data-run=mismatch] input")
    box.click()
    until(lambda: set(traces(page, "mean")) == {"standard"})
    assert texts(page, "tr:not(.off) .run-name") == ["standard"]
    # rows stay what they are when numbers come in, and keep the keyboard's place when they are sorted
    assert page.switch_to.active_element == box
    page.execute_script("document.querySelector('th button').click()")
    assert texts(page, ".run-name") == ["standard", "mismatch"]
    assert page.switch_to.active_element == box
    page.find_element(By.ID, "show-none").click()
    until(lambda: traces(page, "mean") == {})
    page.find_element(By.ID, "show-all").click()
    until(lambda: set(traces(page, "mean")) == {"standard", "mismatch"})


def test_names_that_hold_html_are_text(page):
    choose_metric(page, HOSTILE_METRIC)
    until(lambda: set(traces(page, "mean")) == {HOSTILE_RUN})
    assert texts(page, ".run-name") == [HOSTILE_RUN]
    until(lambda: texts(page, ".legendtext")[:1] == [HOSTILE_RUN])
    until(lambda: HOSTILE_METRIC in "".join(texts(page, ".ytitle")))
    until(lambda: table(page)[HOSTILE_RUN]["worst"] == "failed")
    assert table(page)[HOSTILE_RUN]["failed"] == "2 of 20"
    # a leaf, in the bars of the sensitivity
    until(lambda: "<i>a</i>" in texts(page, ".ytick"))
    assert page.find_elements(By.CSS_SELECTOR, "img, b, main i") == []
    assert page.execute_script("return [document.title, parent.document.title]") == ["Robustness", "TensorBoard"]
    assert console_errors(page) == []


def test_runs_may_have_the_names_of_members_of_objects(page):
    choose_metric(page, "valueOf")
    until(lambda: set(traces(page, "mean")) == set(MEMBERS))
    until(lambda: {row["step"] for row in table(page).values()} == {"1"})
    assert sorted(texts(page, ".run-name")) == sorted(MEMBERS)
    np.testing.assert_allclose(traces(page, "mean")["__proto__"], curve(0.5).mean())
    page.find_element(By.ID, "per-chip").click()
    until(lambda: set(traces(page, "chips")) == set(MEMBERS))
    page.find_element(By.CSS_SELECTOR, "tr[data-run=__proto__] input").click()
    until(lambda: set(traces(page, "chips")) == set(MEMBERS) - {"__proto__"})
    assert console_errors(page) == []


def test_a_run_that_cannot_be_read_leaves_the_others_shown(page, address):
    found = ask(address, "table", metric="half", run=["half/broken", "half/whole"], sigma=0.1)
    assert set(found) == {"half/whole"}
    choose_metric(page, "half")
    until(lambda: set(traces(page, "mean")) == {"half/whole"})
    until(lambda: table(page)["half/whole"]["step"] == "1")
    said = "run 'half/broken' holds no curve of 'half' that can be read"
    until(lambda: texts(page, "[role=alert]") == [said])
    console_errors(page)  # of the answer with status 400


def test_the_theme_follows_tensorboard(page):
    dark = "document.documentElement.dataset.theme === 'dark'"
    assert not page.execute_script(f"return {dark}")
    page.execute_script("parent.document.body.classList.add('dark-mode')")
    wait(page, dark)
    ink = page.execute_script("return document.querySelector('.plot').layout.paper_bgcolor")
    assert ink == "#282c31"
    page.execute_script("parent.document.body.classList.remove('dark-mode')")
    wait(page, f"!({dark})")


def test_an_empty_log_says_what_to_log(browser, tmp_path):
    (tmp_path / "logs").mkdir()
    with tensorboard(tmp_path / "logs") as address:
        browser.get(f"{address}/data/plugin_entry.html?name=limpet")
        wait(browser, "document.querySelector('.empty')?.offsetHeight > 0")
        assert "MismatchCallback" in browser.find_element(By.CSS_SELECTOR, ".empty").text
        assert not browser.find_element(By.CSS_SELECTOR, ".controls").is_displayed()
        browser.get("about:blank")


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ("evaluations?metric=accuracy", "parameter 'run' is missing"),
        ("evaluations?run=nobody&metric=accuracy", "run 'nobody' holds no curve of 'accuracy'"),
        ("evaluations?run=../..&metric=accuracy", "holds no curve"),
        ("runs?x=1", "unknown parameter 'x'; allowed are none"),
        ("table?run=standard&metric=accuracy&sigma=nan", "sigma = 'nan': allowed is a finite number"),
        ("table?run=standard&metric=accuracy&sigma=much", "sigma = 'much': allowed is a finite number"),
        ("table?run=standard&metric=accuracy", "parameter 'sigma' is missing"),
        ("chips?run=standard&metric=accuracy&step=1.5", "step = '1.5': allowed is an integer"),
        ("yields?run=standard&metric=accuracy&sigma=0&low=1&high=0", "low = 1: allowed is a number below high = 0"),
        ("sensitivity?run=standard&metric=accuracy", "holds no sensitivity of 'accuracy'"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(address, request_, line):
    status, body = get(f"{address}/data/plugin/limpet/{request_}")
    assert status == 400
    assert line in body
    assert "\n" not in body


def test_runs_of_the_same_chips_are_compared(address):
    found = ask(address, "difference", metric="accuracy", first="standard", second="mismatch")
    assert len(found["difference"]) == 3
    assert "error" not in found


def test_stock_tensorboard_shows_the_same(address):
    layout = json.loads(get(f"{address}/data/plugin/custom_scalars/layout")[1])
    charts = {chart["title"]: chart for category in layout["category"] for chart in category["chart"]}
    (series,) = charts["accuracy at sigma = 0.3"]["margin"]["series"]
    assert series == {
        "value": "robustness_mean/accuracy/sigma=0.3",
        "lower": "robustness_p5/accuracy/sigma=0.3",
        "upper": "robustness_p95/accuracy/sigma=0.3",
    }
    query = urlencode({"run": "standard", "tag": series["lower"]})
    found = json.loads(get(f"{address}/data/plugin/custom_scalars/scalars?{query}")[1])
    assert [step for _, step, _ in found["tag_to_events"][series["lower"]]] == [0, 8, 16, 23]
    histograms = json.loads(get(f"{address}/data/plugin/histograms/tags")[1])
    assert {f"virtual_chips/accuracy/sigma={sigma:g}" for sigma in SIGMAS} <= set(histograms["standard"])
    images = json.loads(get(f"{address}/data/plugin/images/tags")[1])
    assert "robustness/accuracy" in images["standard"]
    assert f"sensitivity/{HOSTILE_METRIC}" in images[HOSTILE_RUN]


def test_a_sweep_is_sorted_by_yield_in_the_hparams_tab(address):
    experiment = post(f"{address}/data/plugin/hparams/experiment", {})
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert metrics == {"robustness_area/accuracy", *(f"robustness_yield/accuracy/sigma={sigma:g}" for sigma in SIGMAS)}
    assert "frozen.sigma" in {info["name"] for info in experiment["hparamInfos"]}
    column = {"metric": {"tag": "robustness_area/accuracy"}, "order": "ORDER_DESC"}
    wanted = {"startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [column]}
    groups = post(f"{address}/data/plugin/hparams/session_groups", wanted)["sessionGroups"]
    areas = [group["metricValues"][0]["value"] for group in groups]
    assert len(groups) == 2
    assert areas == sorted(areas, reverse=True)
    assert {group["hparams"]["dynamic.sigma"] for group in groups} == {0.0, 0.3}


@pytest.fixture(scope="module")
def poor_address(logdir, tmp_path_factory):
    """TensorBoard with the slow loader, and a plotly that cannot be imported."""
    path = tmp_path_factory.mktemp("path")
    (path / "plotly").mkdir()
    (path / "plotly" / "__init__.py").write_text("raise ImportError('broken')")
    with tensorboard(logdir, "--load_fast=false", path=path) as address:
        until(lambda: len(json.loads(get(f"{address}/data/plugin/limpet/runs")[1])["runs"]) == RUNS)
        yield address


def test_every_evaluation_is_kept_by_either_loader(address, poor_address):
    for one in (address, poor_address):
        found = until(lambda one=one: ask(one, "evaluations", metric="many", run="many"))
        assert found["steps"] == list(range(MANY))
        assert found["mean"][-1] == [MANY - 0.5]


def test_a_plotly_that_cannot_be_imported_takes_no_tensorboard_down(poor_address, browser):
    assert json.loads(get(f"{poor_address}/data/plugins_listing")[1])["limpet"]["enabled"]
    status, body = get(f"{poor_address}/data/plugin/limpet/plotly.js")
    assert status == 503
    assert body == "The charts need the plotly package, which cannot be imported (broken): pip install plotly"
    browser.get(f"{poor_address}/data/plugin_entry.html?name=limpet")
    assert wait(browser, "document.querySelector('.notice')?.textContent") == body
    console_errors(browser)
    browser.get("about:blank")


def test_the_user_may_say_how_many_evaluations_are_kept():
    from argparse import Namespace

    from limpet.tensorboard._plugin import RobustnessLoader

    for given, kept in [({}, 1000), ({"images": 3}, 1000), ({"limpet": 5}, 5), (None, 1000)]:
        flags = Namespace(samples_per_plugin=given)
        RobustnessLoader().fix_flags(flags)
        assert flags.samples_per_plugin["limpet"] == kept
        assert flags.samples_per_plugin.get("images") == (given or {}).get("images")
