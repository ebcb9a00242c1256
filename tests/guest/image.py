"""The guest's kernel and initramfs, made of Debian's packages only: boot(programs) gives the two files for QEMU.

Kernel, modules and busybox come out of packages that are fetched and unpacked below build/guest, never installed; the
programs and their libraries are the installed files of PACKAGES and of what these depend on. An initramfs may be several
archives, one after the other: the large one is made again when a version in it changes, the small one each time.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / "build" / "guest"
HERE = REPO / "tests" / "guest"
PACKAGES = ("curl", "iproute2", "iputils-ping", "python3", "python3-aiohttp", "python3-aioice", "socat", "wireguard-tools")
KERNEL, BUSYBOX = "linux-image-cloud-amd64", "busybox-static"
MODULES = ("virtio_pci", "virtio_net", "virtio_console", "af_packet", "wireguard", "sch_netem", "ifb", "sch_ingress",
           "cls_matchall", "act_mirred")
UNNEEDED = re.compile(r"usr/(share/(?!python3/)|lib/x86_64-linux-gnu/(gconv|perl|sasl2)/|include/)")


def boot(programs):
    """(kernel, initramfs): @programs are files of this tree that the guest finds in its /tests."""
    BUILD.mkdir(parents=True, exist_ok=True)
    kernel, modules, busybox = kernel_and_busybox()
    small = BUILD / "small"
    shutil.rmtree(small, ignore_errors=True)
    for folder, paths in (("", (HERE / "init", busybox)), ("tests", programs), ("modules", modules)):
        (small / folder).mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, small / folder)
    (small / "modules/order").write_text("".join(f"{path.name}\n" for path in modules))
    initramfs = BUILD / "initramfs"
    with open(initramfs, "wb") as out:
        out.write(base().read_bytes())
        out.write(cpio(small, sorted(str(path.relative_to(small)) for path in small.rglob("*"))))
    return kernel, initramfs


# --- packages that are unpacked

def kernel_and_busybox():
    """The archive's kernel, its modules in an order that loads, and busybox."""
    kernel, busybox = unpacked(KERNEL, "linux-image-6"), unpacked(BUSYBOX, BUSYBOX)
    known = {path.stem.replace("-", "_"): path for path in kernel.rglob("*.ko")}
    order = []

    def add(module):
        if module in known and known[module] not in order:       # not there: built in
            needs = re.search(rb"\0depends=([\w,-]*)\0", known[module].read_bytes()).group(1).decode()
            for other in needs.replace("-", "_").split(","):
                add(other)
            order.append(known[module])

    for module in MODULES:
        add(module)
    return next(kernel.glob("boot/vmlinuz-*")), order, busybox / "bin" / "busybox"


def unpacked(package, name):
    """The folder with the files of a package, or of the one whose name begins with @name that it stands for."""
    folder = BUILD / newest(package, name)
    if not folder.is_dir():
        run("apt-get", "update", "-q")
        wanted = newest(package, name)
        for old in (*BUILD.glob(f"{name}*"), *BUILD.glob("fresh*")):
            shutil.rmtree(old)
        deb, files_of = BUILD / "fresh.deb", BUILD / "fresh.files"
        deb.mkdir()
        run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", wanted, cwd=deb)
        run("dpkg-deb", "-x", *deb.glob("*.deb"), files_of)
        shutil.rmtree(deb)
        folder = files_of.rename(BUILD / wanted)
    return folder


def newest(package, name):
    """name=version by the archive's lists; not a package's where the machine has no lists."""
    text = run("apt-cache", "show", "--no-all-versions", package) if run("apt-cache", "pkgnames", package) else ""
    depends = re.search(rf"^Depends: ({name}\S+) \(= (\S+)\)", text, re.M)
    version = re.search(r"^Version: (\S+)", text, re.M)
    return "=".join(depends.groups() if depends else (package, version.group(1) if version else "unknown"))


# --- packages that are installed

def base():
    """The archive of the installed packages' files."""
    names = closure(PACKAGES)
    versions = run("dpkg-query", "-W", *names) + pathlib.Path(__file__).read_text()
    archive = BUILD / f"base-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.cpio"
    if not archive.is_file():
        for old in BUILD.glob("base-*.cpio"):
            old.unlink()
        fresh = archive.with_suffix(".new")
        fresh.write_bytes(cpio("/", files(names)))
        fresh.rename(archive)
    return archive


def closure(wanted):
    """Names of the packages and of the installed ones they depend on."""
    needs, provides = {}, {}
    fields = "${Package}\t${Depends}, ${Pre-Depends}\t${Provides}\n"
    for line in run("dpkg-query", "-W", "-f", fields).splitlines():
        name, depends, provided = line.split("\t")
        needs[name] = [[word(one) for one in either.split("|")] for either in depends.split(",")]
        for one in provided.split(","):
            provides.setdefault(word(one), name)
    found, open_ends = set(), list(wanted)
    while open_ends:
        name = open_ends.pop()
        name = name if name in needs else provides[name]
        if name not in found:
            found.add(name)
            open_ends += [one for either in needs[name] for one in either if one in needs or one in provides]
    return sorted(found)


def word(text):
    return re.split(r"[\s:(]", text.strip())[0]


def files(packages):
    """Paths below / of the packages' files, with the byte code beside them; the folders come first."""
    found = set()
    for line in run("dpkg-query", "-L", *packages).splitlines():
        path = pathlib.Path("/", line.strip() or "/")
        path = path.parent.resolve() / path.name if path.name else path
        if path == pathlib.Path("/") or UNNEEDED.match(str(path)[1:]) or not os.path.lexists(path):
            continue
        found.add(path)
        if path.suffix == ".py":
            found.update(path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc"))
    found |= {parent for path in found for parent in path.parents} - {pathlib.Path("/")}
    found |= {pathlib.Path("/", name) for name in ("bin", "sbin", "lib", "lib64")}
    return [str(path)[1:] for path in sorted(found)]


def cpio(root, names):
    done = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input="\n".join(names).encode(), cwd=root,
                          stdout=subprocess.PIPE, check=True)
    return done.stdout


def run(*argv, cwd=BUILD):
    return subprocess.run([str(word) for word in argv], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, LC_ALL="C.UTF-8")).stdout
