"""An error below its cell, as a page where one is shown and as text elsewhere; `%tb` and `%debug` after it.

*Rule:* the cell fails as any other does, and the error is told once: a page ends with the lines of the error
message itself.
*Rule:* whatever goes wrong in showing an error, the error is shown.
"""

from __future__ import annotations

import sys
import types
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snakepit_nb import options
from snakepit_nb.errors.facts import in_line, own_facts, told
from snakepit_nb.errors.page import render_html, render_notice_html
from snakepit_nb.errors.render import (
    colours,
    render_end,
    render_line,
    render_notice,
    render_text,
    render_title,
    visible,
)
from snakepit_nb.errors.types import RemoteError, SnakepitError
from snakepit_nb.magics.frontend import shows_html
from snakepit_nb.magics.routing import NotebookSink
from snakepit_nb.pool import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    Magic = Callable[[str], object]

_OURS: Final = "snakepit_nb"
_WORTH_A_TABLE: Final = 2


@dataclass(frozen=True, slots=True)
class _Magics:
    """What stood under the names of the magics that are replaced."""

    tb: Magic
    debug: Magic


_before: Final[dict[int, _Magics]] = {}


def install(shell: InteractiveShell) -> None:
    """Have a shell show our errors; where the user has a handler of errors already, that one stays.

    From the first one that is shown, `%tb` and `%debug` know them too; for all others they are as before.
    """
    # There is one such handler to a shell.
    if not shell.custom_exceptions:
        shell.set_custom_exc((SnakepitError,), show_error)


def remove(shell: InteractiveShell) -> None:
    """Take it back, except what somebody else has replaced since."""
    if shell.custom_exceptions == (SnakepitError,):
        shell.set_custom_exc((), None)
    before = _before.pop(id(shell), None)
    if before is None:
        return
    magics = shell.magics_manager.magics["line"]
    for name, magic in (("tb", before.tb), ("debug", before.debug)):
        if getattr(magics.get(name), "__module__", "") == __name__:
            magics[name] = magic


def show_error(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: BaseException,
    trace: types.TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    """Show an error of ours, for IPython's `set_custom_exc`.

    Where a page shows the notebook, the steps, the facts and what is folded are a display, and the error's
    own message, which ends it, has the type, the message, the place and what to try. Who runs the notebook
    as a program is answered with the whole as text. `%xmode Plain` and `Minimal` have their way.
    """
    # IPython does so for all other errors; %tb, %debug and the user go by it.
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    with suppress(OSError, ImportError):  # where no file can be opened; the next error tries again
        _replace_magics(shell)
    mode = str(shell.InteractiveTB.mode)
    own = _own_steps(trace)
    try:
        lines = _lines(error, mode)
        if lines is None:
            lines = shell.InteractiveTB.structured_traceback(kind, error, own, tb_offset=tb_offset)
    except (OSError, ImportError):  # as above, of a module that is loaded when it is needed
        lines = _short(error)
    on_page = mode not in {"Plain", "Minimal"} and _on_page(shell, error)
    shell._showtraceback(kind, error, (on_page and _end(error)) or lines)  # noqa: SLF001 - the hook that every front end's shell overrides
    if on_page:
        # What a kernel answers whoever asked it to run the cell; the reports of programs are made of it.
        vars(shell)["_last_traceback"] = lines
    if shell.call_pdb:
        look_into(shell, error)


def _replace_magics(shell: InteractiveShell) -> None:
    if id(shell) in _before:
        return
    # Asked for by name, what IPython has put off to load is loaded, and does not take our place later.
    before = _before[id(shell)] = _Magics(shell.find_line_magic("tb"), shell.find_line_magic("debug"))

    def tb(line: str) -> None:
        error = _last()
        if error is None:
            before.tb(line)
        else:
            show_again(shell, error, line.strip())

    def debug(line: str) -> None:
        error = _last()
        if error is None or line.strip():
            before.debug(line)
        else:
            look_into(shell, error)

    tb.__doc__, debug.__doc__ = before.tb.__doc__, before.debug.__doc__
    shell.magics_manager.magics["line"].update(tb=tb, debug=debug)


def show_again(shell: InteractiveShell, error: BaseException, mode: str = "") -> None:
    """Show the whole of an error as text, for `%tb`, in the mode that is given or set."""
    chosen = mode.capitalize() or str(shell.InteractiveTB.mode)
    lines = _lines(error, chosen) or [str(error)]
    shell._showtraceback(type(error), error, lines)  # noqa: SLF001 - the hook that every front end's shell overrides


def look_into(shell: InteractiveShell, error: BaseException) -> None:
    """Start the debugger at the call that the error came out of, for `%debug`.

    The frames in which it was raised ended in the worker; those that wait for an answer in here are no help.
    """
    print(f"snakepit: {_where(error)}")  # noqa: T201 - what the user asked for
    whole = error.__traceback__
    own = _own_steps(whole)
    try:
        error.__traceback__ = sys.last_traceback = shell.InteractiveTB.tb = own
        shell.debugger(force=True)
    finally:
        error.__traceback__ = sys.last_traceback = whole


def _last() -> BaseException | None:
    """The last error that was shown, where it is one that renders itself."""
    error = getattr(sys, "last_value", None)
    return error if isinstance(error, SnakepitError) and hasattr(error, "_render_traceback_") else None


def _lines(error: BaseException, mode: str) -> list[str] | None:
    """The whole as text in one of IPython's modes; None for what a call in here raised."""
    render = getattr(error, "_render_traceback_", None)
    if render is None:
        return None
    if mode == "Minimal":
        return _short(error)
    if mode == "Plain" and isinstance(error, RemoteError):
        suggestion, facts = error.suggestion, error.facts
        text = render_text(error.noted, colour=False, suggestion=suggestion, facts=facts, around=False)
        return text.split("\n")
    lines: list[str] = render()
    return lines


def _short(error: BaseException) -> list[str]:
    if isinstance(error, RemoteError):
        return [render_line(error.record)]
    return [visible(f"{type(error).__name__}: {' '.join(str(error).split())}")]


def _end(error: BaseException) -> list[str] | None:
    """The lines of the error's message below a page that tells the rest; None where they tell the rest."""
    if not hasattr(error, "_render_traceback_"):
        return None
    if isinstance(error, RemoteError):
        return render_end(error.noted, colour=colours(), suggestion=error.suggestion).split("\n")
    return render_title(type(error).__name__, _sentence(error), colour=colours()).split("\n")


def _sentence(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _on_page(shell: InteractiveShell, error: BaseException) -> bool:
    """Show the page of an error, where there is something to be shown on it; whether that was done."""
    sink = output.sink()
    if not isinstance(sink, NotebookSink):
        return False
    try:
        page = _page(error) if _wants_page() else None
        if page is None:
            return False
        # Nothing that the worker wrote before may come after.
        sink.flush()
        shell.display_pub.publish(page)
    except Exception:  # noqa: BLE001 - a page is a comfort; the error itself is shown in any case
        return False
    return True


def _wants_page() -> bool:
    chosen = options.current().error_view
    return shows_html() if chosen == "auto" else chosen == "html"


def _page(error: BaseException) -> dict[str, str] | None:
    """What is displayed above the error's message; None where that says all."""
    if isinstance(error, RemoteError):
        record, suggestion, facts = error.noted, error.suggestion, error.facts
        html = render_html(record, facts=facts, suggestion=suggestion, ended=True)
        return {"text/plain": render_text(record, colour=False, facts=facts), "text/html": html}
    facts_of = own_facts(error)
    tail = str(getattr(error, "stderr_tail", ""))
    if len(facts_of) < _WORTH_A_TABLE and not tail:
        return None
    title, sentence = type(error).__name__, _sentence(error)
    html = render_notice_html(title, sentence, facts_of, tail, ended=True)
    return {"text/plain": render_notice(title, sentence, tail, colour=False), "text/html": html}


def _where(error: BaseException) -> str:
    """One line for who opens a debugger on an error that has no frames here."""
    if isinstance(error, RemoteError):
        worker, known = error.record.worker_id, in_line(told(error.facts))
    else:
        worker, known = str(getattr(error, "worker_id", None) or ""), in_line(own_facts(error))
    place = f"worker {worker}" if worker else "the worker"
    facts = f" ({known})" if known else ""
    return visible(
        f"the frames of this error ended with {place}, their lines are in the error above{facts}; "
        f"the debugger is at the call that waited"
    )


def _own_steps(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback up to where it enters this package or a magic; all of it where nothing comes before."""
    kept: list[types.TracebackType] = []
    inside = False
    step = trace
    while step is not None:
        package = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == _OURS or (inside and package == "IPython"):
            break
        inside = inside or package != "IPython"
        kept.append(step)
        step = step.tb_next
    following: types.TracebackType | None = None
    for step in reversed(kept):
        following = types.TracebackType(following, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return following if inside else trace
