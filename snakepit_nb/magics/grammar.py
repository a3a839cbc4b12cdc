"""The options of `%%snakepit` and the subcommands of `%snakepit`: what each is called, takes, and means.

*Rule:* help and errors are made from what stands here, so that neither can say anything else.
"""

from __future__ import annotations

import argparse
import math
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from snakepit_nb.magics import items, values
from snakepit_nb.magics.lineparser import Join, Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.magics.items import Each
    from snakepit_nb.magics.values import Output, Progress

LineKind: TypeAlias = Literal[
    "start",
    "stop",
    "status",
    "scale",
    "jobs",
    "cancel",
    "recycle",
    "dashboard",
    "metrics",
    "doctor",
    "config",
    "expression",
]

LATER_OPTIONS: Final = ("--engine",)


class Found(argparse.Namespace):
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
    session: str | None = None
    retries: int | None = None
    each: Each | None = None
    readonly: bool = False
    copy: bool = False
    gpu: int | None = None
    progress: Progress | None = None
    workers: int | None = None
    preload: tuple[str, ...] | None = None
    max_requests: int | None = None
    ttl: float | None = None
    max_memory: str | None = None
    profile: str | None = None
    every: bool = False
    words: list[str] | None = None
    reset: bool = False
    wait: float | None = None
    serve: int | str | None = None


@cache
def cell_parser() -> Parser:
    """Reads the line behind `%%snakepit`."""
    parser = Parser(
        "%%snakepit",
        "Run this cell in a worker process; its results come back by themselves.",
        later=LATER_OPTIONS,
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
    parser.option(
        items.FLAG,
        dest="each",
        metavar="ITEM in ITEMS",
        wants="ITEM in ITEMS, as in --map x in xs",
        read=items.read,
        text="run once for each item, on all workers; gives the list of the last values",
    )
    parser.switch("--all", dest="every", text="run once in every worker; gives the list of the last values")
    parser.switch("-b", "--bg", dest="background", text="run in the background and return a Future at once")
    parser.option(
        "-n", "--name", dest="name", metavar="NAME", wants=one, read=values.job_name, text="call the job this"
    )
    parser.option(
        "--session",
        dest="session",
        metavar="NAME",
        wants=one,
        read=values.session_name,
        text="run in the worker that keeps this session's names; only -o brings some back",
    )
    parser.option(
        "--retry",
        dest="retries",
        metavar="N",
        wants="how often, 0 or more",
        read=values.retries,
        text="run again where it fails, at most so often: for cells that may run twice",
    )
    parser.switch("--readonly", dest="readonly", text="make it an error to write to the arrays that go along")
    parser.switch("--copy", dest="copy", text="copy the arrays that go along, as they are now")
    parser.switch("--no-capture", dest="no_capture", text="give the cell nothing of the notebook")
    parser.option(
        "--gpu",
        dest="gpu",
        metavar="[ID]",
        wants="the number of a card, as in --gpu 0",
        read=values.card,
        text="run where this card is the only one; without a number the first",
    )
    parser.option(
        values.PROGRESS,
        dest="progress",
        metavar="[bar|timeline]",
        wants="bar or timeline",
        read=values.progress,
        text="show a bar, also where --map or --all is soon over; or the pool's timeline, while it runs",
    )
    parser.opposite(f"--no-{values.PROGRESS[2:]}", dest="progress", text="show neither")
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
        text="how many worker processes, or threads",
    )
    parser.option(
        "--profile",
        dest="profile",
        metavar="PROFILE",
        wants="process or thread",
        read=values.profile,
        text="process: each request in a process of its own; thread: all in the threads of one",
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
    parser.option(
        "--gpu",
        dest="gpu",
        metavar="ID",
        wants="the number of a card, as in --gpu 0",
        read=values.card,
        text="the one graphics card that its workers see",
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
def _scale_parser() -> Parser:
    parser = Parser("%snakepit scale", "Have so many workers; those that go end first what they run.")
    parser.count(
        "how many workers the pool is to have", values.counter("%snakepit scale", "a number of workers")
    )
    parser.pool("the pool (default: the default pool)", values.pool_name)
    return parser


@cache
def _jobs_parser() -> Parser:
    parser = Parser("%snakepit jobs", "Show the cells in the background, and the last ones that are over.")
    parser.option(
        "--wait",
        dest="wait",
        metavar="SECONDS",
        wants="a number of seconds above zero",
        read=values.timer("--wait"),
        otherwise=math.inf,
        text="first wait until all are over, at most so long; without a number, as long as it takes",
    )
    return parser


@cache
def _cancel_parser() -> Parser:
    parser = Parser("%snakepit cancel", "End a cell in the background, waiting or running.")
    parser.words("NAME", "the job's name, or the number of its cell")
    parser.switch("--all", dest="every", text="end all of them")
    return parser


@cache
def _dashboard_parser() -> Parser:
    parser = Parser(
        "%snakepit dashboard", "Show a pool's life as it goes on: what ran where, and how it went."
    )
    parser.pool("the pool to show (default: the default pool)", values.pool_name)
    return parser


@cache
def _metrics_parser() -> Parser:
    parser = Parser("%snakepit metrics", "Show what was counted, or serve it for a Prometheus server.")
    parser.pool("the pool to show, or with which serving ends (default: all)", values.pool_name)
    parser.option(
        "--serve",
        dest="serve",
        metavar="[PORT]",
        wants="a port from 0 to 65535, or off",
        read=values.port,
        text="serve it on loopback and print the address; off ends that",
    )
    return parser


@cache
def _config_parser() -> Parser:
    parser = Parser("%snakepit config", "Show the options, or set some for the pools that start from now on.")
    parser.words("NAME[=VALUE]", "the options to show, or to set (default: show all)")
    parser.switch("--reset", dest="reset", text="set these back, or all")
    return parser


@cache
def _doctor_parser() -> Parser:
    return Parser(
        "%snakepit doctor", "Show what this machine gives, and what to do where something is missing."
    )


class Command(NamedTuple):
    """One subcommand of `%snakepit`, and what makes its parser."""

    kind: LineKind
    parser: Callable[[], Parser]


COMMANDS: Final = {
    "start": Command("start", _start_parser),
    "stop": Command("stop", _stop_parser),
    "status": Command("status", _status_parser),
    "scale": Command("scale", _scale_parser),
    "jobs": Command("jobs", _jobs_parser),
    "cancel": Command("cancel", _cancel_parser),
    "recycle": Command("recycle", _recycle_parser),
    "dashboard": Command("dashboard", _dashboard_parser),
    "metrics": Command("metrics", _metrics_parser),
    "doctor": Command("doctor", _doctor_parser),
    "config": Command("config", _config_parser),
}


def flags_of(kind: str | None) -> list[str]:
    """The options of a subcommand, or of `%%snakepit` for None.

    Example:
        >>> flags_of("stop")
        ['--all']
    """
    parser = cell_parser() if kind is None else COMMANDS[kind].parser()
    return parser.flags()
