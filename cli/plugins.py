"""The command `plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.options import Json, Plugins

if TYPE_CHECKING:
    from agent.discovery import Catalogue


def plugins(plugin: Plugins = None, json_file: Json = None) -> None:
    """List what is installed: each role's plugins and the runtimes, where they come from, and their settings."""
    from agent.discovery import discover
    from agent.roles import ROLES
    from cli.output import save_json
    from cli.tables import print_table
    from core.provenance import provenance

    rows = [*_plugins(discover(plugin or [])), *_runtimes()]
    for role in (*ROLES, "runtime"):
        lines = [
            [
                row["name"],
                row["source"],
                row["summary"],
                "\n".join(f"{s['name']} = {s['default']}" for s in row["settings"]),
            ]
            for row in rows
            if row["role"] == role
        ]
        print_table([role, "from", "what it is", "settings"], lines, prose=("from", "what it is", "settings"))
    save_json(json_file, {"rows": rows}, provenance())


def _plugins(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "name": offer.factory.name,
            "source": offer.source,
            "summary": offer.factory.summary,
            "settings": [
                {
                    "name": name,
                    "default": "required" if field.is_required() else _plain(field.default),
                    "description": field.description or "",
                }
                for name, field in offer.factory.settings.model_fields.items()
            ],
        }
        for role, offers in catalogue.offers.items()
        for offer in offers.values()
    ]


def _runtimes() -> list[dict[str, Any]]:
    from engine.runtime import registered

    rows = []
    for entry in registered().values():
        runtime = entry.runtime
        devices = f" on {', '.join(runtime.devices)}" if runtime.devices else ""
        there = "" if runtime.installed else "; not installed"
        summary = f"runs networks at {', '.join(runtime.precisions)}{devices}{there}"
        rows.append(
            {"role": "runtime", "name": runtime.name, "source": entry.source, "summary": summary, "settings": []}
        )
    return rows


def _setting(setting: dict[str, Any]) -> str:
    return f"{setting['name']} = {setting['default']}"


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
