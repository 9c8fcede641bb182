import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.roles import ROLES
from tests.conftest import ROOT


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.slow
def test_what_it_writes_is_listed_and_passes_its_own_tests(cli, tmp_path: Path, role: str) -> None:
    done = cli("new", "plugin", role, f"my-{role}")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / f"my-{role}"
    assert f"my-{role}" in done.stdout
    assert (
        f'[project.entry-points."reticle.plugins"]\nmy-{role} = "my_{role}"' in (folder / "pyproject.toml").read_text()
    )
    listed = cli("plugins", "--plugin", folder / f"my_{role}.py")
    assert listed.returncode == 0, listed.stderr
    assert f"my-{role}" in listed.stdout
    path = os.pathsep.join([str(ROOT), str(folder)])
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert " passed" in tests.stdout


def test_a_wrong_role_or_name_or_folder_is_one_sentence(cli, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for arguments, says in (
        (("selector", "x"), "choose one of: capture, detector, selection"),
        (("guard", "My Guard"), '"My Guard" is no name for a plugin'),
        (("guard", "there"), "there: this exists already"),
    ):
        done = cli("new", "plugin", *arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
