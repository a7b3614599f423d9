#include "client/meta.h"

#include <assert.h>

size_t meta_offset(const struct api_type *type)
{
    /* Asked for each comparison of keys: what was found is remembered. */
    static _Thread_local struct {
        const struct api_type *type;
        size_t offset;
    } known[64];
    size_t at = ((uintptr_t)type / sizeof(struct api_type)) % ARRAY_SIZE(known);
    if (known[at].type != type) {
        size_t offset = 0;
        const struct api_field *f = api_field_find(type, STR("metadata"), &offset);
        assert(f && f->message == &meta_v1_object_meta_type);
        known[at].type = type;
        known[at].offset = offset;
    }
    return known[at].offset;
}

const struct meta_v1_object_meta *meta_of(const struct api_type *type, const void *obj)
{
    return (const struct meta_v1_object_meta *)(const void *)((const char *)obj +
                                                              meta_offset(type));
}

struct meta_v1_object_meta *meta_of_mut(const struct api_type *type, void *obj)
{
    return (struct meta_v1_object_meta *)(void *)((char *)obj + meta_offset(type));
}

const struct meta_v1_owner_reference *meta_controller_of(const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->n_owner_references; i++) {
        if (m->owner_references[i].has_controller && m->owner_references[i].controller) {
            return &m->owner_references[i];
        }
    }
    return NULL;
}

uint64_t meta_rv(const struct meta_v1_object_meta *m)
{
    uint64_t rv = 0;
    return str_to_u64(m->resource_version, &rv) ? rv : 0;
}

static struct str pair_value(const struct api_str_pair *pairs, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(pairs[i].key, key)) {
            return pairs[i].value;
        }
    }
    return STR_NULL;
}

bool meta_same_labels(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
    bool same = a->n_labels == b->n_labels;
    /* Versions of one object share their labels while these are the same (client/cached.h). */
    for (size_t i = 0; same && a->labels != b->labels && i < a->n_labels; i++) {
        same = str_eq(a->labels[i].key, b->labels[i].key) &&
               str_eq(a->labels[i].value, b->labels[i].value);
    }
    return same;
}

struct str meta_label(const struct meta_v1_object_meta *m, struct str key)
{
    return pair_value(m->labels, m->n_labels, key);
}

struct str meta_annotation(const struct meta_v1_object_meta *m, struct str key)
{
    return pair_value(m->annotations, m->n_annotations, key);
}
