"""Configuration files: everything that is wrong is said at once, by key path."""

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field

import limpet

PARAMS = {"layer": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}
WEIGHTS = "hardware: {weights: {leaves: '*/kernel', sigma: 0.1}}\n"
BOTH = "hardware: {weights: {leaves: '*/kernel', sigma: 0.1}, currents: {leaves: '*/bias', sigma: 0.2}}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "config.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path, *overrides: str) -> str:
    with pytest.raises(limpet.ConfigError) as caught:
        limpet.load_config(path, *overrides)
    return str(caught.value)


def test_yaml_and_toml_read_alike(write):
    yaml = write(
        "seed: 3\nhardware: {w: {leaves: ['*/kernel'], sigma: 1e-1}}\ntraining: {dynamic: {scale: 2}}\n"
        "robustness: {scales: [0, 0.1], chips: 1e1}\ntrain: {rate: 1e-3, name: 'on'}\n"
    )
    toml = write(
        "seed = 3\n[hardware.w]\nleaves = ['*/kernel']\nsigma = 1e-1\n[training.dynamic]\nscale = 2\n"
        "[robustness]\nscales = [0, 0.1]\nchips = 10\n[train]\nrate = 1e-3\nname = 'on'\n",
        "config.toml",
    )
    config = limpet.load_config(yaml)
    assert config == limpet.load_config(toml)
    assert config.hardware.parts["w"].deviation == limpet.Gaussian(0.1)
    assert config.train["rate"] == 0.001


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("1_000", 1000),
        ("1:30", "1:30"),
        (".inf", float("inf")),
        ("+3", 3),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(write, text, value):
    read = limpet.load_config(write(f"{WEIGHTS}train: {text}")).train
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("name", ["digits", "dynapse", "spoken_digits"])
def test_the_shipped_configurations_hold(request, name):
    path = request.config.rootpath / f"configs/{name}.yaml"
    config = limpet.load_config(path, "training={}", "robustness.chips=7")
    assert config.robustness.chips == 7
    assert config.dynamic_parts == config.frozen_parts == ()
    assert config.train["steps"] > 0
    assert limpet.load_config(path).dynamic_parts


def test_overrides_win_and_null_takes_back(write):
    path = write(f"{BOTH}training: {{dynamic: {{parts: [weights]}}, frozen: {{chip: fresh}}}}")
    config = limpet.load_config(
        path, "hardware.weights.sigma=null", "hardware.weights.percent_deviation=0.3", "training.frozen=null"
    )
    assert config.hardware.parts["weights"].deviation == limpet.Gaussian(0.1)
    assert config.training.frozen is None
    assert config.frozen_parts == ()


def test_null_takes_back_a_part_of_the_hardware(write):
    config = limpet.load_config(write(BOTH), "hardware.currents=null")
    assert list(config.hardware.parts) == ["weights"]
    assert "there is no such part; the parts are weights, currents" in refusal(write(BOTH), "hardware.x=null")


@pytest.mark.parametrize("leaves", ["*", "*/kernel", "*kernel", "'*/kernel'", "['*/kernel']"])
def test_globs_need_no_quotation_marks_in_overrides(write, leaves):
    config = limpet.load_config(write(WEIGHTS), f"hardware.weights.leaves={leaves}")
    assert "layer/kernel" in config.recipe(PARAMS).paths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: -1", "seed = -1: allowed is a number >= 0"),
        ("seed: 4294967296", "seed = 4294967296: allowed is a number <= 4294967295"),
        ("seed: 1:30", "seed = '1:30': a whole number is needed"),
        ("seed: 2026-01-01", "a whole number is needed"),
        ("generator: philox", "generator = 'philox': allowed are fast or threefry2x32"),
        ("training: dynamic", "training = 'dynamic': a section is needed, {} or some of the keys dynamic, frozen"),
        ("training: {dynamic: yes}", "training.dynamic = true: a section is needed, {} or some of the keys parts"),
        ("training: {dynamic: {parts: weights}}", "training.dynamic.parts = 'weights': a list is needed"),
        ("training: {dynamic: {parts: []}}", "training.dynamic.parts = []: the list is too short; 1 or more"),
        ("training: {dynamic: {parts: [weights, weights]}}", "each part may stand there once"),
        ("training: {dynamic: {parts: [wieghts]}}", "training.dynamic.parts[0] = 'wieghts': no such part"),
        (
            "training: {dynamic: {gradient: stop}}",
            "training.dynamic.gradient = 'stop': allowed are through, through_value or",
        ),
        ("training: {dynamic: {scale: -1}}", "training.dynamic.scale = -1: allowed is a number >= 0"),
        ("training: {dynamic: {scale: 1e300}}", "training.dynamic.scale = 1e+300: allowed is a number <= 1000"),
        ("training: {dynamic: {}, frozen: {chip: 1}}", "training: dynamic and frozen would both redraw all parts"),
        ("training: {dynamic: {parts: [weights]}, frozen: {chip: 1}}", "training.frozen: the other section names all"),
        ("training: {frozen: {parts: [weights], chip: 1}, dynamic: {}}", "training.dynamic: the other section names"),
        (
            "training: {dynamic: {parts: [weights]}, frozen: {parts: [weights], chip: 1}}",
            "training: weights stands in the parts of dynamic and of frozen",
        ),
        ("training: {frozen: {chip: -1}}", "training.frozen.chip = -1: allowed are fresh"),
        ("training: {frozen: {chip: true}}", "training.frozen.chip = true: allowed are fresh"),
        ("training: {frozen: {chip: '3'}}", "training.frozen.chip = '3': allowed are fresh"),
        ("training: {frozen: {chip: 4294967296}}", "a chip number, an integer from 0 to 4294967295"),
        ("training: {frozen: {}}", "training.frozen.chip: is missing"),
        ("training: {frozen: {chip: 1, schedule: {kind: cosine, steps: 5}}}", "chip 1 is one chip and stays as it is"),
        ("training: {dynamic: {schedule: {kind: linear}}}", "training.dynamic.schedule.steps: is missing"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 0}}}", "schedule.steps = 0: allowed is a number >= 1"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 1e10}}}", "allowed is a number <= 2147483647"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 1e20}}}", "steps = 1e+20: the number is too large"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 5, stop: 1}}}", "schedule.stop: unknown key"),
        ("training: {dynamic: {schedule: {steps: 5}}}", "give its kind, one of constant, linear, cosine, piecewise"),
        (
            "training: {dynamic: {schedule: {kind: linar}}}",
            "schedule.kind = 'linar': did you mean linear? allowed are constant,",
        ),
        ("training: {dynamic: }", "training.dynamic = null: nothing stands behind it; give {}"),
        ("training: {dynamic: {schedule: linear}}", "schedule = 'linear': a mapping with its kind is needed"),
        ("robustness:", "robustness = null: a section is needed"),
        ("robustness: {scales: 1}", "robustness.scales = 1: a list is needed"),
        ("robustness: {scales: [0.1, -1]}", "robustness.scales[1] = -1: allowed is a number >= 0"),
        ("robustness: {scales: [0.1, .nan]}", "robustness.scales[1] = nan: a finite number is needed"),
        ("robustness: {scales: [0.1, 0.1]}", "robustness.scales = [0.1, 0.1]: each scale may stand there once"),
        ("robustness: {chips: 0}", "robustness.chips = 0: allowed is a number >= 1"),
        ("robustness: {chips: 1.5}", "robustness.chips = 1.5: a whole number is needed"),
        ("robustness: {chips: 1e9}", "robustness.chips = 1000000000.0: allowed is a number <= 1000000"),
        ("robustness: {chips: true}", "robustness.chips = true: a number is needed"),
        ("robustness: {target: on}", "robustness.target = true: a number is needed"),
        ("robustness: {target: [0.9]}", "robustness.target = [0.9]: a number is needed"),
        ("robustness: {target: {accuracy: high}}", "robustness.target.accuracy = 'high': a number is needed"),
        ("robustness: {target: {accuracy: on}}", "robustness.target.accuracy = true: a number is needed"),
        ("robustness: {target: {1: 0.5}}", "robustness.target: allowed are values by the name of a metric, such as"),
        ("robustness: {target: {}}", "robustness.target = {}: allowed are values by the name of a metric, such as"),
        ("robustness: {higher_is_better: 1}", "robustness.higher_is_better = 1: true or false is needed"),
        ("robustness: {higher_is_better: {loss: 'no'}}", "higher_is_better.loss = 'no': true or false is needed"),
        ("tensorboard: runs", "tensorboard = 'runs': a section is needed"),
        ("tensorboard: {logdir: ''}", "tensorboard.logdir = '': the path of a directory is needed"),
        ("tensorboard: {logdir: 3}", "tensorboard.logdir = 3: the path of a directory is needed"),
        ("tensorboard: {logdir: ' '}", "tensorboard.logdir = ' ': the path of a directory is needed"),
        ("tensorboard: {prefix: ' '}", "tensorboard.prefix = ' ': allowed is a text that can be read"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 5, begin: on}}}", "begin = true: a number is needed"),
        ("training: {dynamic: {schedule: {kind: linear, steps: 5, end: 1e9}}}", "allowed is a number <= 1000"),
        ("tensorboard: {prefix: on}", "tensorboard.prefix = true: a text is needed"),
        (
            "training: {dynamic: {}, objective: {kind: varied, low: 2, high: 1}}",
            "objective.low = 2.0: allowed is a numb",
        ),
        (
            "training: {dynamic: {}, objective: {kind: varied, low: 1.5}}",
            "low = 1.5: allowed is a number up to high, wh",
        ),
        ("training: {dynamic: {time: {low: 1 day, high: 1 h}}}", "training.dynamic.time"),
        ("5: 1", "the key 5 is no text: put it in quotation marks"),
        ("on: 1", "the key true is no text"),
        (WEIGHTS, "the key 'hardware' stands twice"),
        ("train: *nope", "found undefined alias (a text that begins with * or & stands in quotation marks)"),
        ("train: &a [*a]", "it is nested too deeply"),
        ("train: &a {x: 1, <<: {y: 1}, <<: {z: 1}}", "line 2, column 30: the key '<<' stands twice"),
        ("train: !!python/name:os.system", "could not determine a constructor"),
        ("a: [", "line 3, column 1"),
        ("---", "another document"),
    ],
)
def test_what_is_wrong_is_said_with_path_value_and_what_is_allowed(write, text, message):
    said = refusal(write(f"{WEIGHTS}{text}\n"))
    assert message in said
    assert "config.yaml" in said
    assert max(map(len, said.splitlines())) < 300


def test_files_that_no_person_wrote(write):
    assert "it is nested too deeply" in refusal(write(f"train: {'[' * 3000}{']' * 3000}"))
    assert "cannot be parsed" in refusal(write(f"seed: {'9' * 5000}"))
    assert "seed: a whole number of more than 300 digits" in refusal(write(f"{WEIGHTS}seed: {'9' * 4000}"))
    assert "seed = 999" in refusal(write(f"{WEIGHTS}seed: {'9' * 200}"))
    assert len(refusal(write(f"{WEIGHTS}seed: {'9' * 200}"))) < 300


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("", "is empty"),
        ("# hardware", "is empty"),
        ("[1, 2]", "holds [1, 2]"),
        ("hardware weights", "holds 'hardware "),
    ],
)
def test_files_without_sections(write, text, held):
    assert f"config.yaml: {held}" in refusal(write(text))
    assert "needed are sections such as 'hardware:'" in refusal(write(text))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("dynamic: {sigma: 0.1}", {"dynamic": "what deviates now stands under 'hardware', what is redrawn under"}),
        ("frozen: {sigma: 0.1}", {"frozen": "what is redrawn under 'training.frozen'"}),
        (f"{WEIGHTS}robustness: {{sigmas: [0]}}", {"robustness.sigmas": "strengths are now 'scales'"}),
        (f"{WEIGHTS}robustness: {{targets: x, chunk: 1}}", {"robustness.targets": "'leaves' of each part"}),
        (f"{WEIGHTS}robustness: {{chunk: 1}}", {"robustness.chunk": "it is no longer needed"}),
        (
            "hardware: {w: {leaves: a, sigma: 1, distribution: gaussian, targets: a}}",
            {"hardware.w.distribution": "it is now 'deviation'", "hardware.w.targets": "is now 'leaves'"},
        ),
        (
            f"{WEIGHTS}training: {{dynamic: {{sigma: 1, targets: a}}}}",
            {"training.dynamic.sigma": "'scale' multiplies it", "training.dynamic.targets": "stands under 'hardware'"},
        ),
    ],
)
def test_keys_of_earlier_configurations_say_where_it_stands_now(write, text, paths):
    said = refusal(write(text))
    for path, hint in paths.items():
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {path}: unknown key")]
        assert hint in line
        assert "CHANGELOG.md" in line


def test_hints_at_earlier_keys_are_not_given_in_sections_of_ones_own(write):
    class Train(limpet.Section):
        steps: int

    class Own(limpet.Config):
        train: Train = Field(...)

    with pytest.raises(limpet.ConfigError) as caught:
        limpet.load_config(write(f"{WEIGHTS}train: {{chunk: 3, stesp: 1}}"), model=Own)
    assert "train.chunk: unknown key; allowed is steps" in str(caught.value)
    assert "train.stesp: unknown key; did you mean 'steps'?" in str(caught.value)
    assert "train.steps: is missing" in str(caught.value)


def test_all_problems_are_listed_at_once(write):
    path = write(
        "sede: 1\nhardware: {a: {leaves: '', sigma: -1, x: 2, deviation: {kind: truncated-gaussian, bound: 1}}, b: 3}\n"
        "training: {frozen: {chip: x}}\nrobustness: {chips: none}"
    )
    said = refusal(path)
    assert "8 problems" in said
    for key in (
        "sede",
        "hardware.a.leaves",
        "hardware.a.sigma",
        "hardware.a.x",
        "hardware.a.deviation.bound",
        "hardware.b",
        "training.frozen.chip",
        "robustness.chips",
    ):
        assert f"\n  {key}" in said


def test_parts_that_are_unknown_are_all_listed(write):
    said = refusal(write(f"{BOTH}training: {{dynamic: {{parts: [x]}}, frozen: {{parts: [currents, y], chip: 0}}}}"))
    assert "training.dynamic.parts[0] = 'x'" in said
    assert "training.frozen.parts[1] = 'y': no such part of the hardware; allowed are weights, curr" in said


def test_files_that_cannot_be_read(tmp_path, write):
    assert refusal(tmp_path / "no.yaml").endswith("no.yaml: there is no such file")
    (tmp_path / "folder.yaml").mkdir()
    assert refusal(tmp_path / "folder.yaml").endswith("cannot be read: Is a directory")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    assert "it is no text in UTF-8" in refusal(tmp_path / "binary.yaml")
    assert "a configuration is a .yaml, .yml or .toml file" in refusal(write("", "config.ini"))
    assert "cannot be parsed: Invalid value (at line 1, column 8)" in refusal(write("seed = \n", "config.toml"))


def test_anchors_are_copies_and_merges_work(write):
    path = write(
        "train: &common {scale: 2, schedule: {kind: linear, steps: 5}}\n"
        f"{BOTH}training:\n  dynamic: {{<<: *common, parts: [weights]}}\n"
        "  frozen: {<<: *common, chip: fresh, scale: 3}\n"
    )
    training = limpet.load_config(path, "training.dynamic.schedule.steps=7").training
    assert (training.dynamic.schedule.steps, training.frozen.schedule.steps) == (7, 5)
    assert (training.dynamic.scale, training.frozen.scale) == (2, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hardware.weights.sigma", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        (".=1", "expected KEY=VALUE"),
        ("hardware..sigma=1", "expected KEY=VALUE"),
        ("seed=", "the value is missing; seed=null takes an entry back"),
        ("seed.deeper=1", "'seed' holds 1, not a section"),
        ("seed={", "the value cannot be parsed"),
        ("robustness.scales[0]=1", "give the whole list"),
    ],
)
def test_overrides_that_cannot_be_meant(write, override, message):
    said = refusal(write(f"seed: 1\n{WEIGHTS}"), override)
    assert f"override '{override}': " in said
    assert message in said


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("{kind: constant, factor: 0.5}", {0: 0.5, 100: 0.5}),
        ("{kind: linear, start: 0, end: 1, steps: 10, begin: 5}", {0: 0.0, 5: 0.0, 10: 0.5, 15: 1.0, 99: 1.0}),
        ("{kind: cosine, start: 1, end: 0, steps: 10}", {0: 1.0, 5: 0.5, 10: 0.0, 50: 0.0}),
        ("{kind: cosine, start: 0, end: 2, steps: 10}", {0: 0.0, 5: 1.0, 10: 2.0}),
        ("{kind: piecewise, boundaries: [3, 6], factors: [0, 0.5, 1]}", {0: 0.0, 2: 0.0, 3: 0.5, 5: 0.5, 6: 1.0}),
    ],
)
def test_schedules(write, schedule, expected):
    config = limpet.load_config(write(WEIGHTS), f"training.dynamic.schedule={schedule}")
    factor = config.training.dynamic.schedule.to_optax()
    np.testing.assert_allclose([factor(jnp.int32(step)) for step in expected], list(expected.values()), atol=1e-6)


@pytest.mark.parametrize("pieces", ["[3, 6], factors: [1]", "[3], factors: [1, 2, 3]", "[6, 3], factors: [1, 2, 3]"])
def test_piecewise_schedules_fit_their_boundaries(write, pieces):
    schedule = f"training.dynamic.schedule={{kind: piecewise, boundaries: {pieces}}}"
    assert "training.dynamic.schedule" in refusal(write(WEIGHTS), schedule)


def test_training_without_mismatch_needs_no_more_than_the_same_hardware(write, dynapse_net):
    text = (
        "hardware: {weights: {leaves: dynapse-weights, sigma: 0.1}, currents: {leaves: dynapse-frozen, sigma: 0.2}}\n"
        "training: {dynamic: {parts: [weights]}, frozen: {chip: fresh}}\n"
    )
    robust = limpet.load_config(write(text))
    standard = limpet.load_config(write(text), "training={}")
    assert standard.dynamic_parts == standard.frozen_parts == ()
    assert standard.recipe(dynapse_net) == robust.recipe(dynapse_net)
    assert len(standard.recipe(dynapse_net).paths) == 26
    assert (robust.dynamic_parts, robust.frozen_parts) == (("weights",), ("currents",))
    assert robust.fresh_chips
    assert robust.training_chip is None


def test_a_log_directory_may_begin_at_home(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert (
        str(limpet.load_config(write(WEIGHTS), "tensorboard.logdir=~/runs").tensorboard.logdir) == "/home/somebody/runs"
    )


def test_a_training_chip_has_a_seed_of_its_own(write):
    config = limpet.load_config(write(f"seed: 3\n{WEIGHTS}training: {{frozen: {{chip: 17, seed: 4}}}}"))
    assert config.training_chip == (4, 17)
    assert config.chip_seed == 3
    assert limpet.load_config(write(WEIGHTS), "robustness.seed=9").chip_seed == 9


def test_what_was_resolved_is_described(write):
    path = write("hardware: {weights: {leaves: '*/kernel', percent_deviation: 0.3}}\ntraining: {dynamic: {scale: 2}}")
    lines = limpet.load_config(path, "hardware.weights.sigma_rule=2").describe().splitlines()
    assert "hardware.weights: gaussian, sigma 0.15, on */kernel" in lines
    assert "training.dynamic: weights: afresh at every step" in lines
    assert "training.strength: constant: sigma 0.3 at every step (scale 2)" in lines
    assert "training.nominal: weights: no mismatch while training" in limpet.load_config(path, "training={}").describe()
    assert "training.redraws: not said" in limpet.load_config(path, "training=null").describe()


def test_leaves_that_do_not_fit_name_their_key(write, dynapse_net):
    config = limpet.load_config(write("hardware: {a: {leaves: dynapse-weights, sigma: 0.1}}"))
    with pytest.raises(
        limpet.PrototypeError, match=r"hardware.a.leaves: 'dynapse-weights' selects leaves of a Rockpool"
    ):
        config.recipe(PARAMS)
    config = limpet.load_config(write("hardware: {b: {leaves: [nothing], sigma: 0.1}}"))
    with pytest.raises(limpet.PrototypeError, match=r"hardware.b.leaves: rule \('nothing', True\) matches no leaf"):
        config.recipe(dynapse_net)


def test_configurations_are_frozen():
    config = limpet.Config.model_validate({"hardware": {"w": {"leaves": "*", "sigma": 0.1}}})
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_times_need_hardware_that_knows_time():
    sections = {"hardware": "pcm-joshi2020", "robustness": {"times": ["1 day"]}}
    with pytest.raises(ValueError, match="no deviation of the hardware changes with time"):
        limpet.Config.model_validate(sections)
    assert limpet.Config.model_validate(sections | {"hardware": "pcm-nandakumar2019"}).robustness.times == (86400.0,)


def test_plain_arguments_of_a_callback_are_named():
    hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(0.1)))
    for given, message in (
        ({"every": 5}, "no argument 'every'; did you mean every_steps"),
        ({"metric": None}, "no argument 'metric'; did you mean metric_fn"),
        ({"training": None}, "give {} to train without mismatch"),
        ({"training": {"dynamic": None}}, "training.dynamic.*nothing stands behind it"),
    ):
        with pytest.raises(limpet.ConfigError, match=message):
            limpet.MismatchCallback({"w": np.ones(2)}, hardware, **given)
