#include "api/gate.h"

#include <assert.h>

#include "base/err.h"

const struct api_gate *api_gate_find(struct str name)
{
    size_t lo = 0, hi = api_n_gates;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = str_cmp(api_gates[mid].name, name);

        if (c == 0) {
            return &api_gates[mid];
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

static uint64_t bit_of(const struct api_gate *g, size_t *ret_word)
{
    size_t i = (size_t)(g - api_gates);

    assert(api_n_gates <= 8 * 64);
    *ret_word = i / 64;
    return 1ULL << (i % 64);
}

bool api_gate_on(const struct api_gates_set *s, struct str name)
{
    const struct api_gate *g = api_gate_find(name);
    size_t word;
    uint64_t bit;

    if (!g) {
        return false;
    }
    bit = bit_of(g, &word);
    return g->on != (s && (s->flipped[word] & bit));
}

bool api_gate_set(struct api_gates_set *s, struct str name, bool on, struct err *err)
{
    const struct api_gate *g = api_gate_find(name);
    size_t word;
    uint64_t bit;

    if (!g) {
        return err_set(err, ERR_INVALID, "unrecognized feature gate: %.*s", STR_ARG(name));
    }
    if (g->locked && on != g->on) {
        return err_set(err, ERR_INVALID, "cannot set feature gate %.*s to %s, feature is locked to %s", STR_ARG(name),
                       on ? "true" : "false", g->on ? "true" : "false");
    }
    bit = bit_of(g, &word);
    s->flipped[word] = on != g->on ? s->flipped[word] | bit : s->flipped[word] & ~bit;
    return true;
}

/* ---- fields ---- */

/* Gated fields that are off and that the old object uses; there are a handful at most. */
struct used {
    const struct api_field *fields[32];
    size_t n;
};

static bool is_off(const struct api_gates_set *s, const struct api_field *f)
{
    struct str rest = f->facts->gate, gate;

    while (str_split(&rest, ',', &gate)) {
        if (!api_gate_on(s, gate)) {
            return true;
        }
    }
    return false;
}

/* Bytes of the member, its count or its has_ flag included. */
static bool is_set(const struct api_field *f, const char *obj)
{
    const char *p = obj + f->offset;

    if (f->card != API_SINGLE) {
        return *(const size_t *)(const void *)(p + sizeof(void *)) != 0;
    }
    if (f->has_offset) {
        return *(obj + f->has_offset) != 0;
    }
    if (f->flags & API_F_POINTER) {
        return *(void *const *)(const void *)p != NULL || f->ftype == API_INT_OR_STRING || f->ftype == API_TIME;
    }
    for (size_t i = 0; i < api_item_size(f); i++) {
        if (p[i]) {
            return true;
        }
    }
    return false;
}

static void clear(const struct api_field *f, char *obj)
{
    char *p = obj + f->offset;

    if (f->card != API_SINGLE) {
        memset(p, 0, sizeof(void *) + sizeof(size_t));
    } else if (f->ftype == API_MESSAGE && (f->flags & API_F_POINTER)) {
        memset(p, 0, sizeof(void *));
    } else {
        memset(p, 0, api_item_size(f));
    }
    if (f->has_offset) {
        *(obj + f->has_offset) = 0;
    }
}

/* One walk for all: with 'drop' clears what is off and not in 'u', without it notes what is off and set. */
static void walk(const struct api_type *t, char *obj, const struct api_gates_set *s, struct used *u, bool drop)
{
    if (!(t->flags & API_T_GATED)) {
        return;
    }
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        char *p = obj + f->offset;

        /* Whether it is set is asked first: it is cheap, and most are not. */
        if (f->facts->gate.ptr && is_set(f, obj) && is_off(s, f)) {
            size_t k = 0;

            while (k < u->n && u->fields[k] != f) {
                k++;
            }
            if (drop && k == u->n) {
                clear(f, obj);
                continue;
            }
            if (!drop && k == u->n && u->n < ARRAY_SIZE(u->fields)) {
                u->fields[u->n++] = f;
            }
        }
        if (!f->message) {
            continue;
        }
        if (f->card != API_SINGLE) {
            char *items = *(char **)(void *)p;
            size_t n = *(size_t *)(void *)(p + sizeof(void *));
            size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

            for (size_t k = 0; k < n; k++) {
                walk(f->message, items + k * size + (f->card == API_MAP ? API_ENTRY_VALUE : 0), s, u, drop);
            }
            continue;
        }
        if (f->flags & API_F_POINTER) {
            p = *(char **)(void *)p;
        }
        if (p) {
            walk(f->message, p, s, u, drop);
        }
    }
}

void api_drop_gated(const struct api_type *t, void *obj, const void *old, const struct api_gates_set *s)
{
    struct used now = { .n = 0 }, before = { .n = 0 };

    /* Nothing is written in the passes that note. Mostly there is nothing to drop, and then the old object is not asked. */
    walk(t, obj, s, &now, false);
    if (now.n == 0) {
        return;
    }
    if (old) {
        walk(t, (char *)(uintptr_t)old, s, &before, false);
    }
    walk(t, obj, s, &before, true);
}
