"""A bench's table: what is read, and how real dirt is said or refused, by line."""

import numpy as np
import pytest
from simulated_bench import COLUMNS

import limpet
from limpet.bench._measurements import read_measurements

HEADER = ",".join(COLUMNS)
ROWS = [f"A,{core},{neuron},Itau,2.0,{2 + 0.1 * core + 0.01 * neuron}" for core in (0, 1) for neuron in (0, 1, 2)]


def written(tmp_path, *lines, header=HEADER):
    path = tmp_path / "bench.csv"
    path.write_text("\n".join([header, *lines, ""]))
    return path


def test_columns_may_stand_in_any_order_and_separators_and_comments_are_understood(tmp_path):
    path = tmp_path / "bench.csv"
    path.write_text(
        "\ufeff# bench 3, by hand\n\nMeasured;temperature;chip;Core;neuron;parameter;nominal\n"
        "2.2;25;A;0;0;Itau;2\n\n1.8;25;A;0;1;Itau;2\n"
    )
    table = read_measurements(path)
    assert table.ignored == ("temperature",)
    assert table.line.tolist() == [4, 6]
    assert np.allclose(table.factor, [1.1, 0.9])


@pytest.mark.parametrize(
    ("header", "cells", "base"),
    [
        ("chip,core,neuron,parameter,nominal [nA],measured (pA)", "A,0,0,x,2,2200", "A"),
        ("chip,core,neuron,parameter,nominal,measured,unit", "A,0,0,x,2,2.2,fF", "F"),
        ("chip,core,neuron,parameter,nominal [V],measured [mV]", "A,0,0,x,2,2200", "V"),
        ("chip,core,neuron,parameter,nominal [uS],measured [µS]", "A,0,0,x,2,2.2", "S"),
        (HEADER, "A,0,0,x,2,2.2", ""),
    ],
)
def test_units_are_understood(header, cells, base, tmp_path):
    table = read_measurements(written(tmp_path, cells, header=header))
    assert table.unit.tolist() == [base]
    assert table.factor == pytest.approx([1.1])


def test_a_micro_sign_of_windows_is_understood(tmp_path):
    path = tmp_path / "bench.csv"
    path.write_bytes("chip,core,neuron,parameter,nominal,measured,unit\nA,0,0,x,2,2.2,µA\n".encode("cp1252"))
    assert read_measurements(path).measured == pytest.approx([2.2e-6])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([*ROWS, ROWS[1]], "1 value stands there several times (lines 3, 8: 'Itau' of chip A, core 0, device 1)"),
        ([line.replace("2.0,", "0,") for line in ROWS], "'Itau' (lines 2 to 7): nominal is 0"),
        ([*ROWS, "A,2,0,Itau,2,open"], "line 8: measured = 'open' is no finite number"),
        ([*ROWS, 'A,2,0,Itau,2,"2,1"'], "decimals are written with a point"),
        ([*ROWS, "A,2,0,Itau,2,inf"], "line 8: measured = 'inf' is no finite number"),
        ([*ROWS, ",2,0,Itau,2,2"], "line 8: column 'chip' is empty"),
        ([*ROWS, "A,2,0,Itau,2"], "line 8: allowed are 6 fields"),
        ([*ROWS, "A,2,0,Itau,2,2,3"], "line 8: allowed are 6 fields"),
        ([line.replace("2.0,2", "2.0,2000") for line in ROWS], "(lines 2 to 7), near 10^3, as if nominal were in nA"),
        ([line.replace("2.0,", "2e6,") for line in ROWS], "near 10^-6, as if nominal were in pA and measured in uA"),
        ([*ROWS, "B,0,0,Itau,2,2100", "B,0,1,Itau,2,1900"], "'Itau' on chip B: measured / nominal has the median"),
        ([], "no row holds both a nominal and a measured value"),
        (["A,0,0,Itau,2,", "A,0,1,Itau,,2"], "no row holds both"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*a value is missing")
def test_what_cannot_be_meant_is_refused_by_line(lines, said, tmp_path):
    path = written(tmp_path, *lines)
    with pytest.raises(limpet.LimpetError) as refused:
        read_measurements(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("chip,parameter,nominal,measured", "has no column 'device'; it has 'chip', 'parameter', 'nominal'"),
        ("chip,chip,core,neuron,parameter,nominal,measured", "there are two columns 'chip'"),
        ("chip,core,neuron,parameter,nominal,measured [nA]", "'measured [nA]' has a unit and 'nominal' has none"),
        ("chip,core,neuron,parameter,nominal [mV],measured [nA]", "nominal is in V and measured in A"),
        (
            "chip,core,neuron,parameter,nominal [nA],measured [furlong]",
            "[furlong]': the unit 'furlong' is not known",
        ),
        ("chip,core,neuron,parameter,nominal [A],measured [A],unit", "keep one of the two"),
    ],
)
def test_headers_that_cannot_be_meant_are_refused(header, said, tmp_path):
    with pytest.raises(limpet.LimpetError) as refused:
        read_measurements(written(tmp_path, ",".join(["1"] * len(header.split(","))), header=header))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "said", "left"),
    [
        ([*ROWS, "A,2,0,Itau,2,", "A,2,1,Itau,NaN,2"], "lines 8, 9: a value is missing; 2 values are left out", 6),
        ([*ROWS, "A,2,0,Itau,2,-2"], "line 8: measured has another sign than nominal", 7),
        ([*ROWS, "A,2,0,Itau,2,0"], "line 8: measured is 0", 7),
        ([line.replace("2.0,2", "2.0,50") for line in ROWS], "has the median 25.", 6),
    ],
)
def test_what_is_doubtful_is_said_by_line(lines, said, left, tmp_path):
    with pytest.warns(UserWarning, match=said.replace("(", r"\(")):
        table = read_measurements(written(tmp_path, *lines))
    assert len(table.line) == left


def test_one_parameter_has_one_kind_of_unit(tmp_path):
    path = written(tmp_path, "A,0,0,x,2,2,nA", "A,0,1,x,2,2,mV", header=f"{HEADER},unit")
    with pytest.raises(limpet.LimpetError, match="parameter 'x' is given in A and in V"):
        read_measurements(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "is empty"), (b"PK\0\0", "is no text"), (b"# only a comment\n", "is empty")],
)
def test_files_that_are_no_table_are_refused(content, said, tmp_path):
    path = tmp_path / "bench.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(limpet.LimpetError, match=said):
        read_measurements(path)


def test_columns_by_name_are_a_table_and_places_are_rows():
    columns = dict(zip(COLUMNS, (["A", "A"], [0, 0], [0, 0], ["x", "x"], [1.0, 1.0], [1.1, 0.9]), strict=True))
    with pytest.raises(limpet.LimpetError, match="rows 1, 2: 'x' of chip A"):
        read_measurements(columns)
    with pytest.raises(limpet.LimpetError, match="columns differ in length"):
        read_measurements({**columns, "chip": ["A"]})
    with pytest.raises(limpet.LimpetError, match="measurements: got int"):
        read_measurements(3)
