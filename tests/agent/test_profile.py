from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.profile import PROFILE_FOLDER, find_profile, load_profile
from core.errors import UserError

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
    assert loaded.roles.capture.settings.fps == 30
    assert [guard.name for guard in loaded.roles.guards] == ["staleness", "rate"]
    assert loaded.roles.guards[0].settings.max_age_ms == 50
    assert loaded.roles.controller.name == "proportional"
    assert loaded.roles.controller.settings.gain == 0.3


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
        ("mode: lock-step", "aim: {plugin: pid, gian: 1}", 'p.yaml:1:20: aim.gian: unknown setting; did you mean "gain"?'),
        ("mode: lock-step", "aim: {plugin: best}", 'p.yaml:1:15: aim.plugin: unknown controller plugin "best"; there are: kalman, pid, predictive, proportional'),
        ("mode: lock-step", "calibration: {fov_deg: 90}", "p.yaml:1:14: calibration: fov_deg is in degrees, so degrees_per_count must be set too"),
        ("mode: lock-step", "calibration: {degrees_per_count: 0}", "p.yaml:1:14: calibration: degrees_per_count is 0, and then no count turns the view"),
        ("actuation:\n  plugin: dry-run", "actuation: dry-run", None),
        ("guards:", "guards: 3\nobservers:", None),
    ],
)  # fmt: skip
def test_an_error_says_where_it_is(tmp_path: Path, old: str, new: str, expected: str | None) -> None:
    assert old in GOOD
    lines = errors(tmp_path, GOOD.replace(old, new, 1))
    assert expected is None or expected in lines
    assert all(line.startswith("p.yaml:") for line in lines)


def test_an_old_aim_gets_a_sentence_that_says_what_to_write(tmp_path: Path) -> None:
    old = GOOD + "aim:\n  method: predictive\n  gain: 0.5\n  fov_deg: 90\n  degrees_per_count: 0.1\n"
    (line,) = errors(tmp_path, old)
    assert line.startswith("p.yaml:16:1: aim: aim names a controller now: write `plugin: predictive` in it, and move ")
    assert "fov_deg, degrees_per_count to a section `calibration:`" in line
    assert "agent.py migrate" in line


def test_settings_can_be_overridden(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    given = ["capture.fps=12.5", "guards[0].max_age_ms=70", "guards.1.max_clicks_per_s=3", "seed=9", "aim.gain=0.7"]
    loaded = load_profile(path, overrides=given)
    assert loaded.roles.capture.settings.fps == 12.5
    assert loaded.roles.guards[0].settings.max_age_ms == 70
    assert loaded.roles.guards[1].settings.max_clicks_per_s == 3
    assert loaded.profile.seed == 9
    assert loaded.roles.controller.name == "proportional"
    assert loaded.roles.controller.settings.gain == 0.7
    assert path.read_text() == GOOD


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("capture.fps=fast", "--set capture.fps=fast: capture.fps: input should be a valid number"),
        ("capture.fpss=3", '--set capture.fpss=3: capture.fpss: unknown setting; did you mean "fps"?'),
        ("aim.gain=5", "--set aim.gain=5: aim.gain: input should be less than or equal to 2"),
        ("guards[7].max_age_ms=3", "--set guards[7].max_age_ms=3: the profile has no such place"),
        ("capture.fps.more=3", "--set capture.fps.more=3: the profile has no such place"),
        ("fps", '--set fps: write it as "section.setting=value"'),
        ("=3", '--set =3: write it as "section.setting=value"'),
        ("capture.fps=[", "--set capture.fps=[: the value is not valid YAML"),
        ("detector.plugin=oracl", '--set detector.plugin=oracl: detector.plugin: unknown detector plugin "oracl"'),
    ],
)
def test_an_override_is_checked_as_the_file_is(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        load_profile(write(tmp_path, GOOD), overrides=[override])
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


def test_all_errors_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("fps: 30", "fps: x").replace("min_confidence: 0.5", "min_confidence: 7")
    text = text.replace("plugin: rate", "plugin: nothing").replace("mode: lock-step", "mode: 1\nspeed: 3")
    lines = errors(tmp_path, text)
    assert [line.split(":")[1] for line in lines] == ["1", "2", "5", "10", "16"]


def test_an_unknown_key_is_named_whatever_it_looks_like(tmp_path: Path) -> None:
    for key in ("safety&a [*a, *a]", "int", "tuple[int]"):
        (line,) = errors(tmp_path, f"{GOOD}'{key}': 3\n")
        assert f"{key}: unknown setting; known are" in line


def test_merged_keys_are_no_duplicates(tmp_path: Path) -> None:
    text = GOOD.replace(
        "  - plugin: rate", "  - &r {plugin: rate, max_clicks_per_s: 5}\n  - {<<: *r, max_clicks_per_s: 3}"
    )
    assert [g.settings.max_clicks_per_s for g in load_profile(write(tmp_path, text)).roles.guards[1:]] == [5, 3]


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


nowhere = [("plugins", 0), ("mode",), ("capture", "plugin"), ("capture", "path"), ("detector", "model"), ("guards", 0)]


@pytest.mark.parametrize("where", nowhere, ids=str)
@pytest.mark.parametrize("key", [False, True], ids=["value", "key"])
def test_a_nul_character_is_one_sentence_wherever_it_stands(tmp_path: Path, where: tuple, key: bool) -> None:
    data: dict = {
        "mode": "lock-step",
        "capture": {"plugin": "doom"},
        "detector": {"plugin": "oracle"},
        "guards": [""],
        "plugins": [""],
    }
    inner = data
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = {"a\0b": 1} if key else "a\0b.py"
    with pytest.raises(UserError, match=r"p\.yaml:\d+:\d+: .*NUL character"):
        load_profile(write(tmp_path, yaml.safe_dump(data)))


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
