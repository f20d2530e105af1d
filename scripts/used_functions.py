"""Runs a program with symbols, and adds the functions that it enters to a list, in the order of their first use.

    python3 scripts/used_functions.py LIST PROGRAM [ARGUMENT...]

Each line is a symbol of Rust (v0), with wildcards for the hashes of crates, which differ between compilers and versions, and for
references to earlier parts of the symbol, whose numbers depend on the length of the hashes; what is longer than 200 characters is
cut. For Linux on x86-64: a breakpoint stops the program when it enters a function for the
first time.
"""

import ctypes
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys

# <sys/ptrace.h>
TRACEME, CONT, GETREGS, SETREGS, DETACH, SETOPTIONS = 0, 7, 12, 13, 17, 0x4200
FOLLOW_ALL_AND_KILL_AT_EXIT = 0x2 | 0x4 | 0x8 | 0x10 | 0x100000
EVENT_EXEC = 4
# <sys/wait.h>
ALL_THREADS = 0x40000000
# <sys/user.h>
REGISTERS, INSTRUCTION_POINTER = 27 * 8, 16 * 8
BREAKPOINT = 0xCC
LONGEST = 200

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.ptrace.restype = ctypes.c_long


def ptrace(request, task, address=0, data=0):
    if libc.ptrace(request, task, address, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}")


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def functions(program):
    """Where the code is in the program, and the names of functions by their address."""
    sections = (line.split("]", 1)[1].split() for line in printed("readelf", "-SW", program) if " .text" in line)
    code = [(int(address, 16), int(size, 16)) for name, _, address, _, size, *_ in sections]
    start, end = min(address for address, _ in code), max(address + size for address, size in code)
    names = {}
    for line in printed("nm", "--defined-only", program):
        address, kind, name = line.split(" ", 2)
        if kind in "tTwW" and start <= int(address, 16) < end:
            names.setdefault(int(address, 16), name)
    if not names:
        sys.exit(f"{program} has no symbols")
    return start, end - start, names


def stable(name):
    """What a symbol has in common with those of other builds; nothing if it is not Rust's."""
    if not name.startswith("_R"):
        return None
    name = re.sub(r"\.llvm\..*", "", name)
    name = re.sub(r"Cs[0-9A-Za-z]+_(?=[0-9])", "Cs*_", name)
    return re.sub(r"B[0-9A-Za-z]{0,3}_", "B*_", name)[:LONGEST].rstrip("*")


class Traced:
    """A program with a breakpoint at the begin of each function."""

    def __init__(self, program, arguments):
        self.start, size, self.names = functions(program)
        self.main = os.fork()
        if self.main == 0:
            ptrace(TRACEME, 0)
            os.execv(program, [program, *arguments])
        os.waitpid(self.main, 0)
        ptrace(SETOPTIONS, self.main, 0, FOLLOW_ALL_AND_KILL_AT_EXIT)
        path = os.path.realpath(program)
        with open(f"/proc/{self.main}/maps", encoding="utf-8") as maps:
            self.base = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(path))
        with open(f"/proc/{self.main}/mem", "rb+", buffering=0) as memory:
            memory.seek(self.base + self.start)
            self.code = memory.read(size)
            code = bytearray(self.code)
            for address in self.names:
                code[address - self.start] = BREAKPOINT
            memory.seek(self.base + self.start)
            memory.write(code)
        self.entered = {}
        self.registers = ctypes.create_string_buffer(REGISTERS)

    def run(self):
        """Until the program ends. Returns its exit code."""
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            signal.signal(number, lambda number, _: os.kill(self.main, number))
        ptrace(CONT, self.main)
        tasks = {self.main}
        while True:
            task, status = os.waitpid(-1, ALL_THREADS)
            if not os.WIFSTOPPED(status):
                if task == self.main:
                    return os.waitstatus_to_exitcode(status)
                continue
            try:
                self.go_on(task, os.WSTOPSIG(status), status >> 16, task not in tasks)
            except ProcessLookupError:
                pass
            tasks.add(task)

    def go_on(self, task, number, event, is_new):
        if event == EVENT_EXEC:
            # Another program.
            return ptrace(DETACH, task)
        if event or (is_new and number == signal.SIGSTOP):
            return ptrace(CONT, task)
        if number == signal.SIGTRAP and self.enter(task):
            return ptrace(CONT, task)
        return ptrace(CONT, task, 0, number)

    def enter(self, task):
        """Removes the breakpoint where the task has stopped, if there is one."""
        ptrace(GETREGS, task, 0, ctypes.addressof(self.registers))
        stopped = struct.unpack_from("Q", self.registers, INSTRUCTION_POINTER)[0] - 1
        address = stopped - self.base
        if address not in self.names:
            return False
        # Not that of the program: a child has its own until it starts another one.
        with open(f"/proc/{task}/mem", "rb+", buffering=0) as memory:
            memory.seek(stopped)
            offset = address - self.start
            memory.write(self.code[offset : offset + 1])
        struct.pack_into("Q", self.registers, INSTRUCTION_POINTER, stopped)
        ptrace(SETREGS, task, 0, ctypes.addressof(self.registers))
        self.entered[self.names[address]] = None
        return True


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    path, program, *arguments = sys.argv[1:]
    traced = Traced(program, arguments)
    code = traced.run()
    with open(path, "a+", encoding="ascii") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        known = dict.fromkeys(kept.read().split())
        names = dict.fromkeys(filter(None, map(stable, traced.entered)))
        kept.writelines(f"{name}\n" for name in names if name not in known)
    sys.exit(code if code >= 0 else 128 - code)


main()
