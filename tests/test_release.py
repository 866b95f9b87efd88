"""What is said in several files at a release is the same in all of them, and what nobody runs here can be read."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import limpet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere():
    released = re.findall(r"^## (?:(Unreleased)|(\S+) - (\S+))$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert released[0] == ("Unreleased", "", "")
    assert released[1] == ("", limpet.__version__, citation["date-released"])
    assert citation["version"] == limpet.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_workflows_test_the_pythons_that_are_declared():
    declared = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name]
    tests, release = (
        yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"] for name in ("tests", "release")
    )
    assert release["install"]["strategy"]["matrix"]["python"] == declared
    tested = {row["python"]: row["versions"] for row in tests["tests"]["strategy"]["matrix"]["include"]}
    assert tested == {declared[0]: "oldest", declared[-1]: "newest"}
    assert PROJECT["requires-python"] == f">={declared[0]}"


@pytest.mark.parametrize(
    "file", [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"], ids=lambda f: f.name
)
def test_files_for_github_can_be_read(file):
    content = yaml.safe_load(file.read_text())
    assert isinstance(content, dict)
    if file.parent.name == "ISSUE_TEMPLATE" and file.name != "config.yml":
        assert {"name", "description", "body"} <= content.keys()
        identifiers = [field["id"] for field in content["body"]]
        assert len(set(identifiers)) == len(identifiers)


def test_addresses_are_of_one_home():
    for file in ("pyproject.toml", "CITATION.cff", "SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"):
        named = set(re.findall(r"(?:github\.com/|//)([\w-]+)(?:\.github\.io)?/limpet", (ROOT / file).read_text()))
        assert named == {"limpet-dev"}, file


@pytest.mark.parametrize("extra", ["bench", "orbax"])
def test_the_tests_and_their_examples_have_what_is_optional(extra):
    asked = PROJECT["optional-dependencies"]
    assert any("limpet[" in line and extra in line for line in asked["test"])
