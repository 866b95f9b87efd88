"""Configurations by chance: each is refused in words, or it resolves and says what it is."""

import json
import time

import yaml
from chance import case, cases, damaged

import limpet
from limpet.config._hparams import hparams_of
from limpet.config._overview import overview

SECONDS = 2.0
"""Of process time, in which a configuration is read or refused."""
TOML = """seed = 3
[hardware.w]
leaves = ["*/kernel", "head/*"]
percent_deviation = 0.3
[training.dynamic]
schedule = {kind = "linear", steps = 300, begin = 2}
[robustness]
scales = [0, 0.5, 1e0]
target = {accuracy = 0.9}
[train]
date = 2026-01-01T00:00:00Z
"""
SCALARS = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**32, 2**63, 10**40, 0.0, -0.0, 0.1, 1e-320, 1e9, 1e308),
    *(float("inf"), float("nan"), "", " ", "x", "*/kernel", "*", "[", "fresh", "linear", "gaussian", "log-normal"),
    *(
        "dynapse-weights",
        "dynapse",
        "accuracy",
        "loss",
        "json:JSONDecoder",
        "no.such:Thing",
        "$NO_SUCH_NAME/runs",
        "~nobody_of_this_name/runs",
        ":",
        "a\0b",
        "\u2028",
        "🦞",
    ),
    *("2026-13-45", "1e3", "0x10", "yes", "__proto__", "null", "a" * 300, "runs/x", "%", "{}", "\x1b[31m"),
]
KEYS = (
    "seed generator hardware training robustness tensorboard train leaves sigma percent_deviation sigma_rule deviation "
    "kind bound sigma_vth sigma_log dynamic frozen parts scale schedule gradient chip start end steps begin boundaries "
    "factors factor scales chips every_steps target higher_is_better logdir flush_steps prefix accuracy weights x"
).split()
BASES = [
    {
        "seed": 1,
        "hardware": {
            "weights": {"leaves": "*/kernel", "sigma": 0.1},
            "currents": {"leaves": {"*/bias": True}, "deviation": {"kind": "log-normal", "sigma": 0.1}},
            "rest": {"leaves": ["a", "b"], "percent_deviation": 0.3, "sigma_rule": 2, "deviation": "gaussian"},
            "chain": {"leaves": "c", "deviation": [{"kind": "truncated-gaussian", "sigma": 0.1, "bound": 2}]},
        },
        "training": {
            "dynamic": {"parts": ["weights"], "scale": 2.5, "schedule": {"kind": "linear", "steps": 300}},
            "frozen": {"parts": ["currents"], "chip": "fresh", "gradient": "straight_through"},
        },
        "robustness": {"scales": [0, 0.5], "chips": 10, "target": 0.9, "higher_is_better": {"loss": False}},
        "tensorboard": {"logdir": "runs/x", "flush_steps": 3, "prefix": "a/"},
        "train": {"steps": 3, "rates": [1e-3, 1e-4]},
    },
    {
        "hardware": {"w": {"leaves": "*", "sigma": 0.1}},
        "training": {
            "dynamic": {"schedule": {"kind": "piecewise", "boundaries": [3, 6], "factors": [0, 0.5, 1]}},
        },
    },
    {"hardware": {"w": {"leaves": "*", "sigma": 0}}, "training": {"frozen": {"chip": 3, "seed": 2}}},
    {
        "hardware": {"w": {"leaves": "*", "sigma": 0.1}},
        "training": {"dynamic": {"schedule": {"kind": "cosine", "steps": 5}}},
    },
]


TAGS = "bool int float null str seq map set omap pairs binary timestamp merge value python/name:os.system x".split()
MARKS = ["&a ", "*a ", "!!int ", "!!set ", "!x ", "<<: ", "? ", "- ", "| ", "%", "---\n", "{", "[", "\t", "'"]
NO_VALUES = ["<<", "%TAG ! x", "!!", "&", "*", "@", "`", "'\\x'", '"\\ud800"', '"\\x00"', "!<tag:x> 1", "|2", ">-"]
WEIGHTS = "hardware: {w: {leaves: '*', sigma: 0.1}}\n"
PLACES = ["train:", "seed:", "robustness:\n  scales:", "training:\n  dynamic:\n    parts:", "tensorboard:\n  logdir:"]
PLACES += ["training:\n  dynamic:\n    schedule:", "robustness:\n  target:", "x:", "train:\n  - &a9 x\n  - "]
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def anything(rng, depth=0):
    """A value of any kind."""
    match rng.randrange(8 if depth < 3 else 5):
        case 5 | 6:
            return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 7:
            return {rng.choice([*KEYS, *SCALARS]): anything(rng, depth + 1) for _ in range(rng.randrange(4))}
        case _:
            return rng.choice(SCALARS)


def changed(value, rng):
    """A configuration's values, some of them replaced, taken away, renamed or added."""
    if rng.random() < 0.02:
        return anything(rng)
    if isinstance(value, dict):
        made = {key: changed(part, rng) for key, part in value.items() if rng.random() > 0.01}
        if rng.random() < 0.06:
            made[rng.choice(KEYS)] = anything(rng)
        return made
    return [changed(part, rng) for part in value] if isinstance(value, list) else value


def hostile_value(rng, depth=0):
    """A value in YAML that means more than it says: tagged, shared, repeated, deep, long, or no value at all."""
    scalar = rng.choice(["x", "3", "1e3", "soon", "2026-13-45", "2026-02-30T25:00:00Z", "''", "'*/w'", "~", "=", "<<"])
    inner = scalar if depth > 3 or rng.random() < 0.5 else hostile_value(rng, depth + 1)
    many = rng.choice([2, 30, 300, 3000])
    match rng.randrange(11):
        case 0 | 1:
            return f"!!{rng.choice(TAGS)} {inner}"
        case 2:
            return f"[&a{depth} {inner}, {', '.join([f'*a{depth}'] * min(many, 30))}]"
        case 3:
            return f"&a{depth} [{inner}, *a{rng.randrange(depth + 2)}]"
        case 4:
            return f"{{&a{depth} k: {inner}, <<: [{{a: 1}}, *a{depth}]}}"
        case 5:
            return "[" * min(many, 300) + inner + "]" * rng.choice([min(many, 300), 1])
        case 6:
            return f"[{', '.join([inner] * min(many, 3000 // (1 + len(inner))))}]"
        case 7:
            return f"{{{', '.join(f'k{place % rng.choice([7, many])}: 1' for place in range(many))}}}"
        case 8:
            return rng.choice(["-", "", "0x"]) + rng.choice("19f") * many
        case 9:
            return f"{{? {inner} : 1, ? [{scalar}] : 2}}"
        case _:
            return rng.choice(
                ["<<", "%TAG ! x", "!!", "&", "*", "@", "`", "'\\x'", '"\\ud800"', '"\\x00"', "!<tag:x> 1", "|2", ">-"]
            )


def texts(rng):
    """Ending and text of a configuration, as it may lie in a file."""
    if rng.random() < 0.2:
        return ".toml", damaged(TOML.encode(), rng)
    if rng.random() < 0.25:
        return ".yaml", f"{WEIGHTS}{rng.choice(PLACES)} {hostile_value(rng)}\n".encode()
    style = {"Dumper": DUMPER, "allow_unicode": True, "default_flow_style": rng.choice([None, True])}
    text = yaml.dump(changed(rng.choice(BASES), rng), **style)
    content = text.encode("utf-8", errors="surrogatepass")
    if rng.random() < 0.4:
        content = damaged(content, rng)
    if rng.random() < 0.15:  # the marks that YAML gives a meaning, where they are least expected
        place = rng.randrange(len(content) + 1)
        mark = rng.choice(
            ["&a ", "*a ", "!!int ", "!!set ", "!x ", "<<: ", "? ", "- ", "| ", "%", "---\n", "{", "[", "\t", "'"]
        )
        content = content[:place] + mark.encode() + content[place:]
    return ".yaml", content


def overrides(rng):
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        key = ".".join(rng.choice(KEYS) for _ in range(rng.randrange(1, 4)))
        value = rng.choice([str(rng.choice(SCALARS)), json.dumps(anything(rng), default=str), hostile_value(rng)])
        yield f"{key}={value}"


def test_a_configuration_is_refused_in_words_or_resolves(tmp_path):
    accepted = refused = 0
    for seed, rng in cases(2000):
        with case(seed):
            ending, content = texts(rng)
            path = tmp_path / f"{seed}{ending}"
            path.write_bytes(content)
            start = time.process_time()
            try:
                config, said = limpet.load_config(path, *overrides(rng)), "read"
            except limpet.ConfigError as error:
                config, said = None, str(error)
            assert said.strip()
            assert max(map(len, said.splitlines())) < 2000
            if config is None:
                refused += 1
            else:
                accepted += 1
                assert config.describe()
                assert overview(config).keys() == {"seed", "hardware", "training", "robustness", "tensorboard", "train"}
                assert hparams_of(config)
                assert json.dumps(config.model_dump(), default=str)
                assert {*config.dynamic_parts, *config.frozen_parts} <= set(config.hardware.parts)
            assert time.process_time() - start < SECONDS
    assert accepted + refused == 1 or min(accepted, refused) > (accepted + refused) / 20
