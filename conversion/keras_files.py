"""One's own training as Darknet files: weights out of a .keras file or a SavedModel.

The cfg is that which the model carries (a network built by Reticle does), or one that is given with it. Weights are
found by the layers' names after the cfg (`convolutional_0`, `convolutional_0_bn`), or, where no layer is called so, in
the order of the model.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conversion.savedmodel import CFG
from core.command import missing
from core.errors import UserError
from core.text import read_text
from engine.darknet import Network, Weights, parse_cfg, write_weights
from engine.models import ModelFiles

Arrays = list[NDArray[Any]]


def to_darknet(model: Path, cfg: Path | None, names: tuple[str, ...] | None, folder: Path) -> ModelFiles:
    """Write a Keras model as cfg and weights into a folder.

    :param model: a .keras file, or the folder of a SavedModel.
    :raises UserError: it cannot be read, or does not fit the cfg.
    """
    layers, text = _savedmodel(model) if model.is_dir() else _keras(model)
    if cfg is not None:
        text = read_text(cfg, "the cfg", any_encoding=True)
    if not text:
        raise UserError(f"{model}: this model carries no Darknet cfg; give the cfg it was built after with --cfg")
    network = parse_cfg(text, str(cfg or model))
    weights = _weights(network, layers, model)
    target = ModelFiles(folder / "network.cfg", folder / "network.weights", names)
    target.cfg.write_text(text, encoding="utf-8")
    write_weights(target.weights, network, weights)
    return target


def _keras(path: Path) -> tuple[list[tuple[str, Arrays]], str]:
    try:
        import keras
    except ImportError as error:
        raise missing("--keras", "keras", "tensorflow", error) from error

    import engine.keras_network as network

    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path}: this is no .keras file, or it is damaged; save the model again") from error
        reason = " ".join(str(error).split()).partition(". ")[0][:300]
        raise UserError(f"{path}: Keras cannot read this model: {reason}") from error
    heads = [layer for layer in model.layers if isinstance(layer, network.YoloHead)]
    layers = [(layer.name, layer.get_weights()) for layer in model.layers if layer.weights]
    return layers, next((head.cfg for head in heads if head.cfg), "")


def _savedmodel(path: Path) -> tuple[list[tuple[str, Arrays]], str]:
    if not (path / "saved_model.pb").is_file():
        raise UserError(f"{path}: this folder is no SavedModel (it has no saved_model.pb)")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "variables.npz"
        command = [sys.executable, "-m", "conversion.savedmodel", "--read", str(path.resolve()), str(out)]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise UserError(f"{path}: TensorFlow cannot read this SavedModel; export it again ({last[:200]})")
        with np.load(out) as stored:
            variables = [(name.partition(":")[2], array) for name, array in sorted(stored.items())]
    layers: dict[str, Arrays] = {}
    for name, array in variables:
        if array.ndim:
            layers.setdefault(name.rsplit("/", 1)[0], []).append(array)
    cfg = path / CFG
    return list(layers.items()), read_text(cfg, "the cfg", any_encoding=True) if cfg.is_file() else ""


def _weights(network: Network, layers: list[tuple[str, Arrays]], model: Path) -> Weights:
    named = {name.rsplit("/", 1)[-1]: arrays for name, arrays in layers}
    kernels = [arrays for _, arrays in layers if arrays[0].ndim == 4]
    normals = [arrays for _, arrays in layers if len(arrays) == 4 and arrays[0].ndim == 1]
    by_name = any(f"convolutional_{convolution.index}" in named for convolution in network.convolutions)
    result = []
    for i, convolution in enumerate(network.convolutions):
        name = f"convolutional_{convolution.index}"
        try:
            kernel, *bias = named[name] if by_name else kernels[i]
            entry = {"kernel": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)}
            if convolution.batch_normalize:
                done = sum(c.batch_normalize for c in network.convolutions[:i])
                normal = named[f"{name}_bn"] if by_name else normals[done]
                entry |= dict(zip(("gamma", "beta", "mean", "variance"), normal, strict=True))
            else:
                entry["beta"] = bias[0]
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(
                f"{model}: the model has no weights for the cfg's {name}; give the cfg it was built after"
            ) from error
        expected = convolution.kernel_shape
        if entry["kernel"].shape != expected:
            raise UserError(
                f"{model}: the kernel of {name} is {entry['kernel'].shape} where the cfg has {expected}; give the cfg "
                "that the model was built after"
            )
        result.append(entry)
    return Weights(result)
