"""The layout of a tar archive: the exact bytes around its members, and how many there are, without their content.

Uncompressed POSIX.1-2001 (pax interchange format): a ustar header a member, and before it an extended header where
the name is long or not ASCII or the size is 8 GiB and more. Everything that does not come from the arguments is fixed
(mode 0644, ids 0, no owner names), so that equal members make equal bytes, in every version of Waybill and of Python:
an archive's entity tag promises that. Whoever changes a byte here raises ``LAYOUT``.
"""

#: Part of every archive's entity tag.
LAYOUT = "waybill-tar-1"
BLOCK_BYTES = 512
#: What follows the last member: without it an archive is cut short.
END = bytes(2 * BLOCK_BYTES)

_NAME_BYTES, _PREFIX_BYTES = 100, 155
_MAX_OCTAL = 8**11 - 1
_EXTENDED_NAME = b"././@PaxHeader"


def header(name: str, size: int, mtime: int) -> bytes:
    """All that stands before a member's bytes: whole blocks. ``mtime`` is in whole seconds since 1970."""
    raw = name.encode()
    seconds = max(0, min(mtime, _MAX_OCTAL))
    place = _place(raw)
    records = b""
    if place is None:
        records += _record(b"path", raw)
    if size > _MAX_OCTAL:
        records += _record(b"size", b"%d" % size)
    # Readers that know no extended headers see a shortened name; one that ends in a slash would be a folder to them.
    own, folder = place or (name.encode("ascii", "replace")[:_NAME_BYTES].rstrip(b"/"), b"")
    block = _block(own, folder, size if size <= _MAX_OCTAL else 0, seconds, b"0")
    if not records:
        return block
    return _block(_EXTENDED_NAME, b"", len(records), seconds, b"x") + records + padding(len(records)) + block


def header_bytes(name: str, size: int) -> int:
    """The length of ``header`` for this name and size."""
    if len(name) <= _NAME_BYTES and size <= _MAX_OCTAL and name.isascii():
        return BLOCK_BYTES
    raw = name.encode()
    records = 0 if _place(raw) is not None else len(_record(b"path", raw))
    records += len(_record(b"size", b"%d" % size)) if size > _MAX_OCTAL else 0
    return BLOCK_BYTES + (BLOCK_BYTES + records + padding_bytes(records) if records else 0)


def member_bytes(name: str, size: int) -> int:
    """How many bytes of the archive a member takes, its header and padding included."""
    return header_bytes(name, size) + size + -size % BLOCK_BYTES


def padding(size: int) -> bytes:
    """What follows ``size`` bytes of content up to the next block."""
    return bytes(padding_bytes(size))


def padding_bytes(size: int) -> int:
    """The length of ``padding``."""
    return -size % BLOCK_BYTES


def _place(raw: bytes) -> tuple[bytes, bytes] | None:
    """A name as ustar's two fields, name and prefix, which a reader joins by a slash; None where it does not fit."""
    if not raw.isascii():
        return None
    if len(raw) <= _NAME_BYTES:
        return raw, b""
    cut = raw.rfind(b"/", 0, _PREFIX_BYTES + 1)
    if cut < 1 or not 0 < len(raw) - cut - 1 <= _NAME_BYTES:
        return None
    return raw[cut + 1 :], raw[:cut]


def _record(keyword: bytes, value: bytes) -> bytes:
    """``"%d %s=%s\\n"``, whose number counts the whole record, itself included."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(b"%d" % rest)
    length = rest + len(b"%d" % length)
    return b"%d %s=%s\n" % (length, keyword, value)


def _block(name: bytes, folder: bytes, size: int, seconds: int, kind: bytes) -> bytes:
    before = b"%s0000644\0%s0000000\0%011o\0%011o\0" % (name.ljust(_NAME_BYTES, b"\0"), b"0000000\0", size, seconds)
    after = b"%s%sustar\x0000%s%s%s" % (
        kind,
        bytes(100),  # no link
        bytes(64),  # no owner's name, no group's
        b"0000000\0" * 2,  # no device
        folder.ljust(_PREFIX_BYTES + 12, b"\0"),
    )
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return b"%s%06o\0 %s" % (before, checksum, after)
