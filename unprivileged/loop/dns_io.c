/*
 * Theory of operation. Every question has a descriptor of its own. For UDP that is a socket out of
 * a pool which the helper fills: marked, never bound by us, so that the kernel draws a fresh source
 * port at the first and only send. For TCP it is a connection that the helper has started. Both
 * leave by the source that the route cache says, like all other traffic.
 *
 * Clients can make us ask as often as they like, so whoever asks for them has limits: on questions
 * at a time, on the last sockets of a pool, and on connections, which the helper rations. The
 * worker's own resolver always finds something left.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dns/framing.h"
#include "loop/internal.h"

enum {
	MAX_FORWARDED = 1000, /* questions at a time; fewer where descriptors are few */
	MIN_FORWARDED = 16,
	MAX_RANKING = 32,
	MAX_TCP_RESOLVER = 16, /* connections at a time: each may hold 64 KiB */
	MAX_TCP_FORWARDED = 32,
	MAX_TCP_RANKING = 16,
	/* The prison raises the soft limit of descriptors to the hard one, up to this. What else
	 * the worker holds: peers' and clients' sockets, portal, health. */
	DESCRIPTORS = 4096,
	OTHER_DESCRIPTORS = 512,
	RESERVE = DNS_POOL, /* of each pool, not for clients; when it begins more are asked for */
	POOL_SIZE = RESERVE + DNS_POOL,
	REFILL_GAP_MS = 40, /* the helper makes one batch in 32 ms */
	/* Of the helper's connections (64 at once, one in 31 ms) so many are for clients. */
	TCP_COST_MS = 50,
	TCP_BURST_MS = 40 * TCP_COST_MS,
	BUCKETS = 256,
	FIRST_READ = 2048, /* bytes of a TCP answer before its length is known */
	ERRORS_AT_ONCE = 32,
};

/* One question to one server. */
struct exchange {
	struct dns_io *io;
	struct exchange *next; /* in its bucket, or among the free ones */
	enum dns_asker who;
	uint32_t id;
	bool tcp;
	int fd;
	struct event event;
	struct endpoint server;
	/* TCP: what is left to be sent, then what has come. */
	bool sent;
	uint8_t *buf;
	size_t at, len, cap;
};

/* One send or connection, while it is tried. */
struct attempt {
	struct exchange *x;
	const struct dns_exchange *ask;
};

struct pool {
	int fds[POOL_SIZE];
	size_t n;
	uint64_t retry_us;     /* no sooner after a refusal */
	uint64_t tcp_ready_us; /* when the allowance of connections is whole again */
};

/* How many one asker may have. */
struct share {
	size_t open, max;
	size_t tcp_open, tcp_max;
};

struct dns_io {
	struct loop *l;
	struct pool pools[2];
	struct share shares[DNS_ASKERS];
	struct exchange *buckets[BUCKETS], *unused, *exchanges;
	uint8_t message[DNS_FRAME_MAX]; /* the one that an asker is being told of */
};

static size_t family_of(const struct endpoint *server)
{
	return server->ip.family == IP_V4 ? 0 : 1;
}

/* --- the table --- */

static struct exchange **bucket_of(struct dns_io *io, enum dns_asker who, uint32_t id)
{
	return &io->buckets[(id + (uint32_t)who * (BUCKETS / DNS_ASKERS)) % BUCKETS];
}

static struct exchange *find(struct dns_io *io, enum dns_asker who, uint32_t id)
{
	struct exchange *x = *bucket_of(io, who, id);

	while (x && (x->id != id || x->who != who))
		x = x->next;
	return x;
}

/* A place in the table; NULL when the asker has its share. */
static struct exchange *open_exchange(struct dns_io *io, enum dns_asker who,
				      const struct dns_exchange *ask)
{
	struct share *share = &io->shares[who];
	struct exchange **bucket = bucket_of(io, who, ask->id);
	struct exchange *x = io->unused;

	if (!x || share->open == share->max || (ask->tcp && share->tcp_open == share->tcp_max))
		return NULL;
	io->unused = x->next;
	*x = (struct exchange){.io = io,
			       .next = *bucket,
			       .who = who,
			       .id = ask->id,
			       .tcp = ask->tcp,
			       .fd = -1,
			       .server = ask->server};
	*bucket = x;
	share->open++;
	share->tcp_open += ask->tcp;
	return x;
}

static void close_exchange(struct exchange *x)
{
	struct dns_io *io = x->io;
	struct share *share = &io->shares[x->who];
	struct exchange **at = bucket_of(io, x->who, x->id);

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	if (x->fd >= 0) {
		event_del(&x->event);
		close(x->fd);
	}
	free(x->buf);
	x->buf = NULL;
	share->open--;
	share->tcp_open -= x->tcp;
	x->next = io->unused;
	io->unused = x;
}

static void tell(struct dns_io *io, enum dns_asker who, const struct dns_reply *reply)
{
	switch (who) {
	case DNS_ASKER_RESOLVER:
		names_reply(io->l, reply);
		break;
	case DNS_ASKER_FORWARDER:
	case DNS_ASKER_RANKING:
		forward_reply(io->l, who, reply);
		break;
	case DNS_ASKERS:
		break;
	}
}

static void fail(struct exchange *x)
{
	struct dns_io *io = x->io;
	enum dns_asker who = x->who;
	struct dns_reply reply = {.id = x->id, .failed = true, .tcp = x->tcp, .src = x->server};

	close_exchange(x);
	tell(io, who, &reply);
}

/* Waits for @what on x->fd; replaces what it waited for before. */
static bool wait_for(struct exchange *x, short what, event_callback_fn callback)
{
	return event_assign(&x->event, x->io->l->base, x->fd, (short)(what | EV_PERSIST), callback,
			    x) == 0 &&
	       event_add(&x->event, NULL) == 0;
}

/* --- UDP --- */

/* New sockets as far as there is room for them and the helper is willing. */
static void refill(struct dns_io *io, size_t family)
{
	static const uint8_t families[2] = {IP_V4, IP_V6};
	struct pool *pool = &io->pools[family];
	unsigned int n = 0;

	if (pool->n > RESERVE || now_us() < pool->retry_us)
		return;
	if (helper_udp_open(&io->l->helper, families[family], IPC_UDP_DNS, DNS_POOL,
			    pool->fds + pool->n, &n, NULL) == 0)
		pool->n += n;
	else
		pool->retry_us = now_us() + REFILL_GAP_MS * US_PER_MS;
}

static int take_socket(struct dns_io *io, enum dns_asker who, size_t family)
{
	static const size_t left[DNS_ASKERS] = {
	    [DNS_ASKER_RESOLVER] = 0,
	    [DNS_ASKER_FORWARDER] = RESERVE,
	    [DNS_ASKER_RANKING] = RESERVE / 2,
	};
	struct pool *pool = &io->pools[family];

	refill(io, family);
	if (pool->n <= left[who])
		return -1;
	return pool->fds[--pool->n];
}

/* A message of the error queue that is about what was sent to the server. It is of no matter to a
 * query that it would have been too long. */
static bool is_about(const struct exchange *x, struct msghdr *msg)
{
	struct endpoint to;

	if (!endpoint_of(&to, msg->msg_name) || to.port != x->server.port ||
	    !ip_eq(&to.ip, &x->server.ip))
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct sock_extended_err e;

		if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
		    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			continue;
		if (c->cmsg_len < CMSG_LEN(sizeof(e)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin != SO_EE_ORIGIN_NONE && e.ee_errno != 0 && e.ee_errno != EMSGSIZE)
			return true;
	}
	return false;
}

/* Empties the error queue. An ICMP error that names somebody else was not made for our query. */
static bool was_refused(const struct exchange *x)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[256];
	} control;
	struct sockaddr_storage to;
	bool refused = false;

	for (int i = 0; i < ERRORS_AT_ONCE; i++) {
		struct msghdr msg = {
		    .msg_name = &to,
		    .msg_namelen = sizeof(to),
		    .msg_control = control.bytes,
		    .msg_controllen = sizeof(control.bytes),
		};

		memset(&to, 0, sizeof(to));
		if (recvmsg(x->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		refused = is_about(x, &msg) || refused;
	}
	return refused;
}

static ssize_t receive(struct exchange *x, struct endpoint *src)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	socklen_t ss_len = sizeof(ss);
	ssize_t n = recvfrom(x->fd, x->io->message, sizeof(x->io->message), MSG_DONTWAIT,
			     (struct sockaddr *)&ss, &ss_len);

	return n >= 0 && !endpoint_of(src, &ss) ? 0 : n;
}

static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *x = arg;
	struct dns_io *io = x->io;
	struct dns_reply reply = {.id = x->id, .data = io->message};
	bool refused = false;
	ssize_t n = receive(x, &reply.src);

	(void)fd;
	(void)what;
	if (n < 0) {
		/* An answer that is there already counts more than an error. */
		refused = was_refused(x);
		n = receive(x, &reply.src);
	}
	reply.len = n > 0 ? (size_t)n : 0;
	if (n > 0)
		tell(io, x->who, &reply);
	else if (n < 0 && refused)
		fail(x);
	loop_settle(io->l);
}

/* From the source that the cache chose; another one if that turns out to be stale. */
static bool send_pinned(struct exchange *x, const struct dns_exchange *ask,
			const struct factory_route *route,
			int (*try_send)(void *ctx, const struct ip_addr *source, bool uncut))
{
	struct factory_send s = {
	    .dst = ask->server,
	    .source = route->source,
	    .generation = route->generation,
	    .try_send = try_send,
	    .ctx = &(struct attempt){.x = x, .ask = ask},
	};

	return factory_send(x->io->l->factory, &s, now_us()) == FACTORY_SENT;
}

static int try_udp(void *ctx, const struct ip_addr *source, bool uncut)
{
	const struct attempt *a = ctx;
	const struct endpoint src = {.ip = *source};

	(void)uncut;
	return send_from(a->x->fd, &src, &a->ask->server, 0, a->ask->data, a->ask->len, 0);
}

static bool start_udp(struct exchange *x, const struct dns_exchange *ask,
		      const struct factory_route *route)
{
	x->fd = take_socket(x->io, x->who, family_of(&ask->server));
	return x->fd >= 0 && wait_for(x, EV_READ, on_datagram) &&
	       send_pinned(x, ask, route, try_udp);
}

/* --- TCP --- */

/* Tells of each whole message. False: @x is gone, or has to go. */
static bool tell_messages(struct exchange *x)
{
	struct dns_io *io = x->io;
	enum dns_asker who = x->who;
	struct dns_reply reply = {.id = x->id, .tcp = true, .src = x->server, .data = io->message};
	const uint8_t *message;
	size_t used = dns_frame_read(x->buf, x->len, &message, &reply.len);

	while (used > 0) {
		memcpy(io->message, message, reply.len);
		memmove(x->buf, x->buf + used, x->len - used);
		x->len -= used;
		tell(io, who, &reply);
		if (find(io, who, reply.id) != x)
			return false;
		used = dns_frame_read(x->buf, x->len, &message, &reply.len);
	}
	return true;
}

/* Room for the whole message as soon as its length is known. */
static bool make_room(struct exchange *x)
{
	size_t wanted = dns_frame_wanted(x->buf, x->len);
	uint8_t *more;

	if (wanted <= x->cap)
		return true;
	more = realloc(x->buf, wanted);
	if (!more)
		return false;
	x->buf = more;
	x->cap = wanted;
	return true;
}

static void on_stream(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *x = arg;
	struct loop *l = x->io->l;
	ssize_t n = recvfrom(fd, x->buf + x->len, x->cap - x->len, MSG_DONTWAIT, NULL, NULL);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		x->len += (size_t)n;
	if (n <= 0 || (tell_messages(x) && !make_room(x)))
		fail(x);
	loop_settle(l);
}

/* All is sent: the buffer is for the answer now. */
static bool expect_answer(struct exchange *x)
{
	uint8_t *buf = malloc(FIRST_READ);

	if (!buf)
		return false;
	free(x->buf);
	x->buf = buf;
	x->cap = FIRST_READ;
	x->at = x->len = 0;
	event_del(&x->event);
	return wait_for(x, EV_READ, on_stream);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *x = arg;
	struct loop *l = x->io->l;
	int error = 0;
	socklen_t len = sizeof(error);
	ssize_t n;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
		fail(x);
		loop_settle(l);
		return;
	}
	n = sendto(fd, x->buf + x->at, x->len - x->at, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		x->at += (size_t)n;
	if (n <= 0 || (x->at == x->len && !expect_answer(x)))
		fail(x);
	loop_settle(l);
}

static bool tcp_allowed(struct dns_io *io, enum dns_asker who, size_t family)
{
	uint64_t now = now_us(), *ready = &io->pools[family].tcp_ready_us;
	uint64_t after = (*ready > now ? *ready : now) + TCP_COST_MS * US_PER_MS;

	if (who != DNS_ASKER_FORWARDER)
		return true;
	if (after - now > TCP_BURST_MS * US_PER_MS)
		return false;
	*ready = after;
	return true;
}

/* A connection that is being made; only what a stale source may cause concerns the cache. */
static int try_tcp(void *ctx, const struct ip_addr *source, bool uncut)
{
	const struct attempt *a = ctx;
	const struct endpoint *server = &a->ask->server;
	uint8_t from[16], to[16];
	int rc;

	(void)uncut;
	bytes_of(from, source);
	bytes_of(to, &server->ip);
	rc = helper_tcp_connect(&a->x->io->l->helper, server->ip.family, from, to, server->port,
				IPC_TCP_DNS, &a->x->fd);
	if (rc == 0 || rc == -EADDRNOTAVAIL || rc == -ENETUNREACH || rc == -EINVAL)
		return rc;
	return -ECANCELED;
}

/* The helper's request has no room for a link-local server's scope: it cannot be reached so. */
static bool start_tcp(struct exchange *x, const struct dns_exchange *ask,
		      const struct factory_route *route)
{
	if (ask->server.scope != 0 || ask->len > UINT16_MAX ||
	    !tcp_allowed(x->io, x->who, family_of(&ask->server)))
		return false;
	x->cap = DNS_FRAME_HEADER + ask->len;
	x->buf = malloc(x->cap);
	if (!x->buf)
		return false;
	x->len = dns_frame_write(x->buf, x->cap, ask->data, ask->len);
	if (x->len == 0)
		return false;
	return send_pinned(x, ask, route, try_tcp) && wait_for(x, EV_WRITE, on_writable);
}

/* --- for the askers --- */

bool dns_io_start(struct dns_io *io, enum dns_asker who, const struct dns_exchange *ask)
{
	struct exchange *x = open_exchange(io, who, ask);
	struct factory_route route;
	bool started;

	if (who != DNS_ASKER_RANKING)
		io->l->names_asked = true;
	if (!x)
		return false;
	started = factory_resolve(io->l->factory, &ask->server.ip, ask->server.scope, now_us(),
				  &route) == FACTORY_OK;
	if (started)
		started = ask->tcp ? start_tcp(x, ask, &route) : start_udp(x, ask, &route);
	if (!started)
		close_exchange(x);
	return started;
}

void dns_io_stop(struct dns_io *io, enum dns_asker who, uint32_t id)
{
	struct exchange *x = find(io, who, id);

	if (x)
		close_exchange(x);
}

void dns_io_refill(struct dns_io *io)
{
	for (size_t i = 0; i < 2; i++) {
		io->pools[i].retry_us = 0;
		if (io->l->udp[i].fd >= 0)
			refill(io, i);
	}
}

/* --- life --- */

/* As many as the descriptors allow: all limits are reached before the last one is gone. */
static size_t forwarded_max(void)
{
	struct rlimit files = {.rlim_max = DESCRIPTORS};
	size_t fixed = OTHER_DESCRIPTORS + 2 * POOL_SIZE + DNS_QUERIES + MAX_RANKING, left;

	(void)!getrlimit(RLIMIT_NOFILE, &files);
	left = min_size(files.rlim_max, DESCRIPTORS);
	left = left > fixed ? left - fixed : 0;
	return left < MIN_FORWARDED ? MIN_FORWARDED : min_size(left, MAX_FORWARDED);
}

struct dns_io *dns_io_new(struct loop *l)
{
	struct dns_io *io = calloc(1, sizeof(*io));
	size_t n = 0;

	if (!io)
		return NULL;
	io->l = l;
	io->shares[DNS_ASKER_RESOLVER] =
	    (struct share){.max = DNS_QUERIES, .tcp_max = MAX_TCP_RESOLVER};
	io->shares[DNS_ASKER_FORWARDER] =
	    (struct share){.max = forwarded_max(), .tcp_max = MAX_TCP_FORWARDED};
	io->shares[DNS_ASKER_RANKING] =
	    (struct share){.max = MAX_RANKING, .tcp_max = MAX_TCP_RANKING};
	for (size_t i = 0; i < DNS_ASKERS; i++)
		n += io->shares[i].max;
	io->exchanges = calloc(n, sizeof(*io->exchanges));
	if (!io->exchanges) {
		free(io);
		return NULL;
	}
	while (n > 0) {
		struct exchange *x = &io->exchanges[--n];

		x->next = io->unused;
		io->unused = x;
	}
	return io;
}

void dns_io_free(struct dns_io *io)
{
	if (!io)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (io->buckets[i])
			close_exchange(io->buckets[i]);
	for (size_t i = 0; i < 2; i++)
		while (io->pools[i].n > 0)
			close(io->pools[i].fds[--io->pools[i].n]);
	free(io->exchanges);
	free(io);
}
