/*
 * A gateway's agent under test with a scripted controlling peer and a clock that the test turns.
 *
 * Every step collects the agent's outputs; each call replaces what the call before collected.
 * Credentials are those of connections-stun.json. Addresses are texts: "10.0.0.5:52625".
 */
#ifndef TESTS_UNIT_ICE_PEER_H
#define TESTS_UNIT_ICE_PEER_H

#include "base/rng.h"
#include "base/secret.h"
#include "ice/ice.h"

#define OUR_UFRAG  "6frn"
#define OUR_PWD    "6qfkgp5xv3licxyswonpeq"
#define PEER_UFRAG "hzxq"
#define PEER_PWD   "ucsfc4b56p7gpg6utz5dit"

#define OUR_HOST  "10.0.0.5:52625"
#define OUR_SRFLX "198.51.100.4:52625"
#define OUR_RELAY "192.0.2.50:50000"

enum {
	PEER_MAX_SENT = 128,
	PEER_MAX_MESSAGE = 128,
	PEER_PRIORITY = 1862270719,
};

struct peer_sent {
	struct ice_path path;
	uint8_t data[PEER_MAX_MESSAGE];
	size_t len;
	struct stun_msg msg; /* points into data */
};

struct peer {
	struct ice *ice;
	struct secret_arena *arena;
	struct rng_seeded seed, ids;
	struct rng rng;
	uint64_t now_us;
	/* Outputs of the last step. */
	struct peer_sent sent[PEER_MAX_SENT];
	size_t n_sent;
	struct candidate announced[ICE_MAX_LOCAL];
	size_t n_announced;
	struct ice_path selected;
	unsigned n_selected, n_unselected;
	bool told_path; /* the newest of all these news, of earlier steps too */
	enum ice_state states[4];
	unsigned n_states;
};

/* What a request of the peer says; the rest is as the stock client's. */
struct peer_check {
	const char *src, *dst;
	const struct stun_txid *txid; /* NULL: a fresh one */
	uint32_t priority;            /* 0: PEER_PRIORITY */
	bool use_candidate, controlled, no_priority, owned;
	const char *username, *key; /* NULL: the right ones */
};

/* For cmocka_run_group_tests(): what the process needs once. */
int peer_group_setup(void **state);

struct endpoint at(const char *text);

void peer_open(struct peer *peer);
void peer_close(struct peer *peer);

/* Time goes on by @ms without an event. */
void peer_wait_ms(struct peer *peer, uint64_t ms);
/* The same with the agent's timer: every deadline on the way is served; outputs of all of them are
 * collected. */
void peer_run_ms(struct peer *peer, uint64_t ms);
/* As peer_run_ms(), and every check of ours is answered at once. */
void peer_run_answering_ms(struct peer *peer, uint64_t ms);

void peer_feed(struct peer *peer, const struct ice_input *in);
void peer_timeout(struct peer *peer);
void peer_profile(struct peer *peer, enum ice_profile profile);
void peer_local(struct peer *peer, bool add, enum candidate_kind kind, const char *addr,
		const char *base);
void peer_remote(struct peer *peer, bool add, enum candidate_kind kind, const char *addr);

/* The peer's check arrives. */
void peer_check(struct peer *peer, const struct peer_check *check);
/* Short form: right credentials. */
void peer_checks(struct peer *peer, const char *src, const char *dst, bool use_candidate);
/* One of our checks is answered; @src, @dst, @key NULL: as it should be. The message is taken from
 * @sent, a copy. */
void peer_answer_as(struct peer *peer, struct peer_sent sent, const char *src, const char *dst,
		    const char *key);
void peer_answer(struct peer *peer, struct peer_sent sent);

/* Check of the last step along these addresses; fails the test without one. */
struct peer_sent peer_check_to(const struct peer *peer, const char *local, const char *remote);
bool peer_has_check_to(const struct peer *peer, const char *local, const char *remote);
/* Number of checks to @remote in the last step, whatever the local address. */
unsigned peer_count_to(const struct peer *peer, const char *remote);
/* The only answer of the last step; NULL without one. */
const struct peer_sent *peer_reply(const struct peer *peer);

/* Fails the test unless the path is that. */
void peer_assert_path(const struct peer *peer, const char *local, const char *remote);

/* For cmocka: a peer in *state, and one whose host candidate the agent has. */
int peer_setup(void **state);
int peer_setup_host(void **state);
/* The same, and the peer has signalled a candidate that leads nowhere. */
int peer_setup_signalled(void **state);
int peer_teardown(void **state);

#endif
