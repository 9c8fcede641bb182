"""The documents say what the code does: hooks, settings, factories and the API are all there; what they show runs."""

import dataclasses
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import reticle
from agent.calibration import Calibration
from agent.context import Context
from agent.discovery import discover
from agent.factories import FACTORIES
from agent.hookspecs import SPECS
from agent.profile import LoopSettings, Profile, Safety
from agent.roles import ROLES
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "examples" / "README.md"]


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def shown(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    return {"None": "none", "()": "none"}.get(str(field.default), f"`{str(field.default).replace(chr(92), chr(47))}`")


def rows(model: type[BaseModel]) -> list[str]:
    """The table that docs/profiles.md must have for a schema."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__module__}.{model.__name__}.{name} has no description"
        lines.append(f"| `{name}` | {shown(field)} | {field.description} |")
    return lines


def sections() -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = [
        ("## The top level", Profile),
        ("## calibration", Calibration),
        ("## loop", LoopSettings),
        ("## safety", Safety),
    ]
    offers = discover().offers
    for role in ROLES:
        for name, offer in offers[role].items():
            if offer.factory.settings.model_fields:
                found.append((f"### {role} `{name}`", offer.factory.settings))
    return found


@pytest.mark.parametrize(("heading", "model"), sections(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_documented_as_it_is(heading: str, model: type[BaseModel]) -> None:
    page = text("profiles.md")
    assert heading in page, f"docs/profiles.md lacks the heading {heading}"
    body = page.split(heading, 1)[1].split("\n#", 1)[0]
    expected = "\n".join(rows(model))
    assert expected in body, f"docs/profiles.md, {heading}: put this table there:\n{expected}"


def test_every_plugin_is_documented() -> None:
    page = text("profiles.md")
    for role, offers in discover().offers.items():
        for name, offer in offers.items():
            if offer.source == "built-in":
                assert f"### {role} `{name}`" in page


def test_every_hook_and_every_field_of_a_factory_and_a_context_is_documented() -> None:
    page = text("plugins.md")
    hooks = [name for spec in SPECS for name in vars(spec) if name.startswith("reticle_")]
    assert len(hooks) == len(ROLES) + 1  # and that of runtimes
    fields = [field.name for kind in (*FACTORIES.values(), Context) for field in dataclasses.fields(kind)]
    for name in [*hooks, *fields, *(kind.__name__ for kind in FACTORIES.values())]:
        assert f"`{name}`" in page, f"docs/plugins.md does not say what `{name}` is"


def test_every_name_of_the_api_is_documented_in_the_page_and_in_the_code() -> None:
    page = text("api.md")
    for name in reticle.__all__:
        assert f"`{name}" in page, f"docs/api.md does not say what `{name}` is"
        member = getattr(reticle, name)
        if isinstance(member, type | types.FunctionType):
            assert member.__doc__, name
    for name in re.findall(r"^\| `(\w+)[`(]", page, re.MULTILINE):
        assert name in reticle.__all__, f"docs/api.md documents {name}, which reticle does not have"


def blocks(page: str) -> dict[str, str]:
    return dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_tutorials_plugin_runs_as_the_page_says(tmp_path: Path) -> None:
    page = text("plugins.md")
    files = blocks(page)
    assert files.keys() == {"largest.py", "largest.yaml"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    commands = re.findall(r"^\$ python (agent\.py .*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        script, *arguments = command.split()
        done = subprocess.run(
            [sys.executable, str(ROOT / script), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    kills = re.search(r"defend_the_center\W+\d+\W+(\d+)", done.stdout)
    assert kills
    assert int(kills[1]) > 10


def test_the_reports_keys_are_documented(tmp_path: Path) -> None:
    result = reticle.play(ROOT / "examples" / "balloons.yaml", episodes=1, overrides=["capture.steps=5"])
    page = text("reports.md")
    missing = [key for key in result.to_dict() if f"`{key}`" not in page]
    assert not missing
    assert all(f"`{key}`" in page for key in result.to_dict()["provenance"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", content):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for path in re.findall(
        r"`((?:agent|cli|core|plugins|engine|evaluation|reticle|docs|benchmarks|tests|profiles|examples)/[\w./]+\.\w+)`",
        content,
    ):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_lines_fit_120_columns_and_commands_are_real(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    long = [line for line in content.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long
    known = subprocess.run(
        [sys.executable, str(ROOT / "agent.py"), "--help"], capture_output=True, text=True, check=True
    )
    for command in re.findall(r"agent\.py ([a-z][a-z-]+) ", content):
        assert re.search(rf"^  {command}\b", known.stdout, re.MULTILINE), f"{page.name} tells of the command {command}"


def test_the_readme_shows_how_to_start_in_at_most_100_lines() -> None:
    content = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(content.splitlines()) <= 100
    assert "pip install uv && uv run agent.py --profile doom.yaml" in content
    assert "pip install uv && uv run pytest" in content
