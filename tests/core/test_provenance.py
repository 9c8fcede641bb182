import datetime
import json
from pathlib import Path

from core.files import sha256
from core.provenance import one_line, provenance
from core.version import __version__


def test_it_says_what_ran_where_and_when(tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text("mode: live\n")
    block = provenance(
        profile=profile, model={"name": "m", "sha256": "ab" * 32}, engine="openvino", precision="int8", seeds=[3, 4, 5]
    )
    assert json.loads(json.dumps(block)) == block
    assert block["version"] == __version__
    assert block["profile"] == {"name": "p.yaml", "sha256": sha256(profile)}
    assert (block["engine"], block["precision"], block["seeds"]) == ("openvino", "int8", [3, 4, 5])
    assert block["machine"].keys() == {"processor", "gpus", "load", "system", "python"}
    assert block["machine"]["processor"]
    assert datetime.datetime.fromisoformat(block["date"]).tzinfo is not None
    line = one_line(block)
    assert "\n" not in line
    for part in (__version__, "p.yaml", "m ab", "openvino int8", "seeds 3 to 5", block["machine"]["python"]):
        assert part in line
    assert str(tmp_path) not in line


def test_where_there_is_nothing_to_say_it_says_nothing() -> None:
    block = provenance()
    assert block["profile"] is block["model"] is block["engine"] is None
    assert "profile" not in one_line(block)
