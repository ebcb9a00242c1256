#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scenario.h"

struct options {
	uint64_t seeds, from, seconds, replay;
	bool has_replay, shrink;
	const char *known; /* file of seeds that come first */
};

struct tally {
	uint64_t ran, failed, steps, echoes, datagrams;
	uint64_t looks[TRUTH_LOOK_KINDS];
	int64_t most_memory;
};

static void usage(void)
{
	printf("usage: sim [--seeds N] [--from S] [--seconds T] [--known FILE] [--replay S] "
	       "[--shrink]\n"
	       "  --seeds N     how many random scenarios (2000)\n"
	       "  --from S      first seed (1)\n"
	       "  --seconds T   virtual seconds of each (20 to 40, drawn)\n"
	       "  --known FILE  seeds that come first, one a line\n"
	       "  --replay S    one scenario, with its trace\n"
	       "  --shrink      leave out the events that a failure does not need\n");
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return errno == 0 && end != text && *end == '\0';
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
	    {"seeds", required_argument, NULL, 'n'},
	    {"from", required_argument, NULL, 'f'},
	    {"seconds", required_argument, NULL, 't'},
	    {"known", required_argument, NULL, 'k'},
	    {"replay", required_argument, NULL, 'r'},
	    {"shrink", no_argument, NULL, 's'},
	    {NULL, 0, NULL, 0},
	};
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			ok = number(optarg, &o->seeds);
		else if (c == 'f')
			ok = number(optarg, &o->from);
		else if (c == 't')
			ok = number(optarg, &o->seconds);
		else if (c == 'k')
			o->known = optarg;
		else if (c == 's')
			o->shrink = true;
		else if (c == 'r')
			o->has_replay = ok = number(optarg, &o->replay);
		else
			ok = false;
	}
	return ok && optind == argc;
}

/* What failed, in full. */
static void tell(struct scenario *s, bool shrink)
{
	printf("FAILED seed %" PRIu64 ": %s\n", s->seed, s->reason);
	if (shrink) {
		scenario_shrink(s);
		printf("shrunk to:\n");
	}
	scenario_print(s);
	fflush(stdout);
}

static void run_one(const struct options *o, struct tally *t, uint64_t seed)
{
	struct scenario s;

	scenario_draw(&s, seed, o->seconds);
	scenario_run(&s);
	t->ran++;
	t->failed += s.failed;
	t->steps += s.steps;
	t->echoes += s.echoes;
	for (unsigned i = 0; i < TRUTH_LOOK_KINDS; i++)
		t->looks[i] += s.looks[i];
	t->datagrams += s.datagrams;
	if (s.most_memory > t->most_memory)
		t->most_memory = s.most_memory;
	if (s.failed)
		tell(&s, o->shrink);
}

static bool run_known(const struct options *o, struct tally *t)
{
	FILE *f = fopen(o->known, "re");
	char line[128];

	if (!f) {
		fprintf(stderr, "%s: %s\n", o->known, strerror(errno));
		return false;
	}
	while (fgets(line, sizeof(line), f)) {
		uint64_t seed;

		line[strcspn(line, " \t#\n")] = '\0';
		if (number(line, &seed))
			run_one(o, t, seed);
	}
	fclose(f);
	return true;
}

static int replay(const struct options *o)
{
	struct scenario s;

	scenario_draw(&s, o->replay, o->seconds);
	if (o->shrink)
		scenario_shrink(&s);
	scenario_print(&s);
	s.tracing = true;
	scenario_run(&s);
	printf("%s%s\n", s.failed ? "FAILED: " : "passed", s.failed ? s.reason : "");
	return s.failed;
}

static void summary(const struct tally *t, double took)
{
	static const char *const names[TRUTH_LOOK_KINDS] = {
	    [TRUTH_LOOK_DUE] = "due",
	    [TRUTH_LOOK_SETTLING] = "excused after an event",
	    [TRUTH_LOOK_NO_GRANT] = "not authorized",
	    [TRUTH_LOOK_NO_PORTAL] = "without a portal",
	    [TRUTH_LOOK_NO_PATH] = "without a path",
	    [TRUTH_LOOK_PAUSED] = "paused",
	    [TRUTH_LOOK_ASLEEP] = "asleep",
	};
	uint64_t looks = 0;

	for (unsigned i = 0; i < TRUTH_LOOK_KINDS; i++)
		looks += t->looks[i];
	printf("traffic at %" PRIu64 " looks:", looks);
	for (unsigned i = 0; i < TRUTH_LOOK_KINDS; i++)
		printf(" %s %.1f %%%s", names[i],
		       looks > 0 ? 100.0 * (double)t->looks[i] / (double)looks : 0,
		       i + 1 < TRUTH_LOOK_KINDS ? "," : "\n");
	printf("processor time %.1f s, %.1f ms each; %" PRIu64 " datagrams, %" PRIu64
	       " echoes, at most %" PRId64 " bytes in a gateway\n",
	       took, t->ran > 0 ? took * 1000 / (double)t->ran : 0, t->datagrams, t->echoes,
	       t->most_memory);
	printf("%" PRIu64 " scenarios, %" PRIu64 " failed\n", t->ran, t->failed);
}

int main(int argc, char **argv)
{
	struct options o = {.seeds = 2000, .from = 1};
	struct tally t = {.ran = 0};
	clock_t start = clock();

	if (!parse(&o, argc, argv) || sodium_init() < 0) {
		usage();
		return 2;
	}
	if (o.has_replay)
		return replay(&o);
	if (o.known && !run_known(&o, &t))
		return 2;
	for (uint64_t i = 0; i < o.seeds; i++)
		run_one(&o, &t, o.from + i);
	summary(&t, (double)(clock() - start) / CLOCKS_PER_SEC);
	return t.failed > 0;
}
