/*
 * The judge. It reads a history and says what must not be.
 *
 * Every version of a key has a revision, and whoever saw one names it. So the versions of a key stand in one order, and the
 * questions are simple:
 *
 *   chain      each version follows the one that its writer expected: an update the revision it named, a create a deletion. With
 *              reads that never go back in time this is what "linearizable" means for a register with compare-and-put.
 *   real time  what begins after something has been answered sees it, or something later; revisions of later writes are higher.
 *   lists      show the state as of their revision, neither more nor less.
 *   watches    bring every version between their first and last revision once, in order, and tell added from modified.
 *   lives      a write without an answer is there at the restart, or never.
 *
 * A write without an answer may be found (then it is a version like any other) or not. A deletion's revision is told by watches
 * alone; without one it is known to lie behind the version that was deleted. Renewals (volatile) may be lost with the power, back
 * to the last durable version; such versions are 'dead' from the restart on.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"

struct version {
    int64_t revision;
    uint64_t value;        /* DELETED: of what was deleted */
    bool deleted;
    uint32_t dead;         /* from this life on: rolled back by a power loss; 0: it lives */
    const struct deed *by; /* who wrote it; NULL: a deletion */
    const struct deed *deletion; /* of this version: acknowledged, or else one that may have been done */
};

struct chain {
    struct version *v;
    size_t n, capacity;
};

/* Known to be at least at 'revision' when 'at' has passed. */
struct known {
    uint64_t at;
    int64_t revision;
};

struct judge {
    const struct history *h;
    struct chain *chains;
    const struct deed **writer; /* by value */
    uint64_t n_values;
    const struct deed ***deletions; /* per key, acknowledged or unknown, NULL-terminated */
    const struct deed ***deeds;     /* per key */
    size_t *n_deeds;
    size_t max, found;
};

PRINTF_LIKE(3, 4) static void wrong(struct judge *j, uint32_t key, const char *fmt, ...)
{
    va_list ap;
    if (j->found++ >= j->max) {
        return;
    }
    printf("  WRONG: %s %u: ", key < j->h->n_maps ? "ConfigMap" : "Lease", key);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (j->found > 5) {
        return;
    }
    const struct chain *c = &j->chains[key];
    size_t from = c->n > 12 ? c->n - 12 : 0;
    for (size_t i = from; i < c->n; i++) {
        printf("      %s@%" PRId64 " value %" PRIu64 "%s%s\n", c->v[i].deleted ? "deleted" : "put", c->v[i].revision, c->v[i].value,
               c->v[i].deletion ? " (its deletion was asked for)" : "", c->v[i].dead ? " (lost with the power)" : "");
    }
}

static int by_revision(const void *a, const void *b)
{
    const struct version *x = a, *y = b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}
static int by_at(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* ---- gathering ---- */

static void add(struct judge *j, uint32_t key, int64_t revision, uint64_t value, bool deleted)
{
    struct chain *c = &j->chains[key];
    if (c->n == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 32;
        c->v = reallocarray(c->v, c->capacity, sizeof(*c->v));
        if (!c->v) {
            abort();
        }
    }
    c->v[c->n++] = (struct version){ .revision = revision, .value = value, .deleted = deleted };
}

static void gather(struct judge *j)
{
    const struct history *h = j->h;
    for (size_t i = 0; i < h->n_deeds; i++) {
        const struct deed *d = &h->deeds[i];
        if (d->kind != DEED_DELETE && d->outcome == OUTCOME_OK) {
            add(j, d->key, d->revision, d->value, false);
        }
        if ((d->kind == DEED_CREATE || d->kind == DEED_UPDATE) && d->value < j->n_values) {
            j->writer[d->value] = d;
        }
    }
    for (size_t i = 0; i < h->n_sessions; i++) {
        for (size_t k = 0; k < h->sessions[i].n; k++) {
            const struct sight *s = &h->sessions[i].sights[k];
            if (s->kind != SIGHT_BOOKMARK) {
                add(j, s->key, s->revision, s->value, s->kind == SIGHT_DELETED);
            }
        }
    }
}

static const struct version *version_at(const struct chain *c, int64_t revision)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c->v[mid].revision < revision) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < c->n && c->v[low].revision == revision ? &c->v[low] : NULL;
}

/* Orders the versions of a key, each once, and finds their writers. */
static void order(struct judge *j, uint32_t key)
{
    struct chain *c = &j->chains[key];
    size_t n = 0;
    if (c->n) {
        qsort(c->v, c->n, sizeof(*c->v), by_revision);
    }
    for (size_t i = 0; i < c->n; i++) {
        struct version *last = n ? &c->v[n - 1] : NULL;
        if (last && last->revision == c->v[i].revision) {
            if (last->value != c->v[i].value || last->deleted != c->v[i].deleted) {
                wrong(j, key, "two things at one revision %" PRId64 ": values %" PRIu64 " and %" PRIu64, last->revision, last->value,
                      c->v[i].value);
            }
            continue;
        }
        c->v[n++] = c->v[i];
    }
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        struct version *v = &c->v[i];
        const struct deed *by = v->value < j->n_values ? j->writer[v->value] : NULL;
        if (!by || by->key != key) {
            wrong(j, key, "value %" PRIu64 "@%" PRId64 " was never written", v->value, v->revision);
        } else if (!v->deleted) {
            v->by = by;
            if (by->outcome != OUTCOME_OK && by->outcome != OUTCOME_UNKNOWN) {
                wrong(j, key, "value %" PRIu64 "@%" PRId64 " was refused, and is there", v->value, v->revision);
            } else if (by->outcome == OUTCOME_OK && by->revision != v->revision) {
                wrong(j, key, "value %" PRIu64 " was acknowledged at %" PRId64 " and is there at %" PRId64, v->value, by->revision,
                      v->revision);
            }
        }
        for (const struct deed **d = j->deletions[key]; !v->deleted && d && *d; d++) {
            if ((*d)->expect == v->revision) {
                if (v->deletion && v->deletion->outcome == OUTCOME_OK && (*d)->outcome == OUTCOME_OK) {
                    wrong(j, key, "%" PRId64 " was deleted twice", v->revision);
                }
                v->deletion = v->deletion && v->deletion->outcome == OUTCOME_OK ? v->deletion : *d;
            }
        }
    }
}

static bool surely_deleted(const struct version *v)
{
    return v->deleted || (v->deletion && v->deletion->outcome == OUTCOME_OK);
}

/* ---- power losses ---- */

/* What the first list after a power loss shows is what was left: later renewals are dead. */
static void bury(struct judge *j, const struct session *s)
{
    for (size_t i = 0; i < s->n_items; i++) {
        const struct sight *it = &s->sights[i];
        struct chain *c = &j->chains[it->key];
        for (size_t k = 0; k < c->n; k++) {
            struct version *v = &c->v[k];
            if (v->revision > it->revision && v->revision <= s->revision && !v->deleted && v->by && v->by->is_volatile &&
                v->by->life < s->life && !v->dead) {
                v->dead = s->life;
            }
        }
    }
}

/* ---- the chain ---- */

/* What was there before, for somebody in that life. */
static const struct version *living_before(const struct chain *c, size_t at, uint32_t life)
{
    while (at > 0) {
        if (!c->v[--at].dead || c->v[at].dead > life) {
            return &c->v[at];
        }
    }
    return NULL;
}

static void judge_chain(struct judge *j, uint32_t key)
{
    const struct chain *c = &j->chains[key];
    for (size_t i = 0; i < c->n; i++) {
        const struct version *v = &c->v[i];
        const struct version *p = living_before(c, i, v->by ? v->by->life : UINT32_MAX);
        if (v->deleted) {
            if (!p || p->deleted || p->value != v->value) {
                wrong(j, key, "the deletion at %" PRId64 " does not follow what it deleted", v->revision);
            } else if (!p->deletion) {
                wrong(j, key, "nobody asked for the deletion at %" PRId64, v->revision);
            }
        } else if (v->by && v->by->kind == DEED_CREATE) {
            if (p && !p->deleted && !p->deletion) {
                wrong(j, key, "created at %" PRId64 " while %" PRId64 " was there: that one was lost", v->revision, p->revision);
            }
        } else if (v->by) {
            if (!p || p->deleted || p->revision != v->by->expect) {
                wrong(j, key, "%" PRId64 " was to follow %" PRId64 " and follows %" PRId64, v->revision, v->by->expect,
                      p ? p->revision : 0);
            } else if (p->deletion && p->deletion->outcome == OUTCOME_OK) {
                wrong(j, key, "%" PRId64 " was deleted and updated", p->revision);
            }
        }
    }
}

/* May a version at or above 'from' (one below: its deletion is what is known) have been deleted by something that began before
 * 'until'? */
static bool may_be_absent(const struct chain *c, int64_t from, uint64_t until)
{
    if (from == 0) {
        return true;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].revision + 1 >= from && c->v[i].deletion && c->v[i].deletion->begin < until) {
            return true;
        }
    }
    return false;
}

/* ---- real time ---- */

struct sweep {
    struct known *known;
    size_t n, next;
    int64_t newest;
};

static int64_t known_before(struct sweep *s, uint64_t t)
{
    while (s->next < s->n && s->known[s->next].at < t) {
        s->newest = MAX(s->newest, s->known[s->next].revision);
        s->next++;
    }
    return s->newest;
}

struct reading { /* sorted by begin */
    uint64_t begin, end;
    const struct deed *deed;       /* a GET, an update or create, or … */
    const struct session *session; /* … a list, and … */
    const struct sight *item;      /* … what it shows of the key; NULL: nothing */
};

static int by_begin(const void *a, const void *b)
{
    const struct reading *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static bool is_dead(const struct chain *c, int64_t revision)
{
    const struct version *v = version_at(c, revision);
    return v && v->dead;
}

/* Could there be anything but what 'd' expected while it was under way? */
static bool something_else(const struct judge *j, uint32_t key, const struct deed *d)
{
    const struct chain *c = &j->chains[key];
    for (size_t i = c->n; i > 0 && c->v[i - 1].revision > d->expect; i--) {
        if (!c->v[i - 1].by || c->v[i - 1].by->begin < d->end) {
            return true;
        }
    }
    for (size_t i = 0; i < j->n_deeds[key]; i++) {
        const struct deed *u = j->deeds[key][i];
        if (u->outcome == OUTCOME_UNKNOWN && u->kind != DEED_GET && u->expect == d->expect && u->begin < d->end) {
            return true;
        }
    }
    return false;
}

static void judge_reading(struct judge *j, uint32_t key, const struct reading *r, int64_t known)
{
    const struct chain *c = &j->chains[key];
    if (r->session) {
        if (r->item ? r->item->revision < known : !may_be_absent(c, known, r->end)) {
            wrong(j, key, "a list shows %" PRId64 ", but %" PRId64 " was known before it began", r->item ? r->item->revision : 0, known);
        }
        return;
    }
    const struct deed *d = r->deed;
    const struct version *e = version_at(c, d->expect);
    switch (d->outcome) {
    case OUTCOME_OK:
        if (d->kind == DEED_DELETE ? d->expect < known : d->revision < known + (d->kind != DEED_GET)) {
            wrong(j, key, "%s answered %" PRId64 ", but %" PRId64 " was known before it began", d->kind == DEED_GET ? "a read" : "a write",
                  d->kind == DEED_DELETE ? d->expect : d->revision, known);
        }
        break;
    case OUTCOME_ABSENT:
        if (!may_be_absent(c, known, d->end)) {
            wrong(j, key, "not found, but %" PRId64 " was known before it was asked", known);
        }
        break;
    case OUTCOME_CONFLICT:
        /* Nothing but what was expected can have been there? */
        if (d->kind != DEED_CREATE && e && !e->dead && known == e->revision && !e->deletion) {
            if (!something_else(j, key, d)) {
                wrong(j, key, "a write that expected %" PRId64 " was refused, and nothing else was there", d->expect);
            }
        }
        break;
    case OUTCOME_UNKNOWN:
    case OUTCOME_REFUSED:
        break;
    }
}

static const struct sight *item_of(const struct session *s, uint32_t key)
{
    for (size_t i = 0; i < s->n_items; i++) {
        if (s->sights[i].key == key) {
            return &s->sights[i];
        }
    }
    return NULL;
}

static void judge_times(struct judge *j, uint32_t key)
{
    const struct history *h = j->h;
    const struct deed *const *deeds = j->deeds[key];
    size_t n_deeds = j->n_deeds[key];
    const struct chain *c = &j->chains[key];
    struct known *known = calloc(n_deeds + h->n_sessions + 1, sizeof(*known));
    struct reading *readings = calloc(n_deeds + h->n_sessions + 1, sizeof(*readings));
    size_t n = 0, n_readings = 0;
    if (!known || !readings) {
        abort();
    }
    for (size_t i = 0; i < n_deeds; i++) {
        const struct deed *d = deeds[i];
        int64_t at_least = d->kind == DEED_DELETE ? d->expect + 1 : d->revision;
        /* What was known of dead versions is no longer true; readings of them are not looked at either. */
        bool dead = is_dead(c, d->kind == DEED_DELETE ? d->expect : d->revision);
        if (d->outcome == OUTCOME_OK && !dead) {
            known[n++] = (struct known){ d->end, at_least };
        }
        if (!dead) {
            readings[n_readings++] = (struct reading){ .begin = d->begin, .end = d->end, .deed = d };
        }
    }
    for (size_t i = 0; i < h->n_sessions; i++) {
        const struct session *s = &h->sessions[i];
        if (s->leases != (key >= h->n_maps)) {
            continue;
        }
        const struct sight *item = item_of(s, key);
        if (item && is_dead(c, item->revision)) {
            continue;
        }
        if (item) {
            known[n++] = (struct known){ s->end, item->revision };
        }
        readings[n_readings++] = (struct reading){ .begin = s->begin, .end = s->end, .session = s, .item = item };
    }
    qsort(known, n, sizeof(*known), by_at);
    qsort(readings, n_readings, sizeof(*readings), by_begin);
    struct sweep sweep = { .known = known, .n = n };
    for (size_t i = 0; i < n_readings; i++) {
        judge_reading(j, key, &readings[i], known_before(&sweep, readings[i].begin));
    }
    free(known);
    free(readings);
}

/* Revisions of the whole store: each is given once, and a later write has a higher one. */
static void judge_revisions(struct judge *j)
{
    const struct history *h = j->h;
    struct known *known = calloc(h->n_deeds + 1, sizeof(*known));
    struct reading *writes = calloc(h->n_deeds + 1, sizeof(*writes));
    size_t n = 0, total = 0;
    if (!known || !writes) {
        abort();
    }
    for (size_t i = 0; i < h->n_deeds; i++) {
        const struct deed *d = &h->deeds[i];
        if (d->outcome == OUTCOME_OK && (d->kind == DEED_CREATE || d->kind == DEED_UPDATE)) {
            known[n] = (struct known){ d->end, d->revision };
            writes[n++] = (struct reading){ .begin = d->begin, .deed = d };
        }
    }
    qsort(known, n, sizeof(*known), by_at);
    qsort(writes, n, sizeof(*writes), by_begin);
    struct sweep sweep = { .known = known, .n = n };
    for (size_t i = 0; i < n; i++) {
        int64_t before = known_before(&sweep, writes[i].begin);
        if (writes[i].deed->revision <= before) {
            wrong(j, writes[i].deed->key, "written at %" PRId64 " after %" PRId64 " had been answered", writes[i].deed->revision, before);
        }
    }
    free(known);
    free(writes);
    for (uint32_t k = 0; k < h->n_keys; k++) {
        total += j->chains[k].n;
    }
    struct version *all = calloc(total + 1, sizeof(*all));
    if (!all) {
        abort();
    }
    n = 0;
    for (uint32_t k = 0; k < h->n_keys; k++) {
        for (size_t i = 0; i < j->chains[k].n; i++) {
            all[n] = j->chains[k].v[i];
            all[n++].value = k;
        }
    }
    qsort(all, n, sizeof(*all), by_revision);
    for (size_t i = 1; i < n; i++) {
        if (all[i].revision == all[i - 1].revision) {
            wrong(j, (uint32_t)all[i].value, "revision %" PRId64 " was also given to key %u", all[i].revision, (unsigned)all[i - 1].value);
        }
    }
    free(all);
}

/* ---- lists and watches ---- */

/* The newest version at or below 'revision' that was there then. */
static const struct version *as_of(const struct session *s, const struct chain *c, int64_t revision)
{
    for (size_t i = c->n; i > 0; i--) {
        const struct version *v = &c->v[i - 1];
        if (v->revision <= revision && !(v->dead && s->life >= v->dead)) {
            return v;
        }
    }
    return NULL;
}

static void judge_list(struct judge *j, const struct session *s)
{
    const struct history *h = j->h;
    uint32_t from = s->leases ? h->n_maps : 0, to = s->leases ? h->n_keys : h->n_maps;
    for (uint32_t key = from; key < to; key++) {
        const struct sight *it = item_of(s, key);
        const struct version *v = as_of(s, &j->chains[key], s->revision);
        if (it && (!v || v->deleted || v->revision != it->revision)) {
            wrong(j, key, "the list at %" PRId64 " shows %" PRId64 ", and %s@%" PRId64 " was there", s->revision, it->revision,
                  v && v->deleted ? "a deletion" : "a version", v ? v->revision : 0);
        } else if (!it && v && !v->deleted && !v->deletion) {
            wrong(j, key, "the list at %" PRId64 " does not show %" PRId64 ": it was lost", s->revision, v->revision);
        } else if (it && v && surely_deleted(v) && v->deletion && v->deletion->end < s->begin) {
            wrong(j, key, "the list at %" PRId64 " shows %" PRId64 ", which had been deleted", s->revision, v->revision);
        }
    }
}

static void judge_watch(struct judge *j, const struct session *s)
{
    const struct history *h = j->h;
    int64_t last = s->revision;
    uint32_t from = s->leases ? h->n_maps : 0, to = s->leases ? h->n_keys : h->n_maps;
    int64_t *now = calloc(h->n_keys, sizeof(*now)); /* revision of what is there, as the watcher believes */
    size_t seen = 0, there = 0;
    if (!now) {
        abort();
    }
    for (size_t i = 0; i < s->n_items; i++) {
        now[s->sights[i].key] = s->sights[i].revision;
    }
    for (size_t i = s->n_items; i < s->n; i++) {
        const struct sight *e = &s->sights[i];
        if (e->kind == SIGHT_BOOKMARK ? e->revision < last : e->revision <= last) {
            wrong(j, e->key, "a watcher got %" PRId64 " after %" PRId64, e->revision, last);
        }
        last = MAX(last, e->revision);
        if (e->kind == SIGHT_BOOKMARK) {
            continue;
        }
        seen++;
        if ((e->kind == SIGHT_ADDED) == (now[e->key] != 0)) {
            wrong(j, e->key, "a watcher got %" PRId64 " as %s, and had it %s", e->revision, e->kind == SIGHT_ADDED ? "added" : "modified or deleted",
                  now[e->key] ? "already" : "not");
        }
        now[e->key] = e->kind == SIGHT_DELETED ? 0 : e->revision;
    }
    for (uint32_t key = from; key < to; key++) {
        const struct chain *c = &j->chains[key];
        for (size_t i = 0; i < c->n; i++) {
            there += c->v[i].revision > s->revision && c->v[i].revision <= last;
        }
    }
    for (uint32_t key = from; key < to && (there != seen || s->to_the_end); key++) {
        const struct version *v = as_of(s, &j->chains[key], last);
        int64_t want = v && !v->deleted ? v->revision : 0;
        if (now[key] != want && !(now[key] == 0 && v && v->deletion)) {
            wrong(j, key, "a watcher from %" PRId64 " to %" PRId64 " ends with %" PRId64 ", and %" PRId64 " was there", s->revision, last,
                  now[key], want);
        }
    }
    if (there != seen) {
        wrong(j, from, "a watcher from %" PRId64 " to %" PRId64 " got %zu of %zu events", s->revision, last, seen, there);
    }
    free(now);
}

/* What was sent to an earlier life and is newer than the first list of this one came back. */
static void judge_lives(struct judge *j, const struct session *s)
{
    const struct history *h = j->h;
    uint32_t from = s->leases ? h->n_maps : 0, to = s->leases ? h->n_keys : h->n_maps;
    for (uint32_t key = from; key < to; key++) {
        const struct chain *c = &j->chains[key];
        for (size_t i = 0; i < c->n; i++) {
            if (c->v[i].by && c->v[i].revision > s->revision && c->v[i].by->life < s->life) {
                wrong(j, key, "%" PRId64 " was sent to an earlier life of the server, and is newer than this one's first list at %" PRId64,
                      c->v[i].revision, s->revision);
            }
        }
    }
}

/* ---- all of it ---- */

static void sort_deeds(struct judge *j)
{
    const struct history *h = j->h;
    const struct deed ***per_key = j->deeds;
    size_t *n_per_key = j->n_deeds;
    for (size_t i = 0; i < h->n_deeds; i++) {
        n_per_key[h->deeds[i].key]++;
        j->n_values = MAX(j->n_values, h->deeds[i].value + 1);
    }
    for (uint32_t k = 0; k < h->n_keys; k++) {
        per_key[k] = calloc(n_per_key[k] + 1, sizeof(struct deed *));
        j->deletions[k] = calloc(n_per_key[k] + 1, sizeof(struct deed *));
        n_per_key[k] = 0;
    }
    for (size_t i = 0; i < h->n_deeds; i++) {
        const struct deed *d = &h->deeds[i];
        per_key[d->key][n_per_key[d->key]++] = d;
        if (d->kind == DEED_DELETE && (d->outcome == OUTCOME_OK || d->outcome == OUTCOME_UNKNOWN)) {
            const struct deed **at = j->deletions[d->key];
            while (*at) {
                at++;
            }
            *at = d;
        }
    }
    j->writer = calloc(j->n_values + 1, sizeof(*j->writer));
}

size_t history_verify(const struct history *h, size_t max)
{
    struct judge j = { .h = h, .max = max };
    j.n_deeds = calloc(h->n_keys + 1, sizeof(size_t));
    j.deeds = calloc(h->n_keys + 1, sizeof(*j.deeds));
    j.chains = calloc(h->n_keys + 1, sizeof(*j.chains));
    j.deletions = calloc(h->n_keys + 1, sizeof(*j.deletions));
    if (!j.n_deeds || !j.deeds || !j.chains || !j.deletions) {
        abort();
    }
    sort_deeds(&j);
    gather(&j);
    for (uint32_t k = 0; k < h->n_keys; k++) {
        order(&j, k);
    }
    for (size_t i = 0; i < h->n_sessions; i++) {
        if (h->sessions[i].power_lost) {
            bury(&j, &h->sessions[i]);
        }
    }
    for (uint32_t k = 0; k < h->n_keys; k++) {
        judge_chain(&j, k);
        judge_times(&j, k);
    }
    judge_revisions(&j);
    for (size_t i = 0; i < h->n_sessions; i++) {
        judge_list(&j, &h->sessions[i]);
        judge_watch(&j, &h->sessions[i]);
        if (h->lives_end && h->sessions[i].is_first) {
            judge_lives(&j, &h->sessions[i]);
        }
    }
    for (uint32_t k = 0; k < h->n_keys; k++) {
        free(j.chains[k].v);
        free(j.deletions[k]);
        free(j.deeds[k]);
    }
    free(j.chains);
    free(j.deletions);
    free(j.deeds);
    free(j.n_deeds);
    free(j.writer);
    return j.found;
}
