#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	DNS_DATAGRAM = 4096,
	FILES_FRESH_S = 5 /* how long what was read is taken for true */
};

void names_refill(struct loop *l)
{
	static const uint8_t families[2] = {IP_V4, IP_V6};

	for (size_t i = 0; i < 2; i++) {
		unsigned int n = 0;

		if (l->dns_pooled[i] > 0 || l->udp[i].fd < 0)
			continue;
		if (helper_udp_open(&l->helper, families[i], IPC_UDP_DNS, DNS_POOL, l->dns_pool[i],
				    &n, NULL) == 0)
			l->dns_pooled[i] = n;
	}
}

/* The whole file as text, which the caller frees; a negative errno. */
static int read_file(struct loop *l, enum ipc_file which, char **text, size_t *len)
{
	struct stat st;
	ssize_t n;
	int fd;
	int rc = helper_file_open(&l->helper, which, &fd);

	*text = NULL;
	*len = 0;
	if (rc < 0)
		return rc;
	rc = -EFBIG;
	if (fstat(fd, &st) < 0 || st.st_size < 0 || st.st_size > IPC_MAX_FILE_BYTES)
		goto close_fd;
	rc = -ENOMEM;
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		goto close_fd;
	while (*len < (size_t)st.st_size) {
		n = read(fd, *text + *len, (size_t)st.st_size - *len);
		if (n <= 0)
			break;
		*len += (size_t)n;
	}
	rc = 0;
close_fd:
	close(fd);
	return rc;
}

/* A file that is gone counts; one that the helper does not open just now stays as it was. */
static bool file_counts(const struct loop *l, int rc)
{
	return rc == 0 || rc == -ENOENT || l->files_read_us == 0;
}

void names_read_files(struct loop *l)
{
	size_t len;
	char *text;
	int rc = read_file(l, IPC_FILE_RESOLV_CONF, &text, &len);

	if (file_counts(l, rc))
		resolver_set_resolv_conf(l->resolver, text, len);
	free(text);
	rc = read_file(l, IPC_FILE_HOSTS, &text, &len);
	if (file_counts(l, rc))
		resolver_set_hosts(l->resolver, text, len);
	free(text);
	l->files_read_us = now_us();
}

void names_refresh(struct loop *l)
{
	if (now_us() - l->files_read_us >= FILES_FRESH_S * US_PER_S)
		names_read_files(l);
}

static void query_close(struct dns_query *q)
{
	if (q->query == 0)
		return;
	event_free(q->readable);
	close(q->fd);
	q->query = 0;
}

static struct dns_query *query_find(struct loop *l, uint32_t query)
{
	for (size_t i = 0; i < DNS_QUERIES; i++)
		if (l->dns_queries[i].query == query)
			return &l->dns_queries[i];
	return NULL;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct dns_query *q = arg;
	struct loop *l = q->l;
	struct sockaddr_storage ss;
	socklen_t ss_len = sizeof(ss);
	struct endpoint src;
	uint8_t buf[DNS_DATAGRAM];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_len);

	(void)what;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		resolver_query_failed(l->resolver, q->query, now_us());
	else if (n > 0 && endpoint_of(&src, &ss))
		resolver_datagram(l->resolver, q->query, &src, buf, (size_t)n, now_us());
	loop_settle(l);
}

/* From the shared cache's source address; another one if that turns out to be stale. */
static bool send_pinned(struct loop *l, int fd, const struct resolver_out *out,
			const struct factory_route *route)
{
	struct factory_send_error e = {.dst = out->server, .route = *route};
	struct endpoint src = {.port = 0};
	int rc;

	for (;;) {
		src.ip = e.route.source;
		rc = send_from(fd, &src, &out->server, 0, out->data, out->len, 0);
		if (rc == 0)
			return true;
		e.error = -rc;
		if (factory_send_failed(l->factory, &e, now_us(), &e.route) != FACTORY_RETRY_SOURCE)
			return false;
		e.retried_source = true;
	}
}

/* A fresh socket, whose source port the kernel draws, for each query. */
static bool query_send(struct loop *l, const struct resolver_out *out)
{
	size_t family = out->server.ip.family == IP_V4 ? 0 : 1;
	struct dns_query *q = query_find(l, 0);
	struct factory_route route;

	if (!q || factory_resolve(l->factory, &out->server.ip, out->server.scope, now_us(),
				  &route) != FACTORY_OK)
		return false;
	names_refill(l);
	if (l->dns_pooled[family] == 0)
		return false;
	q->l = l;
	q->fd = l->dns_pool[family][--l->dns_pooled[family]];
	q->readable = event_new(l->base, q->fd, EV_READ | EV_PERSIST, on_readable, q);
	if (!q->readable) {
		close(q->fd);
		return false;
	}
	q->query = out->query;
	if (event_add(q->readable, NULL) < 0 || !send_pinned(l, q->fd, out, &route)) {
		query_close(q);
		return false;
	}
	return true;
}

bool names_settle(struct loop *l)
{
	struct resolver_out out;
	struct dns_query *q;
	bool any = false;

	while (resolver_poll(l->resolver, &out)) {
		any = true;
		switch (out.kind) {
		case RESOLVER_OUT_QUERY:
			if (!query_send(l, &out))
				resolver_query_failed(l->resolver, out.query, now_us());
			break;
		case RESOLVER_OUT_CLOSE:
			q = query_find(l, out.query);
			if (q)
				query_close(q);
			break;
		case RESOLVER_OUT_ANSWER:
			portal_resolved(l, &out);
			break;
		}
	}
	return any;
}

void names_close(struct loop *l)
{
	for (size_t i = 0; i < DNS_QUERIES; i++)
		query_close(&l->dns_queries[i]);
	for (size_t i = 0; i < 2; i++)
		while (l->dns_pooled[i] > 0)
			close(l->dns_pool[i][--l->dns_pooled[i]]);
}
