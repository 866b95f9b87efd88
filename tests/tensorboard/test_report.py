"""The report: one file, no network, the tab's charts, a plain result."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from browser import chromium, console_errors, texts, until, wait
from logged_curves import log

import limpet
from limpet.tensorboard import CurveWriter, write_report
from limpet.tensorboard._numbers import yield_over_target
from limpet.tensorboard._page_files import one_script, page_files
from limpet.tensorboard._statement import statement, telling_sigma

SIGMAS = [0.0, 0.1, 0.15]
MEMBERS = ("__proto__", "hasOwnProperty")
"""Names that every plain object of JavaScript has members of."""
HOSTILE = "</script><script>document.title='run'</script><img src=x>"


def curve(passing, metric="accuracy", chips=100, higher_is_better=True, **described):
    """At each sigma, so many of the chips reach 0.9."""
    rows = [np.where(np.arange(chips) < count, 0.95, 0.5) for count in passing]
    return limpet.RobustnessCurve(metric, SIGMAS, rows, higher_is_better=higher_is_better, **described)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    root = tmp_path_factory.mktemp("report") / "logs"
    for name, passing in [("standard", (100, 90, 41)), ("mismatch", (100, 99, 94))]:
        writer = CurveWriter(root / name)
        writer.text("limpet/config", f"seed: 0  \nrun: {name} <i>")
        writer.curve(curve((0, 0, 0)), 1, target=0.9)
        writer.curve(curve(passing), 200, target=0.9)
        writer.close()
    writer = CurveWriter(root / "groups")
    leaves = limpet.Sensitivity(
        ("w", "b"), 1.0, np.full(5, 0.5), np.full((2, 5), 0.8), np.full((2, 5), 0.7), np.ones(2), True
    )
    writer.curve(curve((100, 50, 0)), 100)
    writer.sensitivity(leaves, 100, "accuracy")
    writer.close()
    for member in MEMBERS:
        log(root / member, [(1, curve((100, 90, 80), "constructor"))])
    writer = CurveWriter(root / HOSTILE.replace("/", "_"))
    writer.curve(curve((1, 2, 3), metric=HOSTILE), 1)
    writer.close()
    return root


@pytest.fixture(scope="module")
def report(logdir, tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "made" / "report.html"
    write_report(logdir, output)
    return output


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        browser.get(report.as_uri())
        wait(browser, "document.querySelectorAll('tbody tr').length > 3 && document.querySelector('.plot').data")
        yield browser


def test_the_result_is_said_in_a_plain_sentence(report):
    text = report.read_text("utf-8")
    expected = (
        "At sigma 0.15, 94% of chips with &#x27;mismatch&#x27; reach accuracy 0.9 or more (95% interval 87-98%); "
        "&#x27;standard&#x27;: 41%, &#x27;groups&#x27;: 0%."
    )
    assert f"<p>{expected}</p>" in text
    assert "run: mismatch &lt;i&gt;" in text
    assert "No configuration was logged." in text
    assert f"<td>limpet</td><td>{limpet.__version__}</td>" in text


def test_the_file_needs_nothing_else(report):
    text = report.read_text("utf-8")
    without_plotly = text[: text.index("<script>")] + text[text.index('<script type="application/json"') :]
    assert re.findall(r'(?:src|href)\s*=\s*["\']', without_plotly) == []
    assert "import " not in without_plotly
    assert text.count("<script") - text.count("<\\/script") >= 3


@pytest.mark.long
def test_the_charts_are_those_of_the_tab(page):
    script = """return Object.fromEntries(document.querySelector('.plot').data
    .filter(({meta}) => meta?.kind === 'mean').map(({meta, y}) => [meta.run, y]))"""
    shown = page.execute_script(script)
    assert set(shown) == {"standard", "mismatch", "groups"}
    np.testing.assert_allclose(shown["mismatch"], curve((100, 99, 94)).mean(), rtol=1e-12)
    assert page.execute_script("return document.getElementById('sigma').value") == "0.15"
    until(lambda: "94% (87\N{EN DASH}98%)" in texts(page, "table")[0])
    rows = texts(page, "table")[0]
    assert "41% (31\N{EN DASH}51%)" in rows
    assert "200" in rows
    assert page.find_elements("id", "play") == []
    page.find_element("id", "per-chip").click()
    wait(page, "document.querySelector('.plot').data.some(({meta}) => meta?.kind === 'chips')")
    page.find_element("id", "per-chip").click()
    until(lambda: "Measured on 5 virtual chips." in texts(page, "section:has(#sensitivity-run)")[0])
    assert console_errors(page) == []


def choose_metric(page, metric):
    page.execute_script(
        "const select = document.getElementById('metric'); select.value = arguments[0];"
        "select.dispatchEvent(new Event('change'));",
        metric,
    )


@pytest.mark.long
def test_runs_and_metrics_may_have_the_names_of_members_of_objects(page):
    choose_metric(page, "constructor")
    wait(page, f"document.querySelectorAll('.run-name').length === {len(MEMBERS)}")
    assert sorted(texts(page, ".run-name")) == sorted(MEMBERS)
    script = "return document.querySelector('.plot').data.filter(({meta}) => meta?.kind === 'mean').map(({y}) => y[1])"
    until(lambda: page.execute_script(script) == pytest.approx([0.905] * len(MEMBERS)))
    until(lambda: len(texts(page, "td[data-column=mean]")) == len(MEMBERS))
    until(lambda: set(texts(page, "td[data-column=step]")) == {"1"})
    assert console_errors(page) == []


@pytest.mark.long
def test_the_yield_is_that_of_the_tab(page, logdir):
    """Reports pack the chips in single precision; the counts of the yield are of what they hold."""
    choose_metric(page, "accuracy")
    page.execute_script(
        "const select = document.getElementById('sigma'); select.value = '0.1';"
        "select.dispatchEvent(new Event('change'));"
    )
    script = """return document.querySelectorAll('.plot')[1].data
    .filter(({meta}) => meta?.kind === 'yield').map(({meta, x, y, customdata}) => [meta.run, [x, y, customdata]])"""
    wait(page, "document.body.textContent.includes('at sigma 0.1;')")
    expected = yield_over_target(curve((100, 99, 94)), 0.1, 0.0, 1.0) or {}
    until(lambda: len(dict(page.execute_script(script))["mismatch"][0]) == len(expected["targets"]))
    targets, fractions, ends = dict(page.execute_script(script))["mismatch"]
    np.testing.assert_allclose(targets, expected["targets"], rtol=1e-6)
    np.testing.assert_allclose(fractions, expected["fraction"])
    assert ends[2] == "94.6% to 100%"
    page.find_element("id", "per-chip").click()
    lines = """return document.querySelector('.plot').data
    .filter(({meta}) => meta?.kind === 'chips').map(({meta, y}) => [meta.run, y])"""
    until(lambda: len(dict(page.execute_script(lines))) == 3)
    shown = np.array(dict(page.execute_script(lines))["mismatch"], float).reshape(100, 4)[:, :3]
    np.testing.assert_allclose(shown, curve((100, 99, 94)).values.T, rtol=1e-6)
    page.find_element("id", "per-chip").click()


@pytest.mark.long
def test_names_that_hold_html_are_text(page):
    choose_metric(page, HOSTILE)
    wait(page, "document.querySelectorAll('.run-name').length === 1")
    assert texts(page, ".run-name")[0] == HOSTILE.replace("/", "_")
    assert page.title == "Robustness report"
    assert page.find_elements("css selector", "img") == []
    assert console_errors(page) == []


def test_directories_without_curves_are_refused(tmp_path):
    with pytest.raises(limpet.LimpetError, match="there is no such directory"):
        write_report(tmp_path / "nowhere", tmp_path / "report.html")
    (tmp_path / "logs").mkdir()
    with pytest.raises(limpet.LogdirError, match="holds no robustness curves"):
        write_report(tmp_path / "logs", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_files_that_cannot_be_written_are_refused(logdir, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(limpet.LogdirError, match="cannot be written"):
        write_report(logdir, tmp_path / "file" / "report.html")


def test_a_loss_without_target_is_told_by_its_mean():
    passing = {"worse": (0, 50, 100), "better": (0, 0, 0)}
    curves = {run: curve(counts, "loss", higher_is_better=False) for run, counts in passing.items()}
    (sentence,) = statement(curves, None, "loss")
    # No chip differs, so that no interval is known of a loss.
    assert sentence == "At sigma 0.15, the mean loss of 'better' over chips is 0.5; 'worse': 0.95."


def test_failed_chips_are_told():
    values = np.ones((3, 10))
    values[2, :4] = np.nan
    found = list(statement({"one": limpet.RobustnessCurve("accuracy", SIGMAS, values)}, 0.9, "accuracy"))
    assert found[0].startswith("At sigma 0.15, 60% of chips with 'one' reach accuracy 0.9 or more")
    assert found[1] == "At sigma 0.15, chips fail (no finite accuracy): 4 of 10 with 'one'."


def test_runs_of_different_hardware_are_not_ranked_against_each_other():
    curves = {
        "a": curve((100, 60, 10), fingerprint="1" * 16, hardware="gaussian on w"),
        "b": curve((100, 90, 41), fingerprint="2" * 16, hardware="log-normal on w"),
        "c": curve((100, 70, 20), fingerprint="1" * 16, hardware="gaussian on w", excluded_chips=(7,)),
    }
    assert list(statement(curves, 0.9, "accuracy")) == [
        "These runs were measured on different hardware, so their chips are not the same, and they are ranked only "
        "among runs of one hardware.",
        "On hardware 'gaussian on w', at sigma 0.15, 20% of chips with 'c' reach accuracy 0.9 or more "
        "(95% interval 13-29%); 'a': 10%.",
        "On hardware 'log-normal on w', at sigma 0.15, 41% of chips with 'b' reach accuracy 0.9 or more "
        "(95% interval 31-51%).",
        "'c' was trained on chip 7, which is left out.",
    ]


def test_runs_that_do_not_tell_their_hardware_stand_apart():
    curves = {"old": curve((100, 90, 41)), "new": curve((100, 60, 10), fingerprint="1" * 16, hardware="gaussian on w")}
    first, new, old = statement(curves, None, "accuracy")
    assert first.startswith("For some of these runs it was not recorded on which hardware they were measured")
    assert new.startswith("On hardware 'gaussian on w', at sigma 0.15, the mean accuracy of 'new'")
    assert old.startswith("On hardware that was not recorded, at sigma 0.15, the mean accuracy of 'old'")
    (only,) = statement({"one": curves["old"], "two": curves["old"]}, None, "accuracy")
    assert only.startswith("At sigma 0.15, the mean")


def test_sentences_name_a_few_of_many_runs():
    curves = {f"r{n}": curve((100, 90, n % 90), excluded_chips=(7,)) for n in range(1000)}
    (result, without) = statement(curves, 0.9, "accuracy")
    assert result.startswith("At sigma 0.15, 89% of chips with 'r89' reach accuracy 0.9 or more")
    assert result.endswith(" and 987 more.")
    assert without.endswith(" and 988 more were trained on chip 7, which is left out.")
    assert len(result) < 500


def test_the_strength_at_which_runs_differ_most_is_told():
    assert telling_sigma({"a": curve((100, 20, 10)), "b": curve((100, 90, 30))}, 0.9) == 0.1
    assert telling_sigma({"a": curve((100, 20, 10)), "b": curve((100, 20, 10))}, 0.9) == 0.15


def test_many_runs_are_compared_with_the_first_of_their_hardware():
    from limpet.tensorboard import LoggedRun
    from limpet.tensorboard._report_answers import MAX_COMPARED, report_answers

    runs = {f"r{n:02d}": LoggedRun(f"r{n:02d}", {"accuracy": {1: curve((9, 5, n))}}) for n in range(MAX_COMPARED + 1)}
    found = report_answers(runs)["difference"]["accuracy"]
    assert set(found["r00"]) == set(runs) - {"r00"}
    assert set(found["r05"]) == {"r00"}
    np.testing.assert_allclose(found["r00"]["r05"]["difference"][2], 0.45 * 5 / 100)
    for place, name in enumerate(runs):
        fingerprint = "odd" if place % 2 else "even"
        runs[name].curves["accuracy"][1] = curve((9, 5, 1), fingerprint=fingerprint)
    found = report_answers(runs)["difference"]["accuracy"]
    assert set(found["r01"]) == {"r03", "r05", "r07", "r09", "r11"}
    assert all("error" not in answer for answers in found.values() for answer in answers.values())


def test_a_run_adds_little_to_a_report():
    """A thousand runs of 100 chips at 6 strengths stay below 15 MB, 5 of which are plotly's script."""
    from limpet.tensorboard import LoggedRun
    from limpet.tensorboard._report_answers import report_answers

    values = np.random.default_rng(0).random((20, 6, 100))
    sigmas = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]
    curves = [limpet.RobustnessCurve("accuracy", sigmas, of_run, fingerprint="1" * 16) for of_run in values]
    runs = {f"run{n}": LoggedRun(f"run{n}", {"accuracy": {1: curve}}) for n, curve in enumerate(curves)}
    start = time.process_time()
    text = json.dumps(report_answers(runs), separators=(",", ":"))
    assert len(text) < 20 * 9_500
    assert time.process_time() - start < 20 * 0.02


def test_scripts_are_joined_each_once_with_what_they_import_first():
    script = one_script("report.js")
    order = re.findall(r"^const module_(\w+) = \(\(\) =>", script, re.MULTILINE)
    assert len(order) == len(set(order))
    assert order[-1] == "report"
    assert {f"{name}.js" for name in order} == {
        name for name in page_files() if name.endswith(".js") and name != "tab.js"
    }


def test_the_report_needs_no_jax(logdir, tmp_path):
    code = (
        "import sys, warnings; warnings.simplefilter('ignore');"
        "from limpet.tensorboard import write_report; import limpet.tensorboard._plugin;"
        f"write_report({str(logdir)!r}, {str(tmp_path / 'r.html')!r});"
        "print([name for name in ('jax', 'rockpool', 'flax', 'tensorflow', 'torch') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
