import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.conftest import FIXED, ROOT, Done
from tests.desktop import posix
from tests.networks import NAMES, small_files

LOUD = """
import sys
from reticle import SelectionFactory, hookimpl
class Loud:
    def __init__(self, settings, context): pass
    def select(self, detections, frame):
        print("a frame", file=sys.stderr, flush=True)
@hookimpl
def reticle_selection(): return SelectionFactory("loud", Loud)
"""

PLUGIN = """
from reticle import ObserverFactory, hookimpl
class Thing:
    def __init__(self, settings, context):
        {init}
    def {method}(self, event):
        {observe}
    def close(self):
        {close}
@hookimpl
def reticle_observer(): return ObserverFactory("thing", Thing)
"""


KEYS = {"p50", "p90", "p99", "p99_9", "max", "count"}


def profile(folder: Path, **changes: object) -> Path:
    base = {
        "mode": "lock-step",
        "capture": {"plugin": "footage", "path": "frames"},
        "detector": {"plugin": "yolo", "cfg": "small.cfg", "weights": "small.weights", "names": "small.names"},
        "selection": {"plugin": "nearest"},
        "actuation": {"plugin": "dry-run"},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**base, **changes}))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a small network, ten frames and a profile for them."""
    small_files(tmp_path)
    (tmp_path / "frames").mkdir()
    for i in range(10):
        picture = np.random.default_rng(i).integers(0, 256, (96, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / f"{i}.png"), picture)
    profile(tmp_path)
    return tmp_path


def one_sentence(done: Done | subprocess.CompletedProcess, says: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 or all(".yaml:" in line for line in lines), "a profile's problems are listed, a line each"


def test_a_doom_run_reports_kills(agent, tmp_path: Path) -> None:
    done = agent("--profile", "doom.yaml", *FIXED, "--episodes", 1, "--seed", 4, "--report", "a.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"kills.*shots.*tics", done.stdout)
    report = json.loads((tmp_path / "a.json").read_text())
    (episode,) = report["episodes"]
    assert (episode["scenario"], episode["seed"]) == ("defend_the_center", 4)
    assert episode["kills"] >= 20
    assert report["mode"] == "lock-step"
    assert report["frames"] == report["stages_ms"]["infer"]["count"] > 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json"]


def test_a_doom_run_repeats_itself(agent, tmp_path: Path) -> None:
    reports = []
    for name in ("a.json", "b.json"):
        done = agent(
            "--profile", "doom.yaml", *FIXED,
            "--set", "capture.scenario=predict_position", "--episodes", 3, "--report", name,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((tmp_path / name).read_text()))
    one, two = reports
    assert one["decisions"] == two["decisions"]
    assert one["episodes"] == two["episodes"]
    assert one["frames"] > 50


def test_the_report_has_the_keys_that_runs_are_compared_by(agent, small: Path) -> None:
    done = agent("--profile", "mine.yaml", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((small / "r.json").read_text())
    assert {
        "version", "profile", "mode", "frames", "dropped", "duplicates", "actions", "vetoes", "stages_ms",
        "end_to_end_ms", "frame_age_ms", "episodes",
    } <= report.keys()  # fmt: skip
    assert list(report["stages_ms"]) == ["grab", "preprocess", "infer", "postprocess", "select", "act"]
    assert all(row.keys() == KEYS for row in report["stages_ms"].values())
    assert report["end_to_end_ms"].keys() == report["frame_age_ms"].keys() == KEYS
    assert (report["frames"], report["profile"], report["dropped"]) == (10, "mine", 0)
    assert set(report["classes"]) <= set(NAMES)
    lines = (small / "runs" / "actions.jsonl").read_text().splitlines() if report["actions"] else []
    assert len(lines) == report["actions"]


def test_real_footage_finds_cars_on_a_road(data: Path, agent, tmp_path: Path) -> None:
    done = agent(
        "--profile", "footage.yaml", "--footage", data / "footage" / "road-38-frames.mp4", "--report", "r.json",
        env={"RETICLE_TEST_DATA": str(data)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"] == 38
    assert report["classes"]["car"] > 38
    assert report["mode"] == "lock-step"


def test_footage_over_a_profile_and_a_plugin_from_a_file(agent, small: Path) -> None:
    (small / "never.py").write_text(
        "from reticle import GuardFactory, hookimpl\n"
        "class Never:\n"
        "    def __init__(self, settings, context): pass\n"
        "    def check(self, action, presses, frame, now_ns): return 'never'\n"
        "@hookimpl\n"
        "def reticle_guard(): return GuardFactory('never', Never)\n"
    )
    profile(
        small, capture={"plugin": "mss"}, guards=[{"plugin": "never"}], aim={"plugin": "proportional", "fire": "hold"}
    )
    done = agent("--profile", "mine.yaml", "--footage", "frames", "--plugin", "never.py", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((small / "r.json").read_text())
    assert (report["frames"], report["actions"]) == (10, 0)
    assert report["vetoes"]["never"] > 0
    assert f"{report['vetoes']['never']} vetoes by never: never." in done.stdout
    assert report["veto_reasons"] == [{"guard": "never", "reason": "never", "count": report["vetoes"]["never"]}]
    assert report["setup"]["capture"]["plugin"] == "footage"


def test_footage_that_breaks_off_still_reports_what_was_done(agent, small: Path) -> None:
    (small / "frames" / "5.png").write_bytes(b"no image")
    done = agent("--profile", "mine.yaml", "--report", "r.json")
    one_sentence(done, "5.png: this is no image or is damaged")
    assert json.loads((small / "r.json").read_text())["frames"] == 5
    assert "latency, ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "nosuch.yaml"), "nosuch.yaml: there is no such profile"),
        (("--profile", "mine.yaml", "--plugin", "no.py"), "no.py: there is no such plugin file"),
        (("--profile", "mine.yaml", "--footage", "no.mp4"), "no.mp4: there is no such footage"),
        (("--profile", "mine.yaml", "--episodes", "2"), "episodes (--episodes) are those of a game that the agent runs"),
        (("--profile", "mine.yaml", "--report", "frames"), "frames: this is a folder; name a file"),
        (("--profile", "mine.yaml", "--report", "small.cfg/r.json"), "nothing can be written there"),
        (("--live", "--profile", "footage.yaml", "--footage", "frames"), "--live cannot be used with --footage"),
        (("--duration", "3"), "give a profile to run"),
        (("check", "nosuch"), "there is no such profile"),
        (("fetch", "yolov9"), 'there is no official model "yolov9"; there are: yolov4, yolov4-tiny'),
        (("convert", "--cfg", "small.cfg", "--weights", "small.names", "--out", "m"), "too short to be a weights file"),
        (("check", "csgo.yaml"), 'there is no bundle models/csgo-yolov4-608: make one from your own Darknet files with'),
        (("--profile", "csgo.yaml"), "there is no bundle models/csgo-yolov4-608: make one"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_sentence_and_status_2(cli, small: Path, arguments: tuple, says: str) -> None:
    one_sentence(cli(*arguments), says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"detector": {"plugin": "yolo", "cfg": "small.cfg", "weights": "long.weights"}}, "long.weights: the weights are too long"),
        ({"detector": {"plugin": "yolo", "cfg": "small.cfg", "weights": "cut.weights"}}, "cut.weights: the weights are too short"),
        ({"detector": {"plugin": "yolo", "cfg": "odd.cfg", "weights": "small.weights"}}, "odd.cfg:4: [gru] remembers the pictures before"),
        ({"detector": {"plugin": "oracle"}}, "the detector oracle needs a capture that knows the ground truth"),
        ({"actuation": {"plugin": "environment"}}, "the actuation environment acts in a game that the capture plays"),
        ({"capture": {"plugin": "doom", "scenario": "doom9"}}, 'there is no Doom scenario "doom9"'),
        ({"selection": {"plugin": "nearest", "classes": ["heads"]}}, 'did you mean "head"?'),
        ({"detector": {"plugin": "yollo"}}, 'mine.yaml:7:11: detector.plugin: unknown detector plugin "yollo"; did you mean "yolo"?'),
    ],
)  # fmt: skip
def test_bad_profiles_are_one_sentence_and_status_2(cli, small: Path, changes: dict, says: str) -> None:
    weights = (small / "small.weights").read_bytes()
    (small / "long.weights").write_bytes(weights + bytes(400))
    (small / "cut.weights").write_bytes(weights[:-400])
    (small / "odd.cfg").write_text("[net]\nwidth=32\nheight=32\n[gru]\n")
    profile(small, **changes)
    one_sentence(cli("--profile", "mine.yaml"), says)


def test_no_display_and_a_region_outside_the_screen(agent, small: Path, display: str) -> None:
    profile(small, mode="live", capture={"plugin": "mss", "width": 64, "height": 64})
    one_sentence(agent("--profile", "mine.yaml", env={"DISPLAY": ""}), "there is no screen to capture")
    profile(small, mode="live", capture={"plugin": "mss", "width": 5000, "height": 64})
    one_sentence(
        agent("--profile", "mine.yaml"),
        "the region 5000x64 at (-1860, 328) lies outside the screen, which is 1280x720",
    )


def test_live_needs_live_mode_and_an_arm_and_a_panic_key(cli, small: Path) -> None:
    profile(small, actuation={"plugin": "mouse"})
    one_sentence(cli("--profile", "mine.yaml", "--live"), "--live needs `mode: live`")
    profile(small, mode="live", actuation={"plugin": "mouse"})
    one_sentence(cli("--profile", "mine.yaml", "--live"), "such as: - plugin: arm-key")


def test_check_and_plugins_and_help(cli, small: Path) -> None:
    done = cli("check", "mine.yaml")
    assert done.returncode == 0
    assert "a valid profile (lock-step: footage, yolo, nearest, proportional, dry-run)" in done.stdout
    done = cli("plugins", "--json", "p.json")
    assert done.returncode == 0
    rows = json.loads((small / "p.json").read_text())["rows"]
    assert {row["name"] for row in rows if row["role"] == "guard"} >= {"arm-key", "rate"}
    assert all(setting["description"] for row in rows for setting in row["settings"])
    for arguments in (("--help",), ("detect", "--help")):
        assert "Usage" in cli(*arguments).stdout
    bare = cli()
    assert (bare.returncode, bare.stdout) == (2, "")
    assert "Usage" in bare.stderr
    assert cli("--version").stdout.startswith("reticle ")


def test_convert_makes_a_bundle_that_a_profile_can_name(agent, small: Path) -> None:
    done = agent(
        "convert",
        "--cfg",
        "small.cfg",
        "--weights",
        "small.weights",
        "--names",
        "small.names",
        "--out",
        "models/tiny",
    )
    assert done.returncode == 0, done.stderr
    profile(small, detector={"plugin": "yolo", "model": "tiny"})
    assert agent("check", "mine.yaml").returncode == 0
    assert agent("--profile", "mine.yaml").returncode == 0


@pytest.mark.slow
@posix
def test_ctrl_c_ends_a_live_run_with_its_report(small: Path) -> None:
    (small / "loud.py").write_text(LOUD)
    profile(
        small,
        mode="live",
        capture={"plugin": "footage", "path": "frames", "fps": 2},
        selection={"plugin": "loud"},
    )
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "agent.py"),
            "--profile",
            "mine.yaml",
            "--report",
            "r.json",
            "--plugin",
            "loud.py",
        ],
        cwd=small,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "a frame\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "ended: Ctrl-C" in output
    assert "Traceback" not in errors
    assert json.loads((small / "r.json").read_text())["mode"] == "dry-run"


@posix
@pytest.mark.slow
def test_a_signal_ends_the_trial_of_engines_at_once(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agent.py"), "--profile", "doom.yaml"]
    environment = {**os.environ, "RETICLE_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr.readline().startswith("trying which engine runs ")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "cache").exists()


def with_observer(folder: Path, **parts: str) -> None:
    (folder / "thing.py").write_text(
        PLUGIN.format(**{"init": "pass", "method": "observe", "observe": "pass", "close": "pass", **parts})
    )
    profile(folder, observers=[{"plugin": "thing"}], plugins=["thing.py"])


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            {"init": "1 / 0"},
            'mine.yaml:13:3: observers[0]: the plugin "thing" cannot be created: ZeroDivisionError: division by zero (thing.py:5)',
        ),
        (
            {"method": "obsrve"},
            'mine.yaml:13:3: observers[0]: the plugin "thing" created a Thing without observe; the role observer needs observe',
        ),
    ],
)
def test_a_plugin_that_cannot_be_made(cli, small: Path, parts: dict, says: str) -> None:
    with_observer(small, **parts)
    one_sentence(cli("--profile", "mine.yaml"), says)


def test_a_plugin_that_fails_later_costs_nobody_the_report(agent, small: Path) -> None:
    with_observer(small, observe="raise SystemExit(3)", close="raise OSError('full')")
    done = agent("--profile", "mine.yaml", "--report", "r.json")
    assert done.returncode == 2
    assert json.loads((small / "r.json").read_text())["observer_failures"] == {"thing": 10}
    assert "observer thing failed: SystemExit: 3 (thing.py:7)" in done.stderr
    assert 'the plugin "thing" failed to close: OSError: full (thing.py:9)' in done.stderr


def test_a_plugin_that_raises_in_the_loop_ends_the_run_in_one_sentence_with_its_report(agent, small: Path) -> None:
    (small / "loud.py").write_text(LOUD.replace("print(", "1 / 0; print("))
    profile(small, selection={"plugin": "loud"}, plugins=["loud.py"])
    done = agent("--profile", "mine.yaml", "--report", "r.json")
    one_sentence(done, 'the selection "loud": select raised ZeroDivisionError: division by zero (loud.py:7)')
    assert json.loads((small / "r.json").read_text())["ended"] == "an error"


@posix
@pytest.mark.slow
def test_the_report_is_written_although_nobody_reads_the_tables(small: Path) -> None:
    command = f"{sys.executable} {ROOT / 'agent.py'} --profile mine.yaml --report r.json | head -1"
    subprocess.run(["bash", "-c", command], cwd=small, check=True, capture_output=True, timeout=60)
    assert json.loads((small / "r.json").read_text())["frames"] == 10


@posix
def test_a_report_follows_links_and_spares_the_profile(agent, small: Path) -> None:
    (small / "real.json").write_text("old")
    (small / "link.json").symlink_to("real.json")
    assert agent("--profile", "mine.yaml", "--report", "link.json").returncode == 0
    assert (small / "link.json").is_symlink()
    assert json.loads((small / "real.json").read_text())["frames"] == 10
    one_sentence(agent("--profile", "mine.yaml", "--report", "mine.yaml"), "would overwrite the profile")


def test_live_is_refused_where_there_is_nothing_to_move(cli, small: Path) -> None:
    one_sentence(
        cli("--profile", "mine.yaml", "--live"),
        '--live is for an actuation that moves the real mouse, and "dry-run"',
    )
    one_sentence(
        cli("--profile", "mine.yaml", "check", "doom.yaml"),
        "--profile belongs to a run, and check is a command of its own",
    )


@pytest.mark.slow
def test_doom_imports_no_library_but_its_engines() -> None:
    code = (
        f"import sys; sys.argv = ['agent.py', '--profile', 'doom.yaml', '--duration', '0.2', *{FIXED!r}]\n"
        "from cli.main import main\n"
        "main()\n"
        "heavy = {'tensorflow', 'keras', 'scipy', 'matplotlib', 'jax', 'torch', 'pynput'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    code = code.replace("main()\nheavy", "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nheavy")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=200)


def test_a_thread_that_a_plugin_left_behind_does_not_keep_the_process(agent, small: Path) -> None:
    with_observer(
        small, init="import threading, time; threading.Thread(target=time.sleep, args=(60,), name='stray').start()"
    )
    done = agent("--profile", "mine.yaml", "--report", "r.json", timeout=40)
    assert done.returncode == 0, done.stderr
    assert "left running, and ended with the process: the threads stray" in done.stderr
    assert json.loads((small / "r.json").read_text())["frames"] == 10
