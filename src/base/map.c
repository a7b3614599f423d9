#include "base/map.h"

#include <stdlib.h>

struct map_slot {
    char *key; /* NULL: never used; TOMBSTONE: removed */
    size_t key_len;
    uint64_t hash;
    void *value;
};

static char tombstone_mark;
#define TOMBSTONE (&tombstone_mark)

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
}

void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->capacity; i++) {
        if (m->slots[i].key && m->slots[i].key != TOMBSTONE) {
            free(m->slots[i].key);
        }
        m->slots[i] = (struct map_slot){ 0 };
    }
    m->n = m->n_used = 0;
}

void map_deinit(struct map *m)
{
    if (m) {
        map_clear(m);
        free(m->slots);
        *m = (struct map){ 0 };
    }
}

static struct map_slot *map_find(const struct map *m, struct str key, uint64_t hash)
{
    if (!m->capacity) {
        return NULL;
    }
    for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->key) {
            return NULL;
        }
        if (s->key != TOMBSTONE && s->hash == hash && str_eq(str_n(s->key, s->key_len), key)) {
            return s;
        }
    }
}

void *map_get(const struct map *m, struct str key)
{
    struct map_slot *s = m->n ? map_find(m, key, str_hash(key)) : NULL;
    return s ? s->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
    return map_get(m, key) != NULL;
}

static struct map_slot *map_free_slot(struct map *m, uint64_t hash)
{
    for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        if (!m->slots[i].key || m->slots[i].key == TOMBSTONE) {
            return &m->slots[i];
        }
    }
}

static void map_resize(struct map *m)
{
    struct map_slot *old = m->slots;
    size_t old_capacity = m->capacity;
    size_t capacity = 16;
    while (capacity < m->n * 2 + 2) {
        capacity *= 2;
    }
    m->slots = calloc(capacity, sizeof(*m->slots));
    if (!m->slots) {
        abort();
    }
    m->capacity = capacity;
    m->n_used = m->n;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].key && old[i].key != TOMBSTONE) {
            *map_free_slot(m, old[i].hash) = old[i];
        }
    }
    free(old);
}

void *map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = str_hash(key);
    struct map_slot *s = map_find(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->n_used + 1) * 4 > m->capacity * 3) {
        map_resize(m);
    }
    s = map_free_slot(m, hash);
    char *copy = malloc(key.len + 1);
    if (!copy) {
        abort();
    }
    if (key.len) {
        memcpy(copy, key.ptr, key.len);
    }
    copy[key.len] = '\0';
    if (!s->key) {
        m->n_used++;
    }
    *s = (struct map_slot){ .key = copy, .key_len = key.len, .hash = hash, .value = value };
    m->n++;
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = m->n ? map_find(m, key, str_hash(key)) : NULL;
    if (!s) {
        return NULL;
    }
    void *value = s->value;
    free(s->key);
    *s = (struct map_slot){ .key = TOMBSTONE };
    m->n--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *ret_key, void **ret_value)
{
    for (; *pos < m->capacity; (*pos)++) {
        const struct map_slot *s = &m->slots[*pos];
        if (s->key && s->key != TOMBSTONE) {
            *ret_key = str_n(s->key, s->key_len);
            if (ret_value) {
                *ret_value = s->value;
            }
            (*pos)++;
            return true;
        }
    }
    return false;
}
