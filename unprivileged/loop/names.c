/*
 * Theory of operation of the two files. Each time that the helper opens one it writes a line to the
 * audit log, so they are not opened by the clock alone. What was opened stays open, and every 14
 * seconds fstat() says whether it was written to, renamed or removed; that costs no line. A
 * symbolic link that leads elsewhere cannot be seen so: for it the files are opened anew after 28
 * seconds in which a name server was asked anything. Where nobody asks, nobody is misled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/internal.h"

enum {
	FILES_FRESH_S = 5, /* how long what was read is taken for true before a connection */
	FILES_CHECK_S = 14,
	FILES_REOPEN_S = 28,
	FILES_SETTLED_S = 2, /* a file this young may change again with the same time stamps */
	SERVERS_TEXT = RESOLVER_MAX_SERVERS * ENDPOINT_TEXT_MAX,
};

static uint64_t us_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * US_PER_S + (uint64_t)ts->tv_nsec / 1000;
}

static void file_close(struct names_file *f)
{
	if (f->open)
		close(f->fd);
	*f = (struct names_file){.open = false};
}

/* @f has just been opened. */
static void file_note(struct names_file *f, const struct stat *st)
{
	f->size = st->st_size;
	f->links = st->st_nlink;
	f->modified_us = us_of(&st->st_mtim);
	f->changed_us = us_of(&st->st_ctim);
	if (f->changed_us + FILES_SETTLED_S * US_PER_S > wall_us())
		f->changed_us = 0;
}

static bool file_changed(const struct names_file *f)
{
	struct stat st;

	return f->open &&
	       (fstat(f->fd, &st) < 0 || st.st_size != f->size || st.st_nlink != f->links ||
		us_of(&st.st_mtim) != f->modified_us || us_of(&st.st_ctim) != f->changed_us);
}

/* The whole file as text, which the caller frees; a negative errno. */
static int read_file(struct loop *l, enum ipc_file which, char **text, size_t *len)
{
	struct names_file *f = &l->names_files[which];
	struct stat st;
	ssize_t n;
	int rc;

	*text = NULL;
	*len = 0;
	file_close(f);
	rc = helper_file_open(&l->helper, which, &f->fd);
	if (rc < 0)
		return rc;
	f->open = true;
	if (fstat(f->fd, &st) < 0 || st.st_size < 0 || st.st_size > IPC_MAX_FILE_BYTES)
		return -EFBIG;
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		return -ENOMEM;
	while (*len < (size_t)st.st_size) {
		n = read(f->fd, *text + *len, (size_t)st.st_size - *len);
		if (n <= 0)
			break;
		*len += (size_t)n;
	}
	file_note(f, &st);
	return 0;
}

/* A file that is gone counts; one that the helper does not open just now stays as it was. */
static bool file_counts(const struct loop *l, int rc)
{
	return rc == 0 || rc == -ENOENT || l->files_read_us == 0;
}

struct servers {
	struct endpoint at[RESOLVER_MAX_SERVERS];
	size_t n;
};

static struct servers servers_now(const struct loop *l)
{
	struct servers s = {.n = 0};

	s.n = resolver_servers(l->resolver, s.at);
	return s;
}

static void log_servers(struct loop *l, const struct servers *s)
{
	char text[SERVERS_TEXT] = "";
	size_t at = 0;

	for (size_t i = 0; i < s->n; i++) {
		char one[ENDPOINT_TEXT_MAX];
		size_t len;

		endpoint_format(&s->at[i], one);
		len = strlen(one);
		if (i > 0)
			text[at++] = ' ';
		memcpy(text + at, one, len + 1);
		at += len;
	}
	log_at(l->log, LOG_DEBUG, "dns", "Name servers", KV_STR("servers", text));
}

/* Theirs are the last places that the route cache forgets, and a roam is judged by them too. */
static void servers_changed(struct loop *l, const struct servers *old, const struct servers *new)
{
	for (size_t i = 0; i < old->n; i++)
		factory_unpin(l->factory, &old->at[i].ip);
	for (size_t i = 0; i < new->n; i++)
		factory_pin(l->factory, &new->at[i].ip);
	log_servers(l, new);
	roam_watch_servers(l);
	forward_servers_changed(l);
}

void names_read_files(struct loop *l)
{
	struct servers old = servers_now(l), new;
	bool others = l->files_read_us == 0;
	size_t len;
	char *text;
	int rc = read_file(l, IPC_FILE_RESOLV_CONF, &text, &len);

	if (file_counts(l, rc))
		others = resolver_set_resolv_conf(l->resolver, text, len) || others;
	free(text);
	rc = read_file(l, IPC_FILE_HOSTS, &text, &len);
	if (file_counts(l, rc))
		resolver_set_hosts(l->resolver, text, len);
	free(text);
	l->files_read_us = now_us();
	l->files_check_us = l->files_read_us + FILES_CHECK_S * US_PER_S;
	l->names_asked = false;
	if (!others)
		return;
	new = servers_now(l);
	servers_changed(l, &old, &new);
}

void names_refresh(struct loop *l)
{
	if (now_us() - l->files_read_us >= FILES_FRESH_S * US_PER_S)
		names_read_files(l);
}

uint64_t names_deadline(const struct loop *l)
{
	return l->files_read_us == 0 ? NEVER_US : l->files_check_us;
}

void names_timeout(struct loop *l)
{
	uint64_t now = now_us();
	bool again = l->names_asked && now - l->files_read_us >= FILES_REOPEN_S * US_PER_S;

	/* Perhaps it was away for a moment only. */
	again = again || !l->names_files[IPC_FILE_RESOLV_CONF].open;
	for (size_t i = 0; i < ARRAY_LEN(l->names_files); i++)
		again = again || file_changed(&l->names_files[i]);
	l->files_check_us = now + FILES_CHECK_S * US_PER_S;
	if (again)
		names_read_files(l);
}

void names_reply(struct loop *l, const struct dns_reply *reply)
{
	resolver_reply(l->resolver, reply, now_us());
}

bool names_settle(struct loop *l)
{
	struct resolver_out out;
	struct dns_reply failed = {.failed = true};
	bool any = false;

	while (resolver_poll(l->resolver, &out)) {
		any = true;
		switch (out.kind) {
		case RESOLVER_OUT_QUERY:
			if (dns_io_start(l->dns, DNS_ASKER_RESOLVER, &out.exchange))
				break;
			failed.id = out.exchange.id;
			resolver_reply(l->resolver, &failed, now_us());
			break;
		case RESOLVER_OUT_CLOSE:
			dns_io_stop(l->dns, DNS_ASKER_RESOLVER, out.id);
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
	for (size_t i = 0; i < ARRAY_LEN(l->names_files); i++)
		file_close(&l->names_files[i]);
}
