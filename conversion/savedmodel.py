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
    """Write the variables of a SavedModel to an .npz, by name and in order.

    The graph is not loaded: it is code, and loading can run it. Its description says which variables the model lists,
    and the checkpoint beside it holds them.

    :raises ValueError: the model lists no variables.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

    described = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    nodes = described.meta_graphs[0].object_graph_def.nodes
    checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    stored = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        checkpoint.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    ).nodes  # numbered as the others are
    listed = {child.local_name: child.node_id for child in nodes[0].children}
    if "variables" not in listed:
        raise ValueError("the model lists no variables; export it from Keras")
    children = sorted(nodes[listed["variables"]].children, key=lambda child: int(child.local_name))
    arrays = {}
    for i, child in enumerate(children):
        (attribute,) = stored[child.node_id].attributes
        name = nodes[child.node_id].variable.name or attribute.full_name
        arrays[f"{i:05d}:{name}"] = checkpoint.get_tensor(attribute.checkpoint_key)
    np.savez(out, **arrays)


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
