#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	DIAL_S = 5,
	HANG_UP_S = 1,
	MAX_UNSENT = 1024 * 1024, /* bytes that wait for a portal that does not read */
};

static uint64_t channel_wall_s(void *ctx)
{
	(void)ctx;
	return wall_us() / US_PER_S;
}

static void tell_closed(struct loop *l, const char *reason)
{
	portal_in(l, PORTAL_IN_CLOSED, reason);
}

/* --- the connection --- */

static void bev_drop(struct bufferevent **bev)
{
	if (*bev)
		bufferevent_free(*bev);
	*bev = NULL;
}

static void on_bytes(struct bufferevent *bev, void *arg)
{
	struct loop *l = arg;
	struct evbuffer *input = bufferevent_get_input(bev);

	while (l->portal.bev == bev && evbuffer_get_length(input) > 0) {
		struct portal_in in = {.kind = PORTAL_IN_BYTES};
		size_t len = evbuffer_get_contiguous_space(input);
		uint8_t copy[4096];

		/* Copied out: what the channel does with the bytes may free the connection. */
		len = min_size(len, sizeof(copy));
		in.u.bytes.data = copy;
		in.u.bytes.len = (size_t)evbuffer_remove(input, copy, len);
		portal_channel_handle(l->portal.channel, &in, now_us());
		sodium_memzero(copy, in.u.bytes.len);
		loop_settle(l);
	}
}

/* Why TLS failed, in the words of the library: the verification result says most. */
static void tls_reason(struct bufferevent *bev, char *out, size_t len)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	long verified = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	unsigned long error = bufferevent_get_openssl_error(bev);

	if (verified != X509_V_OK)
		snprintf(out, len, "TLS: the portal's certificate is not acceptable: %s",
			 X509_verify_cert_error_string(verified));
	else if (error != 0)
		snprintf(out, len, "TLS: %s",
			 ERR_reason_error_string(error) ? ERR_reason_error_string(error)
							: "failed");
	else
		snprintf(out, len, "connection error: %s", strerror(errno));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct loop *l = arg;
	char reason[160];

	if (l->portal.bev != bev)
		return;
	if (what & BEV_EVENT_CONNECTED) {
		portal_in(l, PORTAL_IN_CONNECTED, NULL);
		return;
	}
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	if (what & BEV_EVENT_ERROR)
		tls_reason(bev, reason, sizeof(reason));
	else
		snprintf(reason, sizeof(reason), "the portal closed the connection");
	ERR_clear_error();
	tell_closed(l, reason);
}

static void connection_up(struct loop *l, int fd)
{
	struct portal_io *p = &l->portal;
	SSL *ssl = NULL;

	if (p->url.tls) {
		ssl = tls_client(p->tls, p->url.host);
		if (ssl)
			p->bev = bufferevent_openssl_socket_new(
			    l->base, fd, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
	} else {
		p->bev = bufferevent_socket_new(l->base, fd, BEV_OPT_CLOSE_ON_FREE);
	}
	if (!p->bev) {
		SSL_free(ssl);
		close(fd);
		tell_closed(l, "out of memory");
		return;
	}
	if (ssl)
		bufferevent_openssl_set_allow_dirty_shutdown(p->bev, 1);
	bufferevent_setcb(p->bev, on_bytes, NULL, on_event, l);
	bufferevent_enable(p->bev, EV_READ | EV_WRITE);
	if (!ssl)
		portal_in(l, PORTAL_IN_CONNECTED, NULL);
}

static void on_closing(struct bufferevent *bev, void *arg)
{
	struct loop *l = arg;

	(void)bev;
	bev_drop(&l->portal.closing);
}

static void on_closing_event(struct bufferevent *bev, short what, void *arg)
{
	(void)what;
	on_closing(bev, arg);
}

/* What was written is flushed first, for a second at the most. */
static void hang_up(struct loop *l)
{
	struct portal_io *p = &l->portal;
	struct timeval wait = {.tv_sec = HANG_UP_S};

	bev_drop(&p->closing);
	if (!p->bev)
		return;
	if (evbuffer_get_length(bufferevent_get_output(p->bev)) == 0) {
		bev_drop(&p->bev);
		return;
	}
	p->closing = p->bev;
	p->bev = NULL;
	bufferevent_disable(p->closing, EV_READ);
	bufferevent_setcb(p->closing, NULL, on_closing, on_closing_event, l);
	bufferevent_set_timeouts(p->closing, NULL, &wait);
}

bool portal_flushed(const struct loop *l)
{
	return !l->portal.closing;
}

/* --- dialling --- */

static void dial_close(struct dial *d)
{
	if (d->fd < 0)
		return;
	event_free(d->writable);
	close(d->fd);
	d->fd = -1;
}

static void dials_stop(struct loop *l)
{
	for (size_t i = 0; i < MAX_DIALS; i++)
		dial_close(&l->portal.dials[i]);
	event_del(l->portal.dial_timeout);
	l->portal.resolving = false;
}

static bool dialling(const struct loop *l)
{
	for (size_t i = 0; i < MAX_DIALS; i++)
		if (l->portal.dials[i].fd >= 0)
			return true;
	return false;
}

static void dial_won(struct dial *d)
{
	struct loop *l = d->l;
	int fd = d->fd;

	event_free(d->writable);
	d->fd = -1;
	dials_stop(l);
	if (l->portal.peer.dst.ip.family != IP_NONE)
		factory_unpin(l->factory, &l->portal.peer.dst.ip);
	l->portal.peer = (struct watched){
	    .dst.ip = d->addr,
	    .way = {.out = true, .route = d->route},
	};
	factory_pin(l->factory, &d->addr);
	connection_up(l, fd);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	struct loop *l = d->l;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error == 0) {
		dial_won(d);
	} else {
		snprintf(l->portal.why, sizeof(l->portal.why), "TCP: %s", strerror(error));
		dial_close(d);
		if (!dialling(l)) {
			dials_stop(l);
			tell_closed(l, l->portal.why);
		}
	}
	loop_settle(l);
}

static void on_dial_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	dials_stop(l);
	tell_closed(l, "TCP: timed out");
	loop_settle(l);
}

static void dial_one(struct loop *l, struct dial *d, const struct ip_addr *addr)
{
	struct portal_io *p = &l->portal;
	uint8_t source[16], dest[16];
	int fd, rc;

	if (factory_resolve(l->factory, addr, 0, now_us(), &d->route) != FACTORY_OK) {
		snprintf(p->why, sizeof(p->why), "no usable route to the portal");
		return;
	}
	bytes_of(source, &d->route.source);
	bytes_of(dest, addr);
	rc = helper_tcp_connect(&l->helper, addr->family, source, dest, p->url.port, IPC_TCP_PORTAL,
				&fd);
	if (rc < 0) {
		snprintf(p->why, sizeof(p->why), "TCP: %s", strerror(-rc));
		return;
	}
	d->l = l;
	d->addr = *addr;
	d->writable = event_new(l->base, fd, EV_WRITE, on_connected, d);
	if (!d->writable) {
		close(fd);
		return;
	}
	d->fd = fd;
	event_add(d->writable, NULL);
}

/* All addresses at the same time; the first that connects wins. */
static void dial_all(struct loop *l, const struct ip_addr *addrs, size_t n)
{
	struct timeval wait = {.tv_sec = DIAL_S};

	snprintf(l->portal.why, sizeof(l->portal.why), "the portal's name has no address");
	for (size_t i = 0; i < n && i < MAX_DIALS; i++)
		dial_one(l, &l->portal.dials[i], &addrs[i]);
	if (dialling(l))
		event_add(l->portal.dial_timeout, &wait);
	else
		tell_closed(l, l->portal.why);
}

void portal_resolved(struct loop *l, const struct resolver_out *answer)
{
	struct portal_io *p = &l->portal;

	if (!p->resolving || answer->token != p->lookup_token)
		return;
	p->resolving = false;
	if (answer->n > 0) {
		memcpy(p->last_good, answer->addresses, answer->n * sizeof(p->last_good[0]));
		p->n_last_good = answer->n;
	}
	dial_all(l, p->last_good, p->n_last_good);
}

static void dial(struct loop *l)
{
	struct portal_io *p = &l->portal;

	dials_stop(l);
	names_refresh(l);
	p->lookup_token++;
	p->resolving = true;
	if (!resolver_lookup(l->resolver, p->url.host, p->lookup_token, now_us())) {
		p->resolving = false;
		tell_closed(l, "the portal's name cannot be looked up");
	}
}

/* --- the channel --- */

void portal_in(struct loop *l, enum portal_in_kind kind, const char *reason)
{
	struct portal_in in = {.kind = kind};

	if (kind == PORTAL_IN_CLOSED)
		in.u.reason = reason;
	portal_channel_handle(l->portal.channel, &in, now_us());
	loop_settle(l);
}

/* Each of the portal's pings is answered, so what it does not read has to end somewhere. */
static void write_out(struct loop *l, const uint8_t *data, size_t len)
{
	struct bufferevent *bev = l->portal.bev;

	if (!bev)
		return;
	if (evbuffer_get_length(bufferevent_get_output(bev)) > MAX_UNSENT)
		tell_closed(l, "the portal does not read what we send");
	else if (bufferevent_write(bev, data, len) < 0)
		tell_closed(l, "out of memory");
}

static void carry_out(struct loop *l, struct portal_out *out)
{
	struct gateway_input in = {.kind = GATEWAY_IN_PORTAL_MESSAGE};

	switch (out->kind) {
	case PORTAL_OUT_DIAL:
		dial(l);
		break;
	case PORTAL_OUT_WRITE:
		write_out(l, out->u.write.data, out->u.write.len);
		break;
	case PORTAL_OUT_HANG_UP:
		dials_stop(l);
		hang_up(l);
		break;
	case PORTAL_OUT_JOINED:
	case PORTAL_OUT_LOST:
		in.kind = out->kind == PORTAL_OUT_JOINED ? GATEWAY_IN_PORTAL_JOINED
							 : GATEWAY_IN_PORTAL_LOST;
		gateway_handle(l->gateway, &in, now_us());
		break;
	case PORTAL_OUT_MESSAGE:
		in.u.message = &out->u.msg;
		gateway_handle(l->gateway, &in, now_us());
		portal_msg_free(&out->u.msg);
		break;
	case PORTAL_OUT_FATAL:
		loop_stop(l, 1, out->u.reason);
		break;
	}
}

bool portal_settle(struct loop *l)
{
	struct portal_out out;
	bool any = false;

	while (portal_channel_poll(l->portal.channel, &out)) {
		any = true;
		carry_out(l, &out);
	}
	return any;
}

static char *token_copy(struct loop *l, const char *token)
{
	/* Arena slots are neighbours only by chance, so a long token has a guarded allocation of
	 * its own. */
	size_t len = strlen(token) + 1;
	char *copy = len <= SECRET_SLOT_SIZE ? secret_get(l->arena) : sodium_malloc(len);

	if (copy)
		memcpy(copy, token, len);
	return copy;
}

int portal_open(struct loop *l, const struct boot *boot, char *err, size_t err_len)
{
	struct portal_io *p = &l->portal;
	struct portal_channel_config cfg = {
	    .host = p->url.host,
	    .request_target = p->target,
	    .user_agent = p->user_agent,
	    .first_connect_us = boot->first_connect_us,
	    .max_partition_us = boot->max_partition_us,
	    .rng = rng_system(),
	    .log = l->log,
	    .wall_s = channel_wall_s,
	};

	for (size_t i = 0; i < MAX_DIALS; i++)
		p->dials[i].fd = -1;
	if (!portal_url_parse(&p->url, boot->api_url) ||
	    portal_url_target(&p->url, boot->external_id, boot->name,
			      gateway_public_key(l->gateway), p->target, sizeof(p->target)) == 0) {
		snprintf(err, err_len,
			 "Failed to construct URL for logging into portal: FIREZONE_API_URL, "
			 "FIREZONE_ID or FIREZONE_NAME is malformed or too long.");
		return -EINVAL;
	}
	memcpy(p->user_agent, boot->user_agent, sizeof(p->user_agent));
	if (p->url.tls) {
		p->tls = tls_new(boot, err, err_len);
		if (!p->tls)
			return -ENOENT;
	}
	p->token = token_copy(l, boot->token);
	p->dial_timeout = event_new(l->base, -1, EV_TIMEOUT, on_dial_timeout, l);
	cfg.token = p->token;
	p->channel = p->token && p->dial_timeout ? portal_channel_new(&cfg) : NULL;
	if (!p->channel) {
		snprintf(err, err_len, "Out of memory.");
		return -ENOMEM;
	}
	return 0;
}

void portal_close(struct loop *l)
{
	struct portal_io *p = &l->portal;

	if (p->dial_timeout) {
		dials_stop(l);
		event_free(p->dial_timeout);
	}
	bev_drop(&p->bev);
	bev_drop(&p->closing);
	portal_channel_free(p->channel);
	SSL_CTX_free(p->tls);
	if (p->token && strlen(p->token) < SECRET_SLOT_SIZE)
		secret_put(l->arena, p->token);
	else
		sodium_free(p->token);
}
