"""The system calls that a program and its tester may still make, as a filter for the kernel (seccomp).

All that is not listed fails with EPERM: starting processes or threads, sockets, signals to anybody, tracing, mounting,
shared memory, io_uring, and whatever later kernels bring. What is listed is what an interpreter needs to import its
standard library, to compute, to read files, and to write regular files where the rules on files allow it.
"""

from __future__ import annotations

import errno
import tempfile
from functools import cache

ALLOWED = """
    read readv pread64 write writev pwrite64 lseek close close_range dup dup2 dup3 poll ppoll select pselect6
    open openat stat lstat fstat newfstatat fstatat64 statx access faccessat faccessat2 readlink readlinkat
    getdents getdents64 getcwd chdir fchdir umask
    unlink unlinkat rename renameat renameat2 truncate ftruncate
    mmap mmap2 munmap mremap mprotect madvise brk
    rt_sigaction rt_sigprocmask rt_sigreturn sigreturn sigaltstack restart_syscall
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
    getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid
    getrusage getrlimit ugetrlimit sysinfo uname getcpu sched_yield sched_getaffinity getrandom
    futex exit exit_group
"""

# fcntl can make the kernel send signals to another process (F_SETOWN, F_SETSIG), and so can ioctl.
FCNTL = (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
IOCTL = (0x5401, 0x541B, 0x5450, 0x5451)  # TCGETS, FIONREAD, FIONCLEX, FIOCLEX


@cache
def seccomp_filter() -> bytes:
    """The filter as the kernel's instructions, made once. Raises ImportError, RuntimeError or OSError where it cannot.

    It is made here, in the process that judges, so that the processes it is for need no package to put it on.
    """
    import pyseccomp

    filter = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    native = pyseccomp.system_arch()

    def allow(name: str, *conditions: pyseccomp.Arg) -> None:
        number = pyseccomp.resolve_syscall(native, name)
        if number >= 0:  # below 0 it does not exist on this architecture
            filter.add_rule(pyseccomp.ALLOW, number, *conditions)

    for name in ALLOWED.split():
        allow(name)
    for command in FCNTL:
        allow("fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
        allow("fcntl64", pyseccomp.Arg(1, pyseccomp.EQ, command))
    for request in IOCTL:
        allow("ioctl", pyseccomp.Arg(1, pyseccomp.EQ, request))
    # Limits may be read, of this process only, and not set.
    allow("prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0), pyseccomp.Arg(2, pyseccomp.EQ, 0))
    with tempfile.TemporaryFile() as file:
        filter.export_bpf(file)
        file.seek(0)
        return file.read()
