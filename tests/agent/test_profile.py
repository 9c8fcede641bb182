from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import UserError
from agent.profile import PROFILE_FOLDER, find_profile, load_profile

GOOD = """\
mode: lock-step
capture:
  plugin: footage
  fps: 30
detector:
  plugin: oracle
selection:
  plugin: nearest
  min_confidence: 0.5
actuation:
  plugin: dry-run
guards:
  - plugin: staleness
    max_age_ms: 50
  - plugin: rate
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(text)
    return path


def errors(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(UserError) as error:
        load_profile(path)
    return [line.replace(str(path), "p.yaml") for line in str(error.value).splitlines()]


def test_a_good_profile(tmp_path: Path) -> None:
    loaded = load_profile(write(tmp_path, GOOD))
    assert loaded.name == "p"
    assert loaded.capture.settings.fps == 30
    assert [guard.maker.name for guard in loaded.guards] == ["staleness", "rate"]
    assert loaded.guards[0].settings.max_age_ms == 50
    assert loaded.profile.aim.gain == 0.3


@pytest.mark.parametrize("path", sorted(PROFILE_FOLDER.glob("*.yaml")), ids=lambda p: p.name)
def test_the_profiles_that_ship_are_valid(path: Path) -> None:
    assert load_profile(path).profile.mode in ("live", "lock-step")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("fps: 30", "fpss: 30", 'p.yaml:4:3: capture.fpss: unknown setting; did you mean "fps"?'),
        ("fps: 30", "fps: fast", "p.yaml:4:8: capture.fps: input should be a valid number, unable to parse string as a number (got 'fast')"),
        ("fps: 30", "fps: -1", "p.yaml:4:8: capture.fps: input should be greater than or equal to 0.01 (got -1)"),
        ("max_age_ms", "max_age", 'p.yaml:14:5: guards[0].max_age: unknown setting; did you mean "max_age_ms"?'),
        ("plugin: rate", "plugin: rat", 'p.yaml:15:13: guards[1].plugin: unknown guard plugin "rat"; did you mean "rate"? there are: arm-key, process-argument, rate, staleness, window-title'),
        ("plugin: nearest", "plugin: 3", "p.yaml:8:11: selection.plugin: input should be a valid string (got 3)"),
        ("mode: lock-step", "mode: fast", "p.yaml:1:7: mode: input should be 'live' or 'lock-step' (got 'fast')"),
        ("detector:\n  plugin: oracle\n", "", "p.yaml:1:1: detector: this setting is required and missing"),
        ("mode: lock-step", "modus: live", 'p.yaml:1:1: modus: unknown setting; did you mean "mode"?'),
        ("mode: lock-step", "mode: live\nmode: live", "p.yaml:2:1: mode: this key stands here twice"),
        ("mode: lock-step", "aim: {gain: 5, gian: 1}", 'p.yaml:1:16: aim.gian: unknown setting; did you mean "gain"?'),
        ("mode: lock-step", "aim: {search_deg: 5}", "p.yaml:1:6: aim: search_deg is in degrees, so degrees_per_count must be set too"),
        ("actuation:\n  plugin: dry-run", "actuation: dry-run", None),
        ("guards:", "guards: 3\nobservers:", None),
    ],
)  # fmt: skip
def test_an_error_says_where_it_is(tmp_path: Path, old: str, new: str, expected: str | None) -> None:
    assert old in GOOD
    lines = errors(tmp_path, GOOD.replace(old, new, 1))
    assert expected is None or expected in lines
    assert all(line.startswith("p.yaml:") for line in lines)


def test_all_errors_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("fps: 30", "fps: x").replace("min_confidence: 0.5", "min_confidence: 7")
    text = text.replace("plugin: rate", "plugin: nothing").replace("mode: lock-step", "mode: 1\nspeed: 3")
    lines = errors(tmp_path, text)
    assert [line.split(":")[1] for line in lines] == ["1", "2", "5", "10", "16"]


def test_merged_keys_are_no_duplicates(tmp_path: Path) -> None:
    text = GOOD.replace(
        "  - plugin: rate", "  - &r {plugin: rate, max_clicks_per_s: 5}\n  - {<<: *r, max_clicks_per_s: 3}"
    )
    assert [g.settings.max_clicks_per_s for g in load_profile(write(tmp_path, text)).guards[1:]] == [5, 3]


@pytest.mark.parametrize(
    "tail", ["aim: &a {x: *a}", "plugins: &a [*a]", 'seed: !!int ""', "seed: !!timestamp x", "duration_s: .inf"]
)
def test_hostile_yaml_is_an_error_with_a_place(tmp_path: Path, tail: str) -> None:
    lines = errors(tmp_path, GOOD + tail + "\n")
    assert all(line.startswith("p.yaml:") for line in lines)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "42", "~"])
def test_a_profile_is_a_mapping(tmp_path: Path, text: str) -> None:
    assert errors(tmp_path, text)[0].startswith("p.yaml:1:1: a profile is a mapping of settings")


def test_broken_yaml_says_where(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, "mode: live\ncapture: [1, 2\n")
    assert line.startswith("p.yaml:3:1: the profile is not valid YAML")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="p.yaml: the profile cannot be read"):
        load_profile(path)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=3))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(["mode", "capture", "detector", "guards", "aim", "plugins", "x"]), values))
def test_any_mapping_is_a_profile_or_lines_of_errors(tmp_path: Path, data: dict) -> None:
    path = write(tmp_path, yaml.safe_dump(data))
    with pytest.raises(UserError) as error:
        load_profile(path)
    assert str(error.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_profile_or_lines_of_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(UserError):
        load_profile(path)


def test_profiles_are_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_profile("doom.yaml") == find_profile("doom") == PROFILE_FOLDER / "doom.yaml"
    mine = tmp_path / "doom.yaml"
    mine.write_text(GOOD)
    assert find_profile("doom.yaml") == Path("doom.yaml")
    assert find_profile(str(mine)) == mine
    with pytest.raises(UserError, match=r"dom.yaml: there is no such profile; did you mean doom.yaml\?"):
        find_profile("dom.yaml")
    with pytest.raises(UserError, match="there is no such profile"):
        find_profile("nowhere/doom.yaml")
