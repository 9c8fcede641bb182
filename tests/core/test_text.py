"""Text as the world writes it, numbers, names, and what messages quote."""

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import LONGEST_WORD, UserError
from core.text import (
    class_names,
    number,
    parse_json,
    quoted,
    read_json,
    read_text,
    read_yaml,
    shown,
    to_json,
    validated,
)

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=20), max_size=6)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_lines_are_read_alike_whatever_ends_them_and_marks_them(lines: list[str], end: str, encoding: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(end.join(lines).encode(encoding))
        assert read_text(path, "the text").split("\n") == (lines or [""])


def test_what_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gbk").write_bytes("人\n".encode("gbk"))
    with pytest.raises(UserError, match="gbk: the text cannot be read: it is not text in UTF-8; save it as UTF-8"):
        read_text(tmp_path / "gbk", "the text")
    assert "\ufffd" in read_text(tmp_path / "gbk", "the text", any_encoding=True)
    with pytest.raises(UserError, match="the text cannot be read: this is a folder"):
        read_text(tmp_path, "the text")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "NaN", "[Infinity]", "1e999", "9" * 10_000 + "x", '{"a": 1}}', "\0", "{" + '"a":' * 9],
)
def test_what_is_no_json_is_one_short_sentence(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_json(text, "f.json", "the file")
    assert str(error.value).startswith("f.json: the file cannot be read: it is n")
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    "text", ["a: [", "!!int x", "&a [*a, *a", "a: b: c", "[" * 5000, "? {", "!!python/object:os.x {}"]
)
def test_what_is_no_yaml_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match="a.yaml: the file cannot be read: it is n"):
        read_yaml(tmp_path / "a.yaml", "the file")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_what_it_says(value: float) -> None:
    assert number(value) == number(repr(value)) == value


@pytest.mark.parametrize(
    "value", [True, None, [], "nan", "inf", "1_0", "0x1", "٣", "", "1e999", 10**400, math.nan, "1,5"]
)
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no"):
        number(value)


@given(st.text(), st.integers(4, 90))
def test_what_is_quoted_is_printable_and_short(text: str, limit: int) -> None:
    seen = shown(text, limit)
    assert seen.isprintable()
    assert len(seen) <= 10 * limit
    assert str(UserError(f"a {text} b")).replace("\n", "").isprintable()
    assert max(map(len, str(UserError(text * 300)).split()), default=0) <= LONGEST_WORD
    assert quoted(10**2000) == "a number of more than 300 digits"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a", "b", "a"], 'the class name "a" stands here twice'),
        (["a", " a "], "twice"),
        ([5], "a class name is text, not 5"),
        (["a\x1b[31m"], r'the class name "a\\x1b\[31m" has control characters'),
        (["a\u200bb"], "has control characters"),
        ([" "], "a class name is empty"),
        (["a" * 500], "is longer than 200 characters"),
    ],
)
def test_names_that_are_none_are_refused(names: list, says: str) -> None:
    with pytest.raises(UserError, match=says):
        class_names(names, "f.names")


def test_data_that_is_read_back_is_checked_and_what_is_written_is_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"f: the file is damaged: 1\.0: Input should be a valid integer"):
        validated(list[tuple[int, int]], [(1, 2), ("x", 3)], "f", "the file")
    path = tmp_path / "a.json"
    path.write_text(to_json({"a": [1.5, math.nan, (math.inf, None)], "b": {"c": -math.inf}}))
    assert read_json(path, "the file") == {"a": [1.5, None, [None, None]], "b": {"c": None}}
    assert json.loads(path.read_text())
