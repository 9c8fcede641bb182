"""A bundle's network as a TensorFlow SavedModel, and weights back out of one.

Started as a process of its own: `python -m conversion.savedmodel BUNDLE OUT WIDTH HEIGHT` writes one,
`python -m conversion.savedmodel --read SAVEDMODEL OUT.npz` gives its variables.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np

CFG = Path("assets.extra") / "network.cfg"
"""Where a SavedModel keeps the cfg that it was made of."""


def write(bundle: Path, out: Path, size: tuple[int, int]) -> None:
    """Export; the cfg goes along, so that the SavedModel can become a bundle again."""
    from engine.darknet import read_cfg, read_weights
    from engine.keras_network import build

    network = read_cfg(bundle / "network.cfg", size)
    model = build(network, read_weights(bundle / "network.weights", network))
    model.export(str(out), format="tf_saved_model", verbose=False)
    (out / CFG).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle / "network.cfg", out / CFG)


def read(folder: Path, out: Path) -> None:
    """Write the variables of a SavedModel to an .npz, by name and in order."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    np.savez(
        out,
        **{f"{i:05d}:{v.path if hasattr(v, 'path') else v.name}": v.numpy() for i, v in enumerate(loaded.variables)},
    )


def main(arguments: list[str]) -> int:
    """Do one of the two; an answer of 2 means that TensorFlow is not installed."""
    # Here and not above: whoever imports this module for a name keeps the backend that it has.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        print("a SavedModel needs TensorFlow: start with `uv run --extra tensorflow agent.py`", file=sys.stderr)
        return 2
    if arguments[0] == "--read":
        read(Path(arguments[1]), Path(arguments[2]))
    else:
        write(Path(arguments[0]), Path(arguments[1]), (int(arguments[2]), int(arguments[3])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
