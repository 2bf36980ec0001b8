"""Options that commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from .. import registry


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
