"""The SELinux module against Debian's whole policy, without an enforcing kernel.

The module is compiled and linked with every module of selinux-policy-default in a scratch root under build/selinux, with
expand-check=1, so that its neverallow rules are checked (the distribution's default skips them). Then the linked policy
is asked what it allows. The base policy is linked once and kept; each run links the module into a copy.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "selinux"
MODULES = pathlib.Path("/usr/share/selinux/default")
MAKEFILE = pathlib.Path("/usr/share/selinux/devel/Makefile")
STORE = ["-S", "/var/lib/selinux", "-s", "default", "-n"]

# One rule for each thing the module's neverallow rules forbid; linking it must fail and name every one of them.
VIOLATIONS = [
    "allow fzgw_worker_t self:capability net_admin;",
    "allow fzgw_worker_t self:udp_socket create;",
    "allow fzgw_worker_t fzgw_helper_t:udp_socket setopt;",
    "allow fzgw_worker_t fzgw_helper_t:netlink_route_socket nlmsg_write;",
    "allow fzgw_worker_t tun_tap_device_t:chr_file { open ioctl };",
    "allow fzgw_worker_t fzgw_helper_t:process transition;",
    "allow fzgw_worker_t bin_t:file execute_no_trans;",
    "allow fzgw_worker_t etc_t:file write;",
    "allow fzgw_helper_t self:capability sys_admin;",
    "allow chronyd_t fzgw_helper_t:process transition;",
]


def run(*command, cwd=None):
    # One search path for the sbin tools, one language for the messages.
    env = dict(os.environ, PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C")
    return subprocess.run([str(word) for word in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def must(*command, cwd=None):
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def compile_module(folder, name):
    """Build folder/name.pp. The folder of intermediate files is removed first: an interrupted run leaves it half full."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    must("make", "-f", MAKEFILE, f"{name}.pp", cwd=folder)
    return folder / f"{name}.pp"


def install(root, *packages):
    words = [word for package in packages for word in ("-i", package)]
    return run("semodule", "-p", root, *STORE, *words)


def policy_of(root):
    found = sorted((root / "etc/selinux/default/policy").glob("policy.*"))
    assert found, f"no policy in {root}"
    return found[-1]


def make_base(root):
    """A root with all of Debian's modules linked, neverallow rules checked."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "etc/selinux/default").mkdir(parents=True)
    (root / "var/lib/selinux").mkdir(parents=True)
    shutil.copytree("/etc/selinux/default/contexts", root / "etc/selinux/default/contexts")
    (root / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=default\n")
    (root / "etc/selinux/semanage.conf").write_text("module-store = direct\nexpand-check = 1\n")
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", root / "etc")
    names = (MODULES / ".modules").read_text().split()
    done = install(root, *[MODULES / f"{name}.pp.bz2" for name in names])
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def base():
    version = must("dpkg-query", "-W", "-f", "${Version}", "selinux-policy-default")
    root = BUILD / ("base-" + re.sub(r"[^0-9A-Za-z.]", "_", version))
    if not root.exists():
        making = BUILD / "base-making"
        make_base(making)
        making.rename(root)
    return root


@pytest.fixture(scope="session")
def module():
    folder = BUILD / "module"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for suffix in ("te", "fc", "if"):
        shutil.copy(HERE / f"fzgw.{suffix}", folder)
    return compile_module(folder, "fzgw")


@pytest.fixture(scope="session")
def linked(base, module):
    root = BUILD / "linked"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root, symlinks=True)
    done = install(root, module)
    assert done.returncode == 0, done.stdout
    return root


@pytest.fixture(scope="session")
def policy(linked):
    setools = pytest.importorskip("setools")
    return setools.SELinuxPolicy(str(policy_of(linked)))


def rules(policy, kind="allow", **criteria):
    import setools
    return list(setools.TERuleQuery(policy, ruletype=[kind], **criteria).results())


def perms(policy, source, target, tclass):
    """Every permission the source has on the target in a class, through attributes too."""
    return set().union(*[rule.perms for rule in rules(policy, source=source, target=target, tclass=[tclass])] or [set()])


def write_module(folder, name, body, requires):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(HERE / "fzgw.if", folder)
    (folder / "fzgw.te").write_text("policy_module(fzgw, 1.0.0)\n")
    (folder / "fzgw.fc").write_text("")
    (folder / f"{name}.fc").write_text("")
    (folder / f"{name}.if").write_text("## <summary>none</summary>\n")
    (folder / f"{name}.te").write_text(f"policy_module({name}, 1.0.0)\ngen_require(`\n{requires}\n')\n{body}\n")
    return compile_module(folder, name)


def test_module_compiles(module):
    assert module.stat().st_size > 0


def test_module_links_with_the_whole_policy_and_its_neverallow_rules_hold(linked):
    assert policy_of(linked).stat().st_size > 1_000_000
    assert "fzgw" in must("semodule", "-p", linked, *STORE, "-l").split()


def test_every_violation_fails_to_link(base, module):
    root = BUILD / "violating"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root, symlinks=True)
    requires = ("type fzgw_worker_t, fzgw_helper_t, tun_tap_device_t, bin_t, etc_t, chronyd_t;\n"
                "class capability { net_admin sys_admin }; class udp_socket { create setopt };\n"
                "class netlink_route_socket nlmsg_write; class chr_file { open ioctl };\n"
                "class process transition; class file { execute_no_trans write };")
    bad = write_module(BUILD / "violating-module", "fzgwbad", "\n".join(VIOLATIONS), requires)
    done = install(root, module, bad)
    shutil.rmtree(root, ignore_errors=True)
    assert done.returncode != 0, "a module that gives the worker authority was linked"
    reported = set(re.findall(r"^\s*\(allow (\S+ \S+ \([a-z_]+ \([^)]*\)\))\)$", done.stdout, re.M))
    assert len(reported) == len(VIOLATIONS), done.stdout


def test_interfaces_compile():
    body = "fzgw_run(sysadm_t, sysadm_r)\nfzgw_admin(sysadm_t, sysadm_r)\nfzgw_read_config(sysadm_t)\n"
    assert write_module(BUILD / "interface-module", "fzgwuser", body, "type sysadm_t; role sysadm_r;").exists()


def test_assertions_hold(linked):
    done = run("sechecker", HERE / "assertions.ini", policy_of(linked))
    assert done.returncode == 0, done.stdout


def test_an_assertion_can_fail(linked, tmp_path):
    wrong = tmp_path / "wrong.ini"
    wrong.write_text("[x]\ncheck_type = assert_te\nsource = fzgw_helper_t\ntclass = capability\nperms = net_admin\n")
    assert run("sechecker", wrong, policy_of(linked)).returncode == 1


def test_helper_holds_exactly_net_admin(policy):
    assert perms(policy, "fzgw_helper_t", "fzgw_helper_t", "capability") == {"net_admin"}


@pytest.mark.parametrize("tclass,wanted", [
    ("udp_socket", {"read", "write", "getattr", "getopt"}),
    ("tcp_socket", {"read", "write", "getattr", "getopt", "accept", "shutdown"}),
    ("netlink_route_socket", {"read", "write", "getattr", "nlmsg_read"}),
    ("fd", {"use"}),
])
def test_worker_has_exactly_this_on_what_the_helper_hands_over(policy, tclass, wanted):
    assert perms(policy, "fzgw_worker_t", "fzgw_helper_t", tclass) == wanted


def test_worker_reads_and_writes_the_tunnel_device_only(policy):
    assert perms(policy, "fzgw_worker_t", "tun_tap_device_t", "chr_file") == {"read", "write", "getattr"}


def test_helper_makes_the_tunnel_and_its_routes(policy):
    assert {"open", "read", "write", "ioctl"} <= perms(policy, "fzgw_helper_t", "tun_tap_device_t", "chr_file")
    assert perms(policy, "fzgw_helper_t", "fzgw_helper_t", "tun_socket") == {"create"}
    assert {"create", "nlmsg_read", "nlmsg_write"} <= perms(policy, "fzgw_helper_t", "fzgw_helper_t", "netlink_route_socket")


def test_helper_has_only_the_ioctls_of_its_own_filter_on_the_tunnel_device(policy):
    found = rules(policy, kind="allowxperm", source="fzgw_helper_t", target="tun_tap_device_t")
    numbers = {number for rule in found for number in rule.perms}
    source = (HERE.parent / "privileged" / "sandbox.c").read_text()
    names = set(re.findall(r"SCMP_SYS\(ioctl\)[^}]*\b(TUN\w+)", source))
    header = pathlib.Path("/usr/include/linux/if_tun.h").read_text()
    wanted = {0x5400 + int(re.search(rf"#define\s+{name}\s+_IO\w*\('T',\s*(\d+)", header).group(1)) for name in names}
    assert wanted and numbers == wanted, (names, [hex(number) for number in numbers])


@pytest.mark.parametrize("target", ["fzgw_helper_t", "fzgw_worker_t"])
def test_start_enters_by_a_plain_change_and_under_no_new_privs(policy, target):
    assert "transition" in perms(policy, "fzgw_start_t", target, "process")
    assert "nnp_transition" in perms(policy, "fzgw_start_t", target, "process2")
    entry = target.replace("_t", "_exec_t")
    assert [str(rule.default) for rule in rules(policy, kind="type_transition", source="fzgw_start_t", target=entry,
                                                tclass=["process"])] == [target]


def test_init_enters_the_start_domain(policy):
    entered = [str(rule.default) for rule in rules(policy, kind="type_transition", source="init_t",
                                                   target="fzgw_start_exec_t", tclass=["process"])]
    assert entered == ["fzgw_start_t"]
    assert "nnp_transition" in perms(policy, "init_t", "fzgw_start_t", "process2")


def test_none_of_the_domains_is_unconfined_or_permissive(policy):
    unconfined = {str(member) for member in policy.lookup_typeattr("unconfined_domain_type").expand()}
    permissive = {str(name) for name in policy.types() if name.ispermissive}
    assert not {"fzgw_start_t", "fzgw_helper_t", "fzgw_worker_t"} & (unconfined | permissive)


@pytest.mark.parametrize("path,wanted", [
    ("/usr/bin/firezone-gateway", "fzgw_start_exec_t"),
    ("/usr/libexec/firezone-gateway/firezone-gateway-helper", "fzgw_helper_exec_t"),
    ("/usr/libexec/firezone-gateway/firezone-gateway-worker", "fzgw_worker_exec_t"),
    ("/opt/firezone/bin/firezone-gateway", "fzgw_start_exec_t"),
    ("/opt/firezone/libexec/firezone-gateway/firezone-gateway-helper", "fzgw_helper_exec_t"),
    ("/opt/firezone/libexec/firezone-gateway/firezone-gateway-worker", "fzgw_worker_exec_t"),
    ("/etc/firezone/gateway-token", "fzgw_etc_t"),
    ("/var/lib/firezone/gateway_id", "fzgw_var_lib_t"),
    ("/var/log/firezone-gateway-audit.log", "fzgw_log_t"),
])
def test_path_gets_its_type(linked, path, wanted):
    contexts = linked / "etc/selinux/default/contexts/files/file_contexts"
    out = must("matchpathcon", "-m", "file", "-f", contexts, path)
    assert out.split()[-1].split(":")[2] == wanted
