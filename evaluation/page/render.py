"""Sections as one page of HTML, styles and pictures in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from core.command import COMMAND
from core.errors import UserError
from evaluation import figures
from evaluation.page.sections import Section

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def check() -> None:
    """See that a page can be made, before its figures are reckoned.

    :raises UserError: a package is missing.
    """
    figures.check()
    if importlib.util.find_spec("jinja2") is None:
        extra = COMMAND.replace("uv run", "uv run --extra plots")
        raise UserError(
            f"the page needs the package jinja2, which is not installed: start with `{extra} ...` (without uv: "
            "`pip install jinja2`)"
        )


def render(sections: Sequence[Section], title: str, date: str) -> str:
    """Return the page; what is in the reports is shown as text, whatever it is.

    :raises UserError: a package is missing.
    """
    check()
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(sections=sections, title=title, date=date)
