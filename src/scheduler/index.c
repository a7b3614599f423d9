#include "scheduler/index.h"

#include <stdlib.h>

#include "base/buf.h"
#include "scheduler/node-info.h"

struct matcher_bucket {
    struct list matchers;
    struct str key; /* owned */
};

static void *must(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

static struct str own(struct str s)
{
    return str_n(str_dup(s), s.len);
}

static void disown(struct str s)
{
    free((void *)(uintptr_t)s.ptr);
}

/* ---- terms ---- */

/* matchLabelKeys and mismatchLabelKeys (KEP-3633) are in the selector already: the apiserver merges them at creation. */
bool pod_term_make(struct arena *a, const struct core_v1_pod_affinity_term *t, struct str owner_ns, struct pod_term *ret)
{
    *ret = (struct pod_term){ .ns = t->namespaces, .n_ns = t->n_namespaces, .by_namespace_selector = t->namespace_selector != NULL };
    if (!selector_from_label_selector(a, t->label_selector, &ret->selector, NULL)) {
        return false;
    }
    if (ret->by_namespace_selector) {
        return selector_from_label_selector(a, t->namespace_selector, &ret->namespaces, NULL);
    }
    if (!ret->n_ns) {
        ret->ns = arena_new(a, struct str);
        if (!ret->ns) {
            return false;
        }
        ret->ns[0] = owner_ns;
        ret->n_ns = 1;
    }
    return true;
}

static bool means_namespace(const struct index *x, const struct pod_term *t, struct str ns)
{
    for (size_t i = 0; i < t->n_ns; i++) {
        if (str_eq(t->ns[i], ns)) {
            return true;
        }
    }
    if (!t->by_namespace_selector) {
        return false;
    }
    size_t n = 0;
    const struct api_str_pair *labels = x->namespace_labels ? x->namespace_labels(x->namespace_data, ns, &n) : NULL;
    return selector_matches(&t->namespaces, labels, n);
}

bool pod_term_matches(const struct index *x, const struct pod_term *t, const struct core_v1_pod *pod)
{
    return selector_matches(&t->selector, pod->metadata.labels, pod->metadata.n_labels) &&
           means_namespace(x, t, pod->metadata.namespace);
}

static void write_part(struct buf *b, char mark, struct str s)
{
    buf_append_char(b, mark);
    buf_append_u64(b, s.len); /* so that no two terms have one text, whatever is in them */
    buf_append_char(b, ':');
    buf_append(b, s);
}

static void write_selector(struct buf *b, const struct selector *s)
{
    buf_append_char(b, s->nothing ? 'N' : 'S');
    for (size_t i = 0; i < s->n; i++) {
        write_part(b, (char)('a' + s->reqs[i].op), s->reqs[i].key);
        for (size_t k = 0; k < s->reqs[i].n_values; k++) {
            write_part(b, '=', s->reqs[i].values[k]);
        }
    }
}

static void write_term(struct buf *b, const struct pod_term *t)
{
    buf_append_char(b, 'T');
    for (size_t i = 0; i < t->n_ns; i++) {
        write_part(b, 'n', t->ns[i]);
    }
    if (t->by_namespace_selector) {
        buf_append_char(b, 'L');
        write_selector(b, &t->namespaces);
    }
    write_selector(b, &t->selector);
}

static struct selector copy_selector(struct arena *a, const struct selector *s)
{
    struct selector ret = { .nothing = s->nothing, .n = s->n, .reqs = must(arena_new_n(a, struct selector_req, s->n)) };
    for (size_t i = 0; i < s->n; i++) {
        ret.reqs[i] = s->reqs[i];
        ret.reqs[i].key = arena_str(a, s->reqs[i].key);
        ret.reqs[i].values = must(arena_new_n(a, struct str, s->reqs[i].n_values));
        for (size_t k = 0; k < s->reqs[i].n_values; k++) {
            ret.reqs[i].values[k] = arena_str(a, s->reqs[i].values[k]);
        }
    }
    return ret;
}

static struct pod_term copy_term(struct arena *a, const struct pod_term *t)
{
    struct pod_term ret = { .n_ns = t->n_ns, .by_namespace_selector = t->by_namespace_selector };
    ret.selector = copy_selector(a, &t->selector);
    ret.namespaces = copy_selector(a, &t->namespaces);
    ret.ns = must(arena_new_n(a, struct str, t->n_ns));
    for (size_t i = 0; i < t->n_ns; i++) {
        ret.ns[i] = arena_str(a, t->ns[i]);
    }
    return ret;
}

/* ---- matchers and their buckets ---- */

static void write_bucket(struct buf *b, struct str ns, struct str key, struct str value)
{
    buf_clear(b);
    buf_append(b, ns);
    buf_append_char(b, '\n');
    if (key.len) {
        buf_append(b, key);
        buf_append_char(b, '=');
        buf_append(b, value);
    }
}

static bool is_one_namespace(const struct matcher *m)
{
    return m->terms[0].n_ns == 1 && !m->terms[0].by_namespace_selector;
}

/* Puts a matcher where every pod finds it that its first term can match. */
static void matcher_enter(struct matcher_table *t, struct matcher *m)
{
    const struct pod_term *first = &m->terms[0];
    struct str key = STR_NULL, value = STR_NULL;
    struct buf b;
    for (size_t i = 0; i < first->selector.n && !key.len; i++) {
        key = first->selector.reqs[i].key;
        value = selector_exact(&first->selector, key);
        key = value.ptr ? key : STR_NULL;
    }
    buf_init(&b, BUF_NO_MAX);
    write_bucket(&b, is_one_namespace(m) ? first->ns[0] : STR_NULL, key, value);
    struct matcher_bucket *bucket = map_get(&t->buckets, buf_str(&b));
    if (!bucket) {
        bucket = must(calloc(1, sizeof(*bucket)));
        list_init(&bucket->matchers);
        bucket->key = own(buf_str(&b));
        map_put(&t->buckets, bucket->key, bucket);
    }
    buf_deinit(&b);
    t->n_wide += !is_one_namespace(m);
    m->bucket = bucket;
    list_push_back(&bucket->matchers, &m->in_bucket);
    map_put(&t->by_text, m->text, m);
}

static void matcher_init(struct matcher_table *t, struct matcher *m, struct str text, const struct pod_term *terms, size_t n)
{
    m->text = own(text);
    arena_init_chunk(&m->arena, ARENA_NO_BUDGET, 256);
    m->terms = must(arena_new_n(&m->arena, struct pod_term, n));
    for (m->n_terms = 0; m->n_terms < n; m->n_terms++) {
        m->terms[m->n_terms] = copy_term(&m->arena, &terms[m->n_terms]);
    }
    list_init(&m->in_bucket);
    matcher_enter(t, m);
}

static void matcher_deinit(struct matcher_table *t, struct matcher *m)
{
    struct matcher_bucket *bucket = m->bucket;
    t->n_wide -= !is_one_namespace(m);
    list_remove(&m->in_bucket);
    if (list_empty(&bucket->matchers)) {
        map_remove(&t->buckets, bucket->key);
        disown(bucket->key);
        free(bucket);
    }
    map_remove(&t->by_text, m->text);
    disown(m->text);
    arena_deinit(&m->arena);
}

static bool matcher_matches(const struct index *x, const struct matcher *m, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < m->n_terms; i++) {
        if (!pod_term_matches(x, &m->terms[i], pod)) {
            return false;
        }
    }
    return true;
}

typedef void matcher_fn(void *arg, struct matcher *m);

static void visit_bucket(const struct index *x, const struct matcher_table *t, struct buf *key, const struct core_v1_pod *pod,
                         matcher_fn *each, void *arg)
{
    struct matcher_bucket *bucket = map_get(&t->buckets, buf_str(key));
    if (!bucket) {
        return;
    }
    LIST_FOREACH(&bucket->matchers, struct matcher, in_bucket, m) {
        if (matcher_matches(x, m, pod)) {
            each(arg, m);
        }
    }
}

/* Every matcher that matches the pod, each once. */
static void visit(const struct index *x, const struct matcher_table *t, const struct core_v1_pod *pod, matcher_fn *each, void *arg)
{
    struct str namespaces[2] = { pod->metadata.namespace, STR_NULL };
    struct buf b;
    if (!t->by_text.n) {
        return;
    }
    buf_init(&b, BUF_NO_MAX);
    /* The empty name stands for terms of several namespaces. A pod of none (in tests) must not meet them twice. */
    for (size_t k = namespaces[0].len ? 0 : 1; k < (t->n_wide || !namespaces[0].len ? 2 : 1); k++) {
        write_bucket(&b, namespaces[k], STR_NULL, STR_NULL);
        visit_bucket(x, t, &b, pod, each, arg);
        for (size_t i = 0; i < pod->metadata.n_labels; i++) {
            write_bucket(&b, namespaces[k], pod->metadata.labels[i].key, pod->metadata.labels[i].value);
            visit_bucket(x, t, &b, pod, each, arg);
        }
    }
    buf_deinit(&b);
}

/* ---- podsets ---- */

static void podset_free(struct index *x, struct podset *s)
{
    matcher_deinit(&x->podsets, &s->matcher);
    census_deinit(&x->areas, &s->census);
    list_remove(&s->lru);
    free(s);
}

static void count_there(const struct index *x, struct podset *s)
{
    for (size_t i = 0; i < x->areas.n_slots; i++) {
        const struct node_info *n = x->areas.slots[i];
        int64_t there = 0;
        for (const struct list *l = n ? n->pods.next : NULL; l && l != &n->pods; l = l->next) {
            const struct pod_info *p = CONTAINER_OF((struct list *)(uintptr_t)l, struct pod_info, on_node);
            there += !(s->living && p->pod->metadata.deletion_timestamp.set) && matcher_matches(x, &s->matcher, p->pod);
        }
        census_add(&s->census, (uint32_t)i, there);
    }
}

struct podset *index_podset(struct index *x, const struct pod_term *terms, size_t n, bool living)
{
    struct buf text;
    buf_init(&text, BUF_NO_MAX);
    buf_append_char(&text, living ? 'l' : 'p');
    for (size_t i = 0; i < n; i++) {
        write_term(&text, &terms[i]);
    }
    struct matcher *known = map_get(&x->podsets.by_text, buf_str(&text));
    struct podset *s = known ? CONTAINER_OF(known, struct podset, matcher) : NULL;
    if (!s) {
        s = must(calloc(1, sizeof(*s)));
        s->living = living;
        list_init(&s->lru);
        matcher_init(&x->podsets, &s->matcher, buf_str(&text), terms, n);
        count_there(x, s);
    }
    list_remove(&s->lru);
    list_push_back(&x->lru, &s->lru);
    buf_deinit(&text);
    return s;
}

void index_trim(struct index *x)
{
    while (x->podsets.by_text.n > PODSETS_MOST) {
        podset_free(x, LIST_ENTRY(x->lru.next, struct podset, lru));
    }
    areas_trim(&x->areas);
}

void index_namespaces_changed(struct index *x)
{
    LIST_FOREACH(&x->lru, struct podset, lru, s) {
        bool depends = false;
        for (size_t i = 0; i < s->matcher.n_terms; i++) {
            depends = depends || s->matcher.terms[i].by_namespace_selector;
        }
        if (depends) {
            podset_free(x, s);
        }
    }
}

/* ---- holdings ---- */

static struct holding *hold(struct index *x, const struct core_v1_pod *pod, const struct core_v1_pod_affinity_term *t,
                            enum holding_kind kind, int32_t weight)
{
    struct arena a;
    struct pod_term term;
    struct buf text;
    struct holding *h = NULL;
    arena_init(&a, ARENA_NO_BUDGET);
    buf_init(&text, BUF_NO_MAX);
    if (pod_term_make(&a, t, pod->metadata.namespace, &term)) {
        buf_printf(&text, "%d/%d", (int)kind, weight);
        write_part(&text, 'k', t->topology_key);
        write_term(&text, &term);
        struct matcher *known = map_get(&x->holdings.by_text, buf_str(&text));
        h = known ? CONTAINER_OF(known, struct holding, matcher) : NULL;
        if (!h) {
            h = must(calloc(1, sizeof(*h)));
            h->kind = kind;
            h->weight = weight;
            matcher_init(&x->holdings, &h->matcher, buf_str(&text), &term, 1);
            h->view = census_view(&x->areas, &h->census, areas_partition(&x->areas, t->topology_key, NULL));
            x->n_holdings[kind]++;
        }
        h->n_pods++;
    }
    buf_deinit(&text);
    arena_deinit(&a);
    return h;
}

static void holding_unref(struct index *x, struct holding *h)
{
    if (--h->n_pods == 0) {
        x->n_holdings[h->kind]--;
        matcher_deinit(&x->holdings, &h->matcher);
        census_deinit(&x->areas, &h->census);
        free(h);
    }
}

static void add_hold(struct pod_info *p, struct holding *h)
{
    if (h) { /* a selector that is not valid means nobody */
        p->holds = must(reallocarray(p->holds, p->n_holds + 1, sizeof(struct holding *)));
        p->holds[p->n_holds++] = h;
    }
}

static void hold_terms(struct index *x, struct pod_info *p, const struct core_v1_pod_affinity_term *t, size_t n, enum holding_kind kind)
{
    for (size_t i = 0; i < n; i++) {
        add_hold(p, hold(x, p->pod, &t[i], kind, 0));
    }
}

static void hold_preferences(struct index *x, struct pod_info *p, const struct core_v1_weighted_pod_affinity_term *t, size_t n,
                             enum holding_kind kind)
{
    for (size_t i = 0; i < n; i++) {
        add_hold(p, hold(x, p->pod, &t[i].pod_affinity_term, kind, t[i].weight));
    }
}

static void hold_all(struct index *x, struct pod_info *p)
{
    const struct core_v1_affinity *a = p->pod->spec.affinity;
    if (a && a->pod_affinity) {
        hold_terms(x, p, a->pod_affinity->required_during_scheduling_ignored_during_execution,
                   a->pod_affinity->n_required_during_scheduling_ignored_during_execution, HOLDS_AFFINITY);
        hold_preferences(x, p, a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                         a->pod_affinity->n_preferred_during_scheduling_ignored_during_execution, HOLDS_PREFERENCE);
    }
    if (a && a->pod_anti_affinity) {
        hold_terms(x, p, a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
                   a->pod_anti_affinity->n_required_during_scheduling_ignored_during_execution, HOLDS_ANTI_AFFINITY);
        hold_preferences(x, p, a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
                         a->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution, HOLDS_ANTI_PREFERENCE);
    }
}

struct each_holding {
    void (*each)(void *arg, const struct holding *h);
    void *arg;
};

static void on_holding(void *arg, struct matcher *m)
{
    const struct each_holding *e = arg;
    e->each(e->arg, CONTAINER_OF(m, struct holding, matcher));
}

void index_holdings(struct index *x, const struct pod_info *p, void (*each)(void *arg, const struct holding *h), void *arg)
{
    struct each_holding e = { .each = each, .arg = arg };
    visit(x, &x->holdings, p->pod, on_holding, &e);
}

/* ---- families ---- */

/* An owner's uid is only what the pod says: with its namespace nobody can count into another's. */
static struct family *family_of(const struct index *x, const struct pod_info *p, struct buf *key)
{
    buf_append(key, p->pod->metadata.namespace);
    buf_append_char(key, '/');
    buf_append(key, p->controller);
    return map_get(&x->families, buf_str(key));
}

struct family *index_family(const struct index *x, const struct pod_info *p)
{
    if (!p->controller.len) {
        return NULL;
    }
    struct buf key;
    buf_init(&key, BUF_NO_MAX);
    struct family *f = family_of(x, p, &key);
    buf_deinit(&key);
    return f;
}

static void join_family(struct index *x, struct pod_info *p)
{
    if (!p->controller.len || p->pod->metadata.deletion_timestamp.set) {
        return;
    }
    struct buf key;
    buf_init(&key, BUF_NO_MAX);
    p->family = family_of(x, p, &key);
    if (!p->family) {
        p->family = must(calloc(1, sizeof(*p->family)));
        p->family->key = own(buf_str(&key));
        map_put(&x->families, p->family->key, p->family);
    }
    p->family->n_pods++;
    buf_deinit(&key);
}

static void leave_family(struct index *x, struct pod_info *p)
{
    struct family *f = p->family;
    p->family = NULL;
    if (f && --f->n_pods == 0) {
        map_remove(&x->families, f->key);
        census_deinit(&x->areas, &f->census);
        disown(f->key);
        free(f);
    }
}

/* ---- pods and nodes ---- */

struct counting {
    bool ending;
    uint32_t slot;
    int sign;
};

static void on_podset(void *arg, struct matcher *m)
{
    const struct counting *c = arg;
    struct podset *s = CONTAINER_OF(m, struct podset, matcher);
    if (!s->living || !c->ending) {
        census_add(&s->census, c->slot, c->sign);
    }
}

void index_count_pod(struct index *x, const struct pod_info *p, uint32_t slot, int sign)
{
    struct counting c = { .ending = p->pod->metadata.deletion_timestamp.set, .slot = slot, .sign = sign };
    if (p->family) {
        census_add(&p->family->census, slot, sign);
    }
    for (size_t i = 0; i < p->n_holds; i++) {
        census_add(&p->holds[i]->census, slot, sign);
    }
    visit(x, &x->podsets, p->pod, on_podset, &c);
}

void index_add_pod(struct index *x, struct pod_info *p, uint32_t slot)
{
    join_family(x, p);
    hold_all(x, p);
    index_count_pod(x, p, slot, 1);
}

void index_remove_pod(struct index *x, struct pod_info *p, uint32_t slot)
{
    index_count_pod(x, p, slot, -1);
    for (size_t i = 0; i < p->n_holds; i++) {
        holding_unref(x, p->holds[i]);
    }
    free(p->holds);
    p->holds = NULL;
    p->n_holds = 0;
    leave_family(x, p);
}

static void move_all(struct index *x, uint32_t slot, int sign)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&x->families, &pos, &key, &value);) {
        census_move(&((struct family *)value)->census, slot, sign);
    }
    for (size_t pos = 0; map_next(&x->podsets.by_text, &pos, &key, &value);) {
        census_move(&CONTAINER_OF((struct matcher *)value, struct podset, matcher)->census, slot, sign);
    }
    for (size_t pos = 0; map_next(&x->holdings.by_text, &pos, &key, &value);) {
        census_move(&CONTAINER_OF((struct matcher *)value, struct holding, matcher)->census, slot, sign);
    }
}

void index_set_node(struct index *x, uint32_t slot, const struct core_v1_node *old, const struct core_v1_node *node, bool holds_pods)
{
    if (holds_pods) {
        move_all(x, slot, -1);
    }
    areas_set_node(&x->areas, slot, old, node);
    if (holds_pods) {
        move_all(x, slot, 1);
    }
}

void index_init(struct index *x)
{
    *x = (struct index){ .n_holdings = { 0 } };
    areas_init(&x->areas);
    map_init(&x->families);
    map_init(&x->podsets.by_text);
    map_init(&x->podsets.buckets);
    map_init(&x->holdings.by_text);
    map_init(&x->holdings.buckets);
    list_init(&x->lru);
}

void index_deinit(struct index *x)
{
    while (!list_empty(&x->lru)) {
        podset_free(x, LIST_ENTRY(x->lru.next, struct podset, lru));
    }
    areas_deinit(&x->areas);
    map_deinit(&x->families);
    map_deinit(&x->podsets.by_text);
    map_deinit(&x->podsets.buckets);
    map_deinit(&x->holdings.by_text);
    map_deinit(&x->holdings.buckets);
}
