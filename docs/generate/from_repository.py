"""Pages that stand elsewhere in the repository, with their links led to where they lie on the site."""

import posixpath
import re
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[2]
SOURCE = "https://github.com/limpet-dev/limpet/blob/main/"
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "examples/evidence/README.md": "evidence.md",
    "tests/benchmarks/README.md": "benchmarks.md",
}


def led(text: str, source: str, page: str) -> str:
    """A text with relative links that hold on the site: to other pages, to copied pictures, or to the source."""

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if "://" in target or target.startswith("mailto:") or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in PAGES:
            return f"]({posixpath.relpath(PAGES[path], posixpath.dirname(page) or '.')}{anchor})"
        if path.startswith("docs/"):
            return f"]({posixpath.relpath(path.removeprefix('docs/'), posixpath.dirname(page) or '.')}{anchor})"
        if path.endswith(".png"):
            name = f"assets/{posixpath.basename(path)}"
            with mkdocs_gen_files.open(name, "wb") as picture:
                picture.write((ROOT / path).read_bytes())
            return f"]({name}{anchor})"
        return f"]({SOURCE}{path}{anchor})"

    return re.sub(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", link, text)


for shown in (ROOT / ".github").glob("*.png"):  # those that pages of the site show themselves
    with mkdocs_gen_files.open(f"assets/{shown.name}", "wb") as file:
        file.write(shown.read_bytes())
for source, page in PAGES.items():
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(led((ROOT / source).read_text(), source, page))
    mkdocs_gen_files.set_edit_path(page, f"../{source}")
