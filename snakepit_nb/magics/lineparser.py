"""An `argparse` parser for a magic's line: it raises `UsageError`, and says what may have been meant.

*Rule:* no word of a line is dropped or read as something that it only resembles.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NEGATIVE: Final = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)
_HELP_WIDTH: Final = 100
_Found = TypeVar("_Found", bound=argparse.Namespace)


class Join(argparse.Action):
    """Adds up the lists of an option that is given several times, each item once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option: str | None = None,
    ) -> None:
        """Take what this one brings along with what is there."""
        del parser, option
        before: tuple[object, ...] = getattr(namespace, self.dest) or ()
        new: tuple[object, ...] = values if isinstance(values, tuple) else (values,)
        setattr(namespace, self.dest, tuple(dict.fromkeys(before + new)))


class Once(argparse.Action):
    """Refuses an option that is given a second time, rather than forget the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option: str | None = None,
    ) -> None:
        """Take the value.

        Raises:
            UsageError: There is one already.
        """
        if getattr(namespace, self.dest) is not None:
            message = f"{option or self.metavar} is given twice in {parser.prog}; keep one of them"
            raise UsageError(message)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises instead of exiting, and says what was meant."""

    def __init__(self, prog: str, description: str, *, later: Sequence[str] = ()) -> None:
        """Take what help says, and the options that only a later version will have."""
        super().__init__(
            prog=prog,
            description=description,
            add_help=False,
            allow_abbrev=False,
            exit_on_error=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, width=_HELP_WIDTH, max_help_position=28
            ),
        )
        # Python 3.14 would colour the help that IPython's pager shows.
        self.color = False
        self._wants: dict[str, str] = {}
        self._lists: set[str] = set()
        self._needs = ""
        self._takes_pool = False
        self._later = frozenset(later)

    def option(  # noqa: PLR0913 - one argument for each thing that an option's line says
        self,
        *flags: str,
        dest: str,
        metavar: str,
        wants: str,
        text: str,
        read: Callable[[str], object],
        action: type[argparse.Action] = Once,
        otherwise: object = None,
    ) -> None:
        """Add an option with a value; `wants` ends the sentence about none, or `otherwise` is taken."""
        count = None if otherwise is None else "?"
        self.add_argument(
            *flags,
            dest=dest,
            metavar=metavar,
            help=text,
            type=read,
            action=action,
            nargs=count,
            const=otherwise,
        )
        self._wants["/".join(flags)] = wants
        if action is Join:
            self._lists.update(flags)

    def flags(self) -> list[str]:
        """The options that there are, the short ones too."""
        return list(self._option_string_actions)

    def switch(self, *flags: str, dest: str, text: str) -> None:
        """Add an option that is there or not."""
        self.add_argument(*flags, dest=dest, help=text, action="store_true")

    def opposite(self, flag: str, *, dest: str, text: str) -> None:
        """Add the option that says no to another one, whose `dest` it has."""
        self.add_argument(flag, dest=dest, help=text, action="store_const", const=False)

    def pool(self, text: str, read: Callable[[str], str]) -> None:
        """Add the one argument that stands by itself."""
        self._takes_pool = True
        self.add_argument("pool", nargs="?", metavar="POOL", help=text, type=read)

    def count(self, text: str, read: Callable[[str], int]) -> None:
        """Add a number that stands by itself, before a pool."""
        self.add_argument("workers", metavar="N", help=text, type=read)
        self._needs = text

    def words(self, metavar: str, text: str) -> None:
        """Add any number of words that stand by themselves."""
        self.add_argument("words", nargs="*", metavar=metavar, help=text)

    def read(self, words: Sequence[str], into: _Found) -> _Found:
        """Parse the words of a line into the namespace given.

        Raises:
            UsageError: They do not fit.
        """
        for word in words:
            self._check_option(word)
        joined = self._join_lists(words)
        for word in joined:
            if word.endswith("=") and word[:-1] in self._lists:
                message = f"{word[:-1]} takes names, got nothing; for none at all write {word[:-1]} ''"
                raise UsageError(message)
        try:
            found, extra = self.parse_known_args(joined, into)
        except argparse.ArgumentError as error:
            name = error.argument_name or ""
            flag = name.partition("/")[0]
            if name in self._wants:
                message = f"{flag} takes {self._wants[name]}, got nothing"
            else:
                message = f"{flag} takes no value; leave out what follows its ="
            raise UsageError(message) from None
        if extra:
            message = (
                f"{self.prog} takes one pool, got {extra[0]!r} as well; join an option's names by commas"
                if self._takes_pool
                else f"{self.prog} takes nothing by itself, got {extra[0]!r}; leave it out"
            )
            raise UsageError(message)
        return found

    def _join_lists(self, words: Sequence[str]) -> list[str]:
        """Take `-i a, b` and `-o x = y` as they are meant, each list as one word."""
        joined: list[str] = []
        in_list = False
        for word in words:
            continues = word.startswith((",", "=")) or (joined and joined[-1].endswith((",", "=")))
            if word.startswith("-"):
                joined.append(word)
                in_list = word.partition("=")[0] in self._lists or word[:2] in self._lists
            elif in_list and continues and joined[-1] not in self._lists:
                joined[-1] += word
            else:
                in_list = in_list and joined[-1] in self._lists
                joined.append(word)
        return joined

    def _check_option(self, word: str) -> None:
        if not word.startswith("-") or word == "-" or _NEGATIVE.match(word):
            return
        flag = word.partition("=")[0]
        known = self._option_string_actions
        # -name is meant as --name, not as -n ame.
        is_short = not flag.startswith("--") and f"-{flag}" not in known
        if flag in known or (is_short and self._is_cluster(flag)):
            return
        if flag in self._later:
            message = f"{flag} is not available yet in this version of {self.prog}"
        elif flag in {"-h", "--help"}:
            message = f"{self.prog} has no option {flag}; help is at {self.prog.split()[0]}?"
        else:
            # -timeout and -bg are meant as well as --timout.
            close = [
                each for form in (flag, f"-{flag}") for each in difflib.get_close_matches(form, known, n=1)
            ]
            meant = (
                f"did you mean {close[0]}?"
                if close and flag != "--"
                else f"it has {', '.join(known) or 'none'}"
            )
            message = f"{self.prog} has no option {flag}; {meant}"
        raise UsageError(message)

    def _is_cluster(self, flag: str) -> bool:
        """Whether this is `-bq`, switches in one word, or `-oy`, an option with its value, or both."""
        for letter in flag[1:]:
            action = self._option_string_actions.get(f"-{letter}")
            if action is None:
                return False
            if action.nargs != 0:
                return True
        return True

    def error(self, message: str) -> NoReturn:
        """Where argparse would print and exit.

        Raises:
            UsageError: Always.
        """
        # What is missing can only be the one argument that a line cannot do without.
        text = f"{self.prog} takes {self._needs}, got nothing" if self._needs else f"{self.prog}: {message}"
        raise UsageError(text)


def split(line: str, prog: str) -> list[str]:
    """The words of a line, as a shell would split it."""
    try:
        return shlex.split(_without_comment(line))
    except ValueError:
        message = f"{prog} has a quotation mark or a backslash that nothing closes or follows: {line.strip()}"
        raise UsageError(message) from None


def _without_comment(line: str) -> str:
    quote = ""
    for index, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line
