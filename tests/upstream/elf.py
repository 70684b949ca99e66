"""Tiny static ELF programs that write one line and exit, for each architecture of k3s.

They stand in for the k3s binary and for programs inside images: a kernel, or qemu-user, really runs them, and a check
of the ELF header finds the machine it expects. Layouts: System V ABI, chapter 4 and 5; e_machine and e_flags: the
processor supplements; system call numbers: Linux asm/unistd.h of each architecture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_LINE = 255  # bytes; `mov r2, #length` of 32-bit ARM holds eight bits


@dataclass(frozen=True)
class _Machine:
    e_machine: int
    e_flags: int
    wide: bool
    load_address: int
    code: Callable[[int], bytes]


def program(architecture: str, line: str) -> bytes:
    """Assemble a program for `amd64`, `arm64` or `arm` that writes `line` to stdout and exits with 0.

    Whatever its arguments, the program does the same. Raises ValueError when the line with its end is over 255 bytes of
    UTF-8, KeyError for another architecture.
    """
    machine = _MACHINES[architecture]
    text = line.encode() + b"\n"
    if len(text) > LONGEST_LINE:
        raise ValueError(f"a line of {len(text)} bytes does not fit: {LONGEST_LINE} is the most")
    body = machine.code(len(text)) + text
    return _header(machine, len(body)) + body


def _header(machine: _Machine, body_size: int) -> bytes:
    """Write the ELF header and one program header that maps the whole file readable and executable at once."""
    header_size, segment_size = (64, 56) if machine.wide else (52, 32)
    start = header_size + segment_size
    ident = bytes([0x7F, *b"ELF", 2 if machine.wide else 1, 1, 1]).ljust(16, b"\0")
    word = "Q" if machine.wide else "I"
    header = ident + struct.pack(
        f"<HHI{word}{word}{word}IHHHHHH",
        *(2, machine.e_machine, 1),  # ET_EXEC, version 1
        *(machine.load_address + start, header_size, 0),  # entry, program headers, no section headers
        *(machine.e_flags, header_size, segment_size, 1, 0, 0, 0),
    )
    size = start + body_size
    load, flags, align = 1, 5, 0x10000  # PT_LOAD, read and execute, the largest page size of arm64 kernels
    if machine.wide:
        place = (machine.load_address, machine.load_address)
        return header + struct.pack("<IIQQQQQQ", load, flags, 0, *place, size, size, align)
    return header + struct.pack(
        "<IIIIIIII", load, 0, machine.load_address, machine.load_address, size, size, flags, align
    )


def _amd64(length: int) -> bytes:
    return b"".join(
        (
            bytes.fromhex("b801000000"),  # mov eax, 1 (write)
            bytes.fromhex("bf01000000"),  # mov edi, 1 (stdout)
            bytes.fromhex("488d3510000000"),  # lea rsi, [rip+16]: the line, just after the code
            b"\xba" + struct.pack("<I", length),  # mov edx, length
            bytes.fromhex("0f05"),  # syscall
            bytes.fromhex("b83c000000"),  # mov eax, 60 (exit)
            bytes.fromhex("31ff"),  # xor edi, edi
            bytes.fromhex("0f05"),  # syscall
        )
    )


def _arm64(length: int) -> bytes:
    return struct.pack(
        "<8I",
        0xD2800020,  # mov x0, #1 (stdout)
        0x100000E1,  # adr x1, .+28: the line, just after the code
        0xD2800002 | length << 5,  # mov x2, #length
        0xD2800000 | 64 << 5 | 8,  # mov x8, #64 (write)
        0xD4000001,  # svc #0
        0xD2800000,  # mov x0, #0
        0xD2800000 | 93 << 5 | 8,  # mov x8, #93 (exit)
        0xD4000001,  # svc #0
    )


def _arm(length: int) -> bytes:
    return struct.pack(
        "<8I",
        0xE3A00001,  # mov r0, #1 (stdout)
        0xE28F1014,  # add r1, pc, #20: the line, just after the code (pc is two instructions ahead)
        0xE3A02000 | length,  # mov r2, #length
        0xE3A07004,  # mov r7, #4 (write)
        0xEF000000,  # svc #0
        0xE3A00000,  # mov r0, #0
        0xE3A07001,  # mov r7, #1 (exit)
        0xEF000000,  # svc #0
    )


_MACHINES = {
    "amd64": _Machine(0x3E, 0, wide=True, load_address=0x400000, code=_amd64),
    "arm64": _Machine(0xB7, 0, wide=True, load_address=0x400000, code=_arm64),
    "arm": _Machine(0x28, 0x05000400, wide=False, load_address=0x10000, code=_arm),  # EABI 5, hard float
}
