"""What `arena --compare` and `arena --sweep` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.arena import Arguments


def run_contest(given: Arguments) -> None:
    """Play the contestants, and print what they differ in."""
    from agent.profile import find_profile
    from cli.arena import config_of
    from cli.console import out, progress
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from cli.windows import unwinding
    from core.provenance import provenance
    from evaluation import contest as contests
    from evaluation import figures
    from evaluation.compare import heads_and_lines, sentence

    if given.sweep is not None:
        contestants = contests.sweep(config_of(given, find_profile(given.profile)), given.sweep)
    else:
        paths = [find_profile(name) for name in given.profiles or ()]
        contestants = contests.profiles(config_of(given, paths[0] if paths else Path()), paths, given.unpaired)
    with unwinding(), progress() as tell:
        found = contests.play(contestants, given.unpaired, tell)
    first, *others = found.names
    tables = []
    for name, differences in zip(others, found.differences, strict=True):
        heads, lines = heads_and_lines((first, name), differences)
        print_table(heads, lines, title=f"{name} against {first}")
        out.print(sentence(first, name, differences), markup=False, soft_wrap=True)
        tables.append(figures.markdown(heads, lines))
    block = provenance(**found.results[0].provenance())
    print_provenance(block)
    save_json(given.json_file, found.to_dict(), block)
    save(given.csv_file, found.csv(), "csv")
    save(given.markdown_file, "\n".join(tables), "table")
    if given.picture is not None:
        title = f"{given.episodes} episodes each, 95 % intervals"
        save(given.picture, contests.draw(found, title), "picture")
