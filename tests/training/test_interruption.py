"""Signals become a wish to stop; a second one, or another thread, is left alone."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinygen.training.interruption import stop_requests

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no SIGINT there")


def test_the_first_signal_is_a_wish_and_the_second_an_order() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests() as requested:
        assert not requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_hang_up_is_a_wish_too_unless_the_command_ignores_it() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, expected in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, handler)
            with stop_requests() as requested:
                os.kill(os.getpid(), signal.SIGHUP)
                assert requested() == expected
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_is_never_asked_to_stop() -> None:
    def requested() -> bool:
        with stop_requests() as asked:
            return asked()

    with ThreadPoolExecutor() as pool:
        assert pool.submit(requested).result() is False
