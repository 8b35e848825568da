"""How pytest finds the checks: one item for each stage in which a marked function is a check."""

from __future__ import annotations

import sys

import pytest

from grader.check import specs


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """When a file of checks cannot be imported, pytest asks for an option of its terminal, which may be left out."""
    if not pluginmanager.has_plugin("terminal"):
        parser.addoption("--verbose", type=int, default=0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if hasattr(metafunc.function, "check"):
        found = specs(metafunc.function)
        metafunc.parametrize("lab", found, ids=[spec.id for spec in found])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        print(report.longreprtext, file=sys.stderr)
