"""A bench's table: what is read, and how real dirt is said or refused, by line."""

import random
import sys
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from simulated_bench import COLUMNS

import limpet
from limpet.bench._measurements import natural_key, read_measurements

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


def table_of(*rows, **options):
    """What is read of rows of texts, the first of which holds the titles."""
    columns = {title: list(cells) for title, *cells in zip(*(row.split("|") for row in rows), strict=True)}
    return read_measurements(columns, **options)


def plain(table, *words):
    """Some fields of measurements, row by row."""
    return list(zip(*(getattr(table, word).tolist() for word in words), strict=True))


def test_columns_are_called_as_the_table_calls_them():
    table = table_of(
        "Die|row|col|I_nA|T|chip",
        "A|0|07|2.1|25|x",
        "NA|0|7|1.9|25|y",
        columns={"chip": "die", "device": ["row", "col"], "measured": "I"},
        nominal="2 nA",
    )
    assert plain(table, "chip", "core", "device", "parameter") == [("A", "", "0/07", "I"), ("NA", "", "0/7", "I")]
    assert table.factor == pytest.approx([1.05, 0.95])
    assert table.unit.tolist() == ["A", "A"]
    assert table.ignored == ("T", "chip")
    assert np.isnan(table.time).all()


def test_a_column_may_be_left_out():
    rows = ("chip|device|core|time|unit|nominal|measured", "A|0||noon|u3|1|1.1")
    table = table_of(*rows, columns={"time": None, "unit": None})
    assert (table.core.tolist(), table.ignored) == ([""], ("time", "unit"))
    with pytest.raises(limpet.LimpetError, match=r"row 1: the unit 'u3' is not known.*\(--column unit=\) leaves"):
        table_of(*rows, columns={"time": None})
    with pytest.raises(limpet.LimpetError, match=r"row 1: time = 'noon': allowed are times since programming"):
        table_of(*rows, columns={"unit": None})


@pytest.mark.parametrize(
    ("title", "nominal"),
    [
        *[(title, "2 nA") for title in ("I / nA", "I/nA", "I, nA", "I in nA", "I_nA", "I (nA)", "I [nA]")],
        ("I / A", "2 A"),
        ("R (GOhm)", "2 GOhm"),
        ("R [k\N{OHM SIGN}]", "2 kOhm"),
        *[(title, 2.0) for title in ("I (at 25 degrees)", "I_A", "I/V", "V_s", "V_GS", "I_ds", "Ion/Ioff")],
    ],
)
def test_units_stand_behind_titles_as_labs_write_them(title, nominal):
    table = table_of(f"chip|device|{title}", "A|0|2", columns={"measured": title}, nominal=nominal)
    assert table.factor == pytest.approx([1.0])


def test_the_set_value_of_all_devices_may_be_said():
    with pytest.raises(limpet.LimpetError, match="'measured' has none; give both, or none"):
        table_of("chip|device|measured", "A|0|2", nominal="2 nA")
    with pytest.raises(limpet.LimpetError, match=r"nominal = '2 nA' is given, and by column 'nominal'"):
        table_of("chip|device|measured|nominal", "A|0|2|2", nominal="2 nA")
    rows = ("chip|device|measured|Vset|parameter", "A|0|2.2|2|gain", "A|0|1.1|3|leak")
    table = table_of(*rows, nominal={"gain": "Vset", "leak": 1})
    assert plain(table, "parameter", "nominal") == [("gain", 2.0), ("leak", 1.0)]
    assert table_of(*rows, nominal="Vset").nominal.tolist() == [2.0, 3.0]
    table = table_of("chip|device|measured|unit", "A|0|2|pA", "A|1|.002|nA", nominal="0.002 nA")
    assert plain(table, "nominal", "unit") == [(2e-12, "A")] * 2


def test_a_parameter_may_be_a_column():
    rows = ("chip|device|leak (pA)|gain [mV]|Vset [V]", "A|n2|2.1|1002|1", "A|n10|1.9|990|1")
    table = table_of(*rows, nominal={"leak": "2 pA", "gain": "Vset"})
    assert plain(table, "device", "parameter", "unit", "line") == [
        ("n2", "leak", "A", 1),
        ("n2", "gain", "V", 1),
        ("n10", "leak", "A", 2),
        ("n10", "gain", "V", 2),
    ]
    assert table.factor == pytest.approx([1.05, 1.002, 0.95, 0.99])
    both = table_of("chip|device|a [V]|b [V]|Vset [V]", "A|0|2|3|2", nominal={"a": "Vset", "b": "Vset"})
    assert both.factor.tolist() == [1.0, 1.5]
    again = table_of(*rows, columns={"parameter": ["leak", "gain [mV]"]}, nominal={"leak": "2 pA", "gain": "Vset"})
    assert np.array_equal(again.factor, table.factor)


@pytest.mark.parametrize(
    ("word", "titles", "nominal", "values"),
    [
        ("nominal", ["10 uS", "20 uS"], None, [1e-5, 2e-5]),
        ("nominal", ["10 uS [nS]", "20 [nS]"], None, [1e-5, 2e-8]),
        ("nominal", ["10", "20"], None, [10, 20]),
        ("time", ["0 [nA]", "1 day [nA]"], "10 nA", [0, 86400]),
        ("time", ["5 ms", "1 h"], 10, [0.005, 3600]),
        ("reading", ["r1 [nA]", "second (nA)"], "10 nA", ["r1", "second"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has the median")
def test_measured_values_may_stand_in_several_columns(word, titles, nominal, values):
    scale = 1000 if titles[0] == "10 uS [nS]" else 1
    rows = ("|".join(["chip", "device", *titles]), f"A|0|{10 * scale}|20", f"A|1|{11 * scale}|21")
    table = table_of(*rows, columns={word: titles}, nominal=nominal)
    assert getattr(table, word).tolist() == pytest.approx(values * 2) if word != "reading" else values * 2
    assert table.line.tolist() == [1, 1, 2, 2]
    assert table.ignored == ()


def test_times_are_in_seconds():
    table = table_of("chip|device|nominal|measured|time [h]", "A|0|1|1.1|0", "A|0|1|1.1|2")
    assert table.time.tolist() == [0, 7200]
    table = table_of("chip|device|nominal|measured|time", "A|0|1|1.1|20", "A|0|1|1.1|1 day", "A|0|1|1|5 ms")
    assert table.time.tolist() == [20, 86400, 0.005]
    assert np.isnan(table_of("chip|device|nominal|measured|time", "A|0|1|1.1|").time).all()


def test_readings_are_told_apart_by_a_column_or_numbered():
    rows = ("chip|device|nominal|measured", "A|0|1|1.1", "A|1|1|1", "A|0|1|1.2", "A|0|1|1.3", "A|1|1|1")
    with pytest.raises(limpet.LimpetError) as refused:
        table_of(*rows)
    assert "2 values stand there several times (rows 1, 3, 4: 'value' of chip A, device 0; rows 2, 5: " in str(
        refused.value
    )
    assert "readings=True (--readings)" in str(refused.value)
    assert table_of(*rows, readings=True).reading.tolist() == ["1", "1", "2", "3", "2"]
    labelled = [f"{row}|{label}" for row, label in zip(rows, ["reading", *"aabcb"], strict=True)]
    assert table_of(*labelled).reading.tolist() == list("aabcb")
    with pytest.raises(limpet.LimpetError, match="readings = True numbers readings, and the table has labels"):
        table_of(*labelled, readings=True)


def test_many_duplicates_are_said_in_one_short_message():
    rows = [f"A|{'n' * 60}{n // 2}|1|1" for n in range(2000)]
    with pytest.raises(limpet.LimpetError, match=r"1,000 values stand there several times .*; and 996 more") as refused:
        table_of("chip|device|nominal|measured", *rows)
    assert len(str(refused.value)) < 800


def test_one_set_value_in_two_units_is_one():
    table = table_of("chip|device|nominal|measured|unit", "A|0|2|2|pA", "A|1|.002|.002|nA", "A|2|2000|2000|fA")
    assert set(table.nominal) == {2e-12}


def test_numbers_beyond_all_measure_are_refused_or_said():
    with pytest.raises(limpet.LimpetError, match="row 1: a value is too large for a number, in its base unit"):
        table_of("chip|device|measured [GOhm]", "A|0|1e305", nominal="1 GOhm")
    with pytest.raises(limpet.LimpetError, match="row 1: measured = 'an integer of thousands of digits' is no finite"):
        read_measurements({**FRAME, "measured": [10**5000, 1.0]})
    with pytest.warns(UserWarning, match="has the median inf"):
        table_of("chip|device|measured|nominal", "A|0|1e300|1e-300")


def test_a_device_may_be_set_to_zero_if_others_are_not():
    table = table_of("chip|device|nominal|measured", "A|0|0|0.01", "A|1|1|1.1", "A|2|0.001|-1.01", "A|3|-1|-1.2")
    assert table.nominal.tolist() == [0, 1, 0.001, -1]
    assert table.factor[[0, 1]].tolist() == [np.inf, 1.1]


@pytest.mark.parametrize(
    ("columns", "nominal", "said"),
    [
        ({"chp": "die"}, 1, "columns names 'chp' (--column); allowed are chip, core, device"),
        ({"chip": "die"}, 1, "has no column 'die', which is to be chip; it has 'chip', 'device', 'a', 'b [nA]'"),
        ({"chip": "a", "core": "A"}, 1, "column 'a' is named twice, for chip and for core"),
        ({"device": "a", "neuron": "b"}, 1, "two names of one; keep one"),
        ({"chip": True}, 1, "columns['chip'] = True: allowed is the title of a column"),
        ({"chip": []}, 1, "columns['chip'] = []: allowed is the title of a column"),
        ({"unit": ["a", "b"]}, 1, "columns['unit'] = ['a', 'b']: allowed is one title"),
        ({"measured": ["a", "b"]}, 1, "say what their titles are, as columns={'nominal': [...]}"),
        ({"time": ["a"], "reading": ["b"]}, 1, "differ from column to column by time and by reading"),
        ({"time": ["a"]}, 1, "column 'a': its title is no time; write it as '1 h'"),
        ({"nominal": ["a"]}, None, "column 'a': its title is no set value; write it as '10 uS'"),
        ({"nominal": ["a"]}, "2 nA", "nominal = '2 nA' is given, and by column 'a'; keep one of the two"),
        ({}, {}, "has no column 'measured'"),
        ({"measured": "a"}, None, "has no column 'nominal'; it has"),
        ({"measured": "a"}, "2 apples", "nominal = '2 apples': allowed is a quantity, such as '2 pA'"),
        ({"measured": "a"}, {"b": 2}, "nominal names 'b', which is not there; the parameters are 'a'"),
        ({"measured": "a"}, {}, "nominal lacks 'a'; the parameters are 'a'"),
        ({"measured": "a"}, [2], "nominal = [2]: allowed is a quantity"),
        ({"measured": "b"}, "2 mV", "nominal is in V and measured in A ('b [nA]' and '2 mV'); give one kind"),
        ({"measured": "b"}, 2, "'b [nA]' has a unit and '2' has none; give both, or none"),
        ({}, {"leak": 2}, "has no column 'leak', which is to be parameter"),
        ({}, 2, "has no column 'measured'; it has 'chip', 'device', 'a', 'b [nA]': say which it is, as columns={'mea"),
        ("chip", 2, "columns = 'chip': allowed is a mapping from words to titles"),
    ],
)
def test_columns_and_set_values_that_cannot_be_meant_are_refused(columns, nominal, said):
    with pytest.raises(limpet.LimpetError) as refused:
        table_of("chip|device|a|b [nA]", "A|0|2|2", columns=columns, nominal=nominal)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A|2|1|", "row 2: the time is missing; give it in every row"),
        ("A|2|1|-1", "row 2: time = '-1': allowed are times since programming, 0 or above"),
        ("A||1|1", "row 2: column 'device' is empty; name the device in every row"),
    ],
)
def test_rows_that_lack_what_others_have_are_refused(row, said):
    with pytest.raises(limpet.LimpetError) as refused:
        table_of("chip|device|measured|time [h]", "A|1|1|1", row, nominal=1)
    assert said in str(refused.value)


def test_a_file_without_titles_is_told_so_and_read_by_places(tmp_path):
    path = tmp_path / "bench.txt"
    path.write_text("# chip device measured\n0 00 2.1\n0  0 1.9\n")
    for columns in (None, {"chip": "die"}):
        with pytest.raises(limpet.LimpetError, match="seems to have no header, as its first row is 0, 00, 2.1; say by"):
            read_measurements(path, columns=columns)
    table = read_measurements(path, columns={"chip": 1, "device": 2, "measured": 3}, nominal=2)
    assert plain(table, "device", "parameter", "measured", "line") == [("00", "value", 2.1, 2), ("0", "value", 1.9, 3)]
    with pytest.raises(limpet.LimpetError, match="has no column 4; it has columns 1 to 3"):
        read_measurements(path, columns={"chip": 1, "device": 2, "measured": 4}, nominal=2)


def test_labels_are_ordered_as_people_order_them_and_none_are_alike():
    labels = ["0", "00", "2", "2.5", "10", "chip9", "chip10", "n2a", "n10", "x"]
    assert sorted(random.Random(0).sample(labels, len(labels)), key=natural_key) == labels


FRAME = {"chip": ["A", "NA"], "device": [0.0, 1.0], "nominal": [1.0, 1.0], "measured": [1.1, 0.9]}


@pytest.mark.parametrize("library", ["numpy", "pyarrow", "pandas", "polars"])
def test_data_frames_are_tables(library):
    module = pytest.importorskip(library)
    if library == "numpy":
        types = [(name, "U2" if name == "chip" else float) for name in FRAME]
        frame = np.array(list(zip(*FRAME.values(), strict=True)), dtype=types)
    else:
        frame = module.table(FRAME) if library == "pyarrow" else module.DataFrame(FRAME)
    assert plain(read_measurements(frame), "chip", "device", "measured") == [("A", "0", 1.1), ("NA", "1", 0.9)]


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT", "s")])
def test_what_is_missing_among_labels_is_refused(missing):
    with pytest.raises(limpet.LimpetError, match=r"row 2: column 'device' is empty; .*keep_default_na=False"):
        read_measurements({**FRAME, "device": [0.0, missing]})
    with pytest.warns(UserWarning, match="row 2: a value is missing; 1 value is left out"):
        assert read_measurements({**FRAME, "measured": [1.1, missing]}).line.tolist() == [1]


def sheets_of(path, **sheets):
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


TITLES = ["chip", "device", "nominal [nA]", "measured [nA]"]


def test_a_spreadsheet_is_a_table(tmp_path):
    rows = [["# bench 3"], [], TITLES, ["A", "00", 2, 2.1, None], ["A", 0, 2, 1.9], [None] * 4, ["A", 1, 2, "#N/A"]]
    path = sheets_of(tmp_path / "one.xlsx", notes=[], first=rows)
    with pytest.warns(UserWarning, match="row 7: a value is missing"):
        table = read_measurements(path)
    assert plain(table, "device", "line", "unit") == [("00", 4, "A"), ("0", 5, "A")]
    path = sheets_of(tmp_path / "two.xlsx", first=rows, second=[TITLES, ["A", 0, 2, "x"]])
    with pytest.raises(limpet.LimpetError, match="holds 2 sheets, 'first', 'second'; name one, as in 'two.xlsx#first'"):
        read_measurements(path)
    with pytest.raises(limpet.LimpetError, match=r"two.xlsx#second: row 2: measured \[nA\] = 'x' is no finite number"):
        read_measurements(f"{path}#second")
    with pytest.raises(limpet.LimpetError, match="has no sheet 'third'; it has 'first', 'second'"):
        read_measurements(f"{path}#third")


def test_a_parquet_file_is_a_table(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(FRAME), tmp_path / "bench.parquet")
    assert plain(read_measurements(tmp_path / "bench.parquet"), "chip", "device", "line") == [
        ("A", "0", 1),
        ("NA", "1", 2),
    ]
    parquet.write_table(pyarrow.table({**FRAME, "measured": ["1", "x"]}), tmp_path / "bench.parquet")
    with pytest.raises(limpet.LimpetError, match="parquet: row 2: measured = 'x'"):
        read_measurements(tmp_path / "bench.parquet")
    parquet.write_table(pyarrow.table({"chip": np.zeros(20_000_000, bool)}), tmp_path / "bench.parquet")
    with pytest.raises(limpet.LimpetError, match="holds more than 10,000,000 cells"):
        read_measurements(tmp_path / "bench.parquet")


def test_a_small_spreadsheet_that_unpacks_to_a_large_one_is_refused(tmp_path):
    with ZipFile(tmp_path / "bench.xlsx", "w", ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 30_000_000)
    with pytest.raises(limpet.LimpetError, match="is packed more tightly than spreadsheets are"):
        read_measurements(tmp_path / "bench.xlsx")


@pytest.mark.parametrize(("name", "library"), [("bench.xlsx", "openpyxl"), ("bench.parquet", "pyarrow")])
def test_what_reads_a_file_is_named_where_it_is_not_installed(name, library, monkeypatch, tmp_path):
    (tmp_path / name).write_bytes(b"PK")
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(limpet.LimpetError, match=rf"{library}, which is not there; install it by .*limpet\[bench\]"):
        read_measurements(tmp_path / name)


PIECES = [
    b'"',
    b",",
    b";",
    b"\t",
    b"\r",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"nan",
    b"1e999",
    b"-",
    b"[",
    b"(",
    b"#",
    b"x" * 200_000,
]


def damaged(generator, content):
    """Bytes of a file of which some were changed, cut out, doubled or put in."""
    content = bytearray(content)
    for _ in range(generator.choice([1, 2, 4, 16])):
        start = generator.randrange(len(content) + 1)
        end = min(len(content), start + generator.randrange(60))
        kind = generator.randrange(5)
        if kind == 0:
            content[start:start] = generator.choice(PIECES)
        elif kind == 1:
            content[start:end] = generator.randbytes(end - start)
        elif kind == 2:
            del content[start:end]
        elif kind == 3:
            content[start:start] = content[start:end]
        else:
            del content[max(start, 1) :]
    return bytes(content)


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_in_one_line(suffix, count, tmp_path):
    import pyarrow
    from pyarrow import parquet

    path, generator = tmp_path / f"bench{suffix}", random.Random(count)
    rows = [[*TITLES, "time", "unit"], *(["A", n, 2, 2 + n / 10, 10 * n, "x"] for n in range(9))]
    if suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    elif suffix == ".xlsx":
        sheets_of(path, one=rows)
    else:
        parquet.write_table(pyarrow.table(dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))), path)
    whole, said = path.read_bytes(), []
    options = [{}, {"readings": True}, {"columns": {"chip": 1, "device": 2, "nominal": 3, "measured": 4}}]
    for _ in range(count):
        path.write_bytes(damaged(generator, whole))
        try:
            table = read_measurements(path, **{"columns": {"unit": None}, **generator.choice(options)})
            assert np.isfinite([table.nominal, table.measured]).all()
        except limpet.LimpetError as error:
            said.append(str(error))
    assert said
    assert all(len(text) < 1500 and "\n" not in text for text in said)


def test_a_table_of_one_chip_and_of_a_device_a_row_says_so(tmp_path):
    path = tmp_path / "die7.csv"
    path.write_text("10 uS,20 uS\n9,21\n11,19\n")
    with pytest.raises(limpet.LimpetError, match=r"where all values are of one chip, columns=\{'chip': None\}"):
        read_measurements(path, columns={"nominal": ["10 uS", "20 uS"]})
    columns = {"chip": None, "device": None, "nominal": ["10 uS", "20 uS"]}
    table = read_measurements(path, columns=columns)
    assert set(table.chip) == {"die7"}
    assert table.device.tolist() == ["1", "1", "2", "2"]
