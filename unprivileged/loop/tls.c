#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loop/internal.h"

/* Where the distributions keep the whole system store in one file. */
static const char *const system_stores[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static bool load_file(SSL_CTX *ctx, const char *path)
{
	bool ok = SSL_CTX_load_verify_file(ctx, path) == 1;

	ERR_clear_error();
	return ok;
}

/* Every file of one directory, now: a search at the handshake would have to open files. Returns how
 * many gave certificates. */
static size_t load_dir(SSL_CTX *ctx, const char *path, size_t path_len)
{
	char dir_path[BOOT_PATH_SIZE], file[BOOT_PATH_SIZE + 256];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	snprintf(dir_path, sizeof(dir_path), "%.*s", (int)path_len, path);
	dir = opendir(dir_path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", dir_path, entry->d_name);
		n += load_file(ctx, file);
	}
	closedir(dir);
	return n;
}

static size_t load_dirs(SSL_CTX *ctx, const char *paths)
{
	size_t n = 0;

	while (*paths != '\0') {
		size_t len = strcspn(paths, ":");

		n += load_dir(ctx, paths, len);
		paths += len;
		paths += *paths == ':';
	}
	return n;
}

static bool load_store(SSL_CTX *ctx, const struct boot *boot, char *err, size_t err_len)
{
	if (boot->ca_file[0] != '\0') {
		if (load_file(ctx, boot->ca_file))
			return true;
		snprintf(err, err_len,
			 "SSL_CERT_FILE names '%s', which holds no readable certificate: name a "
			 "PEM file that "
			 "the gateway's user may read.",
			 boot->ca_file);
		return false;
	}
	if (boot->ca_dir[0] != '\0') {
		if (load_dirs(ctx, boot->ca_dir) > 0)
			return true;
		snprintf(err, err_len,
			 "SSL_CERT_DIR names '%s', where no readable certificate is: name a "
			 "directory of PEM "
			 "files, or a file by SSL_CERT_FILE.",
			 boot->ca_dir);
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(system_stores); i++)
		if (load_file(ctx, system_stores[i]))
			return true;
	snprintf(err, err_len,
		 "No system certificate store was found: install the ca-certificates package or "
		 "name a PEM file by "
		 "SSL_CERT_FILE.");
	return false;
}

SSL_CTX *tls_new(const struct boot *boot, char *err, size_t err_len)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		snprintf(err, err_len, "OpenSSL does not start.");
		goto free_ctx;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* Messages hold keys: the library is to wipe its copies. Renegotiation is nothing a portal
	 * needs. */
	SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION);
	if (load_store(ctx, boot, err, err_len))
		return ctx;
free_ctx:
	SSL_CTX_free(ctx);
	return NULL;
}

SSL *tls_client(SSL_CTX *ctx, const char *host)
{
	SSL *ssl = SSL_new(ctx);
	char name[256]; /* the library's macro wants it writable */
	struct ip_addr ip;
	bool ok;

	if (!ssl)
		return NULL;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	snprintf(name, sizeof(name), "%s", host);
	if (ip_parse(&ip, host, strlen(host)))
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	else
		ok = SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, host) == 1;
	if (ok)
		return ssl;
	SSL_free(ssl);
	return NULL;
}
