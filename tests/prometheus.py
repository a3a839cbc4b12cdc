"""A real Prometheus server for tests: on loopback, in a folder of its own, asked through its API.

*Rule:* a missing program skips with the name of the package to install; where CI runs, it fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

PATIENCE: Final = 60.0
_GLANCE: Final = 0.05
_CONFIG: Final = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: snakepit_nb
    static_configs: [{{targets: [{targets}]}}]
"""


def program(name: str) -> str:
    """The path of a program of Prometheus."""
    found = shutil.which(name)
    if found is not None:
        return found
    text = f"there is no {name} (on Debian and Ubuntu: apt-get install prometheus)"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(text)
    pytest.skip(text)


class Server:
    """A server that scrapes these targets, `host:port` each."""

    def __init__(self, folder: Path, *targets: str) -> None:
        config = folder / "prometheus.yml"
        config.write_text(
            _CONFIG.format(targets=", ".join(f"'{each}'" for each in targets)), encoding="utf-8"
        )
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--log.format=json",
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._log: list[str] = []
        self.url = self._address()
        # What it says must be read, or it would wait for that.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line)
            said = json.loads(line)
            if said.get("msg") == "Listening on" and re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", said["address"]):
                return f"http://{said['address']}"
        self._process.wait()
        pytest.fail("prometheus did not start:\n" + "".join(self._log))

    def _read(self) -> None:
        assert self._process.stderr is not None
        self._log.extend(self._process.stderr)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The result of a query: labels and values."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - a literal of http
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is about to serve
                return []
            pytest.fail(f"{query}: {error.read().decode()}")
        assert found["status"] == "success", found
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def until(self, query: str, fits: Callable[[list[dict[str, Any]]], bool] = bool) -> list[dict[str, Any]]:
        """The result of a query, as soon as it fits; another program's scrapes can only be asked for."""
        deadline = time.monotonic() + PATIENCE
        while not fits(found := self.ask(query)):
            assert time.monotonic() < deadline, f"{query}: {found}\n{''.join(self._log[-20:])}"
            threading.Event().wait(_GLANCE)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()
