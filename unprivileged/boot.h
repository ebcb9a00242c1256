/*
 * What the front hands to the worker: one struct of fixed size in a sealed memory file, beside the
 * fds of enum boot_fd.
 *
 * No pointers, texts are NUL-terminated, reserved and unused bytes are zero. It holds the token:
 * every reader wipes its copy (boot_wipe()) as soon as it has taken what it needs. Nothing of it is
 * in the environment or the arguments of any process.
 */
#ifndef BOOT_H
#define BOOT_H

#include "base/defs.h"
#include "ipc/ipc.h"

/* Where the worker finds its fds after the exec; 0-2 are as the front was given them, all others
 * are closed. */
enum boot_fd {
	BOOT_FD_HELPER = 3, /* SOCK_SEQPACKET, the helper is greeted already */
	BOOT_FD_BOOT = 4,   /* the sealed memory file */
	BOOT_FD_HEALTH = 5, /* bound and listening TCP socket; absent when boot.health_fd is -1 */
};

enum {
	BOOT_MAGIC = 0x465a4757,
	BOOT_VERSION = 1,
	BOOT_URL_SIZE = 1024,
	BOOT_ID_SIZE = 1024, /* 255 characters of UTF-8, the portal's limit */
	BOOT_NAME_SIZE = 1024,
	BOOT_USER_AGENT_SIZE = 256,
	BOOT_TOKEN_SIZE = 1024,
	BOOT_FILTER_SIZE = 1024,
	BOOT_ADDR_SIZE = 64,
	BOOT_PATH_SIZE = 1024,
};

struct boot {
	uint32_t magic, version, size;

	/* As the operator gave it, checked: ws, wss, http or https and a host. */
	char api_url[BOOT_URL_SIZE];
	/* The form that is sent (spec portal 2.2); any bytes but NUL. */
	char external_id[BOOT_ID_SIZE];
	char name[BOOT_NAME_SIZE];
	char user_agent[BOOT_USER_AGENT_SIZE];
	/* Printable ASCII without blanks, never empty. */
	char token[BOOT_TOKEN_SIZE];

	/* enum log_format; the filter has "flow_logs=trace" at its end if the operator asked for
	 * flow logs. */
	uint32_t log_format;
	char log_filter[BOOT_FILTER_SIZE];

	/* "ip:port" for the log, and the listener: BOOT_FD_HEALTH or -1 when it could not be bound.
	 */
	char health_addr[BOOT_ADDR_SIZE];
	int32_t health_fd;

	/* How long the first connection to the portal, and a reconnection, may be tried. 0: no
	 * second try. */
	uint64_t first_connect_us, max_partition_us;

	/* What SSL_CERT_FILE and SSL_CERT_DIR (one directory, or several with colons) say; "" when
	 * not given. */
	char ca_file[BOOT_PATH_SIZE];
	char ca_dir[BOOT_PATH_SIZE];

	/* Socket buffers of the peer sockets in bytes, as the helper was told. */
	uint32_t udp_send_buffer, udp_recv_buffer;

	/* The helper's answer to the greeting, and the sequence number that the next request
	 * follows. */
	struct ipc_hello_reply helper;
	uint32_t helper_seq;

	uint8_t flow_logs, no_gso, no_udp_coalesce, validate_checksums;
	/* FIREZONE_SANDBOX=strict: namespaces and Landlock's file rules are mandatory. */
	uint8_t sandbox_strict;
	/* What a child of the front could do without being killed for it. */
	uint8_t may_unshare, may_landlock;
	/* A page of numbers on the health port, for this host only. */
	uint8_t metrics;
	uint8_t reserved[8];
};

/* A zeroed struct with magic, version, size and "no listener" set. */
void boot_init(struct boot *boot);

/*
 * Write @boot into a new memory file and seal it against every change. Returns the fd
 * (close-on-exec; the caller owns it) or a negative errno.
 */
MUST_CHECK int boot_seal(const struct boot *boot);

/*
 * Read the struct back. 0, or -EBADMSG when the file is not of our making: not sealed, of another
 * size or version, a text without its end. @fd stays open and the caller's; *out is wiped on
 * failure.
 */
MUST_CHECK int boot_read(int fd, struct boot *out);

void boot_wipe(struct boot *boot);

#endif
