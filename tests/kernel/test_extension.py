"""`%load_ext` and its opposite in every shell: a kernel, nbclient, a terminal, a script."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pexpect
import psutil
from nbclient import NotebookClient

from tests.kernels import Notebook, private_home

if TYPE_CHECKING:
    from pathlib import Path

THREADS = "sorted(thread.name for thread in __import__('threading').enumerate())"


def test_loading_prints_nothing_and_starts_nothing() -> None:
    with Notebook() as notebook:
        cell = notebook.run("%load_ext snakepit_nb").ok()
        assert cell.messages == []
        assert notebook.descendants() == []


def test_unloading_leaves_no_magic_no_process_and_no_thread_and_loading_again_works() -> None:
    with Notebook() as notebook:
        before = notebook.run(THREADS).ok().value
        hooks = "{name: len(found) for name, found in get_ipython().events.callbacks.items()}"
        hooked = notebook.run(hooks).ok().value
        for _ in range(2):
            notebook.run("%load_ext snakepit_nb").ok()
            assert notebook.run("%%snakepit\nprint('here')\n6 * 7").ok().value == "42"
            below = [psutil.Process(pid) for pid in notebook.descendants()]
            assert below
            notebook.run("%unload_ext snakepit_nb").ok()
            _, alive = psutil.wait_procs(below, timeout=10)
            assert alive == []
            assert notebook.run(THREADS).ok().value == before
            assert notebook.run(hooks).ok().value == hooked
            assert "not found" in notebook.run("%%snakepit\n1").stderr
            assert "not found" in notebook.run("%snakepit 1").stderr


def test_loading_twice_and_reloading_keep_one_of_each() -> None:
    with Notebook() as notebook:
        notebook.run("%load_ext snakepit_nb").ok()
        notebook.run("import snakepit_nb\nsnakepit_nb.load_ipython_extension(get_ipython())").ok()
        cell = notebook.run("%%snakepit\nprint('once')").ok()
        assert cell.stdout == "once\n"
        notebook.run("%reload_ext snakepit_nb").ok()
        cell = notebook.run("%%snakepit\nprint('once')\n1").ok()
        assert (cell.stdout, cell.value) == ("once\n", "1")


def test_a_notebook_executed_without_a_front_end_holds_everything(tmp_path: Path) -> None:
    sources = [
        "%load_ext snakepit_nb",
        "%%snakepit\nprint('from a worker')\nx = 20\nx + 1",
        "%%snakepit -b -n job\nx * 2",
        "job.result()",
        "%%snakepit\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "%%snakepit\n1 / 0",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[-1].metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    home = private_home(tmp_path)
    # The kernel of this interpreter, wherever it is installed.
    client = NotebookClient(
        notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=os.environ | home)
    outputs = [cell.outputs for cell in notebook.cells]
    assert outputs[0] == []
    assert [each.output_type for each in outputs[1]] == ["stream", "execute_result"]
    assert outputs[1][0].text == "from a worker\n"
    assert outputs[1][1].data["text/plain"] == "21"
    assert outputs[2][0].data["text/plain"].startswith("<Job 'job' ")
    assert outputs[3][-1].data["text/plain"] == "40"
    assert "image/png" in outputs[4][0].data
    assert outputs[5][0].ename == "ZeroDivisionError"


def test_in_a_terminal_a_cell_runs_fails_and_is_stopped(tmp_path: Path) -> None:
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    env = os.environ | private_home(tmp_path) | {"TERM": "dumb"}
    terminal = pexpect.spawn(
        sys.executable, arguments, env=env, encoding="utf-8", timeout=60, cwd=str(tmp_path)
    )
    numbers = iter(range(1, 10))

    def enter(*lines: str) -> None:
        terminal.expect(rf"In \[{next(numbers)}\]: ")
        for line in lines:
            terminal.sendline(line)
            if len(lines) > 1:
                terminal.expect(r"\.\.\.: ")
        if len(lines) > 1:
            terminal.sendline("")
            terminal.sendline("")

    try:
        enter("%load_ext snakepit_nb")
        enter("%%snakepit", "print('said', 'so'); 6 * 7")
        terminal.expect("said so")
        terminal.expect(r"Out\[2\]: 42")
        enter("%%snakepit", "1 / 0")
        terminal.expect(r"In \[3\], line 2")
        terminal.expect("ZeroDivisionError: division by zero")
        enter("%tb")
        terminal.expect(r"---> 2 \| 1 / 0")
        terminal.expect("ZeroDivisionError: division by zero")
        enter("%debug")
        terminal.expect("the frames of this error ended with worker default-")
        terminal.expect("ipdb> ")
        terminal.sendline("p 'at the call'")
        terminal.expect("'at the call'\r")
        terminal.sendline("q")
        enter("%%snakepit", "import time; print('running', 'now', flush=True); time.sleep(600)")
        terminal.expect("running now")
        terminal.sendintr()
        terminal.expect("KeyboardInterrupt")
        enter("%%snakepit", "'served' + ' on'")
        terminal.expect(r"Out\[7\]: 'served on'")
        below = psutil.Process(terminal.pid).children(recursive=True)
        enter("exit")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []


def test_in_a_script_of_ipython_the_magics_work(tmp_path: Path) -> None:
    script = tmp_path / "script.ipy"
    script.write_text(
        "%load_ext snakepit_nb\nx = [1]\n"
        "get_ipython().run_cell_magic('snakepit', '', 'print(sum(x)); x.append(2); y = 5')\n"
        "print('y is', y)\nz = %snakepit y * 2\nprint('z is', z)\n"
    )
    env = os.environ | private_home(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", str(script)],
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    note = "snakepit: x.append(…) changes the worker's copy only; to have the changed object back: -o x"
    assert sorted(done.stdout.splitlines()) == sorted(["1", note, "y is 5", "z is 10"])
    assert done.stderr == ""
