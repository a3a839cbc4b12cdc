"""The requests that wait for a worker, in a fair order.

*Rule:* those of one group (a cell, say) keep their order; of several groups each has its turn, so that a cell
with one request does not wait for one with ten thousand.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class Waiting:
    """A queue of requests, each with whether it wants a worker alone.

    Example:
        >>> waiting = Waiting()
        >>> for number, group in ((1, "a"), (2, "a"), (3, "b")):
        ...     waiting.add(number, alone=False, group=group)
        >>> [waiting.take()[0] for _ in range(3)]
        [1, 3, 2]
    """

    __slots__ = ("_group_of", "_groups")

    def __init__(self) -> None:
        # The group whose turn it is comes first; none is empty.
        self._groups: OrderedDict[Hashable, OrderedDict[int, bool]] = OrderedDict()
        self._group_of: dict[int, Hashable] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    def __iter__(self) -> Iterator[int]:
        for group in self._groups.values():
            yield from group

    def add(self, request_id: int, *, alone: bool, group: Hashable = None) -> None:
        """A request waits behind those of its group.

        Example:
            >>> Waiting().add(1, alone=True)
        """
        there = self._groups.get(group)
        if there is None:
            there = self._groups[group] = OrderedDict()
        there[request_id] = alone
        self._group_of[request_id] = group

    def take(self) -> tuple[int, bool]:
        """The next request, and whether it wants a worker alone.

        Raises:
            KeyError: none waits.

        Example:
            >>> waiting = Waiting()
            >>> waiting.add(1, alone=True)
            >>> waiting.take(), len(waiting)
            ((1, True), 0)
        """
        group, there = next(iter(self._groups.items()), (None, None))
        if there is None:
            message = "nothing waits"
            raise KeyError(message)
        found = there.popitem(last=False)
        del self._group_of[found[0]]
        if there:
            self._groups.move_to_end(group)
        else:
            del self._groups[group]
        return found

    def put_back(self, request_id: int, *, alone: bool, group: Hashable = None) -> None:
        """A request that was taken is the next of all again.

        Example:
            >>> waiting = Waiting()
            >>> waiting.add(1, alone=False)
            >>> waiting.put_back(0, alone=False)
            >>> list(waiting)
            [0, 1]
        """
        self.add(request_id, alone=alone, group=group)
        self._groups[group].move_to_end(request_id, last=False)
        self._groups.move_to_end(group, last=False)

    def drop(self, request_id: int) -> bool:
        """A request waits no more; whether it did.

        Example:
            >>> Waiting().drop(1)
            False
        """
        if request_id not in self._group_of:
            return False
        group = self._group_of.pop(request_id)
        there = self._groups[group]
        del there[request_id]
        if not there:
            del self._groups[group]
        return True

    def clear(self) -> None:
        """Nothing waits any more.

        Example:
            >>> Waiting().clear()
        """
        self._groups.clear()
        self._group_of.clear()
