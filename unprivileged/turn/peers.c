#include "turn/peers.h"

#include <string.h>

static void take_out(struct turn_peers *peers, size_t index)
{
	peers->count--;
	memmove(&peers->at[index], &peers->at[index + 1],
		(peers->count - index) * sizeof(peers->at[0]));
}

void turn_peers_add(struct turn_peers *peers, const struct endpoint *addr, uint32_t owner)
{
	size_t owned = 0;
	size_t oldest_owned = 0;

	for (size_t i = peers->count; i-- > 0;) {
		if (endpoint_eq(&peers->at[i].addr, addr))
			return;
		if (peers->at[i].owner != owner)
			continue;
		owned++;
		oldest_owned = i;
	}
	if (owned >= TURN_MAX_OWNER_REMEMBERED)
		take_out(peers, oldest_owned);
	else if (peers->count == TURN_MAX_REMEMBERED)
		take_out(peers, 0);
	peers->at[peers->count++] = (struct turn_peer){.addr = *addr, .owner = owner};
}
