"""What README shows is what happens: its first program runs when pasted, its configuration holds, its links lead on."""

import re
import subprocess
import sys
from pathlib import Path

import limpet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language, after):
    match = re.search(rf"{re.escape(after)}.*?```{language}\n(.*?)```", README, re.DOTALL)
    assert match, f"no {language} block after {after!r}"
    return match[1]


def test_the_fifteen_lines_run_when_pasted_and_print_what_is_shown(tmp_path):
    program, shown = block("python", "## Fifteen lines"), block("text", "## Fifteen lines")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    # The last digits may be another machine's; the table is the same to two digits of each accuracy.
    rows = [[line.split() for line in text.splitlines()[2:]] for text in (ran.stdout, shown)]
    assert ran.stdout.splitlines()[:2] == shown.splitlines()[:2]
    for printed, expected in zip(*rows, strict=True):
        assert all(abs(float(a) - float(b)) < 0.01 for a, b in zip(printed, expected, strict=True))
    assert not list(tmp_path.iterdir())


def test_the_configuration_holds(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(block("yaml", "## Three lines"))
    config = limpet.load_config(path)
    assert list(config.hardware.parts) == ["weights", "currents"]


def test_links_lead_somewhere():
    pages = (*ROOT.glob("*.md"), *ROOT.glob("examples/**/*.md"), ROOT / "tests/benchmarks/README.md")
    for page in pages:  # those of docs/ are checked when the site is built
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", text):
            if target and "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]*)\)", text):
            if "://" in target:
                continue
            linked = (page.parent / target).read_text() if target else text
            headings = re.findall(r"^#+ (.*)$", linked, re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def test_it_is_short():
    assert len(README.splitlines()) <= 150
