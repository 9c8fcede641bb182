"""The arrows between the rooms, as docs/architecture.md draws them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from agent.discovery import discover
from tests.conftest import ROOT

ALLOWED = {
    "core": set(),
    "engine": set(),
    "agent": set(),
    "plugins": {"agent", "engine"},
    "conversion": {"engine"},
    "training": {"engine"},
    "evaluation": {"agent", "engine"},
    "reticle": {"agent", "plugins", "engine", "conversion", "evaluation", "training"},
    "cli": {"agent", "plugins", "engine", "conversion", "evaluation", "training", "reticle"},
}
"""What a room may import beside itself and core."""

NOT_IMPORTED = {"tests", "benchmarks", "examples"}
INFERENCE = {"tensorflow", "keras", "openvino", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "torch", "jax"}
GAMES = {"csgo", "vizdoom"}


def modules() -> list[Path]:
    return [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> list[tuple[str, bool]]:
    """Each imported module, and whether it is imported as soon as the file is."""
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


def literals(path: Path) -> list[ast.Constant]:
    """The strings of a module which are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    return [
        n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in prose
    ]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    allowed = ALLOWED[room] | {room, "core"}
    for name, _ in imports(path):
        target = name.split(".")[0]
        assert target not in NOT_IMPORTED, f"{name_of(path)} imports {name}"
        if target in ALLOWED:
            assert target in allowed, f"{name_of(path)} imports {name}: {room} -> {target} is no arrow of the design"


@pytest.mark.parametrize("path", sorted((ROOT / "cli").rglob("*.py")), ids=name_of)
def test_the_command_line_reaches_the_rooms_when_a_command_is_called(path: Path) -> None:
    """`--help` and a mistyped command answer at once, so a module of cli/ imports no room but core with itself."""
    for name, at_top in imports(path):
        target = name.split(".")[0]
        if at_top and target in ALLOWED:
            assert target in {"cli", "core"}, f"{name_of(path)} imports {name} before it is called"


@pytest.mark.parametrize("path", sorted((ROOT / "agent").rglob("*.py")), ids=name_of)
def test_the_host_names_no_plugin_no_game_and_no_inference_library_and_prints_nothing(path: Path) -> None:
    plugins = {name for offers in discover().offers.values() for name in offers}
    for name, _ in imports(path):
        assert name.split(".")[0] not in INFERENCE | GAMES, f"{name_of(path)} imports {name}"
    # A mode, what an observer can give, and a key of the report have names that plugins have too.
    named = (plugins | GAMES | INFERENCE) - {"dry-run", "overlay", "trace", "rerun", "decisions", "rate", "show"}
    for node in literals(path):
        assert node.value not in named, f"{name_of(path)}:{node.lineno} names {node.value!r}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name_of(path)}:{node.lineno} prints"


@pytest.mark.parametrize("path", sorted((ROOT / "engine").glob("*.py")), ids=name_of)
def test_an_inference_library_is_imported_in_its_runtimes_file_alone(path: Path) -> None:
    for name, _ in imports(path):
        assert name.split(".")[0] not in {"openvino", "onnxruntime", "tensorflow", "torch", "jax"}, name_of(path)


def loaded_by(code: str, heavy: set[str]) -> set[str]:
    probe = f"import sys\n{code}\nprint(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, check=True, timeout=60, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_listing_plugins_imports_nothing_that_they_run_on() -> None:
    heavy = {"vizdoom", "mss", "pynput", "Xlib", "pygame", "matplotlib"} | INFERENCE
    assert loaded_by("from agent.discovery import discover\ndiscover()", heavy) == set()


def test_the_command_line_starts_without_what_its_commands_need() -> None:
    heavy = {"numpy", "cv2", "pydantic", "yaml", "requests", "pooch", "vizdoom", "matplotlib"} | INFERENCE
    code = "import contextlib\nfrom cli.main import main\nwith contextlib.suppress(SystemExit):\n    main(['--help'])"
    assert loaded_by(code, heavy) == set()


def test_the_top_level_is_the_designs() -> None:
    for name in [*ALLOWED, "profiles", "models", "tests", "docs", "benchmarks", "examples"]:
        assert (ROOT / name).is_dir(), name
    script = ast.parse((ROOT / "agent.py").read_text())
    assert len(script.body) <= 3, "agent.py is the entry point and nothing else"
