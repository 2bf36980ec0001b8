"""``fastact cache``: the folder of generated code."""

from __future__ import annotations

import click

from .text import size, table


@click.group()
def cache() -> None:
    """Show or clear the kernels that were compiled on first use."""


@cache.command("info")
def info() -> None:
    """Print the cache folder and what is in it."""
    from ..cache import LIMIT_BYTES, root

    click.echo(f"{root()} (FASTACT_CACHE_DIR), at most {size(LIMIT_BYTES)} a kind")
    rows = []
    for folder in sorted(p for p in root().glob("*") if p.is_dir()):
        files = [p for p in folder.rglob("*") if p.is_file()]
        rows.append((folder.name, str(len(files)), size(sum(p.stat().st_size for p in files))))
    click.echo(table(("kind", "files", "size"), rows) if rows else "empty")


@cache.command("clear")
def clear() -> None:
    """Remove all of it; it is compiled again when it is needed."""
    from ..cache import clear, root

    click.echo(f"{size(clear())} freed in {root()}")
