"""What the routers of the network may do beyond masquerading: forget, map anew, be symmetric, forward ports.

Linux keeps the source port where it is free and lets in answers only: as long as nothing here is used, `cnat` and
`gnat` map by endpoint-independent luck and filter by address and port. All of this is about IPv4.
"""

import net

# Asks the kernel to forget every IPv4 flow of the namespace: what conntrack -F does, which Debian does not install.
FORGET = """
import socket, struct
NETLINK_NETFILTER, DELETE, REQUEST_ACK = 12, 1 << 8 | 2, 5
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
    sock.send(struct.pack("=IHHIIBBH", 20, DELETE, REQUEST_ACK, 1, 0, socket.AF_INET, 0, 0))
    code = struct.unpack_from("=i", sock.recv(4096), 16)[0]
    assert code == 0, code
"""


def restore(network, *routers):
    """As the network was made."""
    for router in routers:
        for table in ("mapping", "forwarded"):
            network.run(router, "nft", "delete table ip " + table, check=False)
        forget(network, router)


def forget(network, router):
    network.run(router, net.PYTHON, "-c", FORGET)


def rebind(network, router, ports):
    """The router loses its mappings and gives each flow of UDP another port of a range (text: first-last)."""
    mapping(network, router, f"meta l4proto udp masquerade to :{ports}")
    forget(network, router)


def symmetric(network, router):
    """A random port for each destination: address- and port-dependent mapping, and filtering as ever."""
    mapping(network, router, "masquerade random,fully-random")
    forget(network, router)


def mapping(network, router, rule):
    """In place of what NAT_RULES says, which never sees a flow that has been mapped here."""
    network.run(router, "nft", "-f", "-", stdin=f"""
table ip mapping
delete table ip mapping
table ip mapping {{
	chain postrouting {{
		type nat hook postrouting priority srcnat - 1;
		oifname wan {rule}
	}}
}}
""")


def forward(network, router, ports, host):
    """Anybody may send to these UDP ports (text) of the router: they are the host's."""
    network.run(router, "nft", "-f", "-", stdin=f"""
table ip forwarded {{
	chain prerouting {{
		type nat hook prerouting priority dstnat;
		iifname wan udp dport {ports} dnat to {host}
	}}
}}
insert rule inet filter forward ct status dnat accept
""")


def mapped_ports(network, router, port):
    """What a port behind the router is called outside: {(address, port) of the other end: port}."""
    found = {}
    for line in network.run(router, "cat", "/proc/net/nf_conntrack").stdout.splitlines():
        words = dict(word.split("=", 1) for word in reversed(line.split()) if "=" in word)
        if "ipv4" in line and " udp " in line and words["sport"] == str(port):
            last = [word.split("=")[1] for word in line.split() if word.startswith("dport=")][-1]
            found[words["dst"], int(words["dport"])] = int(last)
    return found
