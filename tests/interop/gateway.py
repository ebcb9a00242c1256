"""Our gateway, installed and started as an operator would: an ordinary user, one capability on the helper's file.

It runs in the network's `gw` namespace and in a mount namespace of its own, with its own /dev/net/tun (mode 0666; the
machine's may be root's only), resolv.conf and hosts. The machine's own files are not touched.
"""

import contextlib
import grp
import os
import pathlib
import pwd
import re
import shlex
import signal
import stat
import subprocess
import time

import control
import net

REPO = net.REPO
TUN = "tun-firezone"
PROGRAMS = ("firezone-gateway", "firezone-gateway-helper", "firezone-gateway-worker")
MODES = ("setcap", "root", "ambient")
STATUS_FIELDS = ("Name", "Uid", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


class Installed:
    """A build of one preset, installed below build/<preset>/stage, and the user it runs as."""

    def __init__(self, preset, user, prefix=None):
        self.preset, self.user = preset, user
        self.prefix = pathlib.Path(prefix) if prefix else REPO / "build" / preset / "stage"
        self.built = prefix is None

    def build(self, *more):
        """Configures, builds and installs the three programs, and builds other targets; a no-op when nothing changed."""
        if self.built:
            build_dir = REPO / "build" / self.preset
            _run("cmake", "--preset", self.preset, f"-DCMAKE_INSTALL_PREFIX={self.prefix}", cwd=REPO)
            _run("cmake", "--build", build_dir, "--target", *PROGRAMS, *more, cwd=REPO)
            _run("cmake", "--install", build_dir, cwd=REPO)

    def binary(self, name):
        for directory in ("bin", "libexec", "libexec/firezone-gateway"):
            path = self.prefix / directory / name
            if path.exists():
                return path
        raise FileNotFoundError(f"{name} is not installed below {self.prefix}")

    @property
    def front(self):
        return self.binary("firezone-gateway")

    @property
    def helper(self):
        return self.binary("firezone-gateway-helper")

    @property
    def worker(self):
        return self.binary("firezone-gateway-worker")

    def add_user(self):
        """Creates the user if need be; True if it is new."""
        try:
            pwd.getpwnam(self.user)
            return False
        except KeyError:
            _run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                 "--shell", "/usr/sbin/nologin", self.user)
            return True

    def remove_user(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(KeyError):
            pwd.getpwnam(self.user)
            subprocess.run(["userdel", self.user], capture_output=True, env=net.clean_env(), check=False)

    def pids(self):
        """Processes of the user, who exists for this alone."""
        try:
            uid = pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return []
        return [pid for pid in _all_pids() if _uid(pid) == uid]

    def grant(self, capability=True):
        """The helper's owner, group, mode and file capability as packaging sets them; False: without the capability."""
        os.chown(self.helper, 0, grp.getgrnam(self.user).gr_gid)
        os.chmod(self.helper, 0o750)
        if capability:
            _run("setcap", "cap_net_admin=p", self.helper)

    def getcap(self):
        done = subprocess.run(["getcap", self.front, self.helper, self.worker], capture_output=True, text=True,
                              check=True, env=net.clean_env())
        return done.stdout.strip()

    @property
    def attack_programs(self):
        return REPO / "build" / self.preset / "tests" / "attack" / "prison"

    def mounts(self, state):
        """Shell lines that show the installed tree, and little more, where the user may not walk to it."""
        blocked = [parent for parent in reversed(self.prefix.parents) if not parent.stat().st_mode & stat.S_IXOTH]
        if not blocked:
            return []
        lines, top = [], blocked[0]
        shown = [path for path in (self.prefix, self.attack_programs, REPO / "tests") if path.exists() and top in path.parents]
        for number, path in enumerate(shown):
            lines += [f"mkdir -p {state}/shown-{number}", f"mount --bind {shlex.quote(str(path))} {state}/shown-{number}"]
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(top))}")
        for number, path in enumerate(shown):
            quoted = shlex.quote(str(path))
            lines += [f"mkdir -p {quoted}", f"mount --bind {state}/shown-{number} {quoted}"]
        return lines


class Gateway:
    """One run of the gateway inside a network."""

    def __init__(self, network, installed):
        self.net, self.installed = network, installed
        self.portal = control.Control(network.portal_socket)
        self.proc = None
        self.label = "gateway"
        self.runs = 0

    def environment(self, **extra):
        env = {"FIREZONE_TOKEN": net.TOKEN, "FIREZONE_API_URL": f"ws://{net.PORTAL}:{net.WS}/",
               "FIREZONE_ID": "11111111-2222-4333-8444-555555555555", "FIREZONE_NAME": "gw 1",
               "FIREZONE_NO_TELEMETRY": "true", "RUST_LOG": "debug"}
        env.update(extra)
        return net.clean_env(**{key: value for key, value in env.items() if value is not None})

    def start(self, mode="setcap", wrapper=(), hosts="", servers=(net.DNS,), tun_mode="666", args=(), pipe=False, **env):
        """Starts it; `env` changes the environment (None removes), `wrapper` is put before the front.

        pipe: standard output and error are pipes that a `cat` empties, not regular files.
        """
        state = self.net.state
        self.runs += 1
        self.label = f"gateway-{self.runs}"
        (state / "resolv.conf").write_text("".join(f"nameserver {server}\n" for server in servers))
        (state / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
        lines = ["set -e", "umask 022", "mkdir -p /dev/net", "mount -t tmpfs -o mode=755 none /dev/net",
                 f"mknod -m {tun_mode} /dev/net/tun c 10 200" if tun_mode else ":",
                 *(f'mount --bind {state}/{name} "$(readlink -f /etc/{name})"' for name in ("resolv.conf", "hosts")),
                 *self.installed.mounts(state), "cd /", 'exec "$@"']
        shell = ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", "\n".join(lines), "sh"]
        command = [*shell, *self._identity(mode), *map(str, wrapper), str(self.installed.front), *args]
        with open(state / f"{self.label}.log", "wb") as log, open(state / f"{self.label}.err", "wb") as errors:
            out, err = (self._through_pipe(log), self._through_pipe(errors)) if pipe else (log, errors)
            self.proc = subprocess.Popen(
                self.net.inside("gw", *command), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=self.environment(**env), start_new_session=True)
            if pipe:
                out.close()
                err.close()
        self.net.procs[self.label] = self.proc
        return self

    def _through_pipe(self, file):
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file, start_new_session=True)
        self.net.procs[f"cat {file.name}"] = cat
        return cat.stdin

    def _identity(self, mode):
        if mode == "root":
            return []
        change = ["setpriv", f"--reuid={self.installed.user}", f"--regid={self.installed.user}", "--clear-groups"]
        if mode == "ambient":
            change += ["--bounding-set=-all,+net_admin", "--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin",
                       "--no-new-privs"]
        return change + ["--"]

    # --- looking at it

    @property
    def pid(self):
        return self.proc.pid

    def helper_pid(self):
        """The helper's process id, or None."""
        for pid in _all_pids():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                if re.search(rf"^PPid:\t{self.pid}$", status, re.M) and "State:\tZ" not in status:
                    return pid
        return None

    def log(self):
        return self.net.log(self.label)

    def errors(self):
        return (self.net.state / f"{self.label}.err").read_text(errors="replace")

    def output(self):
        return self.log() + self.errors()

    def alive(self):
        return self.proc.poll() is None

    def interface_up(self):
        return self.net.run("gw", "ip", "-o", "addr", "show", "dev", TUN, check=False).stdout.count("inet") >= 2

    def wait_online(self, seconds=15):
        """Until it has joined the portal and its interface stands; its parameters at the portal."""
        state = {}

        def ready():
            if not self.alive():
                raise TimeoutError("the gateway ended")
            state.update(self.portal.get("/state"))
            return state["joined"] and self.interface_up()
        net.wait_for(ready, seconds, "a gateway at the portal, with its interface")
        return state["gateway"]

    def left_over(self):
        """What of the gateway is still in its namespace: interface, routes, rules."""
        found = []
        if self.net.run("gw", "ip", "link", "show", "dev", TUN, check=False).returncode == 0:
            found.append("interface")
        for family in ("-4", "-6"):
            routes = self.net.run("gw", "ip", family, "route", "show", "table", "all").stdout
            found += [line for line in routes.splitlines() if TUN in line or "table 539" in line]
        return found

    def rules(self):
        return [line for family in ("-4", "-6")
                for line in self.net.run("gw", "ip", family, "rule").stdout.splitlines() if "0xfd002021" in line]

    def summary(self):
        """The fields of the state summary that SIGUSR1 asks for."""
        before = self.log().count("state summary")
        os.kill(self.pid, signal.SIGUSR1)
        net.wait_for(lambda: self.log().count("state summary") > before, 3, "the state summary")
        line = [line for line in self.log().splitlines() if "state summary" in line][-1]
        return dict(re.findall(r"(\S+?)=(\"[^\"]*\"|\S+)", line))

    # --- ending it

    def terminate(self, group=False, timeout=3.0):
        """SIGTERM; (exit status, seconds it took)."""
        started = time.monotonic()
        if group:
            os.killpg(self.pid, signal.SIGTERM)
        else:
            self.proc.terminate()
        return self.wait(timeout), time.monotonic() - started

    def wait(self, timeout):
        code = self.proc.wait(timeout)
        self.net.procs.pop(self.label, None)
        return code

    def stop(self):
        if self.proc is not None and self.alive():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.terminate(timeout=5)
            if self.alive():
                self.proc.kill()
                self.wait(5)


def facts(pid):
    """What /proc says of a process: status fields, namespaces, the interfaces it could see, open descriptors."""
    proc = pathlib.Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in proc.joinpath("status").read_text().splitlines() if ":\t" in line)
    fds = {}
    for entry in sorted(proc.joinpath("fd").iterdir(), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            fds[int(entry.name)] = os.readlink(entry)
    interfaces = [line.split(":")[0].strip() for line in proc.joinpath("net/dev").read_text().splitlines()[2:]]
    namespaces = {name: os.readlink(proc / "ns" / name) for name in ("user", "net", "mnt")}
    return {**{field: status[field].strip() for field in STATUS_FIELDS}, "namespaces": namespaces,
            "interfaces": interfaces, "fds": fds}


def _all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _uid(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(re.search(r"^Uid:\t(\d+)", status, re.M).group(1))


def _run(*argv, cwd=None):
    done = subprocess.run(list(map(str, argv)), cwd=cwd, capture_output=True, text=True, env=net.clean_env(), check=False)
    if done.returncode != 0:
        tail = (done.stdout + done.stderr).strip().splitlines()[-25:]
        raise RuntimeError(f"{' '.join(map(str, argv))}:\n" + "\n".join(tail))
