#include "controllers/all-resources.h"

#include <stdlib.h>

bool resource_has_verb(const struct api_resource *r, struct str verb)
{
    struct str rest = r->verbs, one;
    while (str_split(&rest, ',', &one)) {
        if (str_eq(one, verb) || str_eq(one, STR("*"))) {
            return true;
        }
    }
    return false;
}

/* Of a resource that is served in several versions the first stands for all: metadata is the same
 * in each. */
static bool is_first_version(const struct api_resource *r)
{
    for (const struct api_resource *o = api_resources; o < r; o++) {
        if (o->default_on && str_eq(o->group, r->group) && str_eq(o->resource, r->resource)) {
            return false;
        }
    }
    return true;
}

bool resource_is_collected(const struct api_resource *r)
{
    bool events = str_eq(r->resource, STR("events")); /* they go by themselves */
    return r->default_on && is_first_version(r) && !events && resource_has_verb(r, STR("list")) &&
           resource_has_verb(r, STR("watch")) && resource_has_verb(r, STR("delete"));
}

void all_resources_init(struct all_resources *all, struct informers *informers,
                        informer_event_fn *on_event, void *(*data_of)(void *ctx, size_t index),
                        void *ctx)
{
    static const char *const fields[] = { "metadata.ownerReferences", "metadata.finalizers",
                                          "metadata.deletionTimestamp",
                                          "metadata.deletionGracePeriodSeconds", NULL };
    all->items = calloc(api_n_resources, sizeof(*all->items));
    all->n = 0;
    if (!all->items) {
        abort();
    }
    for (size_t i = 0; i < api_n_resources; i++) {
        if (!resource_is_collected(&api_resources[i])) {
            continue;
        }
        struct informer_spec spec = { .resource = &api_resources[i], .fields = fields };
        all->items[all->n].resource = &api_resources[i];
        all->items[all->n].informer =
            informers_get(informers, &spec, on_event, data_of ? data_of(ctx, all->n) : ctx);
        all->n++;
    }
}

void all_resources_deinit(struct all_resources *all)
{
    free(all->items);
    all->items = NULL;
    all->n = 0;
}
