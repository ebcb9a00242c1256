#include "ice/internal.h"

/* Its checks have been answered, and none has waited for too long. */
static bool works(const struct ice *ice, const struct ice_pair *p)
{
	return p->verified && (p->sent == p->answered ||
			       ice->now_us - p->run_start_us < ICE_SILENT_MS * US_PER_MS);
}

/*
 * Regular nomination of the best pair that works; another one when a better one comes or this one
 * falls silent. All later checks of the pair say so. [RFC 8445 section 8.1.1, spec connections 5]
 */
void ice_nominate(struct ice *ice)
{
	struct ice_pair *best = NULL;

	for (unsigned i = 0; i < ice->n_pairs && !best; i++)
		if (works(ice, &ice->pairs[i]))
			best = &ice->pairs[i];
	if (!best || best->nominated)
		return;
	for (unsigned i = 0; i < ice->n_pairs; i++)
		ice->pairs[i].nominated = false;
	best->nominated = true;
	best->urgent = true;
	best->next_us = ice->now_us;
}
