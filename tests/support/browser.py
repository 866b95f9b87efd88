"""A headless Chromium and a TensorBoard for tests, each started once per module."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --window-size=1400,1200""".split()
PATIENCE = 60
"""Seconds after which something that should happen counts as not happening."""


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A browser that downloads to `folder`; skips the test where there is none, but never in CI."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        if "CI" in os.environ:
            pytest.fail("no Chromium: install the packages chromium and chromium-driver")
        pytest.skip("no Chromium: install the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def tensorboard(logdir: Path, *flags: str, path: Path | None = None) -> Iterator[str]:
    """TensorBoard as its users start it, on a free port: its address. `path` goes before the installed packages."""
    log = logdir.with_name(logdir.name + ".log")
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        f"--logdir={logdir}",
        "--port=0",
        "--reload_interval=1",
        *flags,
    ]
    environment = os.environ | ({} if path is None else {"PYTHONPATH": str(path)})
    with (
        log.open("w") as output,
        subprocess.Popen([*command, *flags], stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            yield until(lambda: re.search(r"at (http://\S+:\d+)/", log.read_text()))[1]
        finally:
            process.terminate()


def get(address: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until(condition):
    """What `condition` gives once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


def wait(browser, script: str):
    """What a script returns in the page once it is true."""
    return WebDriverWait(browser, PATIENCE, 0.1).until(lambda _: browser.execute_script(f"return {script}"))


def texts(browser, selector: str) -> list[str]:
    """The texts of all elements that a selector finds, read at one moment: charts are made anew as numbers come in."""
    script = "return [...document.querySelectorAll(arguments[0])].map(({textContent}) => textContent);"
    return browser.execute_script(script, selector)


def console_errors(browser) -> list[str]:
    """What the console has said since it was last asked, errors only."""
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
