import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from core.modules import RUNTIME_FILES_VARIABLE, load_file, publish_runtime_files


def test_a_file_is_loaded_as_a_module_and_its_faults_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "good-name.py").write_text("VALUE = 7\n")
    assert load_file(tmp_path / "good-name.py").VALUE == 7
    (tmp_path / "bad.py").write_text("x = 1\n1 / 0\n")
    with pytest.raises(UserError, match=r"bad\.py.*ZeroDivisionError"):
        load_file(tmp_path / "bad.py")
    with pytest.raises(UserError, match=r"no\.py: there is no such plugin file"):
        load_file(tmp_path / "no.py")


def test_child_processes_know_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNTIME_FILES_VARIABLE, "")
    publish_runtime_files([tmp_path / "a.py", tmp_path / "b.py"])
    code = f"import os; print(os.environ[{RUNTIME_FILES_VARIABLE!r}])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told.split(os.pathsep) == [str((tmp_path / name).resolve()) for name in ("a.py", "b.py")]
