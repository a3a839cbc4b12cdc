"""What is secret stays where it is: no value of a variable, argument or environment in what is told."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import pytest

from snakepit_nb import Pool, telemetry
from snakepit_nb.errors.record import to_json
from snakepit_nb.exporters.log import LogExporter
from tests.pool.conftest import HANG

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENT, LOCAL, ENVIRONMENT = "tell-no-one-argument", "tell-no-one-local", "tell-no-one-environment"


def fails(password: str) -> object:
    token = password.replace("argument", "local")
    found: dict[str, str] = {password: token}
    return found[os.environ["SECRET_OF_A_TEST"][:0]]


def dies(password: str) -> None:
    token = password.replace("argument", "local")
    os.abort() if token else None


def sleeps(password: str) -> None:
    token = password.replace("argument", "local")
    time.sleep(60 if token else 0)


def cannot_come_back(password: str) -> object:
    return (each for each in [password])


@pytest.mark.parametrize("task", [fails, dies, sleeps, cannot_come_back])
def test_errors_events_and_logs_hold_no_values(
    task: Callable[[str], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SECRET_OF_A_TEST", ENVIRONMENT)
    told: list[object] = []
    telemetry.attach_prefix("secrets", (), lambda *each: told.append(each))
    caplog.set_level(logging.DEBUG)
    with LogExporter(), Pool(1, name="secret") as pool:
        error = pool.request(task, (ARGUMENT,), timeout=0.5 if task is sleeps else None).exception(HANG)
    telemetry.detach("secrets")
    assert error is not None
    said = [repr(error), str(error), *getattr(error, "__notes__", [])]
    record = getattr(error, "record", None)
    if record is not None:
        said.append(to_json(record))
    for name in ("_render_traceback_", "_repr_html_"):
        render = getattr(error, name, None)
        if render is not None:
            said.append(str(render()))
    said += [repr(vars(error)), repr(told), caplog.text]
    assert len(told) > 3
    for text in said:
        for secret in (ARGUMENT, LOCAL, ENVIRONMENT):
            assert secret not in text
