/*
 * The descriptors of the forwarder: one UDP socket and one listening TCP socket for each tunnel
 * address, bound to the tunnel device and without the mark, so that answers leave by it and come
 * into the core as packets of the gateway's own. Nobody but connected clients is heard.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/forwarder.h"
#include "dns/framing.h"
#include "loop/internal.h"
#include "packet/bytes.h"

enum {
	DATAGRAMS_AT_ONCE = 512, /* more than a socket's buffer holds: one client cannot fill it */
	LISTEN_TRIES = 3,
	LISTEN_RETRY_S = 1, /* the helper's limit for one family */
	WRITE_S = 10,       /* for a client that does not read its answer */
	INPUT_MAX = DNS_FRAME_HEADER + FORWARDER_MAX_TCP_QUERY,
};

/* One tunnel address. */
struct listener {
	struct forward *f;
	struct ip_addr addr; /* family IP_NONE: the host or the tunnel has none */
	int fd;              /* UDP; -1: none */
	struct event *readable, *retry;
	struct evconnlistener *tcp;
	unsigned int tries;
};

struct stream {
	struct forward *f;
	uint32_t connection; /* 0: free */
	struct bufferevent *bev;
	bool heard; /* the client will say nothing more */
};

struct forward {
	struct loop *l;
	struct ranking *ranking;
	struct forwarder *forwarder;
	struct listener listeners[2];
	struct stream streams[FORWARDER_CONNECTIONS];
	uint8_t buf[FORWARDER_MAX_UDP_QUERY + 1];
};

static bool client_of(struct forward *f, const struct endpoint *from, struct uuid *client)
{
	return gateway_client_at(f->l->gateway, &from->ip, client);
}

/* --- UDP --- */

static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
	struct listener *s = arg;
	struct forward *f = s->f;
	const struct endpoint to = {.ip = s->addr, .port = IPC_DNS_PORT};
	uint64_t now = now_us();

	(void)what;
	for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
		struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
		socklen_t ss_len = sizeof(ss);
		ssize_t n = recvfrom(fd, f->buf, sizeof(f->buf), MSG_DONTWAIT,
				     (struct sockaddr *)&ss, &ss_len);
		struct endpoint from;
		struct uuid client;

		if (n < 0)
			break;
		if (endpoint_of(&from, &ss) && client_of(f, &from, &client))
			forwarder_datagram(f->forwarder, &client, &from, &to, f->buf, (size_t)n,
					   now);
	}
	loop_settle(f->l);
}

static void send_datagram(struct forward *f, const struct forwarder_out *out)
{
	const struct endpoint any = {.port = 0};

	for (size_t i = 0; i < 2; i++) {
		struct listener *s = &f->listeners[i];

		if (s->fd >= 0 && ip_eq(&s->addr, &out->from.ip))
			(void)send_from(s->fd, &any, &out->to, 0, out->data, out->len, 0);
	}
}

/* --- TCP --- */

static void stream_close(struct stream *s)
{
	bufferevent_free(s->bev);
	*s = (struct stream){.f = s->f};
}

/* The client ended it. */
static void stream_ended(struct stream *s)
{
	forwarder_closed(s->f->forwarder, s->connection);
	stream_close(s);
}

/* Nothing is under way, and the client has read everything: there is one answer in memory at most.
 */
static bool is_ready(const struct stream *s)
{
	return forwarder_ready(s->f->forwarder, s->connection) &&
	       evbuffer_get_length(bufferevent_get_output(s->bev)) == 0;
}

/* The next message, once the one before is answered. What waits stays in the buffer, which is
 * bounded. */
static void stream_next(struct stream *s)
{
	struct evbuffer *input = bufferevent_get_input(s->bev);
	uint8_t buf[INPUT_MAX];
	const uint8_t *message;
	size_t len, used;
	ev_ssize_t n;

	if (!is_ready(s))
		return;
	n = evbuffer_copyout(input, buf, sizeof(buf));
	used = n > 0 ? dns_frame_read(buf, (size_t)n, &message, &len) : 0;
	if (used > 0) {
		evbuffer_drain(input, used);
		forwarder_message(s->f->forwarder, s->connection, message, len, now_us());
	} else if (s->heard || (n > 0 && dns_frame_wanted(buf, (size_t)n) > INPUT_MAX)) {
		stream_ended(s);
	}
}

static void on_progress(struct bufferevent *bev, void *arg)
{
	struct stream *s = arg;
	struct loop *l = s->f->l;

	(void)bev;
	stream_next(s);
	loop_settle(l);
}

/* A client may close its side once it has asked. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct stream *s = arg;
	struct loop *l = s->f->l;

	(void)bev;
	if (what & BEV_EVENT_EOF) {
		s->heard = true;
		stream_next(s);
	} else {
		stream_ended(s);
	}
	loop_settle(l);
}

static struct stream *stream_find(struct forward *f, uint32_t connection)
{
	for (size_t i = 0; i < FORWARDER_CONNECTIONS; i++)
		if (f->streams[i].connection == connection)
			return &f->streams[i];
	return NULL;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr,
		      int len, void *arg)
{
	struct listener *t = arg;
	struct forward *f = t->f;
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	struct timeval write = {.tv_sec = WRITE_S};
	struct stream *s = stream_find(f, 0);
	struct endpoint from;
	struct uuid client;
	uint32_t connection = 0;

	(void)listener;
	memcpy(&ss, addr, min_size((size_t)len, sizeof(ss)));
	if (s && endpoint_of(&from, &ss) && client_of(f, &from, &client))
		connection = forwarder_open(f->forwarder, &client, now_us());
	if (connection == 0) {
		close(fd);
		return;
	}
	s->bev = bufferevent_socket_new(f->l->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!s->bev) {
		forwarder_closed(f->forwarder, connection);
		close(fd);
		return;
	}
	s->connection = connection;
	bufferevent_setwatermark(s->bev, EV_READ, 0, INPUT_MAX);
	bufferevent_set_timeouts(s->bev, NULL, &write);
	bufferevent_setcb(s->bev, on_progress, on_progress, on_event, s);
	bufferevent_enable(s->bev, EV_READ | EV_WRITE);
	loop_settle(f->l);
}

static void send_message(struct forward *f, const struct forwarder_out *out)
{
	struct stream *s = stream_find(f, out->connection);
	struct evbuffer *output;
	uint8_t length[DNS_FRAME_HEADER];
	struct writer w = writer_of(length, sizeof(length));

	if (!s)
		return;
	output = bufferevent_get_output(s->bev);
	wr_u16(&w, (uint16_t)out->len);
	if (evbuffer_add(output, length, sizeof(length)) < 0 ||
	    evbuffer_add(output, out->data, out->len) < 0)
		stream_ended(s);
}

/* --- listeners --- */

static void listener_close(struct listener *s)
{
	if (s->readable)
		event_free(s->readable);
	if (s->tcp)
		evconnlistener_free(s->tcp);
	if (s->fd >= 0)
		close(s->fd);
	s->readable = NULL;
	s->tcp = NULL;
	s->fd = -1;
}

static int listener_open(struct listener *s)
{
	struct loop *l = s->f->l;
	uint8_t addr[16];
	int tcp;
	int rc;

	bytes_of(addr, &s->addr);
	rc = helper_dns_listen(&l->helper, s->addr.family, addr, &s->fd, &tcp);
	if (rc < 0) {
		s->fd = -1;
		return rc;
	}
	s->tcp = evconnlistener_new(l->base, on_accept, s,
				    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, tcp);
	if (!s->tcp)
		close(tcp);
	s->readable = event_new(l->base, s->fd, EV_READ | EV_PERSIST, on_datagram, s);
	if (!s->tcp || !s->readable || event_add(s->readable, NULL) < 0) {
		listener_close(s);
		return -ENOMEM;
	}
	return 0;
}

static void listener_try(struct listener *s)
{
	struct loop *l = s->f->l;
	struct timeval wait = {.tv_sec = LISTEN_RETRY_S};
	char text[IP_TEXT_MAX];
	int rc = listener_open(s);

	ip_format(&s->addr, text);
	if (rc == 0) {
		log_at(l->log, LOG_DEBUG, "dns", "Listening for clients' queries",
		       KV_STR("address", text), KV_INT("port", IPC_DNS_PORT));
		return;
	}
	if (rc != -EAGAIN)
		s->tries++;
	log_at(l->log, rc == -EAGAIN ? LOG_DEBUG : LOG_WARN, "dns",
	       "Cannot listen for clients' queries", KV_STR("address", text),
	       KV_STR("error", strerror(-rc)));
	if (s->tries < LISTEN_TRIES)
		event_add(s->retry, &wait);
	else
		loop_stop(l, 1, "Failed to listen for DNS queries on the tunnel address");
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct listener *s = arg;

	(void)fd;
	(void)what;
	listener_try(s);
	loop_settle(s->f->l);
}

static void listen_on(struct listener *s, const struct ip_addr *addr)
{
	if (ip_eq(&s->addr, addr))
		return;
	listener_close(s);
	event_del(s->retry);
	s->addr = *addr;
	s->tries = 0;
	if (addr->family != IP_NONE)
		listener_try(s);
}

void forward_listen(struct loop *l, const struct ip_addr *v4, const struct ip_addr *v6)
{
	listen_on(&l->forward->listeners[0], v4);
	listen_on(&l->forward->listeners[1], v6);
}

/* --- the loop's calls --- */

void forward_reply(struct loop *l, enum dns_asker who, const struct dns_reply *reply)
{
	if (who == DNS_ASKER_RANKING)
		ranking_reply(l->forward->ranking, reply, now_us());
	else
		forwarder_reply(l->forward->forwarder, reply, now_us());
}

void forward_servers_changed(struct loop *l)
{
	struct endpoint servers[RESOLVER_MAX_SERVERS];
	size_t n = resolver_servers(l->resolver, servers);

	ranking_set_servers(l->forward->ranking, servers, n, now_us());
}

void forward_roam(struct loop *l)
{
	forwarder_roam(l->forward->forwarder, now_us());
	ranking_restart(l->forward->ranking, now_us());
}

void forward_timeout(struct loop *l)
{
	ranking_timeout(l->forward->ranking, now_us());
	forwarder_timeout(l->forward->forwarder, now_us());
}

uint64_t forward_deadline(const struct loop *l)
{
	return min_u64(ranking_deadline(l->forward->ranking),
		       forwarder_deadline(l->forward->forwarder));
}

static bool settle_ranking(struct forward *f)
{
	struct dns_reply failed = {.failed = true};
	struct ranking_out out;
	bool any = false;

	while (ranking_poll(f->ranking, &out)) {
		any = true;
		switch (out.kind) {
		case RANKING_OUT_QUERY:
			if (dns_io_start(f->l->dns, DNS_ASKER_RANKING, &out.exchange))
				break;
			failed.id = out.exchange.id;
			failed.tcp = out.exchange.tcp;
			ranking_reply(f->ranking, &failed, now_us());
			break;
		case RANKING_OUT_CLOSE:
			dns_io_stop(f->l->dns, DNS_ASKER_RANKING, out.id);
			break;
		}
	}
	return any;
}

static void carry_out(struct forward *f, const struct forwarder_out *out)
{
	struct dns_reply failed = {.failed = true};
	struct stream *s;

	switch (out->kind) {
	case FORWARDER_OUT_QUERY:
		if (dns_io_start(f->l->dns, DNS_ASKER_FORWARDER, &out->exchange))
			break;
		failed.id = out->exchange.id;
		failed.tcp = out->exchange.tcp;
		forwarder_reply(f->forwarder, &failed, now_us());
		break;
	case FORWARDER_OUT_CLOSE:
		dns_io_stop(f->l->dns, DNS_ASKER_FORWARDER, out->id);
		break;
	case FORWARDER_OUT_DATAGRAM:
		send_datagram(f, out);
		break;
	case FORWARDER_OUT_MESSAGE:
		send_message(f, out);
		break;
	case FORWARDER_OUT_HANG_UP:
		s = stream_find(f, out->connection);
		if (s)
			stream_close(s);
		break;
	}
}

bool forward_settle(struct loop *l)
{
	struct forward *f = l->forward;
	struct forwarder_out out;
	bool any = settle_ranking(f);

	while (forwarder_poll(f->forwarder, &out)) {
		any = true;
		carry_out(f, &out);
	}
	return any;
}

void forward_counters(const struct loop *l, struct forwarder_counters *out)
{
	forwarder_counters(l->forward->forwarder, out);
}

/* --- life --- */

struct forward *forward_new(struct loop *l)
{
	struct forward *f = calloc(1, sizeof(*f));
	struct forwarder_config cfg = {.rng = rng_system(), .log = l->log};
	bool ok;

	if (!f)
		return NULL;
	f->l = l;
	f->ranking = ranking_new(&cfg.rng);
	cfg.ranking = f->ranking;
	f->forwarder = forwarder_new(&cfg);
	ok = f->ranking && f->forwarder;
	for (size_t i = 0; i < FORWARDER_CONNECTIONS; i++)
		f->streams[i].f = f;
	for (size_t i = 0; i < 2; i++) {
		f->listeners[i].f = f;
		f->listeners[i].fd = -1;
		f->listeners[i].retry = evtimer_new(l->base, on_retry, &f->listeners[i]);
		ok = ok && f->listeners[i].retry;
	}
	if (ok)
		return f;
	forward_free(f);
	return NULL;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < FORWARDER_CONNECTIONS; i++)
		if (f->streams[i].connection != 0)
			stream_close(&f->streams[i]);
	for (size_t i = 0; i < 2; i++) {
		listener_close(&f->listeners[i]);
		if (f->listeners[i].retry)
			event_free(f->listeners[i].retry);
	}
	forwarder_free(f->forwarder);
	ranking_free(f->ranking);
	free(f);
}
