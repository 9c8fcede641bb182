import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.console import LazyConsole
from cli.tables import print_table

HEADS = ["engine", "precision", "p50 ms", "p99 ms", "what went wrong"]
ROWS = [
    ["openvino", "int8", "123.456789", "1234.5", ""],
    [
        "tensorflow:xla",
        "fp32",
        "7.25",
        "9999.125",
        "the process that tried it ended with signal 11 before it had a result",
    ],
]
NUMBERS = [cell for row in ROWS for cell in row if re.fullmatch(r"[\d.]+", cell)]


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, width: int, **options: object) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADS, ROWS, console=LazyConsole(), **options)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_is_cut_and_no_line_of_a_table_is_too_long(monkeypatch, capsys, width: int) -> None:
    text = printed(monkeypatch, capsys, width, optional=["precision"], prose=["what went wrong"])
    assert all(number in text for number in NUMBERS)
    if "━" in text:  # a table, and not stacked rows
        assert max(map(len, text.splitlines())) <= width
    assert "ended with signal" in " ".join(re.sub(r"[│┃]", " ", text).split()) or width < 120


def test_optional_columns_go_first_and_then_rows_are_stacked(monkeypatch, capsys) -> None:
    wide = printed(monkeypatch, capsys, 120, optional=["p99 ms"], prose=["what went wrong"])
    assert "p99 ms" in wide
    narrow = printed(monkeypatch, capsys, 78, optional=["p99 ms"], prose=["what went wrong"])
    assert "━" in narrow
    assert "p99 ms" not in narrow
    stacked = printed(monkeypatch, capsys, 40)
    assert "━" not in stacked
    assert re.search(r"p99 ms +9999\.125", stacked)


@settings(max_examples=30, deadline=None)
@given(width=st.integers(30, 200), cell=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_every_cell_is_there_at_every_width(width: int, cell: str) -> None:
    import contextlib
    import io
    import os

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    stream = io.StringIO()
    try:
        with contextlib.redirect_stdout(stream):
            print_table(["a", "b"], [[cell, "1.25"], ["x", cell]], console=LazyConsole())
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    assert stream.getvalue().count(cell) >= 2
