"""`limpet fit`: a configuration, a table and a page from a bench's measurements."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simulated_bench as bench
from logged_curves import strict

import limpet
from limpet.cli import main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command has written, of two parameters on three chips."""
    folder = tmp_path_factory.mktemp("bench")
    generator, sizes = np.random.default_rng(1), [[20] * 3] * 3
    tau = np.exp(bench.nested(generator, (0.05, 0.03, 0.25), sizes))
    gain = 1.2 * (1 + bench.nested(generator, (0.0, 0.0, 0.1), sizes))
    tables = [bench.table(tau, sizes, "Itau_mem", 2.0), bench.table(gain, sizes, "<gain>", 80.0)]
    for columns in tables:
        columns["temperature"] = [25] * len(tau)
    header = ["chip", "core", "neuron", "parameter", "nominal [pA]", "measured [pA]", "temperature"]
    bench.write(folder / "bench.csv", *tables, header=header)
    outputs = ["-o", str(folder / "out/hardware.yaml"), "--report", str(folder / "out/page.html")]
    assert main(["fit", str(folder / "bench.csv"), *outputs]) == 0
    return folder, tau


def test_the_configuration_is_read_and_reproduces_the_spread(written):
    folder, tau = written
    config = limpet.load_config(folder / "out/hardware.yaml")
    assert config.hardware == limpet.fit_measurements(folder / "bench.csv").hardware()
    text = (folder / "out/hardware.yaml").read_text()
    assert re.search(r'leaves: "\*/Itau_mem"  # a guess', text)
    assert re.search(r"# sigma by level, with 95% intervals: chip 0\.\d+ \(", text)
    assert "devices of all chips are 18.5% above what they are set to" in text
    tree = {"1_DynapSim": {"Itau_mem": jnp.ones(60)}}  # as many places as a chip of the bench has
    mismatch = config.hardware.on(tree, only=["Itau_mem"])
    drawn = jax.vmap(lambda key: mismatch(key, tree))(jax.random.split(jax.random.key(0), 300))
    # The spread of 18,000 devices is off by 0.6% (standard error), and by 1% as the levels are estimated.
    assert np.log(drawn["1_DynapSim"]["Itau_mem"]).std() == pytest.approx(np.log(tau).std(), rel=0.05)


def test_the_configuration_trains_once_it_is_said_what_training_redraws(written, tmp_path):
    path, tree = written[0] / "out/hardware.yaml", {"a": {"Itau_mem": jnp.ones(60), "<gain>": jnp.ones(60)}}
    assert "training:" not in re.sub("#.*", "", path.read_text())
    with pytest.raises(limpet.LimpetError, match="training"):
        limpet.MismatchCallback(tree, limpet.load_config(path, f"tensorboard.logdir={tmp_path}"))
    config = limpet.load_config(path, "training.dynamic={}", f"tensorboard.logdir={tmp_path}")
    with limpet.MismatchCallback(tree, config, audit=False) as callback:
        first, second = (callback.inject(tree, step)["a"]["Itau_mem"] for step in (0, 1))
    assert 0.15 < float(first.std()) < 0.4
    assert (first != second).all()


def test_the_page_stands_alone_and_shows_names_as_text(written):
    page = (written[0] / "out/page.html").read_text("utf-8")
    own = page[: page.index("<script>")]
    assert own.count('<div class="plot"') == 6
    assert "&lt;gain&gt;" in own
    assert "<gain>" not in page
    assert not re.search(r'(src|href)="(?!#)', own)
    (figures,) = re.findall(r'id="figures">(.*?)</script>', page, re.DOTALL)
    figures = strict(figures)
    assert set(figures) == {f"{kind}-{n}" for kind in ("histogram", "quantiles", "components") for n in (0, 1)}
    bars = figures["histogram-0"]["data"][0]
    assert np.dot(bars["y"], bars["width"]) == pytest.approx(1, rel=1e-4)


def test_the_table_says_what_was_found_and_what_was_not_used(written, capsys):
    assert main(["fit", str(written[0] / "bench.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.err == "columns that are not used: temperature\n"
    lines = [" ".join(line.split()) for line in captured.out.splitlines()]
    assert lines[0].endswith("bench.csv: 360 values on 3 chips")
    assert any(line.startswith("Itau_mem 180 2 pA") and "log-normal, sigma 0.2" in line for line in lines)
    assert any(line.startswith("<gain>: devices of all chips are 18.5% above") for line in lines)


def test_json_holds_it_unrounded(written, capsys):
    assert main(["fit", str(written[0] / "bench.csv"), "--json"]) == 0
    found = strict(capsys.readouterr().out)
    fit = limpet.fit_measurements(written[0] / "bench.csv").parameters["Itau_mem"]
    assert found["parameters"]["Itau_mem"]["evidence"] == fit.evidence
    assert found["parameters"]["Itau_mem"]["components"]["device"]["sigma"] == fit.components[-1].sigma
    assert found["not_used"] == ["temperature"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.csv"], "none.csv: cannot be read"),
        (["bench.csv", "-o", "bench.csv"], "would overwrite the measurements"),
        (["bench.csv", "-o", "out.txt"], "-o out.txt: give a name that ends in .yaml"),
        (["few.csv"], "parameter 'x' (line 2) has 1 value; needed are 5"),
        (["empty.csv"], "is empty"),
        (["few.csv", "--column", "die"], "--column 'die': give it as WORD=TITLE, such as chip=die"),
        (["few.csv", "--column", "chp=x"], "columns names 'chp' (--column); allowed are chip"),
        (["few.csv", "--column", "chip=x", "--column", "chip=y"], "chip is given twice; separate several titles"),
        (["few.csv", "--no-header"], "--no-header: say by --column which columns these are"),
        (["few.csv", "--no-header", "--column", "chip=die"], "with --no-header, allowed are places, as 1; got 'die'"),
        (["few.csv", "--no-header", "--column", "chip=9"], "has no column 9; it has columns 1 to 6"),
        (["few.csv", "--nominal", "2 pA"], "nominal = '2 pA' is given, and by column 'nominal'"),
        (["few.csv", "--nominal", "x=2", "--nominal", "3"], "--nominal: give one value of all parameters, or PARAM"),
        (["few.csv", "--nominal", "x=2", "--nominal", "x=3"], "--nominal: give one value of all parameters, or PARAM"),
        (["twice.csv"], "(lines 2, 3: 'x' of chip A, core 0, device 0): where these are repeated readings"),
        (["bad.xlsx"], "bad.xlsx: cannot be read; is it damaged?"),
        (["bad.parquet"], "bad.parquet: cannot be read; is it damaged?"),
    ],
)
def test_what_is_refused_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text("chip,core,neuron,parameter,nominal,measured\nA,0,0,x,1,1.1\n")
    (tmp_path / "twice.csv").write_text("chip,core,neuron,parameter,nominal,measured\n" + "A,0,0,x,1,1.1\n" * 2)
    (tmp_path / "bad.xlsx").write_bytes(b"PK\3\4 no archive")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no table PAR1")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bench.csv").write_text("")
    assert main(["fit", *arguments]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert error.startswith("limpet fit: error: ")
    assert said in error


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (
            "die;row;col;I (nA)\n{};{};0;{}",
            ["--column", "chip=die", "--column", "device=row,col", "--column", "measured=I", "--nominal", "1 nA"],
        ),
        (
            "{},{},{}",
            ["--no-header", *(f"--column={word}" for word in ("chip=1", "device=2", "measured=3")), "--nominal=1"],
        ),
        ("chip,neuron,gain\n{},{},{}", ["--nominal", "gain=1", "--column", "core=", "--column", "unit="]),
        ('chip\tneuron\t"1, at night"\n{}\t{}\t{}', ["--column", 'measured="1, at night"', "--nominal", "1"]),
    ],
)
def test_options_say_what_columns_are(content, options, tmp_path, monkeypatch):
    """That what they say reaches the table; that the table is read by it, tests of the bench show."""
    from limpet.bench._measurements import read_measurements

    tables = []

    def fit(source, *, robust, **said):
        tables.append(read_measurements(source, **said))
        raise limpet.LimpetError("read")

    monkeypatch.setattr(limpet, "fit_measurements", fit)
    header, _, row = content.rpartition("\n")
    rows = [row.format(chip, device, 1 + device / 10) for chip in "AB" for device in range(3)]
    (tmp_path / "bench.csv").write_text("\n".join([*header.splitlines(), *rows]))
    assert main(["fit", str(tmp_path / "bench.csv"), *options]) == 2
    assert tables[0].factor == pytest.approx([1.0, 1.1, 1.2] * 2)
    assert tables[0].chips == ["A", "B"]
