"""A clone made with the line endings of Git for Windows runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.files import sha256
from engine.models import read_manifest
from tests.conftest import ROOT


def git(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_clone_with_windows_line_endings_has_whole_models_and_profiles(tmp_path: Path) -> None:
    if shutil.which("git") is None or git("-C", ROOT, "rev-parse", "HEAD").returncode:
        pytest.skip("this is no git checkout")
    clone = tmp_path / "clone"
    done = git("clone", "--quiet", "--no-local", "-c", "core.autocrlf=true", ROOT, clone)
    assert done.returncode == 0, done.stderr
    assert b"\r\n" in (clone / "README.md").read_bytes(), "autocrlf took effect"
    bundles = sorted(path.parent for path in clone.glob("models/*/model.yaml"))
    assert bundles
    for bundle in bundles:
        for name, digest in read_manifest(bundle).sha256.items():
            assert sha256(bundle / name) == digest, name
    profiles = sorted(clone.glob("profiles/*.yaml"))
    assert profiles
    code = f"import sys; sys.path.insert(0, {str(clone)!r})\n" + "\n".join(
        f"from agent.profile import load_profile; from pathlib import Path; load_profile(Path({str(path)!r}))"
        for path in profiles
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
