"""Playing the arena's episodes on a Ray cluster, or on this machine's processors by the same way."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError, first_line
from core.workers import environment
from evaluation.arena import Score, Trial, run_trial

ROOT = Path(__file__).resolve().parent.parent
LOCAL = "local"
TOKEN = Path.home() / ".ray" / "auth_token"
NOT_SENT = ["/.git", "/.venv", "/.whl", "/runs", ".*_cache", "__pycache__"]


def play_on(address: str, trials: Sequence[Trial], done: Callable[[], None]) -> list[Score]:
    """Play trials as tasks of a cluster; the scores come in the order of the trials.

    :param address: `local` starts Ray here for as long as this takes; else a cluster's address, such as host:6379 or
        ray://host:10001. Its machines get this project's files, and need its packages.
    :raises UserError: Ray is not installed, the cluster cannot be reached, or an episode cannot be played.
    """
    check(address, trials)
    # Started by uv, Ray would have uv make an environment anew for every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")  # models that git does not keep travel too
    if address == LOCAL:
        # Ray's switch for systems where it is for one machine: it stays on the loopback, and does not look for its own
        # address by the way to a name server of Google's.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    else:
        _reach(address)
        if os.environ.get("RAY_AUTH_TOKEN") or TOKEN.is_file():  # `ray start` asks for it, `ray.init` does not give it
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            with environment(NO_WAY_OUT):
                ray.init(num_cpus=os.cpu_count(), **options)
        else:
            ray.init(address=address, runtime_env={"working_dir": str(ROOT), "excludes": NOT_SENT}, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UserError(f"the Ray cluster {address} cannot be reached: {first_line(error)}") from error
    try:
        return _played(ray, trials if address == LOCAL else [_portable(trial) for trial in trials], done)
    finally:
        ray.shutdown()


NOWHERE = "http://127.0.0.1:9"
"""The discard port, on which nothing answers."""


NO_WAY_OUT = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
    "RAY_USAGE_STATS_REPORT_URL": NOWHERE,
}
"""Lets Ray's processes reach no web server: even where its usage statistics are off they ask clouds' metadata services
which one they are in, and report that the statistics are off."""


def _reach(address: str) -> None:
    """See that somebody listens there: Ray itself tries for minutes.

    :raises UserError: nobody does, or it is no address.
    """
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f'--cluster is "{address}"; give host:port, ray://host:port, or local')
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise UserError(f"the Ray cluster {address} cannot be reached: {error.strerror or error}") from error


def check(address: str, trials: Sequence[Trial]) -> None:
    """See whether it can be played there.

    :raises UserError: Ray is not installed, or the profile is none that travels.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "--cluster needs Ray, which is not installed: start with `uv run --extra cluster agent.py arena ...`, or "
            "leave --cluster out to play in processes of this machine"
        )
    if address != LOCAL:
        for path in {path for trial in trials for path in (trial.profile, *trial.plugins)}:
            if not path.resolve().is_relative_to(ROOT):
                raise UserError(f"{path}: a cluster gets the files of {ROOT}, and this is outside; move it there")


def _portable(trial: Trial) -> Trial:
    """Return a trial whose files are named as they lie in the project."""
    plugins = tuple(path.resolve().relative_to(ROOT) for path in trial.plugins)
    return replace(trial, profile=trial.profile.resolve().relative_to(ROOT), plugins=plugins)


def _played(ray: Any, trials: Sequence[Trial], done: Callable[[], None]) -> list[Score]:
    play = ray.remote(num_cpus=1, max_retries=1)(run_trial)
    tasks = [play.remote(trial) for trial in trials]
    waiting = list(tasks)
    try:
        while waiting:
            finished, waiting = ray.wait(waiting)
            for task in finished:
                ray.get(task)  # the first that failed ends it all
                done()
        scores: list[Score] = ray.get(tasks)
        return scores
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from error
        raise
    except ray.exceptions.RayError as error:
        raise UserError(f"the cluster lost an episode: {str(error).splitlines()[0]}") from error
