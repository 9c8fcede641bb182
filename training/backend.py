"""Which of Keras's backends trains: chosen and looked for before Keras is imported, which cannot change it later."""

from __future__ import annotations

import importlib.util
import os

from core.errors import UserError

BACKENDS = ("tensorflow", "torch", "jax")


def choose() -> str:
    """Return the backend that KERAS_BACKEND names, TensorFlow by default: running one needs none, training gradients.

    :raises UserError: it cannot train, or is not installed.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend not in BACKENDS:
        raise UserError(f"Keras's backend {backend} cannot train: set KERAS_BACKEND to {', '.join(BACKENDS)}")
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"training needs the package {backend}, which is not installed: start with `uv run --extra tensorflow "
            f"agent.py train ...`, or set KERAS_BACKEND to another of {', '.join(BACKENDS)} that is"
        )
    return backend


def on_cpu() -> bool:
    """Return whether the chosen backend finds no card; Apple's GPU, which torch may use, counts as none."""
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        import tensorflow

        return not tensorflow.config.list_physical_devices("GPU")
    if backend == "torch":
        import torch

        return not torch.cuda.is_available()
    import jax

    return bool(jax.default_backend() == "cpu")
