"""Configurations that no person wrote are refused in little time and memory, and in words; so are overrides."""

import contextlib
import os
import time
import tracemalloc

import pytest
import yaml

import limpet
from limpet.cli import main
from limpet.config import _parsed_text
from limpet.config._parsed_text import MAX_BYTES, MAX_DEPTH, MAX_VALUES

SECONDS = 2.0
"""Of process time, in which a configuration is read or refused."""
BYTES = 300e6
HARDWARE = "hardware: {weights: {leaves: '*/kernel', sigma: 0.1}}\n"
TOML = '[hardware.weights]\nleaves = "*/kernel"\nsigma = 0.1\n'
NINES = ["&a0 [x, x, x, x, x, x, x, x, x]"] + [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
MERGES = ["&a0 {x: 1}"] + [f"&a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9)]
KEYS = ", ".join(f"k{i}: 1" for i in range(900))
HOSTILE = {
    "a bomb of aliases": (f"train: [{', '.join(NINES)}]", "too many values"),
    "an anchor within itself": ("train: &a {b: [*a]}", "it is nested too deeply"),
    "merges of one mapping": (f"train: [&a {{{KEYS}}}, {{<<: [{'*a, ' * 900}]}}]", "it merges too many keys"),
    "two merges": ("train: [&a {x: 1}, {<<: *a, <<: *a}]", "the key '<<' stands twice"),
    "brackets": (f"train: {'[' * 100_000}", "it is nested too deeply; allowed are 50 levels"),
    "indentation": ("train:\n" + "".join(f"{' ' * (i + 1)}a:\n" for i in range(500)), "it is nested too deeply"),
    "keys of the whole": ("".join(f"k{i}: 1\n" for i in range(9000)), "9,001 keys; allowed are 1,000 at most"),
    "unknown keys": ("".join(f"k{i}: 1\n" for i in range(900)), "900 problems, the first 20 of which are"),
    "keys": ("".join(f"k{i}: 1\n" for i in range(50_000)), "too many values"),
    "a key that stands twice": (
        "train:\n" + "".join(f"  k{i}: 1\n" for i in range(9000)) + "  k0: 1",
        "the key 'k0' stands twice",
    ),
    "a list of 10 MB": (f"train: [{'1, ' * 3_500_000}]", "is too large for a configuration; allowed are 500,000 b"),
    "a list of half a MB": (f"train: [{'1,' * 240_000}]", "too many values"),
    "wrong entries": (f"robustness: {{scales: [{'x, ' * 18_000}]}}", "18000 problems"),
    "unknown parts": (f"training: {{dynamic: {{parts: [{', '.join(map(str, range(18_000)))}]}}}}", "18000 problems"),
    "boundaries": (
        f"training: {{dynamic: {{schedule: {{kind: piecewise, boundaries: [{'5, ' * 9000}], "
        f"factors: [{'1, ' * 9001}]}}}}}}",
        "must increase",
    ),
    "directives": ("%TAG !a! b\n" * 40_000, "more than 10 lines begin with %"),
    "a tag of a bool": ("train: !!bool perhaps", "a tag that begins with ! does not fit"),
    "a tag of a date": ("train: !!timestamp soon", "a tag that begins with ! does not fit"),
    "a tag of a number": ("train: !!int many", "does not fit what stands behind it (invalid literal"),
    "a tag of digits": (f"train: !!float {'9' * 3000}x", "does not fit what stands behind it (could not convert"),
    "a tag of a mapping": ("train: !!map [1]", "expected a mapping node"),
    "a tag of an object": ("train: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "a key that is a list": ("? [1, 2]\n: 3", "a key is a text"),
    "a key that is a set": ("? !!set {a}\n: 3", "a key is a text"),
    "digits": (f"train: {'9' * 4000}", "train: a whole number of more than 300 digits"),
    "digits of 16": (f"train: 0x{'f' * 100_000}", "train: a whole number of more than 300 digits"),
    "steps that no optimizer counts": (
        "training: {dynamic: {schedule: {kind: linear, steps: 3000000000}}}",
        "steps = 3000000000: allowed is a number <= 2147483647",
    ),
    "a long key": (f"? {'k' * 90_000}\n: 1", "unknown key"),
    "a long kind": (f"hardware: {{a: {{leaves: a, deviation: {'k' * 90_000}}}}}", "there is no such deviation"),
    "a long chain": (
        f"hardware: {{a: {{leaves: a, deviation: [{'{kind: gaussian, sigma: 1}, ' * 2000}]}}}}",
        "a chain of 2,000 deviations; allowed are 20 at most",
    ),
    "parts": (
        f"hardware: {{{', '.join(f'p{i}: {{}}' for i in range(4000))}}}",
        "hardware: 4,000 keys; allowed are 1,000 at most",
    ),
    "a character that is none": ("train: \0", "control characters are not allowed"),
}
HOSTILE_TOML = {
    "brackets": (f"x = {'[' * 50_000}", "it is nested too deeply"),
    "a dotted key": (f"{'a.' * 200_000}b = 1", "a key is nested too deeply"),
    "a dotted key of quoted words": ("\"a\". 'b' ." * 20_000 + "c = 1", "a key is nested too deeply"),
    "a dotted key in braces": (f"x = {{{'a.' * 200_000}b = 1}}", "a key is nested too deeply"),
    "tables": ("".join(f"[t{i}]\n" for i in range(50_000)), "too many values"),
    "a list": (f"x = [{'1,' * 240_000}]", "too many values"),
    "digits of 16": (f"x = 0x{'f' * 100_000}", "a whole number of more than 300 digits"),
    "a date": ("x = 2026-13-45", "cannot be parsed"),
    "a comment": (f"#{' ' * MAX_BYTES}", "is too large for a configuration"),
}
OVERRIDES = {
    "a deep key": (f"train.{'a.' * 100_000}b=1", f"the key is nested too deeply; allowed are {MAX_DEPTH} levels"),
    "a list": (f"train=[{'1,' * 200_000}]", "too many values"),
    "a value of 2 MB": (f"train={'x' * 2_000_000}", "the value is too large"),
    "a bomb of aliases": (f"train=[{', '.join(NINES)}]", "too many values"),
    "an anchor within itself": ("train=&a [*a]", "it is nested too deeply"),
    "brackets": (f"train={'[' * 5000}", "it is nested too deeply"),
    "a tag": ("train=!!bool x", "a tag that begins with ! does not fit"),
    "digits": (f"train={'9' * 4000}", "a whole number of more than 300 digits"),
    "bytes that are no text": ("train.\udcff=1", "holds characters that are none"),
    "the character 0": ("tensorboard.logdir=a\0b", "control characters are not allowed"),
}


def refusal(path, *overrides):
    """What is said of a configuration, which is refused within the bounds."""
    start = time.process_time()
    with pytest.raises(limpet.ConfigError) as caught:
        limpet.load_config(path, *overrides)
    assert time.process_time() - start < SECONDS
    said = str(caught.value)
    assert max(map(len, said.splitlines())) < 500
    return said


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_in_words(tmp_path, name):
    text, message = HOSTILE[name]
    path = tmp_path / "config.yaml"
    path.write_text((HARDWARE if not text.startswith(("%", "hardware")) else "") + text)
    assert message in refusal(path)


@pytest.mark.parametrize("name", HOSTILE_TOML)
def test_hostile_toml_is_refused_in_words(tmp_path, name):
    text, message = HOSTILE_TOML[name]
    path = tmp_path / "config.toml"
    path.write_text(TOML + text)
    assert message in refusal(path)


@pytest.mark.parametrize("name", OVERRIDES)
def test_hostile_overrides_are_refused_in_words(tmp_path, name):
    override, message = OVERRIDES[name]
    path = tmp_path / "config.yaml"
    path.write_text(HARDWARE)
    assert message in refusal(path, override)


def test_no_bomb_fills_the_memory(tmp_path):
    path = tmp_path / "config.yaml"
    tracemalloc.start()
    for name in ("a bomb of aliases", "merges of one mapping", "a list of half a MB", "keys"):
        path.write_text(HARDWARE + HOSTILE[name][0])
        tracemalloc.reset_peak()
        refusal(path)
        assert tracemalloc.get_traced_memory()[1] < BYTES / 10
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a bomb of aliases", "an anchor within itself", "brackets"])
def test_the_limits_hold_without_libyaml(tmp_path, monkeypatch, name):
    text, message = HOSTILE[name]
    monkeypatch.setattr(_parsed_text, "_Loader", yaml.SafeLoader)
    path = tmp_path / "config.yaml"
    path.write_text(HARDWARE + text)
    assert message in refusal(path)


def test_what_stays_within_the_limits_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"{HARDWARE}train: {{list: &a [{'1, ' * 9000}], again: *a, deep: {'[' * 40}1{']' * 40}}}")
    train = limpet.load_config(path, f"train{'.a' * 40}=1").train
    assert sum(train["list"]) == sum(train["again"]) == 9000
    assert train["list"] is not train["again"]
    path.write_text(f"{HARDWARE}train: [{', '.join(MERGES)}]")
    tracemalloc.start()
    with contextlib.suppress(limpet.ConfigError):  # PyYAML before 6.0.3 keeps each of equal keys that are merged
        assert limpet.load_config(path).train == [{"x": 1}] * 9
    assert tracemalloc.get_traced_memory()[1] < BYTES / 10
    tracemalloc.stop()
    assert MAX_VALUES > 2 * 9000


def test_paths_that_are_no_files(tmp_path):
    assert "cannot be read: embedded null byte" in refusal("a\0b.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "it is no regular file" in refusal(tmp_path / "pipe.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    assert "it is no regular file" in refusal(tmp_path / "endless.yaml")
    assert "File name too long" in refusal(tmp_path / f"{'x' * 300}.yaml")


def test_the_command_line_takes_a_path_that_is_no_text(tmp_path, capsys):
    path = tmp_path / os.fsdecode(b"config\xff.yaml")
    path.write_text(HARDWARE)
    assert main(["check", str(path)]) == 0
    assert "config\\udcff.yaml: valid" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a bomb of aliases", "keys of the whole", "unknown keys", "a tag of a date"])
def test_the_command_line_says_it_in_one_line(tmp_path, capsys, name):
    path = tmp_path / "config.yaml"
    path.write_text(HARDWARE + HOSTILE[name][0])
    assert main(["check", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("limpet check: error: ")
