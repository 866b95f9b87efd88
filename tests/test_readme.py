"""README is short, and links lead on. (`tests/docs` runs what it shows.)"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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
