#include "client/label-index.h"

#include "client/meta.h"

struct str label_index_key(char *text, size_t size, struct str ns, struct str label, struct str value)
{
    const struct str parts[] = { ns, STR("/"), label, STR("="), value };
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        size_t len = MIN(parts[i].len, size - n);
        if (len) {
            memcpy(text + n, parts[i].ptr, len);
        }
        n += len;
    }
    return str_n(text, n);
}

static void by_label(const struct api_type *type, const void *obj,
                     void (*emit)(void *ctx, struct str key), void *ctx)
{
    const struct meta_v1_object_meta *m = meta_of(type, obj);
    char key[LABEL_INDEX_KEY_MAX];
    for (size_t i = 0; i < m->n_labels; i++) {
        emit(ctx, label_index_key(key, sizeof(key), m->namespace, m->labels[i].key,
                                  m->labels[i].value));
    }
}

struct informer_index *label_index(struct informer *i)
{
    return informer_index(i, "labels", by_label);
}

void label_walk_begin(struct label_walk *w, const struct informer *i,
                      const struct informer_index *index, struct str ns,
                      const struct selector *selector)
{
    size_t least = SIZE_MAX, best = 0;
    w->informer = i;
    w->index = index;
    w->selector = selector;
    w->ns = ns;
    w->pos = 0;
    w->key_len = 0;
    for (size_t k = 0; k < selector->n && least; k++) {
        struct str value = selector_exact(selector, selector->reqs[k].key);
        if (value.ptr) {
            struct str key =
                label_index_key(w->key, sizeof(w->key), ns, selector->reqs[k].key, value);
            size_t n = informer_index_count(index, key);
            if (n < least) {
                least = n;
                best = k;
            }
        }
    }
    w->all = least == SIZE_MAX;
    if (!w->all) {
        struct str label = selector->reqs[best].key;
        w->key_len = label_index_key(w->key, sizeof(w->key), ns, label,
                                     selector_exact(selector, label))
                         .len;
    }
}

const void *label_walk_next(struct label_walk *w)
{
    const void *obj;
    if (w->selector->nothing) {
        return NULL;
    }
    for (;;) {
        obj = w->all ? informer_next_in(w->informer, w->ns, &w->pos)
                     : informer_index_next(w->index, str_n(w->key, w->key_len), &w->pos);
        if (!obj) {
            return NULL;
        }
        const struct meta_v1_object_meta *m = meta_of(informer_type(w->informer), obj);
        /* The namespace is asked again because keys may be cut. */
        if (str_eq(m->namespace, w->ns) && selector_matches(w->selector, m->labels, m->n_labels)) {
            return obj;
        }
    }
}
