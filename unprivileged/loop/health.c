/*
 * The health endpoint. evhttp is not used here: it turns every client address into text by
 * getnameinfo(), which for a link-local one makes a socket, and that would end the process.
 */
#include <event2/buffer.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	MAX_REQUEST = 4096,
	IDLE_S = 2
};

struct health_client {
	struct health *h;
	bool local;              /* it came over the loopback interface */
	struct bufferevent *bev; /* NULL: free */
	uint64_t serial;
	bool answered;
};

struct health {
	struct loop *l;
	struct evconnlistener *listener;
	struct health_client clients[HEALTH_CONNECTIONS];
	uint64_t serials;
};

static void client_close(struct health_client *c)
{
	bufferevent_free(c->bev);
	c->bev = NULL;
}

static bool ready(const struct loop *l)
{
	return l->tun_configured && portal_channel_joined(l->portal.channel) && !l->stopping;
}

enum page {
	PAGE_HEALTHZ,
	PAGE_READYZ,
	PAGE_METRICS,
	PAGE_NONE
};

static const char *status_of(const struct health_client *c, enum page page)
{
	if (page == PAGE_METRICS && !c->h->l->metrics)
		return "404 Not Found";
	if (page == PAGE_METRICS && !c->local)
		return "403 Forbidden";
	if (page == PAGE_READYZ && !ready(c->h->l))
		return "503 Service Unavailable";
	return "200 OK";
}

/* @page: what to show with status 200. */
static const char *status_for(const struct health_client *c, const char *head, size_t len,
			      enum page *page)
{
	static const char *const paths[] = {
	    [PAGE_HEALTHZ] = "/healthz", [PAGE_READYZ] = "/readyz", [PAGE_METRICS] = "/metrics"};
	const char *space = memchr(head, ' ', len);
	const char *end = space ? memchr(space + 1, ' ', (size_t)(head + len - space - 1)) : NULL;
	size_t path_len;

	if (!end)
		return "400 Bad Request";
	path_len = (size_t)(end - space - 1);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (path_len != strlen(paths[i]) || memcmp(space + 1, paths[i], path_len) != 0)
			continue;
		if (space - head != 3 || memcmp(head, "GET", 3) != 0)
			return "405 Method Not Allowed";
		*page = (enum page)i;
		return status_of(c, *page);
	}
	return "404 Not Found";
}

static void answer(struct health_client *c, const char *status, enum page page)
{
	struct evbuffer *output = bufferevent_get_output(c->bev);
	struct evbuffer *body = evbuffer_new();

	if (body && page == PAGE_METRICS && strcmp(status, "200 OK") == 0)
		metrics_write(c->h->l, body);
	evbuffer_add_printf(output, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n",
			    status, body ? evbuffer_get_length(body) : 0);
	if (body && evbuffer_get_length(body) > 0)
		evbuffer_add_printf(output, "Content-Type: text/plain; version=0.0.4\r\n");
	evbuffer_add_printf(output, "\r\n");
	if (body) {
		evbuffer_add_buffer(output, body);
		evbuffer_free(body);
	}
}

static void on_request(struct bufferevent *bev, void *arg)
{
	struct health_client *c = arg;
	struct evbuffer *input = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	enum page page = PAGE_NONE;
	const char *status = "431 Request Header Fields Too Large";
	char head[MAX_REQUEST];
	ev_ssize_t n;

	if (c->answered || (end.pos < 0 && evbuffer_get_length(input) < MAX_REQUEST))
		return;
	n = evbuffer_copyout(input, head, sizeof(head));
	c->answered = true;
	if (end.pos >= 0)
		status = status_for(c, head, n > 0 ? (size_t)n : 0, &page);
	answer(c, status, page);
	bufferevent_disable(bev, EV_READ);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct health_client *c = arg;

	(void)bev;
	if (c->answered)
		client_close(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	client_close(arg);
}

static bool on_tunnel_address(evutil_socket_t fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct endpoint local;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 || !endpoint_of(&local, &ss))
		return true;
	local.ip = ip_unmap(&local.ip);
	return ip_is_tunnel(&local.ip);
}

/* A free place, or that of the oldest connection: whoever drips bytes must not keep a probe out. */
static struct health_client *client_place(struct health *h)
{
	struct health_client *oldest = &h->clients[0];

	for (size_t i = 0; i < HEALTH_CONNECTIONS; i++) {
		struct health_client *c = &h->clients[i];

		if (!c->bev)
			return c;
		if (c->serial < oldest->serial)
			oldest = c;
	}
	client_close(oldest);
	return oldest;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr,
		      int len, void *arg)
{
	struct health *h = arg;
	struct timeval wait = {.tv_sec = IDLE_S};
	struct health_client *c;

	struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
	struct endpoint peer;

	(void)listener;
	if (on_tunnel_address(fd)) {
		close(fd);
		return;
	}
	c = client_place(h);
	c->h = h;
	c->serial = ++h->serials;
	c->answered = false;
	memcpy(&from, addr, min_size((size_t)len, sizeof(from)));
	c->local = endpoint_of(&peer, &from);
	peer.ip = ip_unmap(&peer.ip);
	c->local = c->local && ip_is_loopback(&peer.ip);
	c->bev = bufferevent_socket_new(h->l->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		close(fd);
		return;
	}
	bufferevent_setwatermark(c->bev, EV_READ, 0, MAX_REQUEST);
	bufferevent_set_timeouts(c->bev, &wait, &wait);
	bufferevent_setcb(c->bev, on_request, on_written, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

struct health *health_new(struct loop *l, int fd)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->l = l;
	h->listener = evconnlistener_new(l->base, on_accept, h,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!h->listener) {
		free(h);
		return NULL;
	}
	return h;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < HEALTH_CONNECTIONS; i++)
		if (h->clients[i].bev)
			client_close(&h->clients[i]);
	evconnlistener_free(h->listener);
	free(h);
}
