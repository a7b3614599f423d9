#include "controllers/setup.h"

#include <assert.h>
#include <stdlib.h>

const char *const whole_objects[] = { "-metadata.managedFields", NULL };

void *state_new(size_t size)
{
    void *s = calloc(1, size);
    if (!s) {
        abort();
    }
    return s;
}

static struct informer_spec spec_of(const char *group, const char *resource,
                                    const char *const *fields)
{
    struct informer_spec spec = {
        .resource = api_resource_find(str_c(group), STR("v1"), str_c(resource)),
        .fields = fields,
    };
    assert(spec.resource);
    return spec;
}

struct informer *informer_of(struct informers *informers, const char *group, const char *resource,
                             const char *const *fields, informer_event_fn *on_event, void *data)
{
    struct informer_spec spec = spec_of(group, resource, fields);
    return informers_get(informers, &spec, on_event, data);
}

struct informer *informer_of_keys(struct controller *c, struct informers *informers,
                                  const char *group, const char *resource,
                                  const char *const *fields)
{
    struct informer_spec spec = spec_of(group, resource, fields);
    return controller_watch(c, informers, &spec);
}
