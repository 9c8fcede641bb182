import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.files import LineFile, atomic_file, atomic_folder, check_writable, sha256, shipped, write_atomically
from tests.desktop import posix


@given(content=st.binary(max_size=200))
def test_a_file_is_what_was_written_and_nothing_is_left_beside_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("f")
    write_atomically(folder / "a" / "b.bin", content)
    assert (folder / "a" / "b.bin").read_bytes() == content
    assert [path.name for path in (folder / "a").iterdir()] == ["b.bin"]


def test_after_an_exception_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_complete_and_never_over_another(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_text() == "1"
    with pytest.raises(UserError, match="out: this exists already"), atomic_folder(tmp_path / "out"):
        pass
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "second"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@posix
def test_a_links_target_is_written_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    write_atomically(Path("/dev/null"), "gone")


@pytest.mark.parametrize("name", ["nul\0byte", "file/below"])
def test_a_name_that_cannot_be_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    for write in (lambda path: write_atomically(path, "x"), check_writable):
        with pytest.raises(UserError) as caught:
            write(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match="this is a folder; name a file"):
        check_writable(tmp_path)


def test_lines_come_into_place_together(tmp_path: Path) -> None:
    lines = LineFile(tmp_path / "a.jsonl")
    lines.write({"x": 1})
    assert not (tmp_path / "a.jsonl").exists()
    lines.write({"x": 2})
    lines.close()
    assert [json.loads(line)["x"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [1, 2]


def test_hashes_and_what_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")
    assert (shipped("models") / "doom-yolov4-tiny" / "model.yaml").is_file()
