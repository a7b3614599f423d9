#include <stdlib.h>

#include "base/log.h"
#include "store/failpoint.h"
#include "store/local-private.h"

/*
 * The committer: takes what has been gathered, makes it durable in one transaction, publishes it, and goes round again. While
 * it waits for the disk the sequencer gathers the next group.
 */

static struct backend_row *rows_of(struct list *group, size_t n)
{
    struct backend_row *rows = calloc(n ? n : 1, sizeof(*rows)), *row = rows;
    if (!rows) {
        abort();
    }
    LIST_FOREACH(group, struct op, link, op) {
        *row++ = (struct backend_row){
            .key = op->key,
            .value = op->value,
            .revision = op->revision,
            .replaces = op->db_revision != 0,
            .expires = op->expires,
        };
    }
    return rows;
}

/* Under the lock. The ops go on to the sequencer, which forgets that they are pending. */
static void group_done(struct local_store *s, struct list *group)
{
    struct list *n;
    while ((n = list_pop_front(group))) {
        struct op *op = LIST_ENTRY(n, struct op, link);
        op->is_done = true;
        if (op->kind == OP_WRITE) {
            s->stats.writes++;
            if (op->resource) {
                local_publish(s, op->resource);
            } else {
                s->n_pending--;
                op_unref(op); /* nobody waits for it */
            }
        } else {
            s->stats.flushes++;
        }
        list_push_back(&s->done_groups, &op->link);
        s->n_done_groups++;
    }
    s->stats.groups++;
}

/* Under the lock. Fails the ops of a list: nothing of them was written. */
static void group_fail(struct local_store *s, struct list *group, enum store_status status)
{
    struct list *n;
    while ((n = list_pop_front(group))) {
        struct op *op = LIST_ENTRY(n, struct op, link);
        if (op->kind == OP_WRITE) {
            local_fail(s, op, status);
        } else {
            op->status = status;
            op->is_done = true;
            s->flush_failed = true;
        }
        list_push_back(&s->done_groups, &op->link);
        s->n_done_groups++;
    }
}

/* Under the lock. */
static void fail_everything(struct local_store *s, struct list *group, enum store_status status)
{
    group_fail(s, group, status);
    group_fail(s, &s->group, status);
    s->group_bytes = s->group_n = 0;
    s->failures++;
    s->reserve_failed = true;
}

static void publish_after_commit(struct local_store *s)
{
    struct list *n;
    s->committing = false;
    while ((n = list_pop_front(&s->after_commit))) {
        local_answer(s, LIST_ENTRY(n, struct op, ready));
    }
    local_post(s);
    pthread_cond_signal(&s->reserve_cond); /* nobody waits for it, but when revisions or room are short */
}

/* Says so when it begins; a full disk fails every write until there is room. */
static void log_full(struct local_store *s, const char *reason)
{
    if (!s->is_full) {
        log_error("store: %s: writes fail until there is room on the store's disk", reason);
        s->is_full = true;
    }
}

/* Called and returns with the lock held. */
static void commit_group(struct local_store *s)
{
    struct list group, *n;
    size_t n_rows = s->group_n;
    bool broken = s->broken;
    list_init(&group);
    while ((n = list_pop_front(&s->group))) {
        list_push_back(&group, n);
    }
    s->group_bytes = s->group_n = 0;
    s->committing = true;
    int64_t reserve = 0;
    if (s->want_reserve || s->revision + STORE_REVISION_BLOCK / 2 > s->reserved) {
        reserve = s->revision + STORE_REVISION_BLOCK;
    }
    pthread_mutex_unlock(&s->lock);

    char reason[256] = "";
    failpoint("group-taken");
    struct backend_row *rows = rows_of(&group, n_rows);
    struct backend_commit c = { .rows = rows, .n_rows = n_rows, .reserve = reserve };
    enum backend_result r = broken ? BACKEND_FULL : s->be->ops->commit(s->be, &c, reason);
    free(rows);
    if (r == BACKEND_FAILED) {
        local_fatal(s, "cannot make a group durable", reason);
    } else if (r == BACKEND_FULL && !broken) {
        log_full(s, reason);
    } else if (r == BACKEND_OK && s->is_full) {
        log_info("store: there is room on the store's disk again");
        s->is_full = false;
    }

    failpoint("committed");
    pthread_mutex_lock(&s->lock);
    if (r == BACKEND_OK) {
        if (reserve) {
            s->reserved = reserve;
            s->want_reserve = false;
        }
        group_done(s, &group);
    } else {
        s->want_reserve = false;
        fail_everything(s, &group, r == BACKEND_FULL && !s->broken ? STORE_E_FULL : STORE_E_IO);
    }
    publish_after_commit(s);
    s->sequencer_due |= s->n_done_groups > 256;
    local_unlock(s);
    failpoint("published");
    pthread_mutex_lock(&s->lock);
}

static void end_run(struct local_store *s)
{
    char reason[256] = "";
    struct backend_commit c = { .end_run = true, .last = s->revision };
    failpoint("close-flushed");
    if (s->be->ops->commit(s->be, &c, reason) != BACKEND_OK) {
        log_error("store: cannot mark the store as closed: %s; it will be checked at the next start", reason);
    }
    failpoint("close-ended");
}

void *committer_main(void *arg)
{
    struct local_store *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        if (s->group_n || s->want_reserve) {
            commit_group(s);
            continue;
        }
        if (s->sequencer_ended) {
            break;
        }
        pthread_cond_wait(&s->com_cond, &s->lock);
    }
    bool end = !s->broken && !s->flush_failed && s->be->ops->durable;
    pthread_mutex_unlock(&s->lock);
    if (end) {
        end_run(s);
    }
    return NULL;
}
