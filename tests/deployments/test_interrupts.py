from __future__ import annotations

import os
import signal

import pytest

from deployments.interrupts import heard_once


def test_ctrl_c_is_raised_once_and_then_only_answered(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            torn_down.append(True)

    torn_down: list[bool] = []
    with heard_once(), pytest.raises(KeyboardInterrupt):
        work()
    assert torn_down
    assert "still stopping" in capsys.readouterr().err


def test_afterwards_ctrl_c_is_what_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with heard_once():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
