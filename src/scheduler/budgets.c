#include "scheduler/budgets.h"

#include <stdlib.h>

#include "api/copy.h"
#include "api/selector.h"

/* A budget is an object of the API server, which bounds its size. */
#define BUDGET_ARENA_MAX (8u << 20)

typedef struct policy_v1_pod_disruption_budget pdb_t;

struct budget {
    struct budget *next; /* of the namespace */
    struct arena arena;
    const pdb_t *pdb;
    struct selector selector;
    bool selects; /* something */
    int64_t left; /* in this round */
    uint64_t round;
};

void budgets_init(struct budgets *b)
{
    *b = (struct budgets){ .n = 0 };
    map_init(&b->by_namespace);
}

static void budget_free(struct budget *x)
{
    arena_deinit(&x->arena);
    free(x);
}

void budgets_deinit(struct budgets *b)
{
    struct str ns;
    void *value;
    for (size_t pos = 0; map_next(&b->by_namespace, &pos, &ns, &value);) {
        for (struct budget *x = value, *next; x; x = next) {
            next = x->next;
            budget_free(x);
        }
    }
    map_deinit(&b->by_namespace);
}

static void set_first(struct budgets *b, struct str ns, struct budget *first)
{
    if (first) {
        map_put(&b->by_namespace, ns, first);
    } else {
        map_remove(&b->by_namespace, ns);
    }
}

void budgets_remove(struct budgets *b, struct str ns, struct str name)
{
    struct budget *first = map_get(&b->by_namespace, ns), *before = NULL, *x = first;
    while (x && !str_eq(x->pdb->metadata.name, name)) {
        before = x;
        x = x->next;
    }
    if (!x) {
        return;
    }
    if (before) {
        before->next = x->next;
    } else {
        set_first(b, ns, x->next);
    }
    budget_free(x);
    b->n--;
}

void budgets_put(struct budgets *b, const pdb_t *pdb)
{
    struct str ns = pdb->metadata.namespace;
    struct budget *x = calloc(1, sizeof(*x));
    budgets_remove(b, ns, pdb->metadata.name);
    if (!x) {
        abort();
    }
    arena_init(&x->arena, BUDGET_ARENA_MAX);
    x->pdb = api_copy(&x->arena, &policy_v1_pod_disruption_budget_type, pdb);
    if (!x->pdb) {
        abort();
    }
    const struct meta_v1_label_selector *s = x->pdb->spec.selector;
    x->selects = s && (s->n_match_labels || s->n_match_expressions) &&
                 selector_from_label_selector(&x->arena, s, &x->selector, NULL);
    x->next = map_get(&b->by_namespace, ns);
    set_first(b, ns, x);
    b->n++;
}

void budgets_begin(struct budgets *b)
{
    b->round++;
}

static bool allowed_already(const pdb_t *pdb, struct str pod)
{
    for (size_t i = 0; i < pdb->status.n_disrupted_pods; i++) {
        if (str_eq(pdb->status.disrupted_pods[i].key, pod)) {
            return true;
        }
    }
    return false;
}

bool budgets_take(struct budgets *b, const struct core_v1_pod *pod)
{
    bool broken = false;
    for (struct budget *x = b->n ? map_get(&b->by_namespace, pod->metadata.namespace) : NULL; x; x = x->next) {
        if (!x->selects || !selector_matches(&x->selector, pod->metadata.labels, pod->metadata.n_labels) ||
            allowed_already(x->pdb, pod->metadata.name)) {
            continue;
        }
        if (x->round != b->round) {
            x->round = b->round;
            x->left = x->pdb->status.disruptions_allowed;
        }
        broken = --x->left < 0 || broken;
    }
    return broken;
}
