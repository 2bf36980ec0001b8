"""The ``fastact`` command: a file for each of its commands. It needs ``pip install 'fastact[cli]'``; nothing else of fastact does."""

from __future__ import annotations


def main() -> None:
    """Run the command line; where click or tqdm is missing, say how to get them."""
    try:
        import click  # noqa: F401
        import tqdm  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"the fastact command needs {error.name}: pip install 'fastact[cli]'") from None
    from .commands import fastact

    fastact()
