"""How an error of a cell is shown, once, as a page or as text; and what `%tb` and `%debug` do after it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Self

import nbclient
import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.kernels import Notebook, private_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.kernels import CellOutcome

PAGES = {"SNAKEPIT_NB_ERROR_VIEW": "html"}
FAILING = "%%snakepit\nbottom = 0\n1 / bottom"


@pytest.fixture(scope="module")
def paged() -> Iterator[Notebook]:
    """A kernel whose errors are pages, as under JupyterLab."""
    with Notebook(env=PAGES) as kernel:
        kernel.run("%load_ext snakepit_nb").ok()
        kernel.run("%snakepit start").ok()
        yield kernel


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def end_of(cell: CellOutcome) -> list[str]:
    """The lines of the error's own message."""
    assert cell.status == "error"
    assert cell.error is not None
    return [plain(line) for line in cell.error.traceback]


class Conversation:
    """A front end that answers when it is asked for input."""

    def __init__(self, notebook: Notebook) -> None:
        self._client = BlockingKernelClient(connection_file=str(notebook.connection_file))
        self._client.load_connection_file()

    def __enter__(self) -> Self:
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_channels()

    def run(self, code: str, *answers: str) -> tuple[str, Mapping[str, object]]:
        """What a cell wrote, without colours, and the kernel's reply; it asked for each of the answers."""
        said: list[str] = []
        left = list(answers)

        def hear(message: Mapping[str, Mapping[str, object]]) -> None:
            content = message["content"]
            traceback = content.get("traceback", ())
            assert isinstance(traceback, (list, tuple))
            said.append(str(content.get("text", "")) + "\n".join(traceback))

        reply = self._client.execute_interactive(
            code,
            allow_stdin=True,
            timeout=60,
            stdin_hook=lambda _: self._client.input(left.pop(0)),
            output_hook=hear,
        )
        assert left == []
        return plain("".join(said)), reply["content"]


@pytest.fixture
def asked(paged: Notebook) -> Iterator[Conversation]:
    with Conversation(paged) as conversation:
        yield conversation


def test_a_page_tells_all_and_the_message_ends_it(paged: Notebook) -> None:
    cell = paged.run(FAILING)
    assert [message.kind for message in cell.messages] == ["display_data", "error"]
    number = cell.execution_count
    assert end_of(cell) == ["ZeroDivisionError: division by zero", f"at In [{number}], line 3"]
    shown = cell.displays[0]["data"]
    assert f"In [{number}], line 3</div>" in shown["text/html"]
    assert "<mark" in shown["text/html"]
    assert "<script" not in shown["text/html"]
    assert shown["text/plain"].startswith("Traceback (most recent call last) in worker ")
    assert "---> 3 | 1 / bottom" in shown["text/plain"]
    assert "\x1b" not in shown["text/plain"]


def test_what_the_worker_wrote_comes_before_the_error(paged: Notebook) -> None:
    cell = paged.run("%%snakepit\nfor n in range(30_000):\n    print('line', n)\nraise ValueError('at last')")
    kinds = [message.kind for message in cell.messages]
    assert kinds[-2:] == ["display_data", "error"]
    assert set(kinds[:-2]) == {"stream"}
    assert cell.stdout.rstrip().endswith("line 29999")


def test_a_front_end_that_shows_no_pages_gets_the_whole_as_text(shared: Notebook) -> None:
    cell = shared.run(FAILING)
    assert [message.kind for message in cell.messages] == ["error"]
    text = "\n".join(end_of(cell))
    assert text.startswith("Traceback (most recent call last) in worker ")
    assert "---> 3 | 1 / bottom" in text


def test_the_option_decides_where_the_front_end_does_not(shared: Notebook) -> None:
    shared.run("%snakepit config error_view=html").ok()
    try:
        assert len(shared.run(FAILING).displays) == 1
    finally:
        shared.run("%snakepit config error_view=auto").ok()
    assert shared.run(FAILING).displays == []


def test_a_death_is_told_with_its_facts_and_the_end_of_its_stderr() -> None:
    with Notebook(env=PAGES) as notebook:
        notebook.run("%load_ext snakepit_nb").ok()
        cell = notebook.run(
            "%%snakepit\nimport ctypes, os\nos.write(2, b'the <b>end</b> is near\\n')\nctypes.string_at(0)"
        )
    assert end_of(cell)[0].startswith("WorkerCrashed: worker default-")
    html = cell.displays[-1]["data"]["text/html"]
    assert "SIGSEGV</td>" in html
    assert "The end of its stderr</summary>" in html
    assert "the &lt;b&gt;end&lt;/b&gt; is near" in html


def test_a_refused_call_is_shown_in_the_users_lines_and_not_in_ours(paged: Notebook) -> None:
    cell = paged.run(
        "import snakepit_nb\nclosed = snakepit_nb.Pool(1)\nclosed.shutdown()\n"
        "def call():\n    return closed.submit(abs, 1)\ncall()"
    )
    text = "\n".join(end_of(cell))
    assert "closed.submit(abs, 1)" in text
    assert "PoolClosed: cannot schedule" in text
    assert "check_open" not in text


def test_tb_shows_the_whole_of_the_last_error_as_text(paged: Notebook, asked: Conversation) -> None:
    number = paged.run(FAILING).execution_count
    text, reply = asked.run("%tb")
    assert reply["status"] == "ok"
    assert text.startswith("Traceback (most recent call last) in worker ")
    assert f"In [{number}], line 3\n" in text
    assert text.endswith("ZeroDivisionError: division by zero")
    assert asked.run("%tb minimal")[0] == "ZeroDivisionError: division by zero"
    paged.run("%%snakepit\nraise ExceptionGroup('both', [ValueError('a')])")
    assert "| ValueError: a" in asked.run("%tb")[0]


def test_tb_and_debug_serve_other_errors_as_before(paged: Notebook, asked: Conversation) -> None:
    paged.run(FAILING)
    paged.run("here = 'found'\n[][1]")
    assert "IndexError: list index out of range" in asked.run("%tb")[0]
    text, _ = asked.run("%debug", "p here", "q")
    assert "found" in text
    assert "snakepit" not in text


def test_debug_is_at_the_call_and_says_where_the_frames_were(paged: Notebook, asked: Conversation) -> None:
    paged.run(FAILING)
    text, reply = asked.run("%debug", "w", "q")
    assert reply["status"] == "ok"
    assert text.startswith("snakepit: the frames of this error ended with worker default-")
    assert "get_ipython().run_cell_magic('snakepit', ''" in text
    assert "snakepit_nb/" not in text
    paged.run(
        "import snakepit_nb\ndef call(given):\n"
        "    return snakepit_nb.get_pool().submit(int, given).result()\ncall('x')"
    )
    text, _ = asked.run("%debug", "p 'given is ' + given", "u", "q")
    assert "given is x" in text
    assert "call('x')" in text


def test_with_pdb_on_the_debugger_opens_by_itself(asked: Conversation) -> None:
    asked.run("%pdb on")
    try:
        text, reply = asked.run(FAILING, "p 6 * 7", "q")
    finally:
        asked.run("%pdb off")
    assert reply["status"] == "error"
    assert "42" in text


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        ("Minimal", ["ZeroDivisionError: division by zero"]),
        (
            "Plain",
            ["  In [{number}], line 3", "    ---> 3 | 1 / bottom", "ZeroDivisionError: division by zero"],
        ),
    ],
)
def test_xmode_is_respected(paged: Notebook, mode: str, lines: list[str]) -> None:
    paged.run(f"%xmode {mode}").ok()
    try:
        cell = paged.run(FAILING)
    finally:
        paged.run("%xmode Context").ok()
    assert cell.displays == []
    assert end_of(cell)[-len(lines) :] == [line.format(number=cell.execution_count) for line in lines]


def test_who_runs_the_notebook_as_a_program_is_answered_with_the_whole(tmp_path: Path) -> None:
    sources = ("%load_ext snakepit_nb", FAILING, "'not reached'")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in sources])
    client = nbclient.NotebookClient(
        notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with pytest.raises(nbclient.exceptions.CellExecutionError) as caught:
        client.execute(env=os.environ | private_home(tmp_path) | PAGES)
    assert "---> 3 | 1 / bottom" in plain(str(caught.value))
    display, error = notebook.cells[1].outputs
    assert "<mark" in display.data["text/html"]
    assert (error.output_type, error.ename) == ("error", "ZeroDivisionError")
    assert len(error.traceback) == 2
    assert notebook.cells[2].outputs == []


NO_FILE = "import resource\nlimits = resource.getrlimit(resource.RLIMIT_NOFILE)\n{}"
CLOSED = NO_FILE.format("resource.setrlimit(resource.RLIMIT_NOFILE, (5, limits[1]))")


@pytest.mark.parametrize("env", [{}, PAGES], ids=["auto", "page"])
def test_an_error_is_shown_where_the_kernel_can_open_no_file(env: Mapping[str, str]) -> None:
    with Notebook(env=env) as kernel:
        kernel.run("%load_ext snakepit_nb\nget_ipython().history_manager.enabled = False").ok()
        kernel.run("%%snakepit\n1 + 1").ok()
        kernel.run(CLOSED).ok()
        cell = kernel.run(FAILING)
        assert cell.error is not None, cell
        assert cell.error.ename == "ZeroDivisionError"
        assert "ZeroDivisionError: division by zero" in plain(cell.error.text)
        assert "failed" not in cell.stderr
        kernel.run("resource.setrlimit(resource.RLIMIT_NOFILE, limits)").ok()
        again = kernel.run(FAILING)
        assert again.error is not None
        assert any("1 / bottom" in plain(each) for each in (again.error.text, *map(str, again.displays)))
        shown = kernel.run("%tb minimal").error
        assert shown is not None
        assert plain(shown.text) == "ZeroDivisionError: division by zero"


def test_in_a_log_a_failing_cell_is_one_line_that_forges_no_other(paged: Notebook) -> None:
    paged.run(
        "import io, logging\nfrom snakepit_nb.exporters.log import LogExporter\nwritten = io.StringIO()\n"
        "logger = logging.Logger('cells')\nlogger.addHandler(logging.StreamHandler(written))\n"
        "exporter = LogExporter('snakepit.cell', logger=logger)\nexporter.attach()"
    ).ok()
    paged.run("%%snakepit\nraise ValueError('a\\nsnakepit.cell.stop forged\\x1b[2J')")
    lines = paged.run("exporter.detach()\nprint(written.getvalue())").ok().stdout.split("\n")
    assert [line.split(" ")[0] for line in lines if line] == [
        "snakepit.cell.start",
        "snakepit.cell.exception",
    ]
    assert " reason=ValueError " in lines[1]
    assert "forged" not in lines[1]
