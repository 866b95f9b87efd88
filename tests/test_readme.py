"""What README shows is what happens: its first program runs when pasted, its configuration holds, its links lead on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    path.write_text(block("yaml", "## What a chip is"))
    config = limpet.load_config(path)
    assert list(config.hardware.parts) == ["weights", "currents"]


def test_what_a_die_has_in_common_and_its_limits_run_as_shown(capsys, tmp_path):
    text = (ROOT / "examples/README.md").read_text()
    text = text[text.index("## What a die has in common") : text.index("## Deviations")]
    namespace = {}
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(program, namespace)
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert capsys.readouterr().out == shown
    path = tmp_path / "config.yaml"
    path.write_text(*re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    deviation = limpet.load_config(path).hardware.parts["neurons"].deviation
    assert isinstance(deviation, limpet.Chain)
    assert deviation.members[0] == limpet.Shared(limpet.LogNormal(sigma=0.05), across="chip")


def test_a_curve_over_time_is_as_shown(capsys):
    text = (ROOT / "examples/README.md").read_text()
    section = re.search(r"## Deviations.*?```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert section
    exec(section[1], {})
    printed, shown = (out.splitlines() for out in (capsys.readouterr().out, section[2]))
    assert printed[:2] == shown[:2]
    for row, expected in zip(printed[2:], shown[2:], strict=True):
        assert row.split()[:2] == expected.split()[:2]  # "1 day"
        numbers = ([float(word) for word in line.split()[2:]] for line in (row, expected))
        assert all(abs(a - b) < 0.02 for a, b in zip(*numbers, strict=True))


def test_links_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), ROOT / "tests/benchmarks/README.md"):
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


def test_chips_from_the_bench_run_when_pasted_and_print_what_is_shown(tmp_path):
    page = (ROOT / "examples/README.md").read_text()
    section = re.search(r"## Chips from the bench.*?```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert section
    ran = subprocess.run([sys.executable, "-c", section[1]], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    printed, shown = ran.stdout.split(), section[2].split()
    assert len(printed) == len(shown)
    for word, expected in zip(printed, shown, strict=True):
        bare = [text.strip("(),%") for text in (word, expected)]
        if re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", bare[1]):  # the last digits may be another machine's
            assert float(bare[0]) == pytest.approx(float(bare[1]), rel=0.02, abs=1.5 if "%" in expected else 1e-3)
        else:
            assert word == expected
