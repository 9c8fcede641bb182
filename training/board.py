"""What a training writes for TensorBoard: loss, its parts and AP by epoch."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path

from core.errors import UserError
from training.fit import Epoch


class Board:
    """Writes event files into a folder; a training that goes on adds to them.

    :raises UserError: tensorboardX is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboardX") is None:
            raise UserError(
                "writing for TensorBoard needs the package tensorboardX, which is not installed: start with `uv run "
                "--extra train agent.py train ...`, or leave it out"
            )
        from tensorboardX import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder), flush_secs=5)
        except OSError as error:
            raise UserError(f"{folder}: nothing can be written there: {error.strerror}") from error

    def add(self, epoch: Epoch) -> None:
        """Write one epoch."""
        for name, value in asdict(epoch).items():
            if name != "epoch":
                kind = "held_out" if name.startswith("ap") else "training"
                self._writer.add_scalar(f"{kind}/{name}", value, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
