#include <netinet/in.h>
#include <string.h>

#include "loop/internal.h"

socklen_t sockaddr_of(struct sockaddr_storage *out, const struct endpoint *ep)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (ep->ip.family == IP_V4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(ep->port);
		memcpy(&in->sin_addr, ep->ip.bytes, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(ep->port);
	in6->sin6_scope_id = ep->scope;
	memcpy(&in6->sin6_addr, ep->ip.bytes, 16);
	return sizeof(*in6);
}

bool endpoint_of(struct endpoint *out, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	memset(out, 0, sizeof(*out));
	if (ss->ss_family == AF_INET) {
		out->ip = ip_v4((const uint8_t *)&in->sin_addr);
		out->port = ntohs(in->sin_port);
		return true;
	}
	if (ss->ss_family == AF_INET6) {
		out->ip = ip_v6((const uint8_t *)&in6->sin6_addr);
		out->port = ntohs(in6->sin6_port);
		out->scope = ip_is_link_local(&out->ip) ? in6->sin6_scope_id : 0;
		return true;
	}
	return false;
}

void bytes_of(uint8_t out[16], const struct ip_addr *ip)
{
	memcpy(out, ip->bytes, 16);
}
