/*
 * One ICE agent, full ICE with trickle: a state machine per client connection. A gateway's is
 * controlled; a client's is controlling, which makes it nominate and check at a client's pace. The
 * roles are fixed, tie-breakers are not compared: a peer in the same role is always told to change
 * its own (487), and a 487 to us is dropped, since one side of this product is always the client.
 * [RFC 8445, RFC 8838, spec connections 2-5]
 *
 * Inputs and time come in, outputs go out; no fd, no clock. The caller drains ice_poll() after each
 * ice_handle(). Transaction ids carry the connection's 24-bit tag in their first three bytes, so
 * that a caller with many agents finds the agent of a response without a table; the other nine
 * bytes are random.
 */
#ifndef ICE_ICE_H
#define ICE_ICE_H

#include "base/defs.h"
#include "base/rng.h"
#include "base/secret.h"
#include "ice/candidate.h"
#include "stun/stun.h"

struct ice;

enum {
	ICE_MAX_LOCAL = 32,
	ICE_MAX_REMOTE_SIGNALLED = 32, /* oldest unused evicted */
	ICE_MAX_REMOTE_PRFLX = 8,
	ICE_MAX_PAIRS = 100,
	ICE_FIRST_CANDIDATE_S = 10,
	ICE_DISCONNECT_GRACE_S = 2,
	ICE_ROAM_GRACE_S = 15, /* the same after a roam: new candidates have to be found first */
};

/* Heap bytes of one agent, without its two arena slots, the shared HMAC and the allocator's own. */
enum {
	ICE_BYTES_MAX = 24 * 1024, /* all tables full, longest names */
	ICE_BYTES_IDLE = 2944,     /* idle, with no more candidates and pairs than these: */
	ICE_USUAL_LOCAL = 5,       /* both ends with both families, behind NATs, on one relay */
	ICE_USUAL_REMOTE = 6,
	ICE_USUAL_PAIRS = 12,
};

enum ice_profile {
	ICE_ACTIVE,
	ICE_IDLE
};

/* What a roam made of the selected path, if its candidates are still there. */
enum ice_fate {
	ICE_PATH_KEPT,
	ICE_PATH_SUSPECT, /* it may work no more: any other one that does is better */
	ICE_PATH_LOST,    /* nothing can be sent along it */
};

enum ice_state {
	ICE_NEW,
	ICE_CHECKING,
	ICE_CONNECTED,
	ICE_DISCONNECTED,
	ICE_FAILED
};

struct ice_config {
	const char *local_ufrag, *local_pwd, *remote_ufrag,
	    *remote_pwd;  /* copied; passwords into the arena */
	uint32_t tag;     /* 24 bits, unique among the caller's agents */
	bool controlling; /* a client's side */
	struct rng rng;
	struct secret_arena *arena; /* two slots per agent */
	struct stun_hmac *hmac; /* shared, must outlive the agent; NULL: anew for each message */
};

enum ice_input_kind {
	ICE_INPUT_LOCAL_ADD,     /* candidate: kind, addr, base, relay_family; the agent sets the
				    priority */
	ICE_INPUT_LOCAL_REMOVE,  /* by address, kind */
	ICE_INPUT_REMOTE_ADD,    /* a signalled candidate, already parsed */
	ICE_INPUT_REMOTE_REMOVE, /* by address and kind */
	ICE_INPUT_STUN,          /* a Binding request or success response */
	ICE_INPUT_PROFILE,
	ICE_INPUT_ROAM, /* our addresses have changed, after what came and went of candidates */
	ICE_INPUT_TIMEOUT,
};

struct ice_input {
	enum ice_input_kind kind;
	union {
		struct candidate candidate;
		struct {
			const struct stun_msg *msg;
			const uint8_t *buf;
			size_t len;
			struct endpoint src; /* peer; behind a relay the channel's peer */
			struct endpoint dst; /* our local address, or our relayed address */
			bool owned; /* a request that ice_owns_request() has just said yes to: its
				       integrity is not checked a second time */
		} stun;
		enum ice_profile profile;
		enum ice_fate fate; /* of the selected path */
	} u;
};

/* A usable path: @local is a host address or our relayed address (via_relay). */
struct ice_path {
	struct endpoint local, remote;
	bool via_relay;
};

enum ice_output_kind {
	ICE_OUTPUT_TRANSMIT, /* send bytes along a path */
	ICE_OUTPUT_ANNOUNCE, /* a local candidate was added or revived: signal it */
	ICE_OUTPUT_SELECTED, /* the path that carries traffic is now this one (also the first time)
			      */
	ICE_OUTPUT_UNSELECTED, /* no path carries traffic any more; a later SELECTED ends this */
	ICE_OUTPUT_STATE,      /* ICE_FAILED is final: the caller removes the connection */
};

struct ice_output {
	enum ice_output_kind kind;
	union {
		struct {
			struct ice_path path;
			const uint8_t *data; /* valid until the next call on the agent */
			size_t len;
		} transmit;
		struct candidate announce;
		struct ice_path selected;
		enum ice_state state;
	} u;
};

/* NULL without memory, without arena slots, or when a credential breaks RFC 8445's bounds
 * (4..256, 22..256). */
struct ice *ice_new(const struct ice_config *cfg, uint64_t now_us);
void ice_free(struct ice *ice);

/* Feed one event. Never blocks, never fails on what a peer sent. @now_us: monotonic, may repeat,
 * never goes back. */
void ice_handle(struct ice *ice, const struct ice_input *in, uint64_t now_us);

/* Take the next output; false when there is none. The output's bytes are valid until the next call
 * on @ice. */
bool ice_poll(struct ice *ice, struct ice_output *out);

/* When ice_handle() must be called with ICE_INPUT_TIMEOUT. NEVER_US: no timer. */
uint64_t ice_deadline(const struct ice *ice);

/* True if a request with this USERNAME and MESSAGE-INTEGRITY is for this agent (both ufrags and our
 * password). */
bool ice_owns_request(const struct ice *ice, const struct stun_msg *msg, const uint8_t *buf,
		      size_t len);

/* Current path; false before the first nomination and once no nominated pair is left. */
bool ice_selected(const struct ice *ice, struct ice_path *out);
enum ice_state ice_state_of(const struct ice *ice);

/* Local candidates that are announced now, by descending priority; for a re-announcement. Returns
 * the number written. */
size_t ice_local_candidates(const struct ice *ice, struct candidate *out, size_t max);

/* Remote candidates that were signalled and not withdrawn. Returns the number written. */
size_t ice_remote_candidates(const struct ice *ice, struct candidate *out, size_t max);

/* "ours:theirs", the USERNAME of the client's requests; the key for demultiplexing. NUL-terminated.
 */
const char *ice_username(const struct ice *ice);
const char *ice_local_ufrag(const struct ice *ice);
const char *ice_remote_ufrag(const struct ice *ice);

#endif
