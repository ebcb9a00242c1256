/*
 * What the files of the ICE room share: the agent's tables and the steps on them. Not for other
 * rooms.
 *
 * ice.c is the interface, candidates.c the two candidate tables, pairs.c the check list, paths.c
 * the choice of the path and the doubts about it, nominate.c the controlling side's choice,
 * checks.c the schedule and the messages. The tables are compact arrays that grow on demand up to
 * their caps; pairs name candidates by index, and whoever moves a candidate says so to the pairs.
 * Pointers to entries die with the next change of their table.
 */
#ifndef ICE_INTERNAL_H
#define ICE_INTERNAL_H

#include "ice/ice.h"

enum {
	ICE_MAX_REMOTE = ICE_MAX_REMOTE_SIGNALLED + ICE_MAX_REMOTE_PRFLX,
	ICE_MAX_FLIGHTS = 256,  /* checks that wait for an answer, per agent; the oldest goes. In 10
				   s  each of 42 new pairs is checked six times */
	ICE_MAX_SPARE = 128,    /* bytes that the arrays of an idle agent may hold in reserve */
	ICE_MAX_OPTIMISTIC = 2, /* new ones per added remote candidate [spec connections 3.6] */
	ICE_OPTIMISTIC_PRIORITY = 100 << 24 | 65534 << 8 | 255,
	ICE_FLIGHT_S = 10,       /* a later answer is lost [spec connections 4.3] */
	ICE_INBOUND_KEEP_S = 15, /* a pair that was checked within this is never removed */
	ICE_UNPROVEN_S =
	    60, /* an address that never answered is left after this [spec connections 14 row 5] */
	ICE_OUTWEIGH =
	    3, /* checks elsewhere that outweigh a nominated pair [spec connections 4.4] */
	ICE_RETRIGGER_MS =
	    250, /* least gap of checks that an unverified nominated pair's checks cause */
	ICE_TAG_LEN = 3,
	ICE_ID_LEN = STUN_TXID_LEN - ICE_TAG_LEN,
	ICE_PRFLX_TYPE = 110,
	ICE_ERROR_ROLE_CONFLICT = 487,
	ICE_SILENT_MS = 1400,  /* a pair whose checks go unanswered for this long yields to another
				  one that works */
	ICE_SILENT_CHECKS = 3, /* and, on the controlled side, this many of them */
	ICE_SUCCEED_MS = 500,  /* the same if one that is as good has taken over its checks */
	ICE_SUCCEED_CHECKS = 2,
	ICE_ASK_MS = 250, /* first gap of the checks on a pair in doubt, whatever the profile */
	ICE_RETURN_MS =
	    1000, /* the peer's return to a pair says nothing of a path heard within this */
	ICE_QUIET_MS = 2000, /* an active path without a check either way for this long is asked */
};

/* What a check of the peer says of the path in use, which is another one. */
enum ice_sign {
	ICE_SIGN_NONE,
	ICE_SIGN_AGAIN,  /* a second one here while none arrived there */
	ICE_SIGN_RETURN, /* it comes back to a nominated pair that works no more, as far as we know
			  */
	ICE_SIGN_NEW,    /* its first one here, or a nomination */
};

struct ice_local {
	struct candidate c;
	uint32_t serial;
	bool discarded; /* redundant or withdrawn; known for a revival */
	bool announce;  /* ICE_OUTPUT_ANNOUNCE is due */
};

struct ice_remote {
	struct candidate c;
	uint32_t serial;
	bool discarded;  /* withdrawn by the peer: its checks are ignored */
	bool undeclared; /* peer-reflexive, not signalled so far */
	bool answered;   /* one of our checks to it succeeded */
};

struct ice_pair {
	uint64_t priority;
	uint64_t created_us, last_sent_us, next_us;
	uint64_t run_start_us; /* first check of the unanswered run at the end */
	uint64_t inbound_us;   /* newest authenticated check of the peer, 0 if none */
	uint32_t serial;
	uint32_t sent;       /* checks so far; the newest has this number */
	uint32_t answered;   /* number of the newest answered check, 0 if none */
	uint32_t forgotten;  /* checks before a roam: the schedule is no longer theirs */
	uint32_t doubt_from; /* checks before the doubt */
	uint32_t
	    inbound_seq[ICE_OUTWEIGH];     /* agent-wide numbers of the newest ones, newest first */
	uint32_t inbound_id[ICE_OUTWEIGH]; /* the last four bytes of their transaction ids */
	uint8_t id[ICE_ID_LEN];            /* of the newest check */
	uint8_t local, remote;             /* indices */
	bool nominated : 1;
	bool verified : 1; /* a check of ours succeeded since it was last passed over or silent */
	bool silent : 1;   /* checks of ours went unanswered for too long, and no answer since */
	bool doubted : 1;  /* asked often, until an answer comes */
	bool unsent : 1;   /* the newest check waits for ice_poll() */
	bool urgent : 1;   /* ahead of the others */
};

/* A check whose answer may still come. */
struct ice_flight {
	uint32_t pair; /* serial */
	uint32_t number;
	uint32_t sent_ms; /* since the agent's creation */
	uint8_t id[ICE_ID_LEN];
};

/* An answer that waits for ice_poll(). */
struct ice_reply {
	struct stun_txid txid;
	struct ice_path path;
	bool due, conflict;
};

struct ice {
	struct rng rng;
	struct secret_arena *arena;
	struct stun_hmac *hmac;
	char *local_pwd_secret, *remote_pwd_secret; /* slots; not terminated */
	size_t local_pwd_len, remote_pwd_len;
	char *names; /* the block of the four below */
	const char *username, *peer_username, *local_ufrag, *remote_ufrag;
	uint8_t *buf; /* the message that ice_poll() gave out */
	size_t buf_cap;
	uint64_t now_us, created_us, disconnected_us, tie_breaker;
	uint64_t grace_us; /* no failure before, whatever is lost */
	uint32_t tag, serials, inbound_seq;
	bool controlling;
	enum ice_profile profile;
	enum ice_state state;
	struct ice_local *locals;
	struct ice_remote *remotes;
	struct ice_pair *pairs;     /* by descending priority */
	struct ice_flight *flights; /* oldest first */
	uint16_t n_locals, n_remotes, n_pairs, n_flights;
	uint16_t cap_locals, cap_remotes, cap_pairs, cap_flights;
	uint16_t earlier[CANDIDATE_RELAY + 1]
			[2]; /* local candidates made so far, by kind and family */
	bool had_remote, had_signalled;
	struct ice_reply reply;
	uint32_t selected;    /* serial of the pair that carries traffic, 0 if none */
	struct ice_path path; /* of that pair */
	bool told_path;       /* the caller's last news was a path, not that there is none */
	bool path_news, state_news;
	bool adrift; /* the path was lost to a roam: until the next nomination, any that works */
};

/*
 * Make room for one more entry of @size bytes behind @n. Returns the array, moved or not, or NULL,
 * with the old one untouched, without memory or at @max entries.
 */
MUST_CHECK void *ice_room(void *array, uint16_t *cap, uint16_t n, uint16_t max, size_t size);

/* Give back what an array of @n entries does not need. Returns it, moved or not; NULL for none. */
MUST_CHECK void *ice_trim(void *array, uint16_t *cap, uint16_t n, size_t size);

/* candidates.c */
void ice_local_add(struct ice *ice, const struct candidate *c);
void ice_local_remove(struct ice *ice, const struct candidate *c);
void ice_remote_add(struct ice *ice, const struct candidate *c);
void ice_remote_remove(struct ice *ice, const struct candidate *c);

/* The live host or relayed candidate at @dst, or -1. */
int ice_local_at(const struct ice *ice, const struct endpoint *dst);

/* Whether we may send to @ep at all: usable and not one of our own addresses. */
bool ice_remote_allowed(const struct ice *ice, const struct endpoint *ep);

/* The live candidate of highest priority at @src, or -1; *withdrawn tells that only withdrawn ones
 * are there. */
int ice_remote_at(const struct ice *ice, const struct endpoint *src, bool *withdrawn);

/* A new peer-reflexive candidate, or -1 without memory. */
int ice_remote_discover(struct ice *ice, const struct endpoint *src, uint32_t priority);

/* pairs.c */
struct ice_path ice_pair_path(const struct ice *ice, const struct ice_pair *p);
struct ice_pair *ice_pair_find(struct ice *ice, uint32_t serial);

/*
 * Find or make the pair of two candidates; NULL for different families, and when the table is full
 * of better ones. @inbound: the peer checked it, so it takes the place of the least proven one
 * whatever its priority.
 */
struct ice_pair *ice_pair_make(struct ice *ice, unsigned local, unsigned remote, bool inbound);

void ice_pairs_drop_local(struct ice *ice, unsigned local);
void ice_pairs_drop_remote(struct ice *ice, unsigned remote);
void ice_pairs_drop_expired(struct ice *ice);

/* A candidate moved within its table. */
void ice_pairs_move_local(struct ice *ice, unsigned from, unsigned to);
void ice_pairs_move_remote(struct ice *ice, unsigned from, unsigned to);

/* The remote candidate's priority changed. */
void ice_pairs_reprice(struct ice *ice, unsigned remote);

/* A check arrived on the pair; counts it unless it repeats one of the newest. False for a
 * repetition. */
bool ice_pair_inbound(struct ice *ice, struct ice_pair *p, const struct stun_txid *txid);

/* When the pair is to be dropped if nothing changes. */
uint64_t ice_pair_end_us(const struct ice *ice, const struct ice_pair *p);

/* paths.c */
/* Choose the path that carries traffic. [spec connections 4.4] */
void ice_select(struct ice *ice);

/* Our addresses have changed: go on with what is left, at once. */
void ice_roam(struct ice *ice, enum ice_fate fate);

/* A check arrived on @wanted: perhaps the path in use is dead, which a check of ours will tell. */
void ice_doubt_selected(struct ice *ice, const struct ice_pair *wanted, enum ice_sign sign);

/* Ask all pairs that work from there: each check also shows the peer where it comes from now. */
void ice_doubt_base(struct ice *ice, const struct endpoint *base);

/* Ask the path in use if nothing has been heard of it for too long. */
void ice_ask_quiet(struct ice *ice);

/* When the path in use will have been silent or quiet for too long. */
uint64_t ice_selected_deadline(const struct ice *ice);

/* nominate.c: the controlling side's choice. */
void ice_nominate(struct ice *ice);

/* checks.c */
/* d(n): the gap after n checks. [spec connections 2.2] */
uint64_t ice_interval_us(const struct ice *ice, uint32_t n);
uint32_t ice_check_limit(const struct ice *ice);

/* Checks of the pair that wait for an answer; of one in doubt or after a roam, those since. */
uint32_t ice_unanswered(const struct ice_pair *p);

/* Compute the next check's time from the pair's history. */
void ice_schedule(const struct ice *ice, struct ice_pair *p);

/* Start every check that is due. */
void ice_checks_start(struct ice *ice);

void ice_request(struct ice *ice, const struct ice_input *in);
void ice_response(struct ice *ice, const struct ice_input *in);

/* Forget the checks whose answer would be lost. */
void ice_flights_drop_old(struct ice *ice);

/* The messages, into the agent's buffer. Length, 0 on failure. */
size_t ice_write_check(struct ice *ice, const struct ice_pair *p);
size_t ice_write_reply(struct ice *ice);

#endif
