"""Tables that never cut a number: where the terminal is too narrow, columns are dropped or each row is stacked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cli.console import LazyConsole, out

FOLDED_WIDTH = 24
"""The narrowest that a column of prose is folded to."""


def print_table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    title: str = "",
    optional: Sequence[str] = (),
    prose: Collection[str] = (),
    numbers: Collection[str] = (),
    bold: Collection[int] = (),
    console: LazyConsole = out,
) -> None:
    """Print a table of texts.

    :param optional: columns that are dropped, in this order, while the table is too wide.
    :param prose: columns whose text may be folded between words.
    :param numbers: columns that are set flush right.
    :param bold: the lines that stand out.
    """
    columns = list(range(len(heads)))
    for name in optional:
        if _width(heads, lines, columns, prose) <= console.width:
            break
        columns = [i for i in columns if heads[i] != name]
    if _width(heads, lines, columns, prose) > console.width:
        _stacked(heads, lines, title, console)
        return
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for i in columns:
        table.add_column(
            heads[i], justify="right" if heads[i] in numbers else "left", no_wrap=heads[i] not in prose, overflow="fold"
        )
    for number, line in enumerate(lines):
        table.add_row(*(_plain(line[i]) for i in columns), style="bold" if number in bold else None)
    console.print(table)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _width(heads: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[int], prose: Collection[str]) -> int:
    from rich.cells import cell_len  # wide characters take two columns

    width = 1
    for i in columns:
        longest = max((cell_len(part) for line in lines for part in line[i].split("\n")), default=0)
        if heads[i] in prose:
            longest = min(longest, FOLDED_WIDTH)
        width += max(longest, cell_len(heads[i])) + 3
    return width


def _stacked(heads: Sequence[str], lines: Sequence[Sequence[str]], title: str, console: LazyConsole) -> None:
    """Print each row as a block, a line a column."""
    if title:
        console.print(title, style="italic", markup=False, soft_wrap=True)
    indent = max(len(head) for head in heads)
    for line in lines:
        console.print(line[0], style="bold", markup=False, soft_wrap=True)
        for head, cell in zip(heads[1:], line[1:], strict=True):
            if cell:
                console.print(f"  {head:{indent}}  {cell}", markup=False, soft_wrap=True)
