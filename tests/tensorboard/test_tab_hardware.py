"""The Robustness tab and the report where runs were measured on different hardware, or on hardware not recorded."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browser import chromium, console_errors, get, tensorboard, texts, until, wait
from logged_curves import ANALOG, BEYOND, MEMRISTIVE, curve
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from limpet.tensorboard import CurveWriter, start_run, write_report

pytestmark = pytest.mark.long  # TensorBoard is started

FIRST_VERSION = Path(__file__).parents[1] / "data" / "first_version"
PAIR = ("standard", "mismatch")
FILLED = "[...document.querySelectorAll('td[data-column=step]')].some(({ textContent }) => /[0-9]/.test(textContent))"
"""Whether the numbers in the table of runs are there."""


def log(logdir, *curves, prefix="", resume=None):
    writer = start_run(logdir, prefix=prefix, resume=resume)
    for place, evaluation in enumerate(curves):
        writer.curve(evaluation, (resume or 0) + 100 * place, target=0.9)
    writer.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`one`: two runs of one hardware. `mixed`: the same, one of another hardware and one of the first version."""
    root = tmp_path_factory.mktemp("hardware")
    for folder in (root / "one", root / "mixed"):
        log(folder / "standard", curve(1.0), curve(0.9), curve(0.9))
        log(folder / "standard", curve(0.8), resume=100)  # over what was logged of steps 100 and 200
        log(folder / "mismatch", curve(0.7), curve(0.4, chips=39, excluded_chips=(17,)), prefix="mine/")
    writer = CurveWriter(root / "one" / "standard")
    writer.limits(BEYOND, 100)
    writer.close()
    log(root / "mixed" / "memristive", curve(0.9, hardware=MEMRISTIVE))
    shutil.copytree(FIRST_VERSION, root / "mixed" / "old", ignore=shutil.ignore_patterns("*.npz"))
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def address_of(logdir, runs, *flags):
    def known(address):
        return len(json.loads(get(f"{address}/data/plugin/limpet/runs")[1])["runs"]) == runs

    with tensorboard(logdir, *flags) as address:
        until(lambda: known(address))
        yield address


@pytest.fixture(scope="module")
def one(root):
    yield from address_of(root / "one", 2)


@pytest.fixture(scope="module", params=["true", "false"])
def mixed(root, request):
    yield from address_of(root / "mixed", 4, f"--load_fast={request.param}")


def open_tab(browser, address):
    browser.switch_to.default_content()
    browser.get("about:blank")
    console_errors(browser)  # of a page whose server is gone
    browser.get(f"{address}/#limpet")
    wait(browser, "document.querySelector('iframe')?.contentDocument?.querySelector('.plot')?.data?.length > 0")
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    wait(browser, FILLED)


def show_only(browser, *runs):
    for box in browser.find_elements(By.CSS_SELECTOR, "tbody input"):
        run = box.find_element(By.XPATH, "ancestor::tr").get_attribute("data-run")
        if box.is_selected() != (run in runs):
            box.click()
    until(lambda: set(texts(browser, "tr:not(.off) .run-name")) == set(runs))


def hardware_column(browser):
    """Text and title of each run's cell; empty where the column is not shown."""
    script = """return Object.fromEntries([...document.querySelectorAll('tr[data-run]')]
    .map((row) => [row.dataset.run, row.querySelector('[data-column=hardware]')])
    .filter(([, cell]) => cell.offsetWidth > 0).map(([run, cell]) => [run, [cell.textContent, cell.title]]));"""
    return browser.execute_script(script)


def ask(address, route, **parameters):
    status, body = get(f"{address}/data/plugin/limpet/{route}?{urlencode(parameters, doseq=True)}")
    assert status == 200, body
    return json.loads(body)


def test_the_runs_route_tells_hardware(mixed):
    answer = ask(mixed, "runs")
    told = {run: metrics["accuracy"] for run, metrics in answer["runs"].items()}
    assert {run: (told[run]["fingerprint"], told[run]["hardware"]) for run in told} == {
        "standard": (ANALOG["fingerprint"], ANALOG["hardware"]),
        "mismatch": (ANALOG["fingerprint"], ANALOG["hardware"]),
        "memristive": (MEMRISTIVE["fingerprint"], MEMRISTIVE["hardware"]),
        "old": ("", ""),
    }
    assert told["mismatch"]["excluded"] == "trained on chip 17, which is left out"
    assert told["standard"]["excluded"] == ""
    assert answer["hardware_names"][""] == "not recorded"


def test_a_curve_is_found_under_any_prefix_and_with_other_metadata(mixed):
    found = ask(mixed, "evaluations", metric="accuracy", run="mismatch")
    assert found["steps"] == [0, 100]  # 40 chips, then 39: two tags, one series
    assert found["same_chips"] is False
    assert ask(mixed, "evaluations", metric="accuracy", run="standard")["same_chips"] is True


def test_what_is_resumed_over_is_dropped_by_either_loader(mixed):
    found = ask(mixed, "evaluations", metric="accuracy", run="standard")
    assert found["steps"] == [0, 100]
    assert found["mean"][1] == pytest.approx(curve(0.8).mean().tolist())


def test_the_first_version_is_shown(mixed):
    found = ask(mixed, "evaluations", metric="accuracy", run="old")
    assert found["steps"] == [0, 100]
    assert found["chips"] == 40
    assert found["same_chips"] is True


def test_runs_of_different_hardware_are_not_subtracted(mixed):
    def difference(first, second):
        return ask(mixed, "difference", metric="accuracy", first=first, second=second)

    assert "differ in hardware" in difference("standard", "memristive")["error"]
    assert difference("standard", "mismatch")["same_chips"] is True
    assert difference("standard", "mismatch")["chips"] == 39
    assert difference("standard", "old")["same_chips"] is False


def test_runs_of_one_hardware_are_not_marked(browser, one):
    open_tab(browser, one)
    assert hardware_column(browser) == {}
    assert not browser.find_element(By.ID, "hardware-note").is_displayed()
    assert texts(browser, "#excluded-note") == ["mismatch: trained on chip 17, which is left out."]
    until(lambda: "on the same 39 chips" in texts(browser, "section:has(#second)")[0])
    assert "the same chips under two runs" in texts(browser, "section:has(#second)")[0]
    assert console_errors(browser) == []


def limits_table(browser):
    return [texts(browser, f"table.limits tbody tr:nth-child({row}) td") for row in (1, 2)]


LIMITED = [["<i>b</i>", "none to 0 (report)", "50%", "1 of 40"], ["w", "0 to 4 (clip)", "25%", "40 of 40"]]


def test_values_beyond_limits_are_shown_at_the_chosen_sigma(browser, one, root, tmp_path):
    open_tab(browser, one)
    Select(browser.find_element(By.ID, "sigma")).select_by_value("0.1")
    until(lambda: texts(browser, "section:has(#limits-run) .hint") == ["at sigma 0.1, step 100"])
    assert limits_table(browser)[0] == ["w", "0 to 4 (clip)", "< 0.1%", "3 of 40"]
    Select(browser.find_element(By.ID, "sigma")).select_by_value("0.2")
    until(lambda: limits_table(browser) == LIMITED)
    show_only(browser, "mismatch")
    until(lambda: not browser.find_element(By.CSS_SELECTOR, "section:has(#limits-run)").is_displayed())
    assert console_errors(browser) == []
    write_report(root / "one", tmp_path / "report.html")
    browser.switch_to.default_content()
    browser.get((tmp_path / "report.html").as_uri())
    wait(browser, FILLED)
    Select(browser.find_element(By.ID, "sigma")).select_by_value("0.2")
    until(lambda: limits_table(browser) == LIMITED)
    assert "Counted as the 40 virtual chips would be" in texts(browser, "section:has(#limits-run)")[0]
    assert console_errors(browser) == []


def test_runs_of_different_hardware_are_marked(browser, mixed):
    open_tab(browser, mixed)
    column = hardware_column(browser)
    assert column["standard"] == ["gaussian, sigma 1 on dense/kernel (64x10)", ANALOG["hardware"]]
    assert column["memristive"][1] == MEMRISTIVE["hardware"]
    assert column["old"] == ["not recorded", "not recorded"]
    (note,) = texts(browser, "#hardware-note")
    assert note.startswith("The runs shown were measured on different hardware")
    # Two runs of one hardware are there, so the panel begins with them.
    until(lambda: "on the same 39 chips" in texts(browser, "section:has(#second)")[0])
    show_only(browser, "standard", "old")
    until(lambda: "For some of the runs shown it was not recorded" in texts(browser, "#hardware-note")[0])
    until(lambda: "pairs of chips" in texts(browser, "section:has(#second)")[0])
    assert "same chips" not in texts(browser, "section:has(#second) .hint")[0]
    show_only(browser, "standard", "memristive")
    until(lambda: "The curves differ in hardware" in texts(browser, "section:has(#second)")[0])
    assert "same" not in texts(browser, "section:has(#second) .hint")[0]
    assert not browser.find_element(By.CSS_SELECTOR, "section:has(#second) .plot").is_displayed()
    show_only(browser, *PAIR)
    until(lambda: hardware_column(browser) == {})
    assert not browser.find_element(By.ID, "hardware-note").is_displayed()
    assert console_errors(browser) == []


def test_the_report_ranks_only_runs_of_one_hardware(root, tmp_path, browser):
    write_report(root / "mixed", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    result = text[text.index('<div class="result">') : text.index('<div id="charts">')]
    lines = [line for line in result.splitlines() if line.startswith("<p>")]
    assert lines[0].startswith("<p>These runs were measured on different hardware")
    said = {run: [line for line in lines[1:] if f"&#x27;{run}&#x27;" in line] for run in (*PAIR, "memristive", "old")}
    assert said["standard"][0] == said["mismatch"][0]
    assert said["memristive"][0].startswith(
        "<p>On hardware &#x27;log-normal, sigma 1 on dense/kernel (64x10)&#x27;, at"
    )
    assert said["old"][0].startswith("<p>On hardware that was not recorded, at")
    assert said["mismatch"][1] == "<p>&#x27;mismatch&#x27; was trained on chip 17, which is left out.</p>"
    assert len({tuple(lines_of) for lines_of in said.values()}) == 4
    assert f"<p>{ANALOG['hardware']} (measured on it: mismatch, standard)</p>" in text
    assert "<p>not recorded (measured on it: old)</p>" in text
    browser.switch_to.default_content()
    browser.get("about:blank")
    console_errors(browser)
    browser.get((tmp_path / "report.html").as_uri())
    wait(browser, FILLED)
    assert hardware_column(browser)["old"][0] == "not recorded"
    assert console_errors(browser) == []
