#include "tunnel/filter.h"

#include <stdlib.h>

struct port_range {
	uint16_t start, end;
};

struct filter_set {
	uint32_t refs;
	uint16_t n_tcp, n_udp;
	bool open, icmp;
	struct port_range ranges[]; /* TCP's, then UDP's; sorted, apart from each other */
};

static int by_start(const void *a, const void *b)
{
	const struct port_range *x = a;
	const struct port_range *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The ranges of one protocol into @out, sorted and merged; how many they are. */
static uint16_t collect(struct port_range *out, enum filter_protocol protocol,
			const struct filter *filters, size_t n)
{
	size_t found = 0;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (filters[i].protocol == protocol && filters[i].port_start <= filters[i].port_end)
			out[found++] =
			    (struct port_range){filters[i].port_start, filters[i].port_end};
	}
	if (found == 0)
		return 0;
	qsort(out, found, sizeof(*out), by_start);
	for (size_t i = 1; i < found; i++) {
		if (out[i].start > (uint32_t)out[kept].end + 1)
			out[++kept] = out[i];
		else if (out[i].end > out[kept].end)
			out[kept].end = out[i].end;
	}
	return (uint16_t)(kept + 1);
}

struct filter_set *filter_set_new(const struct filter *filters, size_t n)
{
	struct filter_set *set;

	if (n > RESOURCE_MAX_FILTERS)
		return NULL;
	set = calloc(1, sizeof(*set) + n * sizeof(set->ranges[0]));
	if (!set)
		return NULL;
	set->refs = 1;
	set->open = n == 0;
	for (size_t i = 0; i < n; i++)
		set->icmp = set->icmp || filters[i].protocol == FILTER_ICMP;
	set->n_tcp = collect(set->ranges, FILTER_TCP, filters, n);
	set->n_udp = collect(set->ranges + set->n_tcp, FILTER_UDP, filters, n);
	return set;
}

struct filter_set *filter_set_ref(struct filter_set *set)
{
	set->refs++;
	return set;
}

void filter_set_unref(struct filter_set *set)
{
	if (set && --set->refs == 0)
		free(set);
}

static bool in_ranges(const struct port_range *ranges, size_t n, uint16_t port)
{
	size_t low = 0;

	/* The number of ranges that start at or below the port; only the last of them may hold it.
	 */
	while (n > 0) {
		size_t half = n / 2;

		if (ranges[low + half].start <= port) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return low > 0 && port <= ranges[low - 1].end;
}

bool filter_permits(const struct filter_set *set, enum ip_kind kind, uint16_t port)
{
	if (set->open)
		return true;
	switch (kind) {
	case IP_KIND_TCP:
		return in_ranges(set->ranges, set->n_tcp, port);
	case IP_KIND_UDP:
		return in_ranges(set->ranges + set->n_tcp, set->n_udp, port);
	case IP_KIND_ECHO:
	case IP_KIND_ICMP_ERROR:
	case IP_KIND_ICMP_OTHER:
		return set->icmp;
	case IP_KIND_OTHER:
		break;
	}
	return false;
}
