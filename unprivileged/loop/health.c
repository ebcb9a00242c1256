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

static const char *status_for(const struct loop *l, const char *head, size_t len)
{
	static const struct {
		const char *path;
		bool needs_ready;
	} pages[] = {{"/healthz", false}, {"/readyz", true}};
	const char *space = memchr(head, ' ', len);
	const char *end = space ? memchr(space + 1, ' ', (size_t)(head + len - space - 1)) : NULL;
	size_t path_len;

	if (!end)
		return "400 Bad Request";
	path_len = (size_t)(end - space - 1);
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (path_len != strlen(pages[i].path) ||
		    memcmp(space + 1, pages[i].path, path_len) != 0)
			continue;
		if (space - head != 3 || memcmp(head, "GET", 3) != 0)
			return "405 Method Not Allowed";
		return pages[i].needs_ready && !ready(l) ? "503 Service Unavailable" : "200 OK";
	}
	return "404 Not Found";
}

static void on_request(struct bufferevent *bev, void *arg)
{
	struct health_client *c = arg;
	struct evbuffer *input = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	char head[MAX_REQUEST];
	ev_ssize_t n;

	if (c->answered || (end.pos < 0 && evbuffer_get_length(input) < MAX_REQUEST))
		return;
	n = evbuffer_copyout(input, head, sizeof(head));
	c->answered = true;
	evbuffer_add_printf(bufferevent_get_output(bev),
			    "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			    end.pos < 0 ? "431 Request Header Fields Too Large"
					: status_for(c->h->l, head, n > 0 ? (size_t)n : 0));
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

	(void)listener;
	(void)addr;
	(void)len;
	if (on_tunnel_address(fd)) {
		close(fd);
		return;
	}
	c = client_place(h);
	c->h = h;
	c->serial = ++h->serials;
	c->answered = false;
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
