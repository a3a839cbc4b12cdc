"""IPython in a worker, only when a cell asks for it: `display`, figures, line magics, rich last values.

*Rule:* `install` imports nothing. The first import of IPython, by whomever, makes the shell; until then a
worker knows the names `display`, `get_ipython` and `input` and no more.

*Rule:* the shell holds no namespace. Its `user_ns` is that of whatever `__main__` is at the moment, so
nothing of a cell outlives the cell in here.
"""

from __future__ import annotations

import builtins
import math
import sys
import warnings
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from datetime import date
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from snakepit_nb.worker import bars, front
from snakepit_nb.worker.imports import after_import

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from IPython.core.interactiveshell import InteractiveShell

_NO_INPUT: Final = "{} is not available in a worker; ask in an ordinary cell and use the value here"
_NO_WIDGETS: Final = (
    "widgets cannot work in a worker: they talk to the browser through the kernel. Make them in an ordinary "
    "cell; for a progress bar here use tqdm.auto, which draws with text"
)


_shell: InteractiveShell | None = None


def install(send_display: Callable[[Mapping[str, object]], None], flush: Callable[[], None]) -> None:
    """Makes this process one in which `display()` and figures reach `send_display`.

    A message is `{"type": "display_data" | "update_display_data", "data", "metadata", "transient"}` or
    `{"type": "clear_output", "wait"}`, of JSON's types only; binary data are base64 text. `flush` is called
    before each. `input()` and `getpass` raise a RuntimeError that says what to do instead.

    Args:
        send_display: Takes one message.
        flush: Sends the text that was written until now.
    """
    front.connect(send_display, flush)
    if vars(builtins).get("display") is _display:
        return
    vars(builtins).update(display=_display, get_ipython=_get_ipython, input=_refuse_input)
    for name, action in {
        "IPython": _make_shell,
        "comm": _refuse_widgets,
        "getpass": _refuse_getpass,
        "pandas": _show_pandas_a_notebook,
        "plotly.io._renderers": _show_plotly_a_notebook,
        "tqdm.notebook": bars.draw_with_text,
        "tqdm.autonotebook": bars.take_widths_of_a_page,
    }.items():
        after_import(name, action)


def draw_with(backend: str) -> bool:
    """Has matplotlib draw with this from now on, as `%matplotlib` does; False where there is no IPython.

    Args:
        backend: "inline", or one of matplotlib's that opens no windows.
    """
    if backend == "inline":
        import IPython  # noqa: F401, PLC0415 - what draws inline is made of it
    if _shell is None:
        return False
    _shell.enable_matplotlib(backend)
    return True


def close_figure(value: object) -> None:
    """Closes a figure, which is shown in another way; another value is left alone."""
    pyplot, figure = sys.modules.get("matplotlib.pyplot"), sys.modules.get("matplotlib.figure")
    if pyplot is not None and figure is not None and isinstance(value, figure.Figure):
        pyplot.close(value)


def after_cell(*, show: bool = True, keep: bool = False) -> None:
    """Ends a cell for IPython: shows the figures that it left open and forgets what it left in the shell.

    Args:
        show: False closes the figures instead, as after an interrupt, where nobody waits for them.
        keep: Leave open what is open then, where figures are not shown by themselves.
    """
    shell = _shell
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and not show:
        pyplot.close("all")
    if shell is not None:
        shell.events.trigger("post_execute")
    if pyplot is not None and not keep:
        # Of another backend than inline, or one that was told to keep them: a later cell must not find them.
        pyplot.close("all")
    if shell is None:
        return
    shell.last_execution_result = None
    for report in (shell.InteractiveTB, shell.SyntaxTB):
        vars(report).update(etype=None, evalue=None, tb=None)


def format_bundle(value: object) -> dict[str, dict[str, object]]:
    """What a notebook would show for `value`: `{"data": …, "metadata": …}`, of JSON's types only.

    Never fails: where IPython cannot be had, or the value's own methods raise, a plain text stands in.

    Example:
        >>> format_bundle([1, 2])["data"]["text/plain"]
        '[1, 2]'
    """
    data: dict[str, object] = {}
    metadata: dict[str, object] = {}
    try:
        data, metadata = _formatter()(value)
    except Exception:  # noqa: BLE001 - the user's code, or no IPython here: either way a text is left to show
        data.clear()
    if "text/plain" not in data and not hasattr(type(value), "_ipython_display_"):
        data["text/plain"] = _text(value)
    return {"data": _plain_dict(data), "metadata": _plain_dict(metadata)}


def own_bundle(value: object) -> dict[str, dict[str, object]] | None:
    """The bundle of a value that only this process knows how to show, or None.

    Such are figures: what draws them is registered where matplotlib was set up, which the kernel may not be.
    """
    if _shell is None or _shell.display_formatter is None:
        return None
    for mime, formatter in _shell.display_formatter.formatters.items():
        if mime == "text/plain":
            continue
        try:
            formatter.lookup_by_type(type(value))
        except KeyError:
            continue
        return format_bundle(value)
    return None


def _formatter() -> Callable[[object], tuple[dict[str, object], dict[str, object]]]:
    from IPython.core.formatters import DisplayFormatter  # noqa: PLC0415 - only when a cell asks

    formatter = _shell.display_formatter if _shell is not None else None
    chosen = DisplayFormatter() if formatter is None else formatter
    return chosen.format


def _text(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - the user's code
        return f"<{type(value).__qualname__} object, whose repr raised {type(error).__name__}>"


def _plain_dict(values: Mapping[str, object] | None) -> dict[str, object]:
    return {str(key): _plain(each) for key, each in (values or {}).items()}


def _plain(value: object) -> object:  # noqa: PLR0911 - one line a kind
    """The same in JSON's types, as a kernel's session would write it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return b2a_base64(value, newline=False).decode("ascii")
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else repr(number)
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, Mapping):
        return _plain_dict(value)
    if isinstance(value, Iterable):
        return [_plain(each) for each in value]
    return _text(value)


def _display(*values: object, **options: object) -> object:
    """Shows values under the cell, as in the notebook."""
    from IPython.display import display  # noqa: PLC0415 - only when a cell asks

    return display(*values, **options)


def _get_ipython() -> object:
    """The shell of this worker."""
    # pandas asks at its import and at every print of a frame, and only whether a notebook shows its output.
    asker = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001 - the one way to know who asks
    if asker.startswith("pandas."):
        return _ZMQNotebook()
    import IPython  # noqa: F401, PLC0415 - its import makes the shell

    return _shell


class _ZMQNotebook:
    """What pandas takes for a notebook's shell, without the time that it takes to load one."""

    kernel = None


def _show_pandas_a_notebook(module: ModuleType) -> None:
    # Imported before it could ask, it took this process for a terminal and would cut frames to 80 characters.
    if module.get_option("display.max_columns") == 0:
        module.set_option("display.max_columns", 20)


def _show_plotly_a_notebook(module: ModuleType) -> None:
    # By the name of the shell it would know one; not knowing, it sends its whole library along with a figure.
    if module.renderers.default == "plotly_mimetype+notebook":
        module.renderers.default = "plotly_mimetype"


def _refuse_input(_prompt: object = "", /) -> NoReturn:
    raise RuntimeError(_NO_INPUT.format("input()"))


def _refuse_getpass(module: ModuleType) -> None:
    def getpass(_prompt: str = "Password: ", _stream: object = None, **_options: object) -> NoReturn:
        raise RuntimeError(_NO_INPUT.format("getpass()"))

    vars(module)["getpass"] = getpass


def _refuse_widgets(module: ModuleType) -> None:
    def create_comm(*_arguments: object, **_options: object) -> NoReturn:
        raise RuntimeError(_NO_WIDGETS)

    vars(module)["create_comm"] = create_comm


def _make_shell(_ipython: ModuleType) -> None:
    global _shell  # noqa: PLW0603 - as in install
    try:
        _shell = _new_shell()
    except Exception as error:  # noqa: BLE001 - whatever an unknown IPython trips over, its import must not fail
        warnings.warn(
            f"IPython's shell could not be started in this worker ({type(error).__name__}: {error}); "
            "display() and figures show as text",
            RuntimeWarning,
            stacklevel=2,
        )


def _new_shell() -> InteractiveShell:  # noqa: C901 - classes that cannot be written down before IPython is there
    from IPython.core import interactiveshell  # noqa: PLC0415 - only when a cell asks
    from IPython.core.displayhook import DisplayHook  # noqa: PLC0415 - only when a cell asks
    from IPython.core.displaypub import DisplayPublisher  # noqa: PLC0415 - only when a cell asks
    from IPython.core.profiledir import ProfileDir  # noqa: PLC0415 - only when a cell asks
    from traitlets.config import Config  # noqa: PLC0415 - only when a cell asks

    class WorkerPublisher(DisplayPublisher):
        """Turns what is displayed into messages."""

        def publish(
            self,
            data: Mapping[str, object],
            metadata: Mapping[str, object] | None = None,
            source: object = None,  # noqa: ARG002 - IPython's signature
            *,
            transient: Mapping[str, object] | None = None,
            update: bool = False,
            **_options: object,
        ) -> None:
            """Sends one display message."""
            message = {
                "type": "update_display_data" if update else "display_data",
                "data": _plain_dict(data),
                "metadata": _plain_dict(metadata),
                "transient": _plain_dict(transient),
            }
            if not front.show(message):
                print(data.get("text/plain", ""))  # noqa: T201 - the user's own output

        def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's signature
            """Sends one request to clear what the cell has shown."""
            front.show({"type": "clear_output", "wait": bool(wait)})

    class WorkerHook(DisplayHook):
        """Shows what `get_ipython().run_cell` ends with, and keeps none of it."""

        def write_output_prompt(self) -> None:
            """The kernel numbers outputs, not the worker."""

        def write_format_data(
            self, format_dict: Mapping[str, object], md_dict: Mapping[str, object] | None = None
        ) -> None:
            """Sends it as a display."""
            if self.shell is not None:
                self.shell.display_pub.publish(format_dict, md_dict)

        def update_user_ns(self, result: object) -> None:
            """No `_`, `__`, `_1` here."""

        def log_output(self, format_dict: object) -> None:
            """No history here."""

    class WorkerShell(interactiveshell.InteractiveShell):
        """A shell without history, files, prompts and namespace of its own."""

        @property
        def user_module(self) -> ModuleType:
            return sys.modules["__main__"]

        @user_module.setter
        def user_module(self, module: object) -> None:
            """`__main__` is the cell's business."""

        @property
        def user_ns(self) -> dict[str, object]:
            return vars(sys.modules["__main__"])

        @user_ns.setter
        def user_ns(self, namespace: object) -> None:
            """See user_module."""

        @property
        def ns_table(self) -> dict[str, dict[str, object]]:
            return {"user_global": self.user_ns, "user_local": self.user_ns, "builtin": vars(builtins)}

        @ns_table.setter
        def ns_table(self, table: object) -> None:
            """See user_module."""

        def init_create_namespaces(self, user_module: object = None, user_ns: object = None) -> None:  # noqa: ARG002 - IPython's signature
            self.user_ns_hidden: dict[str, object] = {}
            self._main_mod_cache: dict[str, object] = {}

        def init_ipython_dir(self, ipython_dir: object) -> None:
            """No files."""

        def init_profile_dir(self, profile_dir: object) -> None:  # noqa: ARG002 - IPython's signature
            self.profile_dir = ProfileDir()  # of no location, so no files

        def save_sys_module_state(self) -> None:
            """Nothing is replaced, so nothing is to be restored; and it would hold a cell's module."""

        def restore_sys_module_state(self) -> None:
            """See save_sys_module_state."""

        def init_sys_modules(self) -> None:
            """See user_module."""

        def init_user_ns(self) -> None:
            """See user_module."""

        def init_virtualenv(self) -> None:
            """A worker has the kernel's search path already."""

        def init_completer(self) -> None:
            """Nobody types here."""

        def enable_gui(self, gui: str | None = None) -> None:
            if gui is not None:
                message = f"a worker has no {gui} event loop; use %matplotlib inline"
                raise RuntimeError(message)

        db: ClassVar[dict[str, object]] = {}  # in place of a file below the user's home

    if "PickleShareDB" in vars(interactiveshell):
        # IPython 8 opens one in its constructor, and would put it into the working directory.
        vars(interactiveshell)["PickleShareDB"] = lambda _path: {}
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    return WorkerShell.instance(
        config=config,
        display_pub_class=WorkerPublisher,
        displayhook_class=WorkerHook,
        cache_size=0,
    )
