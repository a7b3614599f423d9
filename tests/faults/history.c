#include "history.h"

#include <stdlib.h>
#include <string.h>

static void *grow(void *items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return items;
    }
    *capacity = *capacity ? *capacity * 2 : 64;
    items = reallocarray(items, *capacity, size);
    if (!items) {
        abort();
    }
    return items;
}

struct deed *history_deed(struct history *h)
{
    h->deeds = grow(h->deeds, h->n_deeds, &h->deeds_capacity, sizeof(struct deed));
    h->deeds[h->n_deeds] = (struct deed){ 0 };
    return &h->deeds[h->n_deeds++];
}

struct session *history_session(struct history *h)
{
    h->sessions = grow(h->sessions, h->n_sessions, &h->sessions_capacity, sizeof(struct session));
    h->sessions[h->n_sessions] = (struct session){ 0 };
    return &h->sessions[h->n_sessions++];
}

struct sight *session_sight(struct session *s)
{
    s->sights = grow(s->sights, s->n, &s->capacity, sizeof(struct sight));
    s->sights[s->n] = (struct sight){ 0 };
    return &s->sights[s->n++];
}

void history_join(struct history *h, struct history *from)
{
    for (size_t i = 0; i < from->n_deeds; i++) {
        *history_deed(h) = from->deeds[i];
    }
    for (size_t i = 0; i < from->n_sessions; i++) {
        *history_session(h) = from->sessions[i];
    }
    free(from->deeds);
    free(from->sessions);
    *from = (struct history){ 0 };
}

void history_deinit(struct history *h)
{
    for (size_t i = 0; i < h->n_sessions; i++) {
        free(h->sessions[i].sights);
    }
    free(h->sessions);
    free(h->deeds);
    *h = (struct history){ 0 };
}
