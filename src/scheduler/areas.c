#include "scheduler/areas.h"

#include <assert.h>
#include <stdlib.h>

#include "api/copy.h"
#include "api/node-affinity.h"
#include "base/buf.h"
#include "scheduler/node-info.h"

void areas_init(struct areas *a)
{
    *a = (struct areas){ .n_nodes = 0 };
    map_init(&a->topologies);
    map_init(&a->selections);
    list_init(&a->lru);
}

static void *must(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

/* Room for index 'at', new elements zero. */
static void *grow(void *old, size_t *capacity, size_t at, size_t size)
{
    if (at < *capacity) {
        return old;
    }
    size_t n = MAX(*capacity * 2, at + 1);
    char *p = must(reallocarray(old, n, size));
    memset(p + *capacity * size, 0, (n - *capacity) * size);
    *capacity = n;
    return p;
}

/* ---- topologies ---- */

static uint32_t number_of(struct topology *t, struct str value)
{
    uintptr_t known = (uintptr_t)map_get(&t->ids, value);
    if (known) {
        return (uint32_t)known - 1;
    }
    uint32_t number = t->n_free ? t->free_numbers[--t->n_free] : t->n_numbers++;
    if (number >= t->n_capacity) {
        t->n_capacity = MAX(t->n_capacity * 2, number + 1);
        t->n_nodes = must(reallocarray(t->n_nodes, t->n_capacity, sizeof(*t->n_nodes)));
        t->free_numbers = must(reallocarray(t->free_numbers, t->n_capacity, sizeof(*t->free_numbers)));
    }
    t->n_nodes[number] = 0;
    map_put(&t->ids, value, (void *)((uintptr_t)number + 1));
    return number;
}

static void topology_put(struct topology *t, uint32_t slot, struct str value)
{
    uint32_t number = number_of(t, value);
    t->of = grow(t->of, &t->capacity, slot, sizeof(*t->of));
    t->of[slot] = number + 1;
    t->n_nodes[number]++;
}

static void topology_take(struct topology *t, uint32_t slot, struct str value)
{
    uint32_t number = t->of[slot] - 1;
    t->of[slot] = 0;
    if (--t->n_nodes[number] == 0) {
        map_remove(&t->ids, value);
        t->free_numbers[t->n_free++] = number;
    }
}

static struct topology *topology_of(struct areas *a, struct str key)
{
    struct topology *t = map_get(&a->topologies, key);
    if (!t) {
        t = must(calloc(1, sizeof(*t)));
        t->key = str_c(str_dup(key));
        list_init(&t->partitions);
        map_init(&t->ids);
        map_put(&a->topologies, key, t);
        for (size_t i = 0; i < a->n_nodes; i++) {
            struct str value = node_label(a->nodes[i]->node, key);
            if (value.ptr) {
                topology_put(t, a->nodes[i]->slot, value);
            }
        }
    }
    return t;
}

/* Nobody asks for it by reference, and no node has the label. */
static void topology_free_unused(struct areas *a, struct topology *t)
{
    if (t->refs || t->ids.n) {
        return;
    }
    map_remove(&a->topologies, t->key);
    map_deinit(&t->ids);
    free((void *)(uintptr_t)t->key.ptr);
    free(t->of);
    free(t->n_nodes);
    free(t->free_numbers);
    free(t);
}

const struct topology *areas_topology(struct areas *a, struct str key)
{
    struct topology *t = topology_of(a, key);
    bool used = t->ids.n > 0;
    topology_free_unused(a, t);
    return used ? t : NULL;
}

/* ---- partitions ---- */

static void partition_count(struct partition *p, uint32_t slot, int sign)
{
    uint32_t at = partition_at(p, slot);
    if (!at) {
        return;
    }
    size_t capacity = p->capacity;
    p->n_nodes = grow(p->n_nodes, &capacity, at - 1, sizeof(*p->n_nodes));
    p->capacity = (uint32_t)capacity;
    uint32_t before = p->n_nodes[at - 1];
    p->n_nodes[at - 1] = before + (uint32_t)sign;
    p->n_domains += sign > 0 ? before == 0 : -(before == 1);
}

struct partition *areas_partition(struct areas *a, struct str key, struct selection *s)
{
    struct topology *t = topology_of(a, key);
    LIST_FOREACH(&t->partitions, struct partition, link, p) {
        if (p->selection == s) {
            p->refs++;
            return p;
        }
    }
    struct partition *p = must(calloc(1, sizeof(*p)));
    p->topology = t;
    p->selection = s;
    p->refs = 1;
    t->refs++;
    list_push_back(&t->partitions, &p->link);
    if (s) {
        s->refs++;
    }
    for (size_t i = 0; i < a->n_nodes; i++) {
        partition_count(p, a->nodes[i]->slot, 1);
    }
    return p;
}

void areas_partition_unref(struct areas *a, struct partition *p)
{
    if (--p->refs) {
        return;
    }
    if (p->selection) {
        p->selection->refs--;
    }
    list_remove(&p->link);
    p->topology->refs--;
    topology_free_unused(a, p->topology);
    free(p->n_nodes);
    free(p);
}

/* ---- selections ---- */

static void add_part(struct buf *b, char mark, struct str s)
{
    buf_append_char(b, mark);
    buf_append_u64(b, s.len); /* so that no two selections have one text, whatever is in them */
    buf_append_char(b, ':');
    buf_append(b, s);
}

static void add_requirements(struct buf *b, char mark, const struct core_v1_node_selector_requirement *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_part(b, mark, r[i].key);
        add_part(b, 'o', r[i].operator);
        for (size_t k = 0; k < r[i].n_values; k++) {
            add_part(b, 'v', r[i].values[k]);
        }
    }
}

static const struct core_v1_node_selector *required_of(const struct core_v1_pod_spec *spec)
{
    const struct core_v1_affinity *a = spec->affinity;
    return a && a->node_affinity ? a->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
}

static void write_text(struct buf *b, const struct core_v1_pod_spec *spec, const struct str *keys, size_t n_keys)
{
    const struct core_v1_node_selector *required = required_of(spec);
    for (size_t i = 0; i < spec->n_node_selector; i++) {
        add_part(b, 's', spec->node_selector[i].key);
        add_part(b, '=', spec->node_selector[i].value);
    }
    buf_append(b, required ? STR("r") : STR_EMPTY);
    for (size_t i = 0; required && i < required->n_node_selector_terms; i++) {
        const struct core_v1_node_selector_term *t = &required->node_selector_terms[i];
        buf_append_char(b, 't');
        add_requirements(b, 'e', t->match_expressions, t->n_match_expressions);
        add_requirements(b, 'f', t->match_fields, t->n_match_fields);
    }
    for (size_t i = 0; i < n_keys; i++) {
        add_part(b, 'k', keys[i]);
    }
}

static bool selects(const struct selection *s, const struct core_v1_node *node)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        if (!node_label(node, s->keys[i]).ptr) {
            return false;
        }
    }
    return node_affinity_matches(s->spec, node);
}

static void selection_put(struct selection *s, uint32_t slot, const struct core_v1_node *node)
{
    uint8_t bit = (uint8_t)(1u << (slot % 8));
    s->has = grow(s->has, &s->capacity, slot / 8, 1);
    s->has[slot / 8] = (uint8_t)(node && selects(s, node) ? s->has[slot / 8] | bit : s->has[slot / 8] & ~bit);
}

static void selection_free(struct areas *a, struct selection *s)
{
    map_remove(&a->selections, s->text);
    list_remove(&s->lru);
    arena_deinit(&s->arena);
    free((void *)(uintptr_t)s->text.ptr);
    free(s->has);
    free(s);
}

static struct selection *selection_new(struct areas *a, struct str text, const struct core_v1_pod_spec *spec,
                                       const struct str *keys, size_t n_keys)
{
    struct selection *s = must(calloc(1, sizeof(*s)));
    struct core_v1_node_affinity node_affinity = { .required_during_scheduling_ignored_during_execution =
                                                       (void *)(uintptr_t)required_of(spec) };
    struct core_v1_affinity affinity = { .node_affinity = &node_affinity };
    struct core_v1_pod_spec part = { .node_selector = spec->node_selector,
                                     .n_node_selector = spec->n_node_selector,
                                     .affinity = &affinity };
    s->text = str_n(str_dup(text), text.len);
    arena_init_chunk(&s->arena, ARENA_NO_BUDGET, 1024);
    s->spec = must(api_copy(&s->arena, &core_v1_pod_spec_type, &part));
    s->keys = must(arena_new_n(&s->arena, struct str, n_keys));
    for (s->n_keys = 0; s->n_keys < n_keys; s->n_keys++) {
        s->keys[s->n_keys] = arena_str(&s->arena, keys[s->n_keys]);
    }
    list_init(&s->lru);
    map_put(&a->selections, text, s);
    for (size_t i = 0; i < a->n_nodes; i++) {
        selection_put(s, a->nodes[i]->slot, a->nodes[i]->node);
    }
    return s;
}

struct selection *areas_selection(struct areas *a, const struct core_v1_pod_spec *spec, const struct str *keys, size_t n_keys)
{
    struct buf text;
    buf_init(&text, BUF_NO_MAX);
    write_text(&text, spec, keys, n_keys);
    struct selection *s = NULL;
    if (text.len) {
        s = map_get(&a->selections, buf_str(&text));
        s = s ? s : selection_new(a, buf_str(&text), spec, keys, n_keys);
        list_remove(&s->lru);
        list_push_back(&a->lru, &s->lru);
    }
    buf_deinit(&text);
    return s;
}

void areas_trim(struct areas *a)
{
    size_t over = a->selections.n > SELECTIONS_MOST ? a->selections.n - SELECTIONS_MOST : 0;
    LIST_FOREACH(&a->lru, struct selection, lru, s) {
        if (!over) {
            break;
        }
        if (!s->refs) {
            selection_free(a, s);
            over--;
        }
    }
}

/* ---- nodes ---- */

static void count_in_partitions(struct topology *t, uint32_t slot, int sign)
{
    LIST_FOREACH(&t->partitions, struct partition, link, p) {
        partition_count(p, slot, sign);
    }
}

void areas_set_node(struct areas *a, uint32_t slot, const struct core_v1_node *old, const struct core_v1_node *node)
{
    struct str key;
    void *value;
    for (size_t i = 0; old && i < old->metadata.n_labels; i++) {
        struct topology *t = map_get(&a->topologies, old->metadata.labels[i].key);
        if (t) {
            count_in_partitions(t, slot, -1);
            topology_take(t, slot, old->metadata.labels[i].value);
            topology_free_unused(a, t);
        }
    }
    for (size_t pos = 0; map_next(&a->selections, &pos, &key, &value);) {
        selection_put(value, slot, node);
    }
    for (size_t i = 0; node && i < node->metadata.n_labels; i++) {
        struct topology *t = map_get(&a->topologies, node->metadata.labels[i].key);
        if (t) {
            topology_put(t, slot, node->metadata.labels[i].value);
            count_in_partitions(t, slot, 1);
        }
    }
}

void areas_deinit(struct areas *a)
{
    while (!list_empty(&a->lru)) {
        selection_free(a, LIST_ENTRY(a->lru.next, struct selection, lru));
    }
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&a->topologies, &pos, &key, &value);) {
        struct topology *t = value;
        assert(!t->refs);
        map_clear(&t->ids);
        topology_free_unused(a, t);
    }
    map_deinit(&a->topologies);
    map_deinit(&a->selections);
}
