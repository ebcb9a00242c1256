#!/usr/bin/python3
"""Runs a program under a filter that lets every system call pass but the loading of further filters, which is answered with
success and does nothing. valgrind needs calls that the gateway's own filters forbid; with this, the rest of the gateway's start
runs as it is. As root.

    without_filter.py PROGRAM [ARGUMENT ...]
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
ARCH_X86_64, SYS_PRCTL, SYS_SECCOMP = 0xc000003e, 157, 317
ALLOW, SUCCEED = 0x7fff0000, 0x00050000          # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with errno 0
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
FILTER = (
    (LOAD, 0, 0, 4), (EQUAL, 0, 5, ARCH_X86_64),
    (LOAD, 0, 0, 0), (EQUAL, 4, 0, SYS_SECCOMP), (EQUAL, 0, 2, SYS_PRCTL),
    (LOAD, 0, 0, 16), (EQUAL, 1, 0, PR_SET_SECCOMP),
    (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, SUCCEED))


def main():
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in FILTER))
    program = struct.pack("HP", len(FILTER), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        sys.exit(f"without_filter: prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
