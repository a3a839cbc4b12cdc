"""The grammar of `%%snakepit` and `%snakepit`: a line of text in, a frozen value out.

*Rule:* a line is taken whole or refused whole, with one sentence that says which argument, what was
expected and what may have been meant.
*Rule:* values are parsed, never evaluated.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from IPython.core.error import UsageError

from snakepit_nb.magics import values
from snakepit_nb.magics.lineparser import Join, Parser, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.magics.values import Output

LineKind: TypeAlias = Literal["start", "stop", "status", "recycle", "doctor", "expression"]

_LATER_OPTIONS: Final = (
    "--map", "--all", "--session", "--readonly", "--copy", "--retry", "--gpu",
    "--progress", "--no-progress", "--engine",
)  # fmt: skip
_LATER_COMMANDS: Final = ("scale", "jobs", "cancel", "dashboard", "metrics", "config")


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What a `%%snakepit` line asks for.

    Attributes:
        pool: The pool's name; None is the default pool.
        inputs: The names of `-i`; None captures what the cell reads.
        outputs: What `-o` brings back; None brings back what the cell assigns.
        inout: Arrays that the cell changes in place.
        timeout: Seconds that it may run.
        background: Whether it returns at once, with a Future.
        name: What the job is called.
        capture: Whether it is given anything at all.
        quiet: Whether notes and progress are left out.
    """

    pool: str | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[Output, ...] | None = None
    inout: tuple[str, ...] = ()
    timeout: float | None = None
    background: bool = False
    name: str | None = None
    capture: bool = True
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class LineCommand:
    """What a `%snakepit` line asks for.

    Attributes:
        kind: The subcommand, or "expression".
        pool: The pool's name, for `recycle` also the id of a worker; None is the default pool, or for
            `status` all of them.
        workers: How many workers to start; None is the pool's own default.
        preload: Modules that every worker has imported before its first request.
        max_requests: After how many requests a worker is replaced.
        ttl: After how many seconds.
        max_memory: From how much memory of its own on, as text.
        every: Whether `stop` means all pools.
        expression: The Python expression to evaluate in a worker.
    """

    kind: LineKind
    pool: str | None = None
    workers: int | None = None
    preload: tuple[str, ...] = ()
    max_requests: int | None = None
    ttl: float | None = None
    max_memory: str | None = None
    every: bool = False
    expression: str | None = None


def parse_cell(line: str) -> CellOptions:
    """Read the line behind `%%snakepit`.

    Raises:
        UsageError: The line is not one; the sentence says why and what may have been meant.

    Example:
        >>> parse_cell("gpu -i x -o best=y -t 30").outputs
        (Output(dest='best', source='y'),)
        >>> parse_cell("--no-captur")
        Traceback (most recent call last):
        IPython.core.error.UsageError: %%snakepit has no option --no-captur; did you mean --no-capture?
    """
    found = _cell_parser().read(split(line, "%%snakepit"), _Found())
    inputs, outputs, inout = found.inputs, found.outputs, found.inout or ()
    for option, names in (("-i", inputs), ("--inout", inout)):
        if found.no_capture and names:
            given = ", ".join(names)
            message = f"--no-capture gives the cell nothing, {option} gives it {given}; leave one of them out"
            raise UsageError(message)
    sources: dict[str, str] = {}
    for dest, source in outputs or ():
        if sources.setdefault(dest, source) != source:
            message = f"-o gives {dest} two values, {sources[dest]} and {source}; keep one of them"
            raise UsageError(message)
        if dest in inout and source != dest:
            message = f"--inout {dest} and -o {dest}={source} both set {dest}; keep one of them"
            raise UsageError(message)
    return CellOptions(
        pool=found.pool,
        inputs=inputs,
        outputs=outputs,
        inout=inout,
        timeout=found.timeout,
        background=found.background,
        name=found.name,
        capture=not found.no_capture,
        quiet=found.quiet,
    )


def parse_line(line: str) -> LineCommand:
    """Read the line behind `%snakepit`; an empty one asks for the status.

    A line whose first word is a subcommand is that, even where the notebook has a variable of the same name;
    `%snakepit (status)` evaluates it.

    Raises:
        UsageError: The line is not one; the sentence says why and what may have been meant.

    Example:
        >>> parse_line("start gpu -w 2").workers
        2
        >>> parse_line("x.sum() # in a worker").expression
        'x.sum() # in a worker'
    """
    text = line.strip()
    word = text.split(maxsplit=1)[0] if text else "status"
    if word in _LATER_COMMANDS:
        message = f"%snakepit {word} is not available yet in this version"
        if _why_not(text, "eval") is None:
            message += f"; {_parentheses(text)}"
        raise UsageError(message)
    if word not in _COMMANDS:
        return LineCommand("expression", expression=_expression(text))
    command = _COMMANDS[word]
    rest = text[len(word) :].strip()
    try:
        found = command.parser().read(split(rest, f"%snakepit {word}"), _Found())
    except UsageError as error:
        if _why_not(text, "eval") is not None or re.match(r"--?\w", rest):
            raise
        message = f"{error}; {_parentheses(text)}"
        raise UsageError(message) from None
    if found.every and found.pool is not None:
        message = f"%snakepit stop takes a pool or --all, got {found.pool} and --all; keep one of them"
        raise UsageError(message)
    return LineCommand(
        command.kind,
        found.pool,
        found.workers,
        found.preload or (),
        found.max_requests,
        found.ttl,
        found.max_memory,
        found.every,
    )


def help_text(kind: Literal["cell", "line"]) -> str:
    """What `%%snakepit?` and `%snakepit?` show, made from the parsers themselves.

    Example:
        >>> help_text("cell").splitlines()[0].startswith("usage: %%snakepit")
        True
    """
    if kind == "cell":
        return _cell_parser().format_help()
    commands = (command.parser().format_help() for command in _COMMANDS.values())
    expression = (
        "usage: %snakepit EXPRESSION\n\nEvaluate one Python expression in a worker and show its value; put it"
        "\nin parentheses where it begins with a subcommand's name: %snakepit (status)\n"
    )
    return "\n".join([*commands, expression])


class _Found(argparse.Namespace):
    """What the parsers set."""

    pool: str | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[Output, ...] | None = None
    inout: tuple[str, ...] | None = None
    timeout: float | None = None
    background: bool = False
    name: str | None = None
    no_capture: bool = False
    quiet: bool = False
    workers: int | None = None
    preload: tuple[str, ...] | None = None
    max_requests: int | None = None
    ttl: float | None = None
    max_memory: str | None = None
    every: bool = False


@cache
def _cell_parser() -> Parser:
    parser = Parser(
        "%%snakepit",
        "Run this cell in a worker process; its results come back by themselves.",
        later=_LATER_OPTIONS,
    )
    names, one = "names, as in {0} a,b", "a name"
    parser.pool("the pool to run in (default: the default pool)", values.pool_name)
    parser.option(
        "-i",
        "--input",
        dest="inputs",
        metavar="NAMES",
        action=Join,
        wants=names.format("-i"),
        read=values.listed("-i", values.identifier),
        text="give the cell only these names, and modules",
    )
    parser.option(
        "-o",
        "--output",
        dest="outputs",
        metavar="NAMES",
        action=Join,
        wants="names, as in -o x,best=y",
        read=values.listed("-o", values.output),
        text="bring back only these; best=y puts the cell's y into best",
    )
    parser.option(
        "--inout",
        dest="inout",
        metavar="NAMES",
        action=Join,
        wants=names.format("--inout"),
        read=values.listed("--inout", values.identifier),
        text="arrays that the cell changes in place",
    )
    parser.option(
        "-t",
        "--timeout",
        dest="timeout",
        metavar="SECONDS",
        wants="a number of seconds above zero",
        read=values.timer("-t"),
        text="stop the cell after this time",
    )
    parser.switch("-b", "--bg", dest="background", text="run in the background and return a Future at once")
    parser.option(
        "-n", "--name", dest="name", metavar="NAME", wants=one, read=values.job_name, text="call the job this"
    )
    parser.switch("--no-capture", dest="no_capture", text="give the cell nothing of the notebook")
    parser.switch("-q", "--quiet", dest="quiet", text="leave out notes and progress")
    return parser


@cache
def _start_parser() -> Parser:
    parser = Parser("%snakepit start", "Start a pool now rather than at its first cell.")
    parser.pool("the pool to start (default: the default pool)", values.pool_name)
    parser.option(
        "-w",
        "--workers",
        dest="workers",
        metavar="N",
        wants="a number of workers, 1 or more",
        read=values.counter("-w", "a number of workers"),
        text="how many worker processes",
    )
    parser.option(
        "--preload",
        dest="preload",
        metavar="MODULES",
        action=Join,
        wants="modules, as in --preload numpy,pandas",
        read=values.listed("--preload", values.module),
        text="modules that every worker has imported from the start",
    )
    parser.option(
        "--max-requests",
        dest="max_requests",
        metavar="N",
        wants="a number of requests, 1 or more",
        read=values.counter("--max-requests", "a number of requests"),
        text="replace a worker after so many requests",
    )
    parser.option(
        "--ttl",
        dest="ttl",
        metavar="SECONDS",
        wants="a number of seconds above zero",
        read=values.timer("--ttl"),
        text="replace a worker after this time",
    )
    parser.option(
        "--max-memory",
        dest="max_memory",
        metavar="SIZE",
        wants="a size, as in --max-memory 4GB",
        read=values.size,
        text="replace a worker that holds more memory of its own",
    )
    return parser


@cache
def _stop_parser() -> Parser:
    parser = Parser("%snakepit stop", "Stop a pool and its workers.")
    parser.pool("the pool to stop (default: the default pool)", values.pool_name)
    parser.switch("--all", dest="every", text="stop all pools")
    return parser


@cache
def _status_parser() -> Parser:
    parser = Parser("%snakepit status", "Show what pools and workers are doing.")
    parser.pool("the pool to show (default: all)", values.pool_name)
    return parser


@cache
def _recycle_parser() -> Parser:
    parser = Parser("%snakepit recycle", "Replace workers by new ones; what they run and what waits goes on.")
    parser.pool("a worker, or a pool for all of its workers (default: the default pool)", values.pool_name)
    return parser


@cache
def _doctor_parser() -> Parser:
    return Parser(
        "%snakepit doctor", "Show what this machine gives, and what to do where something is missing."
    )


class _Command(NamedTuple):
    kind: LineKind
    parser: Callable[[], Parser]


_COMMANDS: Final = {
    "start": _Command("start", _start_parser),
    "stop": _Command("stop", _stop_parser),
    "status": _Command("status", _status_parser),
    "recycle": _Command("recycle", _recycle_parser),
    "doctor": _Command("doctor", _doctor_parser),
}


def _why_not(text: str, mode: Literal["eval", "exec"]) -> str | None:
    """What Python has against a text as an expression or as statements; None where it has nothing."""
    try:
        # Python's warnings about the code come when it runs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text, mode=mode)
    except SyntaxError as error:
        return error.msg
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it nests too deep"
    return None


def _expression(text: str) -> str:
    why = _why_not(text, "eval")
    if why is None:
        return text
    if _why_not(text, "exec") is None:
        message = (
            f"%snakepit evaluates one expression, and {text!r} is a statement; "
            "put statements in a %%snakepit cell"
        )
        raise UsageError(message)
    close = difflib.get_close_matches(text.split(maxsplit=1)[0], (*_COMMANDS, *_LATER_COMMANDS), n=1)
    meant = f"did you mean %snakepit {close[0]}?" if close else f"it also has {', '.join(_COMMANDS)}"
    message = f"%snakepit evaluates one expression, and {text!r} is not one ({why}); {meant}"
    raise UsageError(message)


def _parentheses(text: str) -> str:
    return f"to evaluate an expression that begins so, write %snakepit ({text})"
