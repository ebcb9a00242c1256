/*
 * The contract between the helper, which holds a capability, and the worker, which faces the
 * network.
 *
 * Theory of operation. The two share one SOCK_SEQPACKET pair. The worker sends one request as one
 * datagram; the helper answers it with one datagram of struct ipc_reply, descriptors riding along
 * as SCM_RIGHTS. One request is under way at a time. A request is a header and the body of its
 * type, and its length must be exactly ipc_request_size(type); there are no pointers and no lengths
 * inside, and every reserved byte, unused tail of an array and unused address byte is zero. A frame
 * that breaks these rules (ipc_request_read()) ends the helper; one that asks for too much is
 * answered with an error and the helper lives on. The first request must be IPC_HELLO; it states
 * the version and the policy, once.
 *
 * Integers are in the machine's byte order (both ends are one build), ports in host order,
 * addresses in network order: IPv4 in the first 4 of 16 bytes, the rest zero. Families are written
 * 4 and 6.
 *
 * Errors in replies: EPERM outside of policy; EAGAIN too often; EDQUOT too many requests of all
 * types together; ENOBUFS no room in the audit log, so nothing was done; otherwise what the system
 * call said.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define IPC_MUST_CHECK __attribute__((warn_unused_result))

enum ipc_limits {
	IPC_VERSION = 1,
	IPC_MAX_FDS = 16,             /* in one reply; requests carry none */
	IPC_MAX_FILES = 4,            /* in the policy's table */
	IPC_PATH_SIZE = 256,          /* with the terminating zero */
	IPC_TEXT_SIZE = 256,          /* of a request in JSON */
	IPC_NAME_SIZE = 16,           /* an interface's name, with the terminating zero */
	IPC_MAX_FILE_BYTES = 1 << 20, /* of a file that file-open hands out */
};

/* Compiled in on both sides; the policy cannot change them. */
enum ipc_fixed {
	IPC_DNS_PORT = 53535, /* the gateway's own resolver on the tunnel address */
	IPC_MTU_MIN = 1280,
	IPC_MTU_MAX = 1500,
	IPC_UDP_PORT_DEFAULT = 52625,
	IPC_RECEIVE_BUFFER_DEFAULT = 16 << 20,
	IPC_SEND_BUFFER_DEFAULT = 2 << 20,
	IPC_VNET_HEADER_SIZE = 10, /* of every packet on the TUN fd */
};

#define IPC_MARK             UINT32_C(0xfd002021) /* on every socket that must bypass the tunnel */
#define IPC_LISTENER_MARK    UINT32_C(0xfd002022) /* on the resolver's, which must not leave it */
#define IPC_TUN_NAME_DEFAULT "tun-firezone"

/* The descriptors of the helper at its start, beside 0 to 2. */
enum ipc_start_fds {
	IPC_FD_SOCKET = 3, /* its end of the pair */
	IPC_FD_AUDIT = 4,  /* where its audit lines go: pipe, socket, file or terminal */
};

enum ipc_type {
	IPC_HELLO = 1,     /* no fd */
	IPC_TUN_OPEN,      /* the TUN */
	IPC_TUN_CONFIGURE, /* no fd */
	IPC_UDP_OPEN,      /* as many as asked for */
	IPC_DNS_LISTEN,    /* UDP, then listening TCP */
	IPC_TCP_CONNECT,   /* one, connecting */
	IPC_ROUTE_OPEN,    /* lookups, then events */
	IPC_FILE_OPEN,     /* one, for reading */
	IPC_TYPE_END,
};

enum ipc_udp_role {
	IPC_UDP_PEER = 1, /* bound, for STUN, TURN and WireGuard; count must be 1 */
	IPC_UDP_DNS = 2,  /* unbound, one query each */
};

enum ipc_tcp_role {
	IPC_TCP_PORTAL = 1,
	IPC_TCP_DNS = 2,
};

enum ipc_capability {
	IPC_CAP_NET_ADMIN = 1,
};

enum ipc_offload {
	IPC_OFFLOAD_CSUM = 1,
	IPC_OFFLOAD_TSO = 2, /* both families */
	IPC_OFFLOAD_USO = 4, /* both families */
};

enum ipc_family_bit {
	IPC_FAMILY_V4 = 1,
	IPC_FAMILY_V6 = 2,
};

/* Places in the policy's file table. */
enum ipc_file {
	IPC_FILE_RESOLV_CONF = 0,
	IPC_FILE_HOSTS = 1,
};

/* What the front tells the helper; it can only narrow what the helper has compiled in. */
struct ipc_policy {
	char tun_name[IPC_NAME_SIZE]; /* "tun-" and at least one letter, digit, '-' or '_' */
	uint32_t receive_buffer;      /* bytes, at most 128 MiB */
	uint32_t send_buffer;         /* bytes, at most 128 MiB */
	uint16_t portal_port;
	uint16_t udp_port;    /* preferred one of the peer sockets, at least 1024 */
	uint8_t loopback_tcp; /* 1: the portal may be on a loopback or link-local address */
	uint8_t file_count;
	uint8_t reserved[2];
	char files[IPC_MAX_FILES][IPC_PATH_SIZE]; /* absolute */
};

struct ipc_hello {
	uint32_t version;
	struct ipc_policy policy;
};

/* What all other requests ask for, with the types that use a member; to the others it is zero. */
struct ipc_args {
	uint8_t family; /* udp-open, dns-listen, tcp-connect */
	uint8_t role;   /* udp-open, tcp-connect */
	uint8_t number; /* udp-open: how many; file-open: place in the table */
	uint8_t reserved;
	uint16_t port; /* tcp-connect */
	uint16_t mtu;  /* tun-configure */
	uint8_t v4[4]; /* tun-configure: own address */
	uint8_t
	    local[16]; /* tun-configure: own IPv6 address; dns-listen: where; tcp-connect: source */
	uint8_t remote[16]; /* tcp-connect: destination */
};

struct ipc_request {
	uint32_t type; /* enum ipc_type */
	uint32_t seq;  /* the reply repeats it */
	union {
		struct ipc_hello hello;
		struct ipc_args args;
	};
};

struct ipc_hello_reply {
	uint32_t version;
	uint32_t capabilities; /* bits of enum ipc_capability that the helper really has */
	int32_t tun_error;     /* 0, or the errno of opening /dev/net/tun */
	uint32_t reserved;
};

struct ipc_reply {
	uint32_t type; /* as in the request */
	uint32_t seq;
	int32_t error; /* 0 or a positive errno; then there are no fds and the rest is zero */
	uint32_t fd_count;
	union {
		struct ipc_hello_reply hello;
		struct {
			uint32_t ifindex;
			uint32_t offloads; /* bits of enum ipc_offload */
		} tun_open;
		struct {
			uint32_t families; /* bits of enum ipc_family_bit that work */
		} tun_configure;
		struct {
			uint16_t port; /* role peer: the bound one; else 0 */
		} udp_open;
		uint8_t bytes[16];
	};
};

static_assert(sizeof(struct ipc_policy) == 32 + IPC_MAX_FILES * IPC_PATH_SIZE, "no padding");
static_assert(sizeof(struct ipc_hello) == 4 + sizeof(struct ipc_policy), "no padding");
static_assert(sizeof(struct ipc_args) == 44, "no padding");
static_assert(sizeof(struct ipc_request) == 8 + sizeof(struct ipc_hello), "no padding");
static_assert(sizeof(struct ipc_reply) == 32, "no padding");

/* The exact length of a request of @type, or 0 if there is no such type. */
size_t ipc_request_size(uint32_t type);

/* The request's name in the audit log ("udp-open"), or "unknown". */
const char *ipc_type_name(uint32_t type);

/*
 * What a request asks for, as JSON members ("\"family\":4,..."); of the greeting the policy's
 * numbers. Cut off if longer than @size, which does not happen from IPC_TEXT_SIZE on.
 */
void ipc_request_text(char *out, size_t size, const struct ipc_request *request);

/*
 * Check one received frame: type, exact length, no descriptors, version, reserved bytes, enums,
 * counts, flags, strings ended by a zero with only zeros behind. Pure; knows nothing of policy.
 *
 * @fds: how many descriptors came with it.
 * Returns 0, or with *@out untouched -EPROTO (frame is malformed) or -EPROTONOSUPPORT (greeting of
 * another version).
 */
IPC_MUST_CHECK int ipc_request_read(struct ipc_request *out, const uint8_t *buf, size_t len,
				    unsigned int fds);

#endif
