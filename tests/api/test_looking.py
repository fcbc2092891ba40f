"""A look at the database ends when its time is over, whatever it waits for."""

from __future__ import annotations

import time
from functools import partial

import pytest

from app.api.looking import look
from tests.api.calling import Caller, an_admin


def test_a_look_that_hangs_is_left_behind(database_url: str) -> None:
    with an_admin(database_url) as admin:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            admin.portal.call(partial(look, app_of(admin), lambda session: time.sleep(3), seconds=0.2))
        seconds = time.monotonic() - began

    assert seconds < 2.5


def app_of(caller: Caller) -> object:
    return caller.client._transport.app  # type: ignore[attr-defined]
