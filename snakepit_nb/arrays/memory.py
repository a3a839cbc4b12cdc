"""Memory straight from the system: files that have no name and hold memory, and mappings of them.

*Rule:* nothing here has a name in any file system, so nothing can be left behind: the memory ends with its
last descriptor and mapping.

The mappings are made with `mmap(2)` through ctypes, because Python's `mmap` duplicates the descriptor for
every map and an array must not cost a descriptor.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from snakepit_nb.errors.types import ArrayError

PAGE: Final = mmap.PAGESIZE
_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_MADV_REMOVE: Final = 9
_FAILED: Final = ctypes.c_void_p(-1).value
_SEAL_SHRINK_GROW: Final = 0x0002 | 0x0004
_ADD_SEALS: Final = 1033
_GET_SEALS: Final = 1034
_BLOCK: Final = 512  # what `st_blocks` counts, whatever the file system
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where shm_open puts what it makes; only looked at here
_MOST_AT_ONCE: Final = 1 << 30  # the system moves at most 2 GiB in one call

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_mincore = _libc.mincore
_mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_memcpy = _libc.memcpy
_memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_memcpy.restype = ctypes.c_void_p
_memcmp = _libc.memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class MemoryFile(NamedTuple):
    """A descriptor of nameless memory; `limited` where a file system's size bounds it, not memory alone."""

    fd: int
    limited: bool


def map_memory(fd: int, offset: int, nbytes: int, *, writable: bool, private: bool) -> int:
    """Map `nbytes` bytes of `fd` at `offset` (a multiple of the page) and return the address.

    Raises:
        ArrayError: the system refused; the message carries its reason.

    Example:
        >>> fd = memory_file(PAGE).fd
        >>> address = map_memory(fd, 0, PAGE, writable=True, private=True)
        >>> unmap_memory(address, PAGE); os.close(fd)
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    flags = (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED) | _NORESERVE
    address = _mmap(None, nbytes, protection, flags, fd, offset)
    if address is None or address == _FAILED:
        message = f"mapping {nbytes} bytes of shared memory failed: {os.strerror(ctypes.get_errno())}"
        raise ArrayError(message)
    return int(address)


def unmap_memory(address: int, nbytes: int) -> None:
    """Undo `map_memory`; nothing where `nbytes` is 0.

    Example:
        >>> unmap_memory(0, 0)
    """
    if nbytes:
        _munmap(address, nbytes)


def same_bytes(one: int, other: int, nbytes: int) -> bool:
    """Whether so many bytes at two addresses are the same.

    Example:
        >>> first, second = np.arange(3), np.arange(3)
        >>> same_bytes(first.ctypes.data, second.ctypes.data, first.nbytes)
        True
    """
    return not _memcmp(one, other, nbytes)


def copy_bytes(to: int, origin: int, nbytes: int) -> None:
    """Copy so many bytes from one address to another; other threads run meanwhile.

    Example:
        >>> first, second = np.arange(3), np.zeros(3, int)
        >>> copy_bytes(second.ctypes.data, first.ctypes.data, first.nbytes)
        >>> second.tolist()
        [0, 1, 2]
    """
    _memcpy(to, origin, nbytes)


def is_mapped(address: int) -> bool:
    """Whether there is memory at an address of this process.

    Example:
        >>> is_mapped(np.arange(3).ctypes.data), is_mapped(0)
        (True, False)
    """
    told = ctypes.create_string_buffer(1)
    return bool(_mincore(address // PAGE * PAGE, PAGE, told) == 0)


def give_pages_back(address: int, nbytes: int) -> None:
    """Free the pages of a shared mapping, for everybody that maps them; they read as zeros afterwards.

    Example:
        >>> fd = memory_file(PAGE).fd
        >>> address = map_memory(fd, 0, PAGE, writable=True, private=False)
        >>> bytes_at(address, PAGE)[:] = 7
        >>> give_pages_back(address, PAGE)
        >>> int(bytes_at(address, PAGE).max())
        0
        >>> unmap_memory(address, PAGE); os.close(fd)
    """
    _madvise(address, nbytes, _MADV_REMOVE)


def bytes_at(address: int, nbytes: int) -> np.ndarray:
    """`nbytes` bytes at an address as a writable array; the caller keeps the memory alive.

    Example:
        >>> bytes_at(0, 0).nbytes
        0
    """
    if nbytes == 0:
        return np.empty(0, np.uint8)
    whole = (ctypes.c_ubyte * nbytes).from_address(address)
    return np.frombuffer(memoryview(whole), np.uint8)


def memory_file(nbytes: int) -> MemoryFile:
    """Nameless memory of this length: a memfd, or where there is none a segment that is unlinked at once.

    Raises:
        OSError: the system refused.
        ImportError: it has neither.

    Example:
        >>> os.close(memory_file(PAGE).fd)
    """
    if _has_memfd():
        fd = _memfd("snakepit_nb")
        os.ftruncate(fd, nbytes)
        _seal(fd)
        return MemoryFile(fd, limited=False)
    import _posixshmem  # noqa: PLC0415 - not on every platform

    name = f"/snk_{uuid.uuid4().hex[:20]}"
    fd = int(_posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600))
    _posixshmem.shm_unlink(name)
    os.ftruncate(fd, nbytes)
    return MemoryFile(fd, limited=True)


def _memfd(name: str) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    # It is made with all rights for all, whatever the umask.
    os.fchmod(fd, 0o600)
    return fd


def room_of_named() -> int | None:
    """The size of the file system that holds a `memory_file`, in bytes; None where it needs none.

    Example:
        >>> room_of_named() is None or room_of_named() >= 0
        True
    """
    if _has_memfd():
        return None
    if not SHARED_MEMORY.is_dir():
        return 0
    return shutil.disk_usage(SHARED_MEMORY).total or sys.maxsize  # none: it has no limit of its own


def file_of(data: bytes | memoryview) -> int:
    """A descriptor of a nameless file with these bytes in it: in memory, or where there is no memfd on disk.

    Raises:
        OSError: there is no room.

    Example:
        >>> fd = file_of(b"abc")
        >>> read_at(fd, 0, 3)
        b'abc'
        >>> os.close(fd)
    """
    if _has_memfd():
        fd = _memfd("snakepit_nb message")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left[:_MOST_AT_ONCE]) :]
    except OSError:
        os.close(fd)
        raise
    if _has_memfd():
        _seal(fd)
    return fd


def read_at(fd: int, offset: int, nbytes: int) -> bytes:
    """Copy bytes out of a file; fewer where it ends before.

    Example:
        >>> fd = file_of(b"abc")
        >>> read_at(fd, 1, 9)
        b'bc'
        >>> os.close(fd)
    """
    if nbytes <= _MOST_AT_ONCE:
        return os.pread(fd, nbytes, offset)
    parts = []
    while nbytes:
        part = os.pread(fd, min(nbytes, _MOST_AT_ONCE), offset)
        if not part:
            break
        parts.append(part)
        nbytes -= len(part)
        offset += len(part)
    return b"".join(parts)


def written(fd: int) -> int | None:
    """How much of a memory file was written so far, in bytes; None for one on disk, which may be packed.

    Example:
        >>> fd = memory_file(64 * PAGE).fd
        >>> address = map_memory(fd, 0, PAGE, writable=True, private=False)
        >>> bytes_at(address, PAGE)[:] = 7
        >>> (written(fd) or 0) >= PAGE
        True
        >>> unmap_memory(address, PAGE); os.close(fd)
    """
    import fcntl  # noqa: PLC0415 - not on every platform

    try:
        fcntl.fcntl(fd, _GET_SEALS)
    except OSError:
        return None
    return os.fstat(fd).st_blocks * _BLOCK


def reserve(fd: int, offset: int, nbytes: int) -> bool:
    """Make sure of pages where a file system bounds them; False where they are not to be had.

    Without this the first write to a page that cannot be had would be a SIGBUS.

    Example:
        >>> fd = memory_file(PAGE).fd
        >>> reserve(fd, 0, PAGE)
        True
        >>> os.close(fd)
    """
    if not hasattr(os, "posix_fallocate"):
        return True
    try:
        os.posix_fallocate(fd, offset, nbytes)
    except OSError:
        return False
    return True


def _has_memfd() -> bool:
    return hasattr(os, "memfd_create") and os.environ.get("SNAKEPIT_NB_MEMFD", "1") != "0"


def _seal(fd: int) -> None:
    """Fix a file's length: a peer could shrink it under a mapping, and the next touch would be a SIGBUS."""
    import fcntl  # noqa: PLC0415 - not on every platform

    with contextlib.suppress(OSError):  # sandboxes refuse it
        fcntl.fcntl(fd, _ADD_SEALS, _SEAL_SHRINK_GROW)
