"""Making a bundle: models/NAME with the Darknet files, the class names and their hashes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml

from engine.darknet import read_cfg, read_weights
from engine.errors import ModelError
from engine.models import ModelFiles, class_names, sha256


def check_out(out: Path) -> None:
    """Refuse a folder that is there and is no bundle.

    :raises ModelError: it is so.
    """
    if out.exists() and not (out / "model.yaml").is_file():
        raise ModelError(f"{out}: this exists and is no bundle; choose another --out")


def make_bundle(files: ModelFiles, out: Path, source: str = "") -> Path:
    """Copy the files into a new bundle, after checking that they belong together.

    :param out: the bundle's folder; one that is there already is replaced when the new one is complete.
    :param source: where the files came from, for the bundle's card.
    :raises ModelError: a file is missing or wrong, or `out` cannot be written.
    """
    network = read_cfg(files.cfg, files.size)
    names = class_names(files, network)
    read_weights(files.weights, network)
    check_out(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            new = Path(temporary) / out.name
            new.mkdir()
            shutil.copyfile(files.cfg, new / "network.cfg")
            shutil.copyfile(files.weights, new / "network.weights")
            card = {
                "names": list(names),
                "size": [network.width, network.height],
                "anchors": [[list(anchor) for anchor in head.anchors] for head in network.heads],
                "source": source or f"{files.cfg.name} and {files.weights.name}",
                "sha256": {name: sha256(new / name) for name in ("network.cfg", "network.weights")},
            }
            text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, default_flow_style=None)
            (new / "model.yaml").write_text(text, encoding="utf-8")
            old = Path(temporary) / "old"
            if out.exists():
                out.rename(old)
            try:
                new.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
    except OSError as error:
        raise ModelError(f"{out}: the bundle cannot be written: {error.strerror or error}") from error
    return out
