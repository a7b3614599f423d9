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
    c->n_filters = 0;
    c->indexed = false;
    c->only = NULL;
    c->only_by = 0;
    for (size_t i = 0; i < sched_n_plugins; i++) {
        const struct sched_plugin *p = sched_plugins[i];
        bool off = cycle_profile(c)->no_filter >> i & 1;
        struct node_info *const *only = c->only;
        c->state[i] = NULL;
        enum sched_verdict v = off ? SCHED_SKIP : p->pre_filter ? p->pre_filter(c, &c->state[i], r) : SCHED_OK;
        c->only_by |= (uint64_t)(c->only != only) << i;
        if (v != SCHED_OK && v != SCHED_SKIP) {
            *ret_plugin = i;
            return false;
        }
        if (v == SCHED_OK && p->filter) {
            c->filters[c->n_filters++] = (uint8_t)i;
            c->indexed = c->indexed || p->indexed;
        }
    }
    return true;
}

void cycle_narrow(struct cycle *c, struct node_info **nodes, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; c->only && i < n; i++) {
        for (size_t k = 0; k < c->n_only; k++) {
            if (c->only[k] == nodes[i]) {
                nodes[kept++] = nodes[i];
                break;
            }
        }
    }
    c->n_only = c->only ? kept : n;
    c->only = nodes;
}

enum sched_verdict framework_filter(struct cycle *c, const struct node_info *n, struct rejection *r,
                                    size_t *ret_plugin)
{
    for (size_t i = 0; i < c->n_filters; i++) {
        size_t at = c->filters[i];
        enum sched_verdict v = sched_plugins[at]->filter(c, c->state[at], n, r);
        if (v != SCHED_OK) {
            *ret_plugin = at;
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
