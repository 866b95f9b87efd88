"""Every block of README and the documentation runs as written, and prints what is shown; or says why it does not run.

The Python blocks of a page are one program. A block of text that follows one is what it prints, but for the last
digits, which may be another machine's. A block of YAML with a title is a file; one that says `hardware` is read as a
configuration. A block of bash runs `limpet` commands. `<!-- not run: why -->` stands before what is not run.
`LIMPET_WRITE_PAGES=1 python -m pytest tests/docs` writes down what was printed.
"""

import io
import os
import re
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import limpet
from limpet.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["README.md", *sorted(page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md"))]
LONG = {
    f"docs/{page}.md"
    for page in (
        "guides/rockpool guides/dynapse guides/calibration guides/sensitivity guides/converters guides/signoff "
        "coming-from/rockpool"
    ).split()
}
"""Pages that train or measure for more than a few seconds."""
BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- not run: (?P<reason>[^\n]+) -->\n+ *)?"
    r"```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?%?")


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    options: str
    text: str
    reason: str | None
    place: tuple[int, int]


def blocks_of(page: str) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page):
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(match["language"], match["options"], text, match["reason"], match.span("text")))
    return found


def assert_alike(printed: str, shown: str) -> None:
    """Equal but for numbers that differ a little; `...` stands for anything."""
    assert len(printed.split()) == len(shown.split()), printed
    for word, expected in zip(printed.split(), shown.split(), strict=True):
        bare, wanted = (NUMBER.findall(text) for text in (word, expected))
        if "..." in expected:
            continue
        assert NUMBER.sub("#", word) == NUMBER.sub("#", expected), printed
        for one, other in zip(bare, wanted, strict=True):
            values = [float(text.replace(",", "").removesuffix("%")) for text in (one, other)]
            assert values[0] == pytest.approx(values[1], rel=0.03, abs=2.5 if one.endswith("%") else 0.02), printed


@pytest.mark.parametrize(
    "name", [pytest.param(page, marks=pytest.mark.long) if page in LONG else page for page in PAGES]
)
def test_what_a_page_shows_is_what_happens(name, tmp_path, monkeypatch):
    page = (ROOT / name).read_text()
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed, written = None, []
    for block in blocks_of(page):
        if block.reason:
            continue
        if block.language == "python":
            with redirect_stdout(io.StringIO()) as output:
                exec(compile(block.text, name, "exec"), namespace)
            printed = output.getvalue()
        elif block.language == "yaml":
            title = re.search(r'title="([^"]+)"', block.options)
            path = tmp_path / (title[1] if title else "config.yaml")
            path.write_text(block.text)
            if re.search("^hardware:", block.text, re.MULTILINE):
                limpet.load_config(path)
        elif block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                command = shlex.split(line, comments=True)
                if not command:
                    continue
                assert command[0] == "limpet", f"{line}: run another command, or say why it is not run"
                with redirect_stdout(io.StringIO()) as output:
                    assert main(command[1:]) == 0, line
                printed = output.getvalue()
        elif block.language == "text" and printed is not None:
            if os.environ.get("LIMPET_WRITE_PAGES"):
                written.append((block.place, printed))
            else:
                assert_alike(printed, block.text)
            printed = None
    for (start, end), text in reversed(written):
        page = page[:start] + text.rstrip() + "\n" + page[end:]
    if written:
        (ROOT / name).write_text(page)


def test_a_shown_number_that_is_not_what_is_printed_is_seen():
    assert_alike("mean 0.953 of 100", "mean 0.951 of 100")
    with pytest.raises(AssertionError):
        assert_alike("mean 0.953 of 100", "mean 0.75 of 100")
    with pytest.raises(AssertionError):
        assert_alike("mean 0.953", "worst 0.953")


def test_every_public_name_is_on_a_page_of_the_reference():
    shown = set(
        re.findall(
            r"^::: (limpet\.[\w.]+)$", "\n".join(p.read_text() for p in DOCS.glob("reference/api/*.md")), re.MULTILINE
        )
    )
    top = {name: getattr(limpet, name) for name in limpet.__all__}
    modules = {name: value for name, value in top.items() if isinstance(value, ModuleType)}
    public = {f"limpet.{name}" for name in top.keys() - modules.keys()}
    for folder, module in modules.items():
        public |= {
            f"limpet.{folder}.{name}"
            for name, value in vars(module).items()
            if name[0] != "_" and not isinstance(value, ModuleType) and top.get(name) is not value
        }
    assert public == shown


def test_links_of_tutorials_lead_to_pages():
    """Those of the pages are checked when the site is built; notebooks name the pages that are built."""
    for tutorial in DOCS.glob("tutorials/*.py"):
        for target in re.findall(r"\]\(([^)#\s]+)", tutorial.read_text()):
            page = (tutorial.parent / target).resolve()
            written = {DOCS / "evidence.html"}  # out of the repository, when the site is built
            assert page in written or any(page.with_suffix(end).exists() for end in (".md", ".py")), target
