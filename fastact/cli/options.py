"""Options that commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import registry

PICTURES = (".png", ".svg", ".pdf")


def there(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: the backends that are named must be usable here.

    Raises
    ------
    click.BadParameter
        With the reason why one is not.
    """
    named: Sequence[str] = [value] if isinstance(value, str) else value or ()
    for name in named:
        if reason := registry.available(name):
            raise click.BadParameter(f"{name!r} is missing: {reason}")
    return value


def new_file(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """A callback: the file can be written, which is better known before the work than after it.

    Raises
    ------
    click.BadParameter
        If there is no such folder, or a plot is to have a form that matplotlib does not write.
    """
    if value and not value.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(value.parent)!r}")
    if value and parameter.name == "plot" and value.suffix not in PICTURES:
        raise click.BadParameter(f"{value.name!r} should end in {', '.join(PICTURES)}")
    return value
