"""The commands, put together."""

from __future__ import annotations

import click

from .. import __version__
from .bench import bench
from .cache import cache
from .check import check
from .demo import demo
from .info import info
from .tune import tune
from .verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="fastact")
def fastact() -> None:
    """Activation functions and their gradients on any array."""


for _command in (bench, cache, check, demo, info, tune, verify):
    fastact.add_command(_command)
