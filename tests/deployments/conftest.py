from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deployments import cli
from tests.forked_workers import fork_workers

fork_workers()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Give a function that runs a command and returns its exit code, output and errors."""

    def say(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.run([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return say
