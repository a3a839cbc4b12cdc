"""Every default of the product, each with the sentence that explains it.

*Rule:* a number that a user may want to change stands here and nowhere else; the rooms read it through
`current()`, so that a test or a notebook can replace it for a while with `override`.
"""

from __future__ import annotations

import difflib
import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from snakepit_nb.limits import Limits, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GIB = 1 << 30
_ANY: Final = Limits()
_SIZES: Final = Limits(is_size=True)
_ONE_AT_LEAST: Final = Limits(least=1)


def _option(default: float | str, sentence: str, limits: Limits = _ANY) -> Any:  # noqa: ANN401 - dataclasses' own trick: a field() stands where its value's type is declared
    return field(default=default, metadata={"sentence": sentence, "limits": limits})


@dataclass(frozen=True, slots=True)
class Options:
    """All defaults; `Options.sentences()` explains each.

    Example:
        >>> Options().inline_bytes
        4096
    """

    arena: bool = _option(
        default=True,
        sentence="Share arrays through memory that processes map; off means that all are copied.",
        limits=Limits(once=True),
    )
    arena_bytes: int = _option(
        64 * _GIB,
        "Address space of one process's arena, in bytes; memory is used only as arrays fill it.",
        Limits(is_size=True, once=True),
    )
    arena_budget: float = _option(
        0.5, "Part of the machine's memory that one arena may hold at once.", Limits(most=1, once=True)
    )
    arena_warm_bytes: int = _option(
        4 * _GIB,
        "Freed arena memory, in bytes, that the kernel, and a pool's workers together, keep for the next "
        "arrays instead of giving it back: at most this, a quarter of the machine's, and what that has left.",
        Limits(is_size=True, once=True),
    )
    move_tensors: bool = _option(
        default=True,
        sentence="Move torch tensors of the kernel to shared memory the first time that they go to a worker.",
    )
    reuse_copies: bool = _option(
        default=True,
        sentence="Keep copies of what cannot be shared as it lies, and lend them again where still the same.",
    )
    trust_arrow: bool = _option(
        default=False,
        sentence="Take for granted that Arrow memory never changes: lend copies of it again without a look.",
    )
    inline_bytes: int = _option(
        4096,
        "Arrays smaller than this many bytes travel inside the message.",
        Limits(is_size=True, once=True),
    )
    report_copies_ms: int = _option(
        100,
        "Milliseconds for which a cell may copy names rather than share them, until a line below it says so.",
    )
    report_copies_bytes: int = _option(
        64_000_000, "Bytes that a cell may copy before that line says so.", _SIZES
    )
    spin_us: int = _option(
        200, "How long a waiting side polls before it sleeps, in microseconds (0 on one core)."
    )
    ahead: int = _option(
        64, "How many tiny requests may wait in a worker's socket behind the running one.", _ONE_AT_LEAST
    )
    ahead_below_us: int = _option(
        1000, "Requests count as tiny while a worker's recent ones ran shorter than this, in microseconds."
    )
    start_timeout: float = _option(60.0, "Seconds that a new worker has to say hello.", Limits(least=0.1))
    interrupt_grace: float = _option(
        0.7, "Seconds that an interrupted cell has to end before its worker is killed."
    )
    stop_grace: float = _option(1.0, "Seconds that a worker has to end by itself when its pool stops.")
    deaths: int = _option(
        5, "More deaths of workers than this within `deaths_within` seconds break the pool."
    )
    taint: float = _option(
        0.5,
        "Seconds that a worker's slot stays empty after a crash of a kind in `taint_kinds`; "
        "twice as many after each further one without an answer in between, 30 at most.",
    )
    taint_kinds: str = _option(
        "segfault,abort,oom,gpu",
        "The kinds of crashes that taint, joined by commas.",
        Limits(choices=("segfault", "abort", "oom", "gpu", "exit", "killed"), several=True),
    )
    deaths_within: float = _option(30.0, "The window, in seconds, in which `deaths` are counted.")
    nesting: int = _option(
        3, "How deep pools may nest: a pool in a worker of a pool counts two.", _ONE_AT_LEAST
    )
    max_requests: int = _option(0, "After how many requests a worker is replaced by a new one; 0 for never.")
    ttl: float = _option(0.0, "After how many seconds a worker is replaced by a new one; 0 for never.")
    ttl_jitter: float = _option(
        0.1,
        "By which part of `ttl` chance may shorten it, so that a pool's workers do not end together.",
        Limits(most=1),
    )
    max_memory: int = _option(
        0,
        "From how many bytes of its own on a worker is replaced, once it has answered; 0 for never.",
        _SIZES,
    )
    hard_memory: float = _option(
        1.5, "At how many times `max_memory` a worker is killed at once.", _ONE_AT_LEAST
    )
    health_interval: float = _option(
        5.0, "Seconds between two health checks of a worker; 0 for none. They ask whether its process runs."
    )
    health_timeout: float = _option(
        2.0, "Seconds that a worker has to answer a health check.", Limits(least=0.1)
    )
    health_misses: int = _option(
        3, "After how many missed health checks in a row a worker is replaced.", _ONE_AT_LEAST
    )
    retry_base: float = _option(
        0.1,
        "Seconds until a request that may be tried again is, twice as many each time, and less by chance.",
    )
    retry_most: float = _option(10.0, "Seconds that it waits between two trials at most.")
    blas_threads: int = _option(
        0,
        "How many threads a library of linear algebra may use in a request; 0 for one in a process pool, and "
        "for the requests' share of the cores in a thread pool.",
    )
    breaker: int = _option(
        0,
        "After how many deaths of workers, and no answer, a pool takes no requests for a while; 0 for never.",
    )
    breaker_reset: float = _option(10.0, "Seconds until it lets one through, to see whether that goes well.")
    stream_ahead: int = _option(
        16, "How many values a worker may yield before somebody takes them.", _ONE_AT_LEAST
    )
    max_sessions: int = _option(64, "How many sessions one pool may keep at once.", _ONE_AT_LEAST)
    session_ttl: float = _option(0.0, "Seconds that a session is kept while nobody uses it; 0 for ever.")
    max_queue: int = _option(0, "How many requests may wait in a pool's queue; 0 for any number.")
    when_full: str = _option(
        "block",
        "What becomes of a request that finds the queue full: block, reject or grow.",
        Limits(choices=("block", "reject", "grow")),
    )
    shrink_after: float = _option(
        30.0, "Seconds after which a worker that a full queue called for goes again, once one is idle."
    )
    error_view: str = _option(
        "auto",
        "How a notebook shows errors: html, text, or auto, which is html where it is known to be shown.",
        Limits(choices=("auto", "html", "text")),
    )
    stderr_tail: int = _option(4096, "Characters of a worker's last stderr output kept for its crash error.")

    @classmethod
    def sentences(cls) -> dict[str, str]:
        """The sentence that explains each option, by name.

        Example:
            >>> "arena" in Options.sentences()
            True
        """
        return {each.name: str(each.metadata["sentence"]) for each in fields(cls)}

    @classmethod
    def limits(cls) -> dict[str, Limits]:
        """What each option can be, by name.

        Example:
            >>> Options.limits()["arena_budget"].most
            1
        """
        return {each.name: each.metadata["limits"] for each in fields(cls)}


def known(name: str) -> str:
    """The name of an option, as it is given.

    Raises:
        ValueError: there is none of that name; it says which are near.

    Example:
        >>> known("deaths")
        'deaths'
    """
    names = [each.name for each in fields(Options)]
    if name in names:
        return name
    plain = name.lower().replace("-", "_").removeprefix("snakepit_nb_")
    close = [plain] if plain in names else difflib.get_close_matches(plain, names, n=3)
    meant = f"did you mean {' or '.join(close)}?" if close else "%snakepit config lists all"
    text = f"no option named {name!r}; {meant}"
    raise ValueError(text)


def parsed(name: str, text: str) -> object:
    """An option's value from its text, checked.

    Raises:
        ValueError: there is no such option, or the text is no value of it.

    Example:
        >>> parsed("health_interval", "2.5"), parsed("arena", "off"), parsed("max_memory", "4GB")
        (2.5, False, 4000000000)
    """
    default = getattr(Options(), known(name))
    try:
        return read(text, type(default), Options.limits()[name])
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from None


def _from_environment() -> dict[str, object]:
    """What variables named `SNAKEPIT_NB_<NAME>` say.

    Raises:
        ValueError: one of them is no value of its option.
    """
    changes: dict[str, object] = {}
    for each in fields(Options):
        text = os.environ.get(variable(each.name))
        if text is None:
            continue
        try:
            changes[each.name] = parsed(each.name, text)
        except ValueError as error:
            message = f"the environment's {variable(each.name)}: {error}"
            raise ValueError(message) from None
    return changes


def variable(name: str) -> str:
    """The variable of the environment that sets an option.

    Example:
        >>> variable("deaths")
        'SNAKEPIT_NB_DEATHS'
    """
    return f"SNAKEPIT_NB_{name.upper()}"


_current: ContextVar[Options | None] = ContextVar("snakepit_nb_options", default=None)
_environment: Final = _from_environment()
_defaults: Options = replace(Options(), **_environment)  # type: ignore[arg-type]


def current() -> Options:
    """The options in force here.

    Example:
        >>> current().nesting
        3
    """
    return _current.get() or _defaults


def adopt(values: Mapping[str, object]) -> None:
    """Make these values the defaults of this process: a worker takes over what its kernel uses.

    Example:
        >>> adopt({})
    """
    global _defaults  # noqa: PLW0603 - a process has one set of defaults
    _defaults = replace(_defaults, **values)  # type: ignore[arg-type]


@contextmanager
def override(**changes: object) -> Iterator[Options]:
    """Replace options inside a `with` block, for this thread or task only.

    Raises:
        TypeError: an option of that name does not exist.

    Example:
        >>> with override(ahead=1):
        ...     current().ahead
        1
    """
    unknown = set(changes) - {each.name for each in fields(Options)}
    if unknown:
        message = f"no option named {', '.join(sorted(unknown))}; see snakepit_nb.options.Options"
        raise TypeError(message)
    token = _current.set(replace(current(), **changes))  # type: ignore[arg-type]
    try:
        yield current()
    finally:
        _current.reset(token)


# What a person at the notebook sets


class Setting(NamedTuple):
    """One option as it is in force.

    Attributes:
        name: Its name.
        value: Its value.
        default: What it is where nobody sets it.
        source: Who set it: default; environment; config for `%snakepit config` in this kernel; code for what
            the notebook's own code replaced, or a worker's kernel.
        sentence: What it means.
    """

    name: str
    value: object
    default: object
    source: str
    sentence: str


class _Change(NamedTuple):
    value: object
    before: object


_set_here: Final[dict[str, _Change]] = {}


def settings() -> list[Setting]:
    """All options as they are in force here.

    Example:
        >>> settings()[0].name
        'arena'
    """
    now, plain = current(), Options()
    found = []
    for name, sentence in Options.sentences().items():
        value = getattr(now, name)
        source = "default" if value == getattr(plain, name) else "code"
        if name in _environment and value == _environment[name]:
            source = "environment"
        if name in _set_here and value == _set_here[name].value:
            source = "config"
        found.append(Setting(name, value, getattr(plain, name), source, sentence))
    return found


def change(name: str, value: object) -> str:
    """Set a default of this process; the sentence that says from when on it counts.

    Raises:
        ValueError: there is no such option.

    Example:
        >>> change("deaths", 7)
        'for pools that start from now on'
        >>> reset("deaths")
    """
    before = getattr(_defaults, known(name))
    _set_here[name] = _Change(value, _set_here[name].before if name in _set_here else before)
    adopt({name: value})
    if Options.limits()[name].once:
        return f"where no pool was started yet; for the next kernel set {variable(name)}"
    return "for pools that start from now on"


def reset(name: str | None = None) -> None:
    """Undo `change`, for one option or for all.

    Raises:
        ValueError: there is no such option.

    Example:
        >>> reset()
    """
    names = list(_set_here) if name is None else [known(name)]
    for each in names:
        if each in _set_here:
            adopt({each: _set_here.pop(each).before})
