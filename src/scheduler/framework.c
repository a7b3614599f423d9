#include "scheduler/framework.h"

#include <stdlib.h>

void reject(struct rejection *r, struct str reason)
{
    if (r->n < SCHED_REASONS_MAX) {
        r->reasons[r->n++] = reason;
    }
}

const struct sched_profile sched_default_profile = { .name = STR_INIT("default-scheduler") };

const struct sched_profile *cycle_profile(const struct cycle *c)
{
    return c->profile ? c->profile : &sched_default_profile;
}

bool framework_pre_filter(struct cycle *c, struct rejection *r, size_t *ret_plugin)
{
    for (size_t i = 0; i < sched_n_plugins; i++) {
        const struct sched_plugin *p = sched_plugins[i];
        c->state[i] = NULL;
        bool off = cycle_profile(c)->no_filter >> i & 1;
        c->skip_filter[i] = off || !p->filter;
        if (off || !p->pre_filter) {
            continue;
        }
        enum sched_verdict v = p->pre_filter(c, &c->state[i], r);
        if (v == SCHED_SKIP) {
            c->skip_filter[i] = true;
        } else if (v != SCHED_OK) {
            *ret_plugin = i;
            return false;
        }
    }
    return true;
}

enum sched_verdict framework_filter(struct cycle *c, const struct node_info *n, struct rejection *r,
                                    size_t *ret_plugin)
{
    for (size_t i = 0; i < sched_n_plugins; i++) {
        if (c->skip_filter[i]) {
            continue;
        }
        enum sched_verdict v = sched_plugins[i]->filter(c, c->state[i], n, r);
        if (v != SCHED_OK) {
            *ret_plugin = i;
            return v;
        }
    }
    return SCHED_OK;
}

void framework_score(struct cycle *c, struct node_info *const *nodes, size_t n_nodes,
                     int64_t *totals)
{
    int64_t *scores = arena_new_n(c->arena, int64_t, n_nodes);
    if (!scores) {
        abort();
    }
    memset(totals, 0, n_nodes * sizeof(*totals));
    for (size_t i = 0; i < sched_n_plugins; i++) {
        const struct sched_plugin *p = sched_plugins[i];
        if (!p->score || (cycle_profile(c)->no_score >> i & 1) ||
            (p->pre_score && p->pre_score(c, &c->score_state[i], nodes, n_nodes) == SCHED_SKIP)) {
            continue;
        }
        void *state = c->score_state[i];
        for (size_t k = 0; k < n_nodes; k++) {
            scores[k] = p->score(c, state, nodes[k]);
        }
        if (p->normalize) {
            p->normalize(c, state, nodes, scores, n_nodes);
        }
        for (size_t k = 0; k < n_nodes; k++) {
            totals[k] += scores[k] * (cycle_profile(c)->weights[i] ? cycle_profile(c)->weights[i] : p->weight);
        }
    }
}

void framework_done(struct cycle *c)
{
    for (size_t i = 0; i < sched_n_plugins; i++) {
        if (sched_plugins[i]->done) {
            sched_plugins[i]->done(c, c->state[i], c->score_state[i]);
        }
        c->state[i] = c->score_state[i] = NULL;
    }
}

void normalize_default(int64_t *scores, size_t n, bool reverse)
{
    int64_t most = 0;
    for (size_t i = 0; i < n; i++) {
        most = MAX(most, scores[i]);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t s = most ? scores[i] * SCHED_SCORE_MAX / most : 0;
        scores[i] = reverse ? SCHED_SCORE_MAX - s : s;
    }
}
