#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	NL_BUFFER = 32768,
	MAX_READS = 256,       /* of one drain; the rest wakes us again */
	MAX_LATE_READS = 8192, /* after an overrun: more than the socket's buffer holds */
	DUMP_TRIES = 3,        /* while the network changes under the dump */
};

/* What one drain of the event socket came to. */
struct drained {
	bool counts; /* routes may have changed, because of: */
	enum factory_cause cause;
	bool lost; /* events, or what one of them said */
	bool dead; /* the socket, with: */
	int error;
};

/* One datagram of the kernel's; -EPROTO if it is somebody else's or does not fit. */
static int receive(struct loop *l, uint8_t *buf, size_t cap)
{
	struct sockaddr_nl from = {.nl_family = AF_UNSPEC};
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(l->nl_lookup, buf, cap, MSG_DONTWAIT | MSG_TRUNC,
			     (struct sockaddr *)&from, &from_len);

	if (n < 0)
		return -errno;
	return from.nl_pid != 0 || (size_t)n > cap ? -EPROTO : (int)n;
}

/* Send one request and receive the first datagram of the answer: its length, or a negative errno.
 */
static int ask(struct loop *l, const uint8_t *request, size_t len, uint8_t *buf, size_t cap)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int n;

	/* An answer to an earlier request that nobody waited for must not be taken for this one's.
	 */
	do {
		n = receive(l, buf, cap);
	} while (n > 0 || n == -EPROTO);
	if (sendto(l->nl_lookup, request, len, MSG_DONTWAIT, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	return receive(l, buf, cap);
}

/* 0, or a negative errno; -ESTALE: the network changed meanwhile. */
static int read_dump(struct loop *l, enum nl_dump what)
{
	uint8_t request[NL_MAX_REQUEST], buf[NL_BUFFER];
	struct nl_msg msg;
	size_t len = nl_write_dump(request, sizeof(request), ++l->nl_seq, what);
	int n = ask(l, request, len, buf, sizeof(buf));
	bool interrupted = false;

	while (n > 0) {
		size_t at = 0;
		bool bad = false;

		while (nl_next(&msg, buf, (size_t)n, &at, &bad)) {
			interrupted = interrupted || msg.interrupted;
			if (msg.kind == NL_ERROR || (msg.kind == NL_DONE && msg.error != 0))
				return -msg.error;
			if (msg.kind == NL_DONE)
				return interrupted ? -ESTALE : 0;
			network_dumped(l->network, &msg);
		}
		n = bad ? -EPROTO : receive(l, buf, sizeof(buf));
	}
	return n < 0 ? n : -EPROTO;
}

/* Links and addresses anew. What a failed dump leaves out counts as a change when it is next heard
 * of. */
static int read_network(struct loop *l)
{
	int rc = -ESTALE;

	for (int i = 0; i < DUMP_TRIES && rc == -ESTALE; i++) {
		network_dump_begin(l->network);
		rc = read_dump(l, NL_DUMP_LINKS);
		if (rc == 0)
			rc = read_dump(l, NL_DUMP_ADDRESSES);
		network_dump_end(l->network);
	}
	return rc == -ESTALE ? 0 : rc;
}

static void resync(struct loop *l)
{
	int rc = read_network(l);

	if (rc < 0)
		log_at(l->log, LOG_DEBUG, "firezone_gateway", "Network cannot be read anew",
		       KV_INT("errno", -rc));
}

static void take_events(struct loop *l, const uint8_t *buf, size_t len, struct drained *d)
{
	enum factory_cause cause;
	struct nl_msg msg;
	size_t at = 0;
	bool bad = false;

	while (nl_next(&msg, buf, len, &at, &bad)) {
		if (!network_event(l->network, &msg, &cause) || d->counts)
			continue;
		d->counts = true;
		d->cause = cause;
	}
	d->lost = d->lost || bad;
}

/* After an overrun to the very end: what was queued before the loss must not come after the dump.
 */
static void read_events(struct loop *l, struct drained *d)
{
	uint8_t buf[NL_BUFFER];

	for (int i = 0; i < (d->lost ? MAX_LATE_READS : MAX_READS); i++) {
		ssize_t n = recv(l->nl_events, buf, sizeof(buf), MSG_DONTWAIT);

		if (n > 0) {
			take_events(l, buf, (size_t)n, d);
		} else if (n < 0 && errno == ENOBUFS) {
			d->lost = true;
			factory_count_overrun(l->factory);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			d->dead = true;
			d->error = n == 0 ? 0 : errno;
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

static void go_blind(struct loop *l, int error)
{
	log_at(l->log, LOG_WARN, "firezone_gateway",
	       "Network events cannot be read any more, looking for changes every 5 s",
	       KV_INT("errno", error));
	event_del(l->nl_event);
	roam_blind(&l->roam, now_us());
}

static void flush(struct loop *l, enum factory_cause cause)
{
	factory_flush(l->factory, cause);
	roam_flushed(&l->roam, factory_generation(l->factory));
}

/* Read all events; one drain makes the cache forget at most once. */
static void drain_events(struct loop *l)
{
	struct drained d = {.counts = false};
	enum factory_cause cause;

	if (!l->roam.blind)
		read_events(l, &d);
	if (d.lost)
		resync(l);
	if (d.lost || d.counts)
		roam_event(&l->roam, d.lost ? FACTORY_CAUSE_OVERRUN : d.cause, now_us());
	if (d.dead)
		go_blind(l, d.error);
	if (roam_take_flush(&l->roam, now_us(), &cause))
		flush(l, cause);
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	drain_events(l);
	loop_settle(l);
}

static void take_answer(struct loop *l, const struct nl_msg *msg, struct factory_lookup *out)
{
	const char *name = network_link_name(l->network, msg->route.ifindex);

	out->error = 0;
	out->type = msg->route.type;
	out->prefsrc = msg->route.prefsrc;
	out->gateway = msg->route.gateway;
	out->ifindex = msg->route.ifindex;
	out->table = msg->route.table;
	out->metric = msg->route.metric;
	memcpy(out->ifname, name, strnlen(name, sizeof(out->ifname) - 1));
	network_prefer_public(l->network, out->ifindex, &out->prefsrc);
}

static void ask_route(struct loop *l, const struct ip_addr *dst, uint32_t scope,
		      struct factory_lookup *out)
{
	uint8_t request[NL_MAX_REQUEST], buf[NL_BUFFER];
	struct nl_msg msg;
	size_t at = 0, len = nl_write_get_route(request, sizeof(request), ++l->nl_seq, dst, scope,
						(uint32_t)FACTORY_MARK);
	int n = len > 0 ? ask(l, request, len, buf, sizeof(buf)) : -EPROTO;
	bool bad = false;

	out->error = EPROTO;
	if (n <= 0 || !nl_next(&msg, buf, (size_t)n, &at, &bad) || msg.seq != l->nl_seq)
		return;
	if (msg.kind == NL_ERROR && msg.error > 0)
		out->error = msg.error;
	else if (msg.kind == NL_NEW_ROUTE && ip_eq(&msg.route.dst.ip, dst))
		take_answer(l, &msg, out);
}

/* The events first, so that what they spoil is not found again. The answer is the kernel's of now:
 * it holds although a flush may still wait. */
void routes_lookup(void *ctx, const struct ip_addr *dst, uint32_t scope, struct factory_lookup *out)
{
	struct loop *l = ctx;
	uint64_t start_us;

	roam_generation(&l->roam, factory_generation(l->factory), now_us());
	drain_events(l);
	out->generation = factory_generation(l->factory);
	start_us = now_us();
	ask_route(l, dst, scope, out);
	out->took_us = now_us() - start_us;
}

void routes_timeout(struct loop *l)
{
	struct roam_due due;

	drain_events(l);
	due = roam_take(&l->roam, now_us());
	if (due.flush)
		flush(l, due.cause);
	if (!due.compare)
		return;
	if (l->roam.blind)
		resync(l);
	roam_run(l);
	roam_compared(&l->roam, factory_generation(l->factory));
}

uint64_t routes_deadline(const struct loop *l)
{
	return roam_deadline(&l->roam);
}

int routes_open(struct loop *l)
{
	struct network_config cfg = {.factory = l->factory, .tun_ifindex = l->tun_ifindex};
	int rc = helper_route_open(&l->helper, &l->nl_lookup, &l->nl_events);

	if (rc < 0)
		return rc;
	roam_init(&l->roam);
	l->network = network_new(&cfg);
	if (!l->network)
		return -ENOMEM;
	rc = read_network(l);
	if (rc < 0)
		return rc;
	l->nl_event = event_new(l->base, l->nl_events, EV_READ | EV_PERSIST, on_events, l);
	if (!l->nl_event || event_add(l->nl_event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

void routes_close(struct loop *l)
{
	if (l->nl_event)
		event_free(l->nl_event);
	if (l->nl_lookup >= 0)
		close(l->nl_lookup);
	if (l->nl_events >= 0)
		close(l->nl_events);
	network_free(l->network);
}
