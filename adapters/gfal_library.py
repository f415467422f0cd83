"""libgfal2 as Python calls, for a gfal2 process only: it may hang or abort, and takes its process with it.

These are the C library's own calls. Debian's Python module over it (python3-gfal2) swallows what goes wrong when a
file is closed, which is where a failed upload is told, and its one mode for ranges empties the file it opens.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LIBRARY = "libgfal2.so.2"
TRANSFER_LIBRARY = "libgfal_transfer.so.2"
GLIB = "libglib-2.0.so.0"

#: Where ``struct stat`` of glibc keeps the mode; size and time lie at the same place on both.
_MODE_AT = {"x86_64": 24, "aarch64": 16}
_SIZE_AT, _TIME_AT, _STAT_BYTES = 48, 88, 256
#: Where ``struct dirent`` of 64-bit glibc keeps the name.
_NAME_AT = 19

_Text, _Pointer, _Size, _Int = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class GfalError(Exception):
    """What gfal2 said: an errno-like ``code`` and a ``text``, which may be the server's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Look:
    """What the server says of one name; ``modified_s`` is in seconds since 1970."""

    mode: int
    size: int
    modified_s: int


class _Error(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


class Gfal:
    """One gfal2 context with at most one open file. Raises GfalError from every call, OSError without the library."""

    def __init__(self, library: str = LIBRARY) -> None:
        if platform.machine() not in _MODE_AT:
            raise OSError(f"gfal2 storages run on {' and '.join(_MODE_AT)}, and not on {platform.machine()}")
        self._mode_at = _MODE_AT[platform.machine()]
        self._library = ctypes.CDLL(library)
        self._free_error = ctypes.CDLL(GLIB).g_error_free
        self._free_error.argtypes = [_Pointer]
        self._context = self._function("gfal2_context_new", _Pointer)()
        self._stat = self._function("gfal2_stat", _Int, _Pointer, _Text, _Pointer)
        self._open = self._function("gfal2_open", _Int, _Pointer, _Text, _Int)
        self._read = self._function("gfal2_read", ctypes.c_ssize_t, _Pointer, _Int, _Pointer, _Size)
        self._write = self._function("gfal2_write", ctypes.c_ssize_t, _Pointer, _Int, _Pointer, _Size)
        self._seek = self._function("gfal2_lseek", ctypes.c_int64, _Pointer, _Int, ctypes.c_int64, _Int)
        self._close = self._function("gfal2_close", _Int, _Pointer, _Int)

    def set_number(self, group: str, option: str, value: int) -> None:
        set_integer = self._function("gfal2_set_opt_integer", _Int, _Pointer, _Text, _Text, _Int)
        set_integer(self._context, group.encode(), option.encode(), value)

    def set_switch(self, group: str, option: str, value: bool) -> None:
        set_boolean = self._function("gfal2_set_opt_boolean", _Int, _Pointer, _Text, _Text, _Int)
        set_boolean(self._context, group.encode(), option.encode(), int(value))

    def plugins(self) -> list[str]:
        """The names of the plugins that were found, each with its version: ``gridftp-2.21.3``."""
        names = self._library.gfal2_get_plugin_names
        names.restype, names.argtypes = ctypes.POINTER(_Text), [_Pointer]
        found = names(self._context)
        plugins: list[str] = []
        while found and found[len(plugins)]:
            plugins.append(found[len(plugins)].decode())
        return plugins

    def stat(self, url: str) -> Look:
        raw = ctypes.create_string_buffer(_STAT_BYTES)
        self._stat(self._context, url.encode(), raw)
        return self._look(raw.raw)

    def list(self, url: str) -> Iterator[tuple[bytes, Look]]:
        """Every name in a folder, with what the server says of it."""
        opendir = self._function("gfal2_opendir", _Pointer, _Pointer, _Text)
        readdir = self._function("gfal2_readdirpp", _Pointer, _Pointer, _Pointer, _Pointer)
        closedir = self._function("gfal2_closedir", _Int, _Pointer, _Pointer)
        raw = ctypes.create_string_buffer(_STAT_BYTES)
        folder = opendir(self._context, url.encode())
        while entry := readdir(self._context, folder, raw):
            yield ctypes.string_at(entry + _NAME_AT), self._look(raw.raw)
        closedir(self._context, folder)

    def open(self, url: str, flags: int) -> int:
        """``O_RDONLY`` streams the whole file, ``O_WRONLY | O_CREAT`` one that is new, ``O_RDWR`` reads in pieces."""
        return int(self._open(self._context, url.encode(), flags))

    def read(self, file: int, buffer: ctypes.Array[ctypes.c_char], count: int) -> int:
        return int(self._read(self._context, file, buffer, count))

    def write(self, file: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            piece = data[done:]
            source = (ctypes.c_char * len(piece)).from_buffer(piece)
            done += int(self._write(self._context, file, source, len(piece)))

    def seek(self, file: int, offset: int) -> None:
        """To ``offset`` from the begin; only for a file opened with O_RDONLY: gfal2 2.21 hangs with any other."""
        self._seek(self._context, file, offset, os.SEEK_SET)

    def close(self, file: int) -> None:
        """Raises what went wrong with a file that was written and had not been told yet."""
        self._close(self._context, file)

    def make_folders(self, url: str) -> None:
        """Make a folder and those above it; one that is there is success, also where it is a file."""
        self._function("gfal2_mkdir_rec", _Int, _Pointer, _Text, ctypes.c_uint)(self._context, url.encode(), 0o755)

    def rename(self, source: str, target: str) -> None:
        rename = self._function("gfal2_rename", _Int, _Pointer, _Text, _Text)
        rename(self._context, source.encode(), target.encode())

    def unlink(self, url: str) -> None:
        self._function("gfal2_unlink", _Int, _Pointer, _Text)(self._context, url.encode())

    def checksum(self, url: str, algorithm: str) -> str:
        """Of the whole file, as the server computes it, in lower-case hexadecimal digits."""
        offset = ctypes.c_int64
        checksum = self._function("gfal2_checksum", _Int, _Pointer, _Text, _Text, offset, _Size, _Pointer, _Size)
        told = ctypes.create_string_buffer(1024)
        checksum(self._context, url.encode(), algorithm.encode(), 0, 0, told, len(told))
        return told.value.decode().strip().lower()

    def copy(self, source: str, target: str) -> None:
        """Have the server copy by itself; an attempt to pass the bytes through this process is an error."""
        transfer = ctypes.CDLL(TRANSFER_LIBRARY)
        params = self._function("gfalt_params_handle_new", _Pointer, library=transfer)()
        for switch, on in (
            ("gfalt_set_local_transfer_perm", False),
            ("gfalt_set_strict_copy_mode", True),
            ("gfalt_set_replace_existing_file", False),
        ):
            self._function(switch, _Int, _Pointer, _Int, library=transfer)(params, int(on))
        copy = self._function("gfalt_copy_file", _Int, _Pointer, _Pointer, _Text, _Text, library=transfer)
        try:
            copy(self._context, params, source.encode(), target.encode())
        finally:
            self._function("gfalt_params_handle_delete", None, _Pointer, library=transfer)(params)

    def _function(
        self, name: str, result: Any, *arguments: Any, library: ctypes.CDLL | None = None
    ) -> Callable[..., Any]:
        """A function of the library that takes a ``GError **`` last; what it sets there is raised."""
        function = getattr(library or self._library, name)
        function.restype, function.argtypes = result, [*arguments, ctypes.POINTER(ctypes.POINTER(_Error))]

        def call(*given: object) -> Any:
            error = ctypes.POINTER(_Error)()
            answer = function(*given, ctypes.byref(error))
            if not error:
                return answer
            code, text = int(error.contents.code), (error.contents.message or b"").decode(errors="replace")
            self._free_error(error)
            raise GfalError(code, text)

        return call

    def _look(self, raw: bytes) -> Look:
        def number(at: int, size: int) -> int:
            return int.from_bytes(raw[at : at + size], "little")

        return Look(number(self._mode_at, 4), number(_SIZE_AT, 8), number(_TIME_AT, 8))
