"""A user at JupyterLab for tests: a real server on the loopback, a real browser, and what the page shows.

*Rule:* a missing browser skips with the name of the package to install; where CI runs, it fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from tests.kernels import private_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = ("/usr/bin/chromium", "chromium", "chromium-browser")
START_TIMEOUT = 90.0
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SETTINGS = {
    # News and update checks reach for the network and cover the page with a question.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Cells out of sight would have no output to read.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
_KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
_PROMPTS = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell')]
    .map(cell => cell.querySelector('.jp-InputPrompt')?.textContent ?? '')"""
# The toolbar's indicator says idle even before there is a kernel; the status bar does not.
_READY = r"""() => /\| (Idle|Busy)/.test(document.querySelector('#jp-main-statusbar')?.innerText ?? '')"""
_IDLE = """() => document.querySelector(
    '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'
    && ![...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))"""


def chromium_path() -> str:
    """The browser; without one the test is skipped, or failed where the environment says CI=true."""
    for name in CHROMIUM:
        found = shutil.which(name)
        if found:
            return found
    reason = "JupyterLab's tests need a browser: install Debian's package chromium (apt-get install chromium)"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class LabSession:
    """A copy of a notebook open in JupyterLab, in a home of its own.

    Example:
        with LabSession(Path("notebooks/01_first_cell.ipynb")) as lab:
            lab.run_all()
            lab.wait_idle()
            assert "42" in lab.outputs()[0]
    """

    def __init__(
        self,
        notebook: Path,
        *,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (1280, 1000),
        timeout: float = 60.0,
    ) -> None:
        """Starts nothing yet; `timeout` is how many seconds the page may take for anything it is asked."""
        self._browser_path = chromium_path()
        self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
        self._source, self._env, self._size, self._timeout = notebook, dict(env or {}), size, timeout
        self._server: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._address: str | None = None
        self._announced = threading.Event()
        self._reader: threading.Thread | None = None
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None
        self.console: list[str] = []

    def __enter__(self) -> Self:
        """Starts the server and the browser, opens the notebook, and waits until its kernel is ready."""
        try:
            self._start_server()
            self._start_browser()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Closes the page, the browser, the server and every kernel of it."""
        self.close()

    @property
    def page(self) -> Page:
        """Playwright's page, for what has no method here."""
        assert self._page is not None, "the session is not started"
        return self._page

    @property
    def path(self) -> Path:
        """The notebook that is open; after `save` it holds the outputs."""
        return self.folder / "work" / self._source.name

    def run_all(self) -> None:
        """Run > Run All Cells; returns when the cells were taken, not when they ended."""
        before = self.page.evaluate(_PROMPTS)
        self._menu("Run", "Run All Cells")
        self.page.wait_for_function(
            f"before => JSON.stringify(({_PROMPTS})()) !== JSON.stringify(before)", arg=before
        )

    def wait_idle(self, timeout: float | None = None) -> None:
        """Waits until no cell runs or waits."""
        with self._telling("no cell to be running"):
            self.page.wait_for_function(_IDLE, timeout=(timeout or self._timeout) * 1000)

    def wait_for_text(self, text: str, timeout: float | None = None) -> None:
        """Waits until the text can be seen in an output."""
        with self._telling(f"{text!r} in an output"):
            self.page.locator(".jp-OutputArea-output").filter(has_text=text).first.wait_for(
                state="visible", timeout=(timeout or self._timeout) * 1000
            )

    def outputs(self) -> list[str]:
        """What stands under each code cell, top to bottom; "" for nothing."""
        cells = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
        return [
            "\n".join(cells.nth(index).locator(".jp-OutputArea-output").all_inner_texts())
            for index in range(cells.count())
        ]

    def stop(self) -> None:
        """The stop button of the toolbar."""
        self.page.locator('[data-jp-item-name="interrupt"]').first.click()

    def shut_down(self) -> None:
        """Kernel > Shut Down Kernel."""
        self._menu("Kernel", "Shut Down Kernel")

    def save(self) -> None:
        """File > Save Notebook, and waits until the server has written the file."""
        with self.page.expect_response(
            lambda answer: answer.request.method == "PUT" and "/api/contents/" in answer.url
        ):
            self._menu("File", "Save Notebook")

    def reload(self) -> None:
        """Reloads the page; the kernel goes on."""
        self.page.reload()
        self._wait_ready()

    def screenshot(self, path: Path) -> Path:
        """Writes a picture of the page, for a person to look at."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
        return path

    def log(self) -> str:
        """What the server wrote."""
        return "".join(list(self._log))

    def close(self) -> None:
        """Ends everything that was started, workers of kernels that a failure left behind included."""
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()
        self._browser = self._playwright = self._page = None
        server, self._server = self._server, None
        if server is not None:
            below = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(15)
            for process in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            server.kill()
            server.wait()
            if self._reader is not None:
                self._reader.join()
            assert server.stderr is not None
            server.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        from playwright.sync_api import TimeoutError as PageTimeout

        try:
            yield
        except PageTimeout:
            cells = "\n".join(f"[{index}] {text[-1000:]}" for index, text in enumerate(self.outputs()))
            page = "\n".join(self.console[-10:])
            message = f"waited for {what}; the page shows\n{cells}\nits console\n{page}\n{self.log()[-2000:]}"
            raise AssertionError(message) from None

    def _start_server(self) -> None:
        work, home = self.folder / "work", self.folder / "home"
        work.mkdir()
        home.mkdir()
        content = json.loads(self._source.read_text(encoding="utf-8"))
        # Without it Lab asks which kernel is meant.
        content["metadata"].setdefault("kernelspec", _KERNELSPEC)
        self.path.write_text(json.dumps(content), encoding="utf-8")
        settings = home / "settings"
        for name, values in _SETTINGS.items():
            target = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(values), encoding="utf-8")
        self._token = secrets.token_hex(16)
        private = {
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "spaces"),
        }
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"),
            # 0 lets the system choose; the server's log then says which it was.
            *("--ServerApp.port=0", f"--ServerApp.root_dir={work}"),
            *(f"--IdentityProvider.token={self._token}", "--ServerApp.allow_root=True"),
        ]
        self._server = subprocess.Popen(
            command,
            env=os.environ | private_home(home) | private | self._env,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name="jupyter-lab-log")
        self._reader.start()
        if not self._announced.wait(START_TIMEOUT) or self._address is None:
            message = f"JupyterLab did not start\n{self.log()}"
            raise AssertionError(message)

    def _read(self) -> None:
        assert self._server is not None
        assert self._server.stderr is not None
        for line in self._server.stderr:
            self._log.append(line)
            start = line.find("http://127.0.0.1:")
            if start >= 0 and not self._announced.is_set():
                self._address = line[start:].split("/lab", 1)[0].strip()
                self._announced.set()
        self._announced.set()

    def _start_browser(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=self._browser_path, args=ARGUMENTS)
        width, height = self._size
        self._page = self._browser.new_page(viewport={"width": width, "height": height})
        self._page.set_default_timeout(self._timeout * 1000)
        self._page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self._page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))
        self._page.goto(f"{self._address}/lab/tree/{self._source.name}?token={self._token}")
        self._wait_ready()

    def _wait_ready(self) -> None:
        self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell").first.wait_for()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        # Cells that are run before the kernel is heard are dropped without a word.
        with self._telling("the kernel to be ready"):
            self.page.wait_for_function(_READY)

    def _menu(self, menu: str, entry: str) -> None:
        self.page.locator(".lm-MenuBar-item").filter(has_text=menu).first.click()
        self.page.locator(".lm-Menu-item").filter(has_text=entry).first.click()
