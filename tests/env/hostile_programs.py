"""Programs that try to harm, to escape or to cheat. Those that attack answer "won" only where the attack succeeded.

`@SECRET@` stands for a file that they must not read, `@OUTSIDE@` for a folder in which they must not write, `@MARK@`
for a name that no file has, `@PACKAGE@` for a file of this package, `@JUDGE@` for the process that judges, `@PORT@` for
a port of this machine that listens.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field

from neuromas_env.sandbox import Limits

WINS = "assert solve() == 'won'"
ADDS = "assert solve(20, 21) == 41"
SHORT = Limits(wall_seconds=1.5, cpu_seconds=1)
SMALL = Limits(wall_seconds=10, memory_mb=256)

HEADER = """
import builtins, ctypes, fcntl, gc, json, os, resource, signal, socket, struct, subprocess, sys, tempfile
import threading, time
libc = ctypes.CDLL(None, use_errno=True)

def pipes(mode):
    for number in range(3, 64):
        try:
            if fcntl.fcntl(number, fcntl.F_GETFL) & 3 == mode:
                yield number
        except OSError:
            pass

CALLS, REPLIES = next(pipes(os.O_RDONLY)), next(pipes(os.O_WRONLY))

def tries(*attempts):
    # An attempt wins where it raises nothing and returns something true.
    for attempt in attempts:
        try:
            if attempt():
                return "won"
        except (OSError, RuntimeError, ValueError, LookupError):
            pass
    return "contained"
"""


@dataclass(frozen=True)
class Hostile:
    source: str
    test: str = WINS
    setup: str = ""
    statuses: tuple[str, ...] = ("failed",)
    limits: Limits = field(default_factory=Limits)


def attack(*attempts: str, before: str = "") -> Hostile:
    """A program that wins where one of some expressions succeeds."""
    tries = ", ".join(f"lambda: {attempt}" for attempt in attempts)
    return Hostile(f"{HEADER}\n{before}\ndef solve():\n    return tries({tries})\n")


def cheat(source: str, test: str = ADDS, setup: str = "", statuses: tuple[str, ...] = ("failed",)) -> Hostile:
    """A program that does not know the answer, and wants to be found right."""
    return Hostile(HEADER + source, test, setup, statuses)


def hog(source: str, *statuses: str, limits: Limits | None = None) -> Hostile:
    """A program that uses too much. What it returns does not matter: it is asked for the impossible."""
    limits = limits or (SHORT if "timeout" in statuses else Limits())
    return Hostile(HEADER + source, "assert solve() == 'the impossible'", statuses=statuses, limits=limits)


HOGS = {
    "fork bomb": Hostile(
        HEADER
        + """
def solve():
    children = 0
    for _ in range(100):
        try:
            if os.fork() == 0:
                solve()
            children += 1
        except OSError:
            pass
    return "won" if children else "contained"
""",
    ),
    "thread bomb": attack("threading.Thread(target=time.sleep, args=(60,)).start() or True"),
    "daemon thread": attack("threading.Thread(target=time.sleep, args=(60,), daemon=True).start() or True"),
    "memory bomb, one block": hog("def solve(): return len(bytearray(512 << 20))", "memory", limits=SMALL),
    "memory bomb, many blocks": hog(
        "def solve():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))", "memory", limits=SMALL
    ),
    "memory bomb, mapped": hog(
        "import mmap\ndef solve():\n    kept = []\n    while True: kept.append(mmap.mmap(-1, 1 << 26))",
        "failed",
        limits=SMALL,
    ),
    "memory bomb that hides the error": hog(
        """
def solve():
    kept = []
    while True:
        try:
            kept.append(bytearray(1 << 20))
        except MemoryError:
            pass
""",
        "timeout",
    ),
    "endless output": hog(
        "def solve():\n    while True: os.write(1, b'x' * 65536); os.write(2, b'x' * 65536)", "timeout"
    ),
    "endless print": hog("def solve():\n    while True: print('x' * 65536)", "timeout"),
    "endless loop": hog("def solve():\n    while True: pass", "timeout"),
    "endless loop when loaded": hog("while True: pass", "timeout"),
    "busy loop in C": hog("def solve(): return len(str(10 ** 10 ** 8))", "timeout", "memory"),
    "endless match": hog("import re\ndef solve(): return re.match('(a+)+b', 'a' * 64)", "timeout"),
    "endless sleep": hog("def solve():\n    while True: time.sleep(60)", "timeout"),
    "processor time with the signal ignored": Hostile(
        HEADER + "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef solve():\n    while True: pass",
        statuses=("timeout", "killed"),  # a wrapper tells of the signal only, which may also mean want of memory
        limits=Limits(wall_seconds=20, cpu_seconds=1),
    ),
    "signals ignored": hog(
        """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def solve():
    while True:
        time.sleep(1)
""",
        "timeout",
    ),
    "stopping itself": hog(
        "def solve():\n    os.kill(os.getpid(), signal.SIGSTOP)\n    libc.raise_(19)", "failed", "timeout"
    ),
    "recursion bomb": hog(
        "sys.setrecursionlimit(10 ** 9)\ndef deep(n): return deep(n + 1) + 1\ndef solve(): return deep(0)",
        "failed",
        "memory",
        "killed",
        "timeout",
        limits=SMALL,
    ),
    "recursion bomb in C": hog(
        "sys.setrecursionlimit(10 ** 9)\nclass A: __repr__ = lambda self: repr(self)\ndef solve(): return repr(A())",
        "failed",
        "memory",
        "killed",
        limits=SMALL,
    ),
    "source that nests too deeply": hog("x = " + "(" * 100_000 + ")" * 100_000, "failed", "memory"),
    "source that is too long": hog("x = 1\n" * 1_000_000, "failed"),
    "source with a null byte": hog("x = '\0'", "failed"),
    "source with a lone surrogate": hog("x = '\ud800'", "failed"),
    "source that is no Python": hog("def solve(:", "failed"),
    "huge file": Hostile(
        HEADER
        + """
def solve():
    size = 0
    try:
        with open("huge", "wb", buffering=0) as file:
            while size < 1 << 26:
                size += file.write(bytes(1 << 20))
        return "won"
    except OSError:
        return f"contained at {size}"
"""
    ),
    "huge sparse file": attack("os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 1 << 34) or True"),
    "many files": hog(
        "def solve():\n    n = 0\n    while True: open(f'file {n}', 'wb').close(); n += 1", "killed", limits=Limits()
    ),
    "deep folders": attack("os.mkdir('deep') or os.chdir('deep') or True", "os.makedirs('a/' * 1000) or True"),
    "many descriptors": Hostile(
        HEADER
        + """
def solve():
    opened = 0
    try:
        while opened < 1000:
            os.open(".", os.O_RDONLY)
            opened += 1
    except OSError:
        return "contained"
    return "won"
"""
    ),
    "result without end": hog("def solve():\n    while True: yield 1", "failed"),
    "result of a counter": hog("import itertools\ndef solve(): return itertools.count()", "failed"),
    "result of gigabytes": hog("def solve(): return ['x' * (1 << 20)] * 4096", "failed"),
    "result of one long text": hog("def solve(): return 'x' * (700 << 20)", "failed", "memory"),
    "result that holds itself": hog("def solve():\n    x = []\n    x.append(x)\n    return x", "failed"),
    "result of a huge integer": hog("def solve(): return 1 << (1 << 26)", "failed"),
    "result that is slow to hash": hog(
        "def solve(): return {n * ((1 << 61) - 1): 0 for n in range(1, 30000)}", "timeout", "failed"
    ),
}

ATTACKS = {
    "connect": attack("socket.create_connection(('127.0.0.1', @PORT@), timeout=2)"),
    "connect by IPv6": attack("socket.socket(socket.AF_INET6)"),
    "datagram": attack("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@))"),
    "name look-up": attack("socket.getaddrinfo('localhost', 80, proto=17) and socket.socket(type=socket.SOCK_DGRAM)"),
    "listen": attack("socket.create_server(('127.0.0.1', 0))"),
    "local socket": attack("socket.socket(socket.AF_UNIX)", "socket.socketpair()"),
    "netlink and raw sockets": attack("socket.socket(16, 3)", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    "event loop": attack("asyncio.run(asyncio.open_connection('127.0.0.1', @PORT@))", before="import asyncio"),
    "download": attack("urllib.request.urlopen('http://127.0.0.1:@PORT@')", before="import urllib.request"),
    "read a secret": attack("open('@SECRET@').read()", "os.open('@SECRET@', os.O_RDONLY)"),
    "read system files": attack(
        "open('/etc/passwd').read()", "open('/etc/shadow').read()", "'passwd' in os.listdir('/etc')"
    ),
    "list folders": attack(
        "'etc' in os.listdir('/') and 'proc' in os.listdir('/')",
        "os.listdir('/home')",
        "os.path.basename('@SECRET@') in os.listdir(os.path.dirname('@SECRET@'))",
        "len(os.listdir('..')) > 1",
    ),
    "read packages": attack(
        "[os.listdir(p + '/site-packages') for p in sys.path if os.path.isdir(p + '/site-packages')]"
        " and open([e.path for p in sys.path for e in os.scandir(p + '/site-packages') if e.is_file()][0]).read()",
        "open(sys.modules['sandbox.tester'].__file__).read()",
        "open('@PACKAGE@').read()",
    ),
    "read other processes": attack(
        "open('/proc/@JUDGE@/environ', 'rb').read()",
        "open('/proc/@JUDGE@/mem', 'rb')",
        "open('/proc/@JUDGE@/maps').read()",
        "os.listdir('/proc/@JUDGE@/fd')",
        "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
        "open(f'/proc/{os.getppid()}/cmdline', 'rb').read()",
        "open(f'/proc/{os.getpid() + 1}/mem', 'r+b')",
    ),
    "pipes of other processes": attack(
        "[reopened(pid, n) for pid in range(os.getppid() - 3, os.getpid() + 4) for n in range(24)].count(True)",
        before="""
def reopened(pid, number):
    if pid == os.getpid():
        return False
    text = b'["passed", ""]'
    try:
        return os.write(os.open(f"/proc/{pid}/fd/{number}", os.O_WRONLY), struct.pack("<I", len(text)) + text) > 0
    except OSError:
        return False
""",
    ),
    "read devices": attack("open('/dev/mem', 'rb')", "open('/dev/kmsg', 'rb')", "open('/dev/tty', 'rb')"),
    "write outside": attack(
        "open('@OUTSIDE@/written', 'w').close() or True",
        "os.open('@OUTSIDE@/opened', os.O_CREAT | os.O_WRONLY)",
        "os.mkdir('@OUTSIDE@/made') or True",
        "os.mkfifo('@OUTSIDE@/fifo') or True",
        "os.symlink('/etc', '@OUTSIDE@/link') or True",
        "os.link('@SECRET@', '@OUTSIDE@/hard') or True",
        "os.rename('@SECRET@', '@OUTSIDE@/moved') or True",
    ),
    "change a file outside": attack(
        "open('@SECRET@', 'a').write('x')",
        "open('@SECRET@', 'r+').write('x')",
        "os.truncate('@SECRET@', 0) or True",
        "os.unlink('@SECRET@') or True",
        "os.chmod('@SECRET@', 0o777) or True",
        "os.chown('@SECRET@', 1, 1) or True",
        "os.utime('@SECRET@', (0, 0)) or True",
        "os.setxattr('@SECRET@', 'user.x', b'x') or True",
    ),
    "write everywhere": attack(
        "open('/tmp/@MARK@', 'w')",
        "open('/dev/shm/@MARK@', 'w')",
        "open('/var/tmp/@MARK@', 'w')",
        "open(os.path.expanduser('~root/@MARK@'), 'w')",
        "open('../@MARK@', 'w')",
        "open('@PACKAGE@', 'a')",
        "open(os.__file__, 'a')",
        "open(os.path.dirname(os.__file__) + '/@MARK@.py', 'w')",
    ),
    "links to outside": attack(
        "os.symlink('@SECRET@', 'link') or True",
        "os.symlink('@OUTSIDE@', 'folder') or True",
        "os.link('@SECRET@', 'hard') or True",
        "os.mkfifo('fifo') or True",
        "os.mknod('device', 0o600 | 0o020000, os.makedev(1, 3)) or True",
        "os.rename('@SECRET@', 'here') or True",
    ),
    "closing its folder": attack("os.chmod('.', 0) or True", "os.fchmod(os.open('.', 0), 0) or True"),
    "shared memory": attack(
        "os.memfd_create('x') >= 0",
        "libc.shmget(0, 1 << 20, 0o1600) >= 0",
        "libc.msgget(0, 0o1600) >= 0",
        "libc.semget(0, 1, 0o1600) >= 0",
        "libc.mq_open(b'/@MARK@', os.O_CREAT | os.O_RDWR, 0o600, None) >= 0",
        "multiprocessing.shared_memory.SharedMemory(create=True, size=64)",
        before="import multiprocessing.shared_memory",
    ),
    "killing the judge": attack(
        "os.kill(@JUDGE@, signal.SIGTERM) or True",
        "os.kill(os.getppid(), signal.SIGSTOP) or True",
        "os.kill(os.getpid() + 1, signal.SIGKILL) or True",
        "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGKILL) or True",
        "libc.sigqueue(os.getppid(), signal.SIGKILL, None) == 0",
        "libc.tgkill(os.getppid(), os.getppid(), signal.SIGKILL) == 0",
    ),
    "killing everything": attack("os.kill(-1, signal.SIGTERM) or True", "os.killpg(os.getpgid(@JUDGE@), 15) or True"),
    "killing its group": attack("os.kill(0, signal.SIGTERM) or True", "os.killpg(0, signal.SIGKILL) or True"),
    "signals by way of a descriptor": attack(
        "fcntl.fcntl(CALLS, 8, os.getppid()) == 0",  # F_SETOWN
        "fcntl.fcntl(CALLS, 10, signal.SIGKILL) == 0",  # F_SETSIG
        "fcntl.fcntl(REPLIES, 15, struct.pack('ii', 1, os.getppid()))",  # F_SETOWN_EX
        "fcntl.ioctl(CALLS, 0x8901, struct.pack('i', os.getppid())) or True",  # FIOSETOWN
    ),
    "tracing": attack(
        "libc.ptrace(16, os.getppid(), 0, 0) == 0",
        "libc.ptrace(16, os.getpid() + 1, 0, 0) == 0",
        "libc.ptrace(0, 0, 0, 0) == 0",
        "libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0) >= 0",
        "libc.process_vm_writev(os.getpid() + 1, None, 0, None, 0, 0) >= 0",
        "os.pidfd_open(os.getppid()) >= 0",
        "libc.syscall(438, CALLS, 0, 0) >= 0",  # pidfd_getfd
        "libc.syscall(312, os.getpid(), os.getppid(), 0, 0, 0) >= 0",  # kcmp
    ),
    "starting programs": attack(
        "subprocess.run(['/bin/sh', '-c', 'true']).returncode == 0",
        "os.system('true') == 0",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.popen('echo x').read()",
        "os.execv('/bin/true', ['true'])",
        "os.execv(sys.executable, [sys.executable, '-c', ''])",
    ),
    "left-over processes": attack(
        "os.fork() or (os.setsid(), os.fork() or time.sleep(60))",
        "os.forkpty()[0] or time.sleep(60)",
        "libc.vfork() > 0 or 0",
        "libc.syscall(56, 17, 0, 0, 0, 0) > 0",  # clone
        "libc.syscall(435, ctypes.create_string_buffer(struct.pack('QQQQQQQQ', *[0] * 4, 17, 0, 0, 0)), 64) > 0",
        "multiprocessing.Process(target=time.sleep, args=(60,)).start() or True",
        before="import multiprocessing",
    ),
    "privileges": attack(
        "os.setuid(1000) or True",
        "os.setgid(1000) or True",
        "os.setgroups([]) or True",
        "os.chroot('.') or True",
        "libc.unshare(0x10000000) == 0",
        "libc.setns(CALLS, 0) == 0",
        "libc.mount(b'none', b'.', b'tmpfs', 0, None) == 0",
        "libc.umount2(b'/', 2) == 0",
        "libc.personality(0x0040000) >= 0",
        "libc.syscall(250, 11, 0, 0, 0) >= 0",  # keyctl
        "libc.syscall(321, 0, 0, 0) >= 0",  # bpf
        "libc.syscall(298, 0, 0, -1, -1, 0) >= 0",  # perf_event_open
        "libc.syscall(323, 0) >= 0",  # userfaultfd
        "libc.syscall(425, 8, ctypes.create_string_buffer(256)) >= 0",  # io_uring_setup
        "os.sched_setaffinity(0, {0}) or True",
        "os.nice(-1) or True",
        "time.clock_settime(time.CLOCK_REALTIME, 0) or True",
        "libc.sethostname(b'x', 1) == 0",
        "libc.reboot(0) == 0",
        "libc.syncfs(CALLS) == 0",
    ),
    "limits": attack(
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) or True",
        "resource.setrlimit(resource.RLIMIT_CPU, (-1, -1)) or True",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)) or True",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
        "libc.prctl(1, 0, 0, 0, 0) == 0",  # no longer to end with the parent
        "libc.prctl(4, 1, 0, 0, 0) == 0",  # dumpable
        "libc.prctl(36, 1, 0, 0, 0) == 0",  # to be a reaper
        "libc.prctl(22, 2, 0, 0, 0) == 0",  # another filter
        "open('/proc/self/oom_score_adj', 'w').write('-1000')",
        "os.setsid() or True",
    ),
    "its own pipes": attack(
        "fcntl.fcntl(REPLIES, 1031, 1 << 20) > 0",  # F_SETPIPE_SZ
        "os.read(REPLIES, 1)",
        "os.write(CALLS, b'x')",
        "[os.write(n, b'x') for n in range(3, 1024) if n != REPLIES]",
        "len([*pipes(os.O_RDONLY), *pipes(os.O_WRONLY), *pipes(os.O_RDWR)]) > 2",
    ),
}
if platform.machine() == "x86_64":
    ATTACKS["system calls of another ABI"] = Hostile(
        HEADER
        + """
def solve():
    if libc.syscall(0x40000000 | 57) >= 0:  # fork, by the numbers of x32
        return "won"
    return "contained"
""",
        statuses=("failed", "killed"),
    )
    ATTACKS["system calls of 32 bits"] = Hostile(
        HEADER
        + """
import mmap
def solve():
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b802000000cd80c3"))  # mov eax, 2 (fork); int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return "won" if function() >= 0 else "contained"
""",
        statuses=("failed", "killed"),
    )

LIAR = """
class Liar:
    def yes(self, *_): return True
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __bool__ = __instancecheck__ = yes
    def same(self, *other): return other[0] if other else self
    __add__ = __radd__ = __mul__ = __rmul__ = __getitem__ = __round__ = same
    def zero(self, *_): return 0
    __sub__ = __rsub__ = __abs__ = __hash__ = __index__ = __int__ = zero
    def __float__(self): return 0.0
    def __len__(self): return 3
    def __iter__(self): return iter([self] * 3)
    def __getattr__(self, name): return self
    def __call__(self, *_): return self
    @property
    def __class__(self): return int
"""

PATCHED = """
def solve(*_): return 0
class Never(Exception): pass
builtins.AssertionError = Never
for name in ("print", "len", "abs", "all", "any", "isinstance", "sorted", "set", "list", "compile", "exec"):
    setattr(builtins, name, lambda *_, **__: True)
sys.excepthook = lambda *_: None
import unittest
unittest.TestCase.assertEqual = lambda *_: None
"""

CHEATS = {
    "os._exit when loaded": cheat("os._exit(0)", statuses=("killed",)),
    "os._exit when called": cheat("def solve(*_): os._exit(0)", statuses=("killed",)),
    "sys.exit when loaded": cheat("sys.exit(0)"),
    "sys.exit when called": cheat("def solve(*_): sys.exit(0)"),
    "SystemExit": cheat("def solve(*_): raise SystemExit(0)"),
    "KeyboardInterrupt": cheat("def solve(*_): raise KeyboardInterrupt"),
    "GeneratorExit": cheat("def solve(*_): raise GeneratorExit"),
    "StopIteration": cheat("def solve(*_): raise StopIteration", "assert all(map(solve, [1, 2], [3, 4]))"),
    "abort": cheat("def solve(*_): os.abort()", statuses=("killed",)),
    "crash": cheat("def solve(*_): ctypes.string_at(0)", statuses=("killed",)),
    "leaving at exit": cheat("import atexit\natexit.register(os._exit, 0)\ndef solve(*_): return 0"),
    "nothing defined": cheat("pass"),
    "another name": cheat("def solved(a, b): return a + b"),
    "patched builtins": cheat(PATCHED, statuses=("failed", "killed")),
    "patched builtins, the test using them": cheat(
        PATCHED, "assert len(solve(20)) == 3 and abs(solve(1) - 5) < 1e-6", statuses=("failed", "killed")
    ),
    "lying object": cheat(LIAR + "def solve(*_): return Liar()"),
    "lying object, near": cheat(LIAR + "def solve(*_): return Liar()", "assert abs(solve(20, 21) - 41) < 1e-6"),
    "lying object, near, reversed": cheat(LIAR + "def solve(*_): return Liar()", "assert abs(41 - solve(1)) < 1e-6"),
    "lying object, below": cheat(LIAR + "def solve(*_): return Liar()", "assert solve(1) > 5"),
    "lying object, member": cheat(LIAR + "def solve(*_): return Liar()", "assert solve(1) in [41] or 41 in solve(1)"),
    "lying object, item": cheat(LIAR + "def solve(*_): return Liar()", "assert solve(1)[0] == 41"),
    "lying object, key": cheat(LIAR + "def solve(*_): return {Liar(): 0}", "assert 41 in solve(1)"),
    "lying object, in a list": cheat(LIAR + "def solve(*_): return [Liar()] * 3", "assert solve(1) == [41, 41, 41]"),
    "lying object, as another type": cheat(LIAR + "def solve(*_): return Liar()", "assert isinstance(solve(1), int)"),
    "lying object, rounded": cheat(LIAR + "def solve(*_): return Liar()", "assert round(solve(1), 2) == 41"),
    "lying object, close": cheat(LIAR + "def solve(*_): return Liar()", "assert math.isclose(solve(1), 41)"),
    "lying list": cheat(
        "class L(list):\n    __eq__ = lambda *_: True\n    __len__ = lambda _: 3\ndef solve(*_): return L()",
        "assert solve(1) == [41] or len(solve(1)) == 3",
    ),
    "lying text": cheat(
        "class S(str):\n    __eq__ = lambda *_: 1\n    __hash__ = lambda _: hash('41')\ndef solve(*_): return S('0')",
        "assert solve(1) == '41' or solve(1) in {'41'}",
    ),
    "lying number": cheat(
        "class I(int):\n    __eq__ = lambda *_: True\n    __sub__ = lambda *_: 0\ndef solve(*_): return I(0)",
        "assert solve(1) == 41 or abs(solve(1) - 41) < 1",
    ),
    "lying exception": cheat(
        "class E(Exception):\n    def __str__(self): os._exit(0)\ndef solve(*_): raise E", statuses=("killed",)
    ),
    "lying metaclass": cheat(
        "class M(type):\n    __eq__ = lambda *_: True\n    __hash__ = lambda _: 0\n"
        "class E(Exception, metaclass=M): pass\ndef solve(*_): raise E"
    ),
    "names of the test defined": cheat(
        """
def solve(*_): return 0
def check(*_): pass
def near(*_): return True
class math: isclose = lambda *_, **__: True
len = abs = all = any = isinstance = sum = lambda *_: True
sys.modules["math"] = math
__builtins__ = {}
""",
        "assert near(solve(20), 41)\nassert math.isclose(solve(1), 41)\nassert abs(solve(1) - 41) < 1",
        "def near(a, b): return abs(a - b) < 1e-6",
    ),
    "names of Python that the test forgot to import": cheat(
        "class math: isclose = lambda *_, **__: True\ndef solve(*_): return 0", "assert math.isclose(solve(1), 41)"
    ),
    "forged verdict on the standard streams": cheat(
        """
def solve(*_):
    for text in ('["passed", ""]', '{"status": "passed"}', "passed", "OK", "1"):
        print(text, flush=True)
        print(text, file=sys.stderr, flush=True)
    return 0
"""
    ),
    "forged verdict on every descriptor": cheat(
        """
def solve(*_):
    for text in (b'["passed", ""]', b'["passed", ""]\\n', b'passed'):
        for number in range(1024):
            try:
                os.write(number, struct.pack("<I", len(text)) + text)
                os.write(number, text)
            except OSError:
                pass
    return 0
""",
        statuses=("killed",),
    ),
    "descriptors moved about": cheat(
        """
def solve(*_):
    for number in range(1024):
        for other in (CALLS, REPLIES):
            try:
                os.dup2(other, number)
            except OSError:
                pass
    return 0
""",
        statuses=("killed", "failed", "timeout"),
    ),
    "descriptors closed": cheat("os.closerange(0, 1024)\ndef solve(*_): return 0", statuses=("killed",)),
    "expected values looked for": cheat(
        """
def solve(*_):
    texts = [repr(o) for o in gc.get_objects() if isinstance(o, (tuple, list, dict, str))]
    frame, names = sys._getframe(), []
    while frame:
        names += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    for text in texts + names + [repr(sys.argv), repr(sys.orig_argv), repr(dict(os.environ))]:
        at = text.find("the_" + "secret_is_")
        if at >= 0:
            return text[at : at + 20]
""",
        "assert solve(1) == 'the_secret_is_%d' % 123456",
    ),
    "frames of its own process changed": cheat(
        """
def solve(*_):
    frame = sys._getframe()
    while frame:
        for holder in (frame.f_globals, frame.f_locals):
            holder["status"] = holder["verdict"] = holder["outcome"] = ("passed", "")
            if "encode" in holder:
                holder["encode"] = lambda *_: b"passed"
        frame = frame.f_back
    return 0
""",
        statuses=("killed", "failed"),
    ),
    "tester's modules patched": cheat(
        """
import sandbox.channel, sandbox.codec, sandbox.program, sandbox.lockdown
try:
    import sandbox.tester
    sandbox.tester.judge_program = lambda *_: ("passed", "")
except (ImportError, OSError):
    pass
sandbox.codec.encode = sandbox.program.encode = lambda *_: b"T"
def solve(*_): return 0
""",
        statuses=("killed",),
    ),
    "modules replaced": cheat(
        """
class Yes:
    def __getattr__(self, name): return lambda *_, **__: '["passed", ""]'
for name in list(sys.modules):
    if name.split(".")[0] in ("json", "struct", "sandbox", "os", "codecs", "builtins", "symtable"):
        sys.modules[name] = Yes()
def solve(*_): return 0
""",
        statuses=("failed", "killed"),
    ),
    "garbage as the answer": cheat(
        "def solve(*_): os.write(REPLIES, os.urandom(4096))", statuses=("killed", "timeout")
    ),
    "answer that is too long": cheat("def solve(*_): os.write(REPLIES, b'\\xff' * 4)", statuses=("killed",)),
    "answer without end": cheat(
        "def solve(*_):\n    os.write(REPLIES, b'\\0\\0\\0\\1')\n    while True: os.write(REPLIES, b'l' * 65536)",
        statuses=("killed", "timeout", "memory"),
    ),
    "answer that stalls": Hostile(
        HEADER + "def solve(*_):\n    os.write(REPLIES, b'\\x10')\n    time.sleep(60)",
        statuses=("timeout",),
        limits=SHORT,
    ),
    "answer that is slow to read": Hostile(
        HEADER
        + """
def solve(*_):
    keys = [(n * ((1 << 61) - 1)).to_bytes(10, "little") for n in range(200_000)]
    text = b"d" + struct.pack("<I", len(keys)) + b"".join(b"i\\x0a\\0\\0\\0" + key + b"N" for key in keys)
    text = memoryview(struct.pack("<I", len(text)) + text)
    while text:
        text = text[os.write(REPLIES, text):]
    time.sleep(60)
""",
        statuses=("timeout",),
        limits=SHORT,
    ),
    "answer that is large to hold": Hostile(
        HEADER
        + """
def solve(*_):
    count = 3_000_000
    text = b"l" + struct.pack("<I", count) + b"d\\0\\0\\0\\0" * count
    text = memoryview(struct.pack("<I", len(text)) + text)
    while text:
        text = text[os.write(REPLIES, text):]
    time.sleep(60)
""",
        statuses=("memory",),
        limits=SMALL,
    ),
    "answer that nests too deeply": cheat(
        "def solve(*_):\n    os.write(REPLIES, struct.pack('<I', 50000) + b'l\\1\\0\\0\\0' * 10000)",
        statuses=("killed",),
    ),
    "answer of another form": cheat("def solve(*_): os.write(REPLIES, b'\\1\\0\\0\\0T')", statuses=("killed",)),
    "answers before the questions": cheat(
        """
def solve(*_):
    sent = 0
    while sent < 1000:
        sent += 1
        os.write(REPLIES, b"\\x1f\\0\\0\\0t\\2\\0\\0\\0s\\5\\0\\0\\0valueT")
    return 0
""",
        statuses=("failed", "killed"),
    ),
    "millions of answers": Hostile(
        HEADER + "def solve(*_):\n    while True: os.write(REPLIES, b'\\1\\0\\0\\0N' * 1000)",
        ADDS,
        statuses=("killed", "timeout"),
        limits=SHORT,
    ),
    "another exit in a signal": cheat(
        "signal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
        "def solve(*_):\n    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    time.sleep(0.2)\n    return 0"
    ),
    "answer kept for another run": cheat(
        """
def solve(*_):
    for place in (".", os.environ["TMPDIR"], os.environ["HOME"], "/tmp", "/dev/shm"):
        path = os.path.join(place, "@MARK@")
        if os.path.exists(path):
            return 41
        try:
            open(path, "w").close()
        except OSError:
            pass
    return 0
""",
        "assert solve(20, 21) == 0\nassert solve(20, 21) == 42",
    ),
}

PROGRAMS = {**HOGS, **ATTACKS, **CHEATS}
