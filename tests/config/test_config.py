"""Configuration files: everything that is wrong is said at once, by key path."""

import jax.numpy as jnp
import numpy as np
import pytest

import limpet

PARAMS = {"layer": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "config.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_yaml_and_toml_read_alike(write):
    yaml = write(
        "seed: 3\ndynamic:\n  sigma: 1e-1\n  targets: ['*/kernel']\nrobustness: {sigmas: [0, 0.1], chips: 7}\n"
    )
    toml = write(
        "seed = 3\n[dynamic]\nsigma = 1e-1\ntargets = ['*/kernel']\n[robustness]\nsigmas = [0, 0.1]\nchips = 7\n",
        "config.toml",
    )
    assert limpet.load_config(yaml) == limpet.load_config(toml)
    assert limpet.load_config(yaml).dynamic.sigma == 0.1


def test_the_shipped_configuration_holds(request):
    config = limpet.load_config(request.config.rootpath / "configs/dynapse.yaml", "dynamic.sigma=0.2", "frozen.chip=7")
    assert config.dynamic.sigma == 0.2
    assert config.frozen.chip == 7
    assert config.train["classes"] == 10


def test_percent_is_resolved_and_shown(write):
    config = limpet.load_config(write("dynamic: {percent_deviation: 0.3}"), "dynamic.sigma_rule=2")
    assert config.dynamic.sigma == 0.15
    assert "sigma = 0.15 (percent_deviation 0.3 / sigma_rule 2)" in config.describe()


def test_overrides_win_and_null_takes_back(write):
    path = write("dynamic: {percent_deviation: 0.3}\nfrozen: {sigma: 0.1, chip: fresh}")
    config = limpet.load_config(path, "dynamic.percent_deviation=null", "dynamic.sigma=0.2", "frozen=null")
    assert config.dynamic.sigma == 0.2
    assert config.frozen is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dynamic: {sgima: 0.1, sigma: 0.1}", "dynamic.sgima: unknown key; did you mean 'sigma'?"),
        ("dynamic: {sigma: -0.1}", "dynamic.sigma = -0.1: input should be greater than or equal to 0"),
        ("dynamic: {sigma: .nan}", "dynamic.sigma = nan: input should be a finite number"),
        ("dynamic: {percent_deviation: .inf}", "dynamic.percent_deviation = inf: input should be a finite number"),
        ("dynamic: {sigma: 0.1, percent_deviation: 0.3}", "dynamic: give sigma, or percent_deviation with sigma_rule"),
        ("dynamic: {targets: dynapse}", "dynamic: no strength: give sigma"),
        ("dynamic: {percent_deviation: 0.3, sigma_rule: 0}", "dynamic.sigma_rule = 0: input should be greater than 0"),
        ("dynamic: {sigma: 0.1, distribution: cauchy}", "dynamic.distribution = 'cauchy': allowed are 'gaussian'"),
        ("dynamic: {sigma: 0.1, gradient: stop}", "dynamic.gradient = 'stop': input should be 'through'"),
        ("dynamic: {sigma: 0.1, targets: xylo}", "dynamic.targets = 'xylo': allowed are 'dynapse'"),
        ("dynamic: {sigma: 0.1, targets: []}", "dynamic.targets = []: allowed are 'dynapse'"),
        ("dynamic: {sigma: 0.1, targets: [[a, maybe]]}", "no pair of a path glob and true or false"),
        ("frozen: {sigma: 0.1, chip: -1}", "frozen.chip = -1: allowed are 'fresh'"),
        ("frozen: {sigma: 0.1, chip: true}", "frozen.chip = True: allowed are 'fresh'"),
        ("frozen: {sigma: 0.1}", "frozen.chip: is missing"),
        ("frozen: {sigma: 0.1, chip: 1, gradient: through}", "chip 1 is drawn once, before training: gradient"),
        ("dynamic: {sigma: 0.1, schedule: {kind: linear}}", "dynamic.schedule.steps: is missing"),
        ("dynamic: {sigma: 0.1, schedule: {kind: linear, steps: 5, stop: 1}}", "dynamic.schedule.stop: unknown key"),
        ("dynamic: {sigma: 0.1, schedule: {steps: 5}}", "give its kind, one of constant, linear, cosine, piecewise"),
        ("dynamic: {sigma: 0.1, schedule: {kind: sine}}", "give its kind, one of constant, linear, cosine, piecewise"),
        ("robustness: {sigmas: [0.1, -1], targets: dynapse}", "robustness.sigmas[1] = -1: input should be greater"),
        ("robustness: {sigmas: [0.1, 0.1], targets: dynapse}", "each sigma may stand there once"),
        ("robustness: {chips: 0, targets: dynapse}", "robustness.chips = 0"),
        ("dynamic: {sigma: yes}", "dynamic.sigma = True: a number is needed"),
        ("robustness: {chips: true, targets: dynapse}", "robustness.chips = True: a number is needed"),
        ("dynamic: {percent_deviation: 30}", "dynamic.percent_deviation = 30: it is a fraction, 0.30 means 30%"),
        ("seed: -1\ndynamic: {sigma: 0.1}", "seed = -1"),
        ("seed: 1", "nothing deviates: give dynamic, frozen, or robustness.targets"),
        ("dynamic: {sigma: 0.1}\ndynamic: {sigma: 0.2}", "the key 'dynamic' stands twice"),
        ("[1, 2]", "expected sections such as"),
        ("a: [", "cannot be parsed"),
    ],
)
def test_what_is_wrong_is_said_with_path_value_and_what_is_allowed(write, text, message):
    with pytest.raises(limpet.ConfigError) as caught:
        limpet.load_config(write(text))
    assert message in str(caught.value)
    assert "config.yaml" in str(caught.value)


def test_all_problems_are_listed_at_once(write):
    with pytest.raises(limpet.ConfigError, match="4 problems") as caught:
        limpet.load_config(write("sede: 1\ndynamic: {sigma: -1, x: 2}\nrobustness: {chips: none}"))
    for path in ("sede", "dynamic.sigma", "dynamic.x", "robustness.chips"):
        assert f"\n  {path}" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, write):
    with pytest.raises(limpet.ConfigError, match="no.yaml: there is no such file"):
        limpet.load_config(tmp_path / "no.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(limpet.ConfigError, match="cannot be read"):
        limpet.load_config(tmp_path / "folder.yaml")
    with pytest.raises(limpet.ConfigError, match=r"a configuration is a .yaml, .yml or .toml file"):
        limpet.load_config(write("", "config.ini"))


def test_anchors_are_copies_and_merges_work(write):
    path = write(
        "train: &common {sigma: 0.1, schedule: {kind: linear, steps: 5}}\n"
        "dynamic: {<<: *common, targets: [w]}\n"
        "frozen: {<<: *common, chip: fresh, sigma: 0.3}\n"
    )
    config = limpet.load_config(path, "dynamic.schedule.steps=7")
    assert (config.dynamic.schedule.steps, config.frozen.schedule.steps) == (7, 5)
    assert (config.dynamic.sigma, config.frozen.sigma) == (0.1, 0.3)


@pytest.mark.parametrize("override", ["dynamic.sigma", "=1", ".=1", "seed.deeper=1", "seed={"])
def test_overrides_that_cannot_be_meant(write, override):
    with pytest.raises(limpet.ConfigError, match="override"):
        limpet.load_config(write("seed: 1\ndynamic: {sigma: 0.1}"), override)


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
    config = limpet.load_config(write(f"dynamic: {{sigma: 0.1, targets: [w], schedule: {schedule}}}"))
    factor = config.dynamic.schedule.compile()
    np.testing.assert_allclose([factor(jnp.int32(step)) for step in expected], list(expected.values()), atol=1e-6)


@pytest.mark.parametrize("factors", ["[1]", "[1, 2]", "[1, 2, 3, 4]", "[1, -2, 3]"])
def test_piecewise_schedules_fit_their_boundaries(write, factors):
    with pytest.raises(limpet.ConfigError, match="schedule"):
        limpet.load_config(
            write(f"dynamic: {{sigma: 1, schedule: {{kind: piecewise, boundaries: [3, 6], factors: {factors}}}}}")
        )


@pytest.mark.parametrize(
    "targets", ["['*/kernel']", "{'*': true, '*/bias': false}", "[['*', true], ['*/bias', false]]"]
)
def test_targets_by_rules(write, targets):
    config = limpet.load_config(write(f"dynamic: {{sigma: 0.1, targets: {targets}}}"))
    assert config.dynamic.recipe(PARAMS).paths == ("layer/kernel",)


def test_targets_that_do_not_fit_name_their_key(write, dynapse_net):
    config = limpet.load_config(write("dynamic: {sigma: 0.1}\nfrozen: {sigma: 0.1, chip: 0, targets: [nothing]}"))
    with pytest.raises(limpet.PrototypeError, match=r"dynamic.targets: 'dynapse' needs a Rockpool network, got dict"):
        config.dynamic.recipe(PARAMS)
    with pytest.raises(limpet.PrototypeError, match=r"frozen.targets: rule \('nothing', True\) matches no leaf"):
        config.frozen.recipe(dynapse_net)
    from rockpool.nn.modules import LIFJax

    with pytest.raises(limpet.PrototypeError, match=r"dynamic.targets: nothing is selected"):
        config.dynamic.recipe(LIFJax(2))


def test_a_chip_is_weights_and_frozen_values_together(dynapse_net):
    both = limpet.Config.model_validate({"dynamic": {"sigma": 0.1}, "frozen": {"sigma": 0.2, "chip": "fresh"}})
    assert len(both.chip_recipe(dynapse_net).paths) == 26
    measured = limpet.Config.model_validate({"robustness": {"targets": "dynapse"}})
    assert set(measured.chip_recipe(dynapse_net).paths) == set(both.chip_recipe(dynapse_net).paths)
    rules = limpet.Config.model_validate({"robustness": {"targets": ["*/w_rec"]}})
    assert rules.chip_recipe(dynapse_net).paths == ("1_DynapSim/w_rec",)


def test_configurations_are_frozen():
    config = limpet.Config.model_validate({"dynamic": {"sigma": 0.1, "targets": ["*"]}})
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
