"""The way of an exception, without a worker: raised, packed, and made again."""

from __future__ import annotations

import itertools
import linecache
import sys
import types
from typing import TYPE_CHECKING

import pytest

from snakepit_nb.errors import pack_exception, unpack_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numbers = itertools.count(100)


def _arrive(data: bytes) -> BaseException:
    return unpack_exception(data, worker_id="w1", pool="default", request_id=7, command="cell")


def _caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the test asked for
        return error
    pytest.fail("nothing was raised")


@pytest.fixture
def arrive() -> Callable[[bytes], BaseException]:
    """What packed bytes become in the kernel."""
    return _arrive


@pytest.fixture
def caught() -> Callable[[Callable[[], object]], BaseException]:
    """What a function raises."""
    return _caught


@pytest.fixture
def sent() -> Callable[[BaseException], BaseException]:
    """An exception's way from a worker to the kernel."""
    return lambda error: _arrive(pack_exception(error))


@pytest.fixture
def cell() -> Iterator[Callable[..., BaseException]]:
    """What a cell's source raises, with its lines known to linecache as a worker has them."""
    files = []

    def run(source: str, number: int | str | None = None, **names: object) -> BaseException:
        file = f"<In [{next(_numbers) if number is None else number}]>"
        files.append(file)
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        space = {"__name__": "__main__", **names}
        code = compile(source, file, "exec")
        error = _caught(lambda: exec(code, space))  # noqa: S102 - a cell
        # The call above is not a worker's machinery, which would be left out.
        step = error.__traceback__
        while step is not None and not step.tb_frame.f_code.co_filename.startswith("<In ["):
            step = step.tb_next
        return error.with_traceback(step)

    yield run
    for file in files:
        linecache.cache.pop(file, None)


@pytest.fixture(scope="session")
def polars_runtime() -> None:
    """What Polars starts at its first query and keeps to the end of the process."""
    import polars as pl

    pl.DataFrame({"a": [1]}).select("a")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A `__main__` of its own, as a kernel has one."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main
