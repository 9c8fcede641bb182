"""The arrows between the rooms, as docs/architecture.md draws them."""

import ast
import sys
from pathlib import Path

import pytest

from agent.discovery import discover
from tests.conftest import ROOT

ROOMS = ("agent", "plugins", "engine", "conversion", "evaluation", "training", "profiles", "tests", "benchmarks")
ALLOWED = {
    "agent": {"agent"},
    "plugins": {"plugins", "agent", "engine"},
    "engine": {"engine"},
    "conversion": {"conversion", "engine"},
    "training": {"training", "engine"},
    "evaluation": {"evaluation", "engine", "agent"},
}
COMMANDS = {
    ROOT / "agent" / f"{name}.py"
    for name in ("cli", "cli_models", "cli_training", "cli_arena", "cli_window", "cli_recordings")
}
CLI = {"conversion", "evaluation", "training", "engine"}
INFERENCE = {"tensorflow", "keras", "openvino", "onnx", "onnxruntime", "tensorrt", "torch", "jax"}


def modules() -> list[Path]:
    return [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Each imported module, and whether the import stands at the top of the file (TYPE_CHECKING aside)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides an arrow"
            found.append((node.module or "", id(node) in top))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    cli = path in COMMANDS
    for name, at_top in imports(path):
        target = name.split(".")[0]
        if name == "agent.cli" or name.startswith("agent.cli."):
            raise AssertionError(f"{path} imports the command line")
        if target in ROOMS and target not in ALLOWED[room]:
            assert cli, f"{path} imports {name}: {room} -> {target} is no arrow of the design"
            assert target in CLI
            assert not at_top, f"{path} imports {name} at its top; the command line reaches it when called"
        if room == "agent":
            assert target not in INFERENCE, f"{path} imports {name}: the host names no inference library"


def test_the_host_names_no_plugin_and_no_game() -> None:
    names = {offer.maker.name for offers in discover().offers.values() for offer in offers.values()}
    # The command line's help gives examples of profiles, and words that are English too are no names here.
    names = (names | {"csgo", "vizdoom"} | INFERENCE) - {
        "show",
        "overlay",
        "recorder",
        "trace",
        "mouse",
        "rate",
        "nearest",
        "dry-run",
        "decisions",
    }
    for path in sorted((ROOT / "agent").glob("*.py")):
        if path in COMMANDS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                assert node.value not in names, f"{path}:{node.lineno} names the plugin {node.value!r}"


def test_built_in_plugins_import_nothing_heavy() -> None:
    """Listing plugins must be quick: what a plugin runs on is imported when it is made."""
    import subprocess

    code = (
        "import sys\nfrom agent.discovery import discover\ndiscover()\n"
        "heavy = {'vizdoom', 'mss', 'pynput', 'Xlib', 'keras', 'openvino', 'tensorflow', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_top_level_is_the_designs() -> None:
    for name in ("agent", "plugins", "engine", "conversion", "evaluation", "profiles", "tests", "docs", "benchmarks"):
        assert (ROOT / name).is_dir()
    script = ast.parse((ROOT / "agent.py").read_text())
    assert len(script.body) == 2, "agent.py is the entry point and nothing else"
