"""``fastact check``: has anything become slower?"""

from __future__ import annotations

import click


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check(arguments: tuple[str, ...]) -> None:
    """Compare the speed with a stored baseline; fails if a row got slower. Its own options: fastact check --help."""
    from ..regression.__main__ import main

    main.main(args=list(arguments), prog_name="fastact check")
