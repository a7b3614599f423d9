/* What the tests of this room share: a store on a loop of its own in a folder of its own, and calls that wait. */
#ifndef STORE_TEST_SUPPORT_H
#define STORE_TEST_SUPPORT_H

#include "base/test.h"
#include "net/loop.h"
#include "store/store.h"
#include "store/watch-cache.h"

struct test_etcd;

struct fixture {
    bool sqlite;
    struct test_etcd *etcd;     /* over etcd; borrowed */
    char prefix[32];            /* its keys there begin with this */
    bool trust_progress;
    uint64_t compaction_ms;
    bool with_volatile_log;
    bool sync; /* fsync for real */
    size_t held_back_bytes;
    char dir[64], path[96];
    struct loop *loop;
    struct store *store;
    struct store_resource *pods, *leases;
    size_t n_events;
    struct {
        enum store_event_type type;
        int64_t revision;
        char key[96], value[64];
    } events[4096];
    char fatal[512]; /* reason given to on_fatal */
};

/* A folder under /tmp, removed by fixture_end(). */
struct fixture *fixture_new(bool sqlite);
/* Over etcd, with keys of its own. */
struct fixture *fixture_new_etcd(struct test_etcd *etcd);
void fixture_open(struct fixture *f);
bool fixture_try_open(struct fixture *f, struct err *err);
void fixture_close(struct fixture *f);
void fixture_end(struct fixture *f);
/* Turns the loop until '*flag' is not 0; fails the test after ten seconds. */
void fixture_wait(struct fixture *f, const int *flag);
void fixture_turn_ms(struct fixture *f, unsigned ms);

/* A write under "/registry/pods/" (or "/registry/leases/" with STORE_VOLATILE or 'lease') and its answer. */
struct answer {
    int done;
    enum store_status status;
    int64_t revision;
    char value[64];
};
void on_answer(void *arg, const struct store_result *res);
void start_write(struct fixture *f, struct store_resource *r, const char *key, const char *value, int64_t expect,
                 unsigned flags, struct answer *a);
struct answer do_write_to(struct fixture *f, struct store_resource *r, const char *key, const char *value, int64_t expect,
                          unsigned flags);
struct answer put(struct fixture *f, const char *name, const char *value, int64_t expect);
struct answer delete_(struct fixture *f, const char *name, int64_t expect);

/* All keys with a prefix as "key=value@revision " text. */
const char *dump(struct fixture *f, const char *prefix);

/* Objects of a made-up kind: a value "node=a;phase=b;label=c;data=…" becomes an object with such facts. */
extern const struct object_class thing_class;
extern const struct watch_cache_ops thing_ops;
struct object *thing_new(struct str namespace, struct str name, struct str value);

#endif
