from pathlib import Path

import pytest

from agent.discovery import discover
from agent.roles import ROLES
from core.errors import UserError

PLUGIN = """
from reticle import GuardFactory, NoSettings, hookimpl
class Never:
    def __init__(self, settings, context): pass
    def check(self, action, presses, frame, now_ns): return "never"
@hookimpl
def reticle_guard():
    return [GuardFactory("never", Never, NoSettings, "vetoes everything"), GuardFactory("never-too", Never)]
"""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_built_ins_fill_every_role() -> None:
    offers = discover().offers
    assert {role: sorted(found) for role, found in offers.items()} == {
        "capture": ["doom", "dxgi", "footage", "mss", "openarena", "portal", "screen", "stream", "tasks", "wgc"],
        "detector": ["onnx", "openarena-colour", "oracle", "yolo"],
        "selection": ["best", "nearest", "tracker"],
        "controller": ["kalman", "pid", "predictive", "proportional"],
        "actuation": ["dry-run", "environment", "mouse", "pynput", "uinput"],
        "observer": ["decisions", "overlay", "recorder", "rerun", "show", "trace"],
        "guard": ["arm-key", "process-argument", "rate", "staleness", "window-title"],
    }
    assert all(offer.source == "built-in" for found in offers.values() for offer in found.values())


def test_a_file_offers_what_it_likes(tmp_path: Path) -> None:
    path = write(tmp_path, PLUGIN)
    offers = discover([path, path]).offers["guard"]
    assert offers["never"].source == str(path)
    assert "never-too" in offers


def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, PLUGIN, "their_plugin.py")
    info = tmp_path / "their_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[reticle.plugins]\ntheirs = their_plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert discover().offers["guard"]["never"].source == "their-package 1.2"
    (tmp_path / "their_plugin.py").write_text("1 / 0")
    monkeypatch.delitem(__import__("sys").modules, "their_plugin")
    with pytest.raises(UserError, match="'theirs' .their-package 1.2. cannot be loaded: ZeroDivisionError"):
        discover()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\ny = 1 / 0\n", "mine.py: the plugin raised on import: ZeroDivisionError: division by zero (mine.py:2)"),
        ("def f(:\n", "mine.py:1: the plugin is not valid Python"),
        ("import no_such_module\n", "mine.py: the plugin raised on import: ModuleNotFoundError"),
        ("from reticle import hookimpl\n@hookimpl\ndef reticle_guard():\n    return 3\n", "must return a GuardFactory, not 3"),
        ("from reticle import hookimpl\n@hookimpl\ndef reticle_guard():\n    raise OSError('x')\n", "its hook reticle_guard raised: OSError: x"),
        (PLUGIN.replace("@hookimpl", ""), "it has no hook; mark one of reticle_capture, "),
        (PLUGIN.replace("reticle_guard", "reticle_gard"), "unknown hook 'reticle_gard'"),
        (PLUGIN.replace("def reticle_guard()", "def reticle_guard(context)"), "hook 'reticle_guard'"),
        (PLUGIN.replace("Never, NoSettings", "Never, dict"), "settings must be a subclass of PluginSettings"),
        (PLUGIN.replace("GuardFactory", "ActuationFactory").replace("Never)", "Never, reaches='doom')"), "reaches must be one of ('desktop', 'own-game', 'nothing')"),
        (PLUGIN.replace("GuardFactory", "SelectionFactory"), "its hook reticle_guard must return a GuardFactory, not SelectionFactory"),
        (PLUGIN.replace('"never",', '"rate",'), 'the guard plugin "rate" is offered by both built-in and'),
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_a_file(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        discover([path])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.py: there is no such plugin file"):
        discover([tmp_path / "none.py"])


def test_tracing_logs_every_hook_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("RETICLE_TRACE_PLUGINS", "1")
    with caplog.at_level("INFO", "reticle"):
        discover()
    printed = caplog.text
    for role in ROLES:
        assert f"reticle_{role}: " in printed
    assert "reticle_selection = ['nearest']" in printed
