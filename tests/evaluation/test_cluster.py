import json
import os
import sys
from pathlib import Path

from tests.conftest import ROOT

SHORT = (
    "--profile",
    "doom.yaml",
    "--scenario",
    "basic",
    "--episodes",
    "2",
    "--engine",
    "openvino",
    "--precision",
    "int8",
)


def test_ray_gives_the_same_numbers(agent, tmp_path: Path) -> None:
    for name, extra in (("plain", ()), ("ray", ("--cluster", "local"))):
        done = agent("arena", *SHORT, "--baselines", "oracle", *extra, "--json", f"{name}.json")
        assert done.returncode == 0, done.stderr
    plain, ray = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "ray"))
    for found in (plain, ray):
        del found["provenance"]  # the command and the date differ
    assert plain == ray
    assert len(plain["episodes"]) == 4


def test_what_a_cluster_cannot_do_is_one_sentence(agent, tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    for options, says in (
        (("--cluster", "somewhere"), 'is "somewhere"; give host:port'),
        (("--cluster", "127.0.0.1:9"), "the Ray cluster 127.0.0.1:9 cannot be reached"),
        (("--cluster", "local", "--scenario", "nowhere"), 'there is no Doom scenario "nowhere"'),
    ):
        done = agent("arena", *SHORT, *options)
        assert done.returncode == 2, done.stdout + done.stderr
        assert says in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    mine = tmp_path / "mine.yaml"
    mine.write_text((ROOT / "profiles" / "doom.yaml").read_text())
    done = agent("arena", *SHORT[2:], "--profile", mine, "--cluster", "127.0.0.1:9")
    assert done.returncode == 2
    assert "a cluster gets the files of" in done.stderr


def test_without_ray_it_says_how_to_get_it(agent, tmp_path: Path) -> None:
    """A finder that hides the package stands in for an environment without it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'ray' else real(name, package)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = agent("arena", *SHORT, "--cluster", "local", env={"PYTHONPATH": path})
    assert done.returncode == 2, done.stderr
    assert "--cluster needs Ray, which is not installed" in " ".join(done.stderr.split()), sys.version
