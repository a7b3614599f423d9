/*
 * Replaying captured requests against a server in this process: how answers are compared, and which cases are known to agree.
 *
 * Two lists under tests/data say what is expected. golden-agree.txt is a ratchet: a case named there must go on agreeing.
 * golden-deviations.txt names cases that differ and says why ("<directory>/<case>: <reason>"; a name may end in '*'). Cases in
 * neither list differ and wait. With CORACLE_GOLDEN_VERBOSE=1 each difference is printed, with a word in CORACLE_GOLDEN_CASE only
 * those of cases whose name contains it; CORACLE_GOLDEN_ACCEPT=1 adds the cases that agree to the ratchet.
 */
#ifndef APISERVER_GOLDEN_REPLAY_H
#define APISERVER_GOLDEN_REPLAY_H

#include "api/val.h"
#include "apiserver/test-server.h"

/* The cases of one directory ("errors"), as they are replayed. */
struct replay {
    const char *directory;
    unsigned n, agree, deviate, lost;
    struct buf agreed; /* lines for the ratchet */
    struct arena a;
    struct str ratchet, deviations;
};
void replay_begin(struct replay *r, const char *directory);
/* One case is done: 'why' says where it differs and is ignored when 'same'. */
void replay_case(struct replay *r, const char *name, bool same, const char *why);
/* Prints the counts; the test fails when a case of the ratchet differs. */
void replay_end(struct replay *r);
/* Is this case left out (CORACLE_GOLDEN_CASE)? */
bool replay_skips(const char *name);

/* Where two answers differ, for a person. */
struct replay_diff {
    struct str given; /* the request's body: what stands there must come back as it is */
    char why[2000];   /* the first difference */
};
/* Same values in the same order, but for what varies from run to run: uids, resource versions, times, addresses and ports that
 * were not asked for, generated suffixes, ages. */
bool replay_same(struct arena *a, struct replay_diff *d, const struct val *got, const struct val *want);
bool replay_same_json(struct arena *a, struct replay_diff *d, struct str got, struct str want);
/* The same for the text of a message. */
bool replay_same_message(struct arena *a, struct str got, struct str want);
/* Content-Type and Warning headers as captured in response.meta.json. */
bool replay_same_headers(struct replay_diff *d, const struct test_answer *got, const struct val *meta);

/* Bodies captured from live objects carry the uid and version of that cluster: they are taken out. */
struct str replay_cleaned(struct arena *a, struct str body);
/* The sorted names in a folder below the golden ones that begin with a digit; freed by the caller. Skips the test without. */
size_t replay_names(const char *folder, char **names, size_t max);
/* Makes what is stored be 'before', as if somebody else had written it; nothing is there when 'before' is a Status. */
bool replay_put(struct test_server *t, struct arena *a, const struct endpoint *ep, struct str namespace, struct str name,
                struct str before);
/* The same for all names. */
size_t replay_files(const char *folder, char **names, size_t max);
/* The parsed text; null when it is absent or no JSON. */
struct val replay_parse(struct arena *a, struct str json);

#endif
