"""Reads the lines of `%%snakepit` and `%snakepit`: a line of text in, a frozen value out (see `grammar`).

*Rule:* a line is taken whole or refused whole, with one sentence that says which argument, what was
expected and what may have been meant.
*Rule:* values are parsed, never evaluated.
"""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from IPython.core.error import UsageError

from snakepit_nb.magics.grammar import COMMANDS, Found, LineKind, cell_parser
from snakepit_nb.magics.items import as_one_word
from snakepit_nb.magics.lineparser import split
from snakepit_nb.magics.values import PROGRESS, PROGRESSES, SERVE, is_port

if TYPE_CHECKING:
    from snakepit_nb.magics.items import Each
    from snakepit_nb.magics.values import Output, Progress

_LINES_KEPT: Final = 256
Given: TypeAlias = Literal["copy_on_write", "readonly", "copy"]


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
        session: The session that it runs in.
        retries: How often it may run again where it fails.
        each: What `--map` says; None where the cell runs once.
        every: Whether it runs once in every worker.
        arrays: How the arrays that go along are given.
        gpu: The number of the only graphics card that it sees.
        progress: Whether a bar is shown, or the pool's timeline; None where that is as it fits.
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
    session: str | None = None
    retries: int = 0
    each: Each | None = None
    every: bool = False
    arrays: Given = "copy_on_write"
    gpu: int | None = None
    progress: Progress | None = None

    @property
    def fans_out(self) -> bool:
        """Whether it may run more than once.

        Example:
            >>> CellOptions(every=True).fans_out
            True
        """
        return self.every or self.each is not None


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
        profile: Whether a request is run by a process of its own, or by a thread; None for a process.
        gpu: The number of the one graphics card that the workers see.
        every: Whether `stop` means all pools, or `cancel` all jobs.
        words: The options that `config` is about, as NAME or NAME=VALUE; the name of `cancel`, word by word.
        reset: Whether `config` sets them back.
        wait: How many seconds `jobs` may wait first; None for not at all.
        serve: The port at which `metrics` are served, 0 for a free one, "off" to end that; None to show them.
        expression: The Python expression to evaluate in a worker.
    """

    kind: LineKind
    pool: str | None = None
    workers: int | None = None
    preload: tuple[str, ...] = ()
    max_requests: int | None = None
    ttl: float | None = None
    max_memory: str | None = None
    profile: str | None = None
    every: bool = False
    words: tuple[str, ...] = ()
    reset: bool = False
    wait: float | None = None
    expression: str | None = None
    gpu: int | None = None
    serve: int | str | None = None


def parse_found(line: str) -> Found:
    """Read the line behind `%%snakepit`, for itself alone.

    Raises:
        UsageError: The line is not one.

    Example:
        >>> parse_found("-q").quiet
        True
    """
    found = Found(**_read_cell(line))
    if found.progress is not None and not (found.every or found.each is not None):
        flag = "--progress" if found.progress else "--no-progress"
        message = f"{flag} is for cells with --map or --all; leave it out"
        raise UsageError(message)
    return found


@lru_cache(maxsize=_LINES_KEPT)
def _read_cell(line: str) -> dict[str, object]:
    """What a line says, by name; a notebook has few lines, and each is run again and again."""
    parser = cell_parser()
    words = split(as_one_word(line, parser.flags()), "%%snakepit")
    return _said(parser.read(_numbered(words), Found()))


def _filled(found: Found, before: Found) -> None:
    """Take from `before` what `found` does not say."""
    said = set(_said(found))
    if said & {"readonly", "copy"}:
        said |= {"readonly", "copy"}
    for name, value in _said(before).items():
        if name not in said:
            setattr(found, name, value)


def _said(found: Found) -> dict[str, object]:
    return {name: value for name, value in vars(found).items() if value is not getattr(Found, name)}


def parse_cell(line: str, *before: Found) -> CellOptions:
    """Read the line behind `%%snakepit`.

    Args:
        line: The line.
        before: What holds where the line does not say, the first of these that does.

    Raises:
        UsageError: The line is not one; the sentence says why and what may have been meant.

    Example:
        >>> parse_cell("gpu -i x -o best=y -t 30").outputs
        (Output(dest='best', source='y'),)
        >>> parse_cell("--no-captur")
        Traceback (most recent call last):
        IPython.core.error.UsageError: %%snakepit has no option --no-captur; did you mean --no-capture?
    """
    found = parse_found(line)
    for each in before:
        _filled(found, each)
    _check_fan(found)
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
        session=found.session,
        retries=found.retries or 0,
        each=found.each,
        every=found.every,
        arrays="readonly" if found.readonly else "copy" if found.copy else "copy_on_write",
        gpu=found.gpu,
        progress=found.progress,
    )


def _numbered(words: list[str]) -> list[str]:
    """Give a `--gpu` that no number follows the first one, and a `--progress` by itself the bar.

    Otherwise the pool that comes next would be taken for what they want.
    """
    following = [*words[1:], ""]
    given = []
    for word, after in zip(words, following, strict=False):
        if word == "--gpu" and not after.isdecimal():
            given.append(f"{word}=0")
        elif word == PROGRESS and after not in PROGRESSES:
            given.append(f"{word}={PROGRESSES[0]}")
        else:
            given.append(word)
    return given


def _check_fan(found: Found) -> None:
    """Refuse what does not go together with `--map` and `--all`.

    Raises:
        UsageError: There is such a thing.
    """
    if found.readonly and found.copy:
        message = "--readonly shares the arrays and --copy copies them; keep one of them"
        raise UsageError(message)
    fan = "--map" if found.each is not None else "--all" if found.every else None
    if fan is None:
        return
    if found.each is not None and found.every:
        message = "--map runs the cell once for each item, --all once in every worker; keep one of them"
        raise UsageError(message)
    if found.session is not None:
        message = f"{fan} runs in many workers, --session {found.session} in one; keep one of them"
        raise UsageError(message)
    names = found.each.names if found.each is not None else ()
    for option, given in (("-i", found.inputs or ()), ("--inout", found.inout or ())):
        for name in given:
            if name in names:
                message = f"{option} {name}: --map gives each run its own; leave {name} out of {option}"
                raise UsageError(message)


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
    if word not in COMMANDS:
        return LineCommand("expression", expression=_expression(text))
    command = COMMANDS[word]
    rest = text[len(word) :].strip()
    try:
        found = command.parser().read(_served(split(rest, f"%snakepit {word}")), Found())
    except UsageError as error:
        if _why_not(text, "eval") is not None or re.match(r"--?\w", rest):
            raise
        message = f"{error}; {_parentheses(text)}"
        raise UsageError(message) from None
    if found.every and found.pool is not None:
        message = f"%snakepit stop takes a pool or --all, got {found.pool} and --all; keep one of them"
        raise UsageError(message)
    if word == "cancel" and bool(found.words) == found.every:
        given = f"{' '.join(found.words or ())} and --all; keep one of them" if found.every else "nothing"
        message = f"%snakepit cancel takes the name of a job, the number of its cell, or --all, got {given}"
        raise UsageError(message)
    return LineCommand(
        command.kind,
        found.pool,
        found.workers,
        found.preload or (),
        found.max_requests,
        found.ttl,
        found.max_memory,
        found.profile,
        found.every,
        tuple(found.words or ()),
        found.reset,
        found.wait,
        gpu=found.gpu,
        serve=found.serve,
    )


def _served(words: list[str]) -> list[str]:
    """Give a `--serve` that no port follows any free one; the pool that comes next is not taken for it."""
    following = [*words[1:], ""]
    return [
        f"{word}=0" if word == SERVE and not is_port(after) else word
        for word, after in zip(words, following, strict=False)
    ]


def help_text(kind: Literal["cell", "line"]) -> str:
    """What `%%snakepit?` and `%snakepit?` show, made from the parsers themselves.

    Example:
        >>> help_text("cell").splitlines()[0].startswith("usage: %%snakepit")
        True
    """
    if kind == "cell":
        return cell_parser().format_help()
    commands = (command.parser().format_help() for command in COMMANDS.values())
    expression = (
        "usage: %snakepit EXPRESSION\n\nEvaluate one Python expression in a worker and show its value; put it"
        "\nin parentheses where it begins with a subcommand's name: %snakepit (status)\n"
    )
    return "\n".join([*commands, expression])


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
    close = difflib.get_close_matches(text.split(maxsplit=1)[0], COMMANDS, n=1)
    meant = f"did you mean %snakepit {close[0]}?" if close else f"it also has {', '.join(COMMANDS)}"
    message = f"%snakepit evaluates one expression, and {text!r} is not one ({why}); {meant}"
    raise UsageError(message)


def _parentheses(text: str) -> str:
    return f"to evaluate an expression that begins so, write %snakepit ({text})"
