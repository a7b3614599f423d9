#include <stdlib.h>

#include "store/local-private.h"

/* Pages of a range: rows of the back end, and over them what is held back. Runs on the sequencer. */

struct page_reader {
    struct local_store *s;
    struct page *page;
    struct str end;
    uint32_t limit;
    struct tree_iter held;
    const struct held *next_held; /* not yet given */
};

static struct page *page_new(void)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p) {
        abort();
    }
    buf_init(&p->bytes, 4 * (size_t)STORE_MAX_VALUE + STORE_PAGE_BYTES);
    return p;
}

static struct page_item *page_add(struct page *p, struct str key, uint32_t limit)
{
    if (p->n >= (limit ? MIN(limit, STORE_PAGE_ITEMS) : STORE_PAGE_ITEMS) || p->bytes.len >= STORE_PAGE_BYTES) {
        p->more = true;
        return NULL;
    }
    if (p->n == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 16;
        p->items = reallocarray(p->items, p->capacity, sizeof(*p->items));
        if (!p->items) {
            abort();
        }
    }
    struct page_item *it = &p->items[p->n++];
    *it = (struct page_item){ .key = p->bytes.len, .key_len = key.len };
    buf_append(&p->bytes, key);
    return it;
}

static void page_text(struct page *p, struct str s, size_t *ret_at, size_t *ret_len)
{
    *ret_at = p->bytes.len;
    *ret_len = s.len;
    buf_append(&p->bytes, s);
}

static bool page_row(struct page_reader *r, struct str key, struct str value, int64_t revision)
{
    struct page_item *it = page_add(r->page, key, r->limit);
    if (!it) {
        return false;
    }
    it->revision = revision;
    page_text(r->page, value, &it->value, &it->value_len);
    return true;
}

static void next_held(struct page_reader *r)
{
    r->next_held = tree_iter_next(&r->held);
    if (r->next_held && r->end.ptr && str_cmp(held_key(r->next_held), r->end) >= 0) {
        r->next_held = NULL;
    }
}

/* Gives what is held back of keys before 'key' (absent: all). False when the page is full. */
static bool give_held_before(struct page_reader *r, struct str key)
{
    while (r->next_held && (!key.ptr || str_cmp(held_key(r->next_held), key) < 0)) {
        const struct held *h = r->next_held;
        if (!h->deleted && !page_row(r, held_key(h), held_value(h), h->revision)) {
            return false;
        }
        next_held(r);
    }
    return true;
}

static bool on_row(void *arg, struct str key, struct str value, int64_t revision)
{
    struct page_reader *r = arg;
    if (!give_held_before(r, key)) {
        return false;
    }
    const struct held *h = r->next_held;
    if (!h || !str_eq(held_key(h), key)) {
        return page_row(r, key, value, revision);
    }
    bool ok = h->revision < revision ? page_row(r, key, value, revision)
                                     : h->deleted || page_row(r, key, held_value(h), h->revision);
    if (ok) {
        next_held(r);
    }
    return ok;
}

void pages_range(struct local_store *s, struct op *op)
{
    struct page_reader r = { .s = s, .page = page_new(), .end = op->end, .limit = op->limit };
    pthread_mutex_lock(&s->lock);
    op->revision = s->revision;
    pthread_mutex_unlock(&s->lock);
    tree_iter_init(&r.held, &s->held, &op->key, false);
    next_held(&r);
    op->page = r.page;
    if (s->be->ops->range(s->be, op->key, op->end, on_row, &r) != BACKEND_OK || buf_failed(&r.page->bytes)) {
        op->status = STORE_E_IO;
    } else if (!r.page->more) {
        (void)!give_held_before(&r, STR_NULL);
    }
    pthread_mutex_lock(&s->lock);
    local_answer_ordered(s, op);
    local_unlock(s);
}
