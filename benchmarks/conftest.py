"""Options of the benchmarks: which rows to run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastact.regression import suite


def _list(of: Callable[[str], object] = str) -> Callable[[str], list[object]]:
    return lambda text: [of(part) for part in text.split(",")]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastact")
    group.addoption("--sizes", type=_list(int), default=list(suite.SIZES), help="elements, separated by commas; default: %(default)s")
    group.addoption("--dtypes", type=_list(), default=list(suite.kinds()), help="separated by commas; default: %(default)s")
    group.addoption("--backends", type=_list(), default=list(suite.backends()), help="separated by commas; default: %(default)s")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The rows of the suite, and the backends, as the options have them."""
    option = metafunc.config.getoption
    if "row" in metafunc.fixturenames:
        rows = list(suite.rows(option("--backends"), kinds=option("--dtypes"), sizes=option("--sizes")))
        metafunc.parametrize("row", rows, ids=str)
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", option("--backends"))
