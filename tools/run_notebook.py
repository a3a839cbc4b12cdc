"""Executes a notebook in a real kernel, writes it and an HTML page of it, and says what happened.

    python tools/run_notebook.py notebooks/01_first_cell.ipynb --out out

The counting is asked for beside the notebook's cells: it gets no number and is in nothing that is written.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_client.asynchronous.client import AsyncKernelClient

CELL_TIMEOUT: Final = 600
_TOTALS: Final = Path(__file__).with_name("totals.py")
_CALL: Final = "__import__('runpy').run_path({path!r})[{verb!r}]()"


class NotebookError(Exception):
    """The notebook did not run to its end; the message says where and why."""


class _ThisInterpreter(KernelSpecManager):
    """Knows one kernel, that of this very environment: a user's own `python3` may be another."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python")


async def _call(client: NotebookClient, verb: str) -> str:
    """Call a function of totals.py in the kernel, and give its answer back as text."""
    expression = _CALL.format(path=str(_TOTALS), verb=verb)
    kernel = cast("AsyncKernelClient", client.kc)
    reply = await kernel.execute_interactive(
        "", silent=True, store_history=False, user_expressions={"answer": expression}, timeout=60
    )
    answer = reply["content"].get("user_expressions", {}).get("answer", {})
    if answer.get("status") != "ok":
        why = answer.get("evalue") or reply["content"].get("evalue")
        message = f"the kernel could not {verb} the counts: {why}"
        raise NotebookError(message)
    return str(answer["data"]["text/plain"])


async def execute(notebook: nbformat.NotebookNode, folder: Path) -> Mapping[str, int]:
    """Run all cells in a new kernel that works in `folder`; fills the notebook in, returns the counts.

    Raises:
        NotebookError: a cell failed or the kernel died; the notebook holds what came until then.
    """
    resources = {"metadata": {"path": str(folder)}}
    with tempfile.TemporaryDirectory(prefix="snakepit_nb-") as private:
        # Sockets in a folder of our own: no other user of the machine can reach this kernel.
        manager = AsyncKernelManager(
            kernel_spec_manager=_ThisInterpreter(),
            transport="ipc",
            ip=f"{private}/kernel",
            connection_file=f"{private}/kernel.json",
        )
        client = NotebookClient(notebook, km=manager, timeout=CELL_TIMEOUT, resources=resources)
        # The profile and the start-up files of whoever runs this are no part of the notebook.
        env = {**os.environ, "IPYTHONDIR": private}
        async with client.async_setup_kernel(env=env, cleanup_kc=True):
            await _call(client, "attach")
            for index, cell in enumerate(notebook.cells):
                try:
                    await client.async_execute_cell(cell, index)
                except CellExecutionError as error:
                    message = f"cell {index + 1} raised {error.ename}: {error.evalue}\n{error}"
                    raise NotebookError(message) from error
                except (DeadKernelError, TimeoutError) as error:
                    message = f"cell {index + 1}: {error}"
                    raise NotebookError(message) from error
            client.set_widgets_metadata()
            counts: Mapping[str, int] = json.loads(ast.literal_eval(await _call(client, "report")))
    return counts


def write(notebook: nbformat.NotebookNode, name: str, out: Path) -> Path:
    """Write the notebook and its HTML page into a folder; the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, out / f"{name}.ipynb")
    html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": name}})
    page = out / f"{name}.html"
    page.write_text(html, encoding="utf-8")
    return page


def told(counts: Mapping[str, int], seconds: float, page: Path) -> str:
    """The summary that a person reads.

    Example:
        >>> counts = {"workers": 2, "crashes": 1, "requests": 9, "failed": 1}
        >>> counts |= {"shares": 4, "shared_bytes": 24_000_000, "copies": 1, "copied_bytes": 1536}
        >>> print(told(counts, 3.2, Path("out/a.html")))
        2 workers started (1 crashed)
        9 requests executed (1 failed)
        4 arrays shared, 24 MB; 1 copied, 1.54 KB
        3.2 s
        out/a.html
    """
    shared, copied = _size(counts["shared_bytes"]), _size(counts["copied_bytes"])
    return "\n".join(
        (
            f"{counts['workers']} workers started ({counts['crashes']} crashed)",
            f"{counts['requests']} requests executed ({counts['failed']} failed)",
            f"{counts['shares']} arrays shared, {shared}; {counts['copies']} copied, {copied}",
            f"{seconds:.1f} s",
            str(page),
        )
    )


def _size(nbytes: float) -> str:
    for unit in ("B", "KB", "MB"):
        if nbytes < 1000:  # noqa: PLR2004 - decimal units, as the prefixes say
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.4g} GB"


def main(arguments: list[str]) -> int:
    """Run from a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Execute a notebook and write what it shows.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"), help="the folder to write to (default: out)")
    chosen = parser.parse_args(arguments)
    if not chosen.notebook.is_file():
        print(f"There is no notebook {chosen.notebook}.", file=sys.stderr)
        return 2
    notebook = nbformat.read(chosen.notebook, as_version=4)
    name = chosen.notebook.stem
    print(f"Executing {chosen.notebook}", flush=True)
    began = time.monotonic()
    try:
        counts = asyncio.run(execute(notebook, chosen.notebook.parent.resolve()))
    except NotebookError as error:
        page = write(notebook, name, chosen.out)
        print(f"{chosen.notebook} did not run to its end: {error}", file=sys.stderr)
        print(f"What it showed until then: {page}", file=sys.stderr)
        return 1
    print(told(counts, time.monotonic() - began, write(notebook, name, chosen.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
