/* Event, in the core shape (the hub) and that of events.k8s.io. */
#include "api/gen/core_v1.h"
#include "api/gen/events_v1.h"
#include "kinds/rules.h"
#include "kinds/table.h"

static void validate_create(struct kind_ctx *ctx, const void *obj)
{
    const struct core_v1_event *e = obj;
    struct str ns = e->involved_object.namespace;
    if (!str_empty(ns) && !str_eq(ns, e->metadata.namespace)) {
        field_invalid_str(ctx->errs, STR("involvedObject.namespace"), ns, "does not match event.namespace");
    } else if (str_empty(ns) && !str_eq_c(e->metadata.namespace, "default") && !str_eq_c(e->metadata.namespace, "kube-system")) {
        field_invalid_str(ctx->errs, STR("involvedObject.namespace"), ns, "does not match event.namespace");
    }
}

static struct api_time first_seen(const struct core_v1_event *e)
{
    return e->first_timestamp.set ? e->first_timestamp : e->event_time;
}

static void cells(struct kind_cells *c, const void *obj)
{
    const struct core_v1_event *e = obj;
    struct api_time first = first_seen(e), last = first;
    if (e->series) {
        last = e->series->last_observed_time;
    } else if (e->last_timestamp.set) {
        last = e->last_timestamp;
    }
    struct str kind = kind_lower(c->arena, e->involved_object.kind);
    struct str component = str_empty(e->source.component) ? e->reporting_component : e->source.component;
    struct str host = str_empty(e->source.host) ? e->reporting_instance : e->source.host;
    cell_age(c, last);
    cell_str(c, e->type);
    cell_str(c, e->reason);
    cell_printf(c, "%.*s%s%.*s", STR_ARG(kind), str_empty(e->involved_object.name) ? "" : "/", STR_ARG(e->involved_object.name));
    cell_str(c, e->involved_object.field_path);
    cell_printf(c, "%.*s%s%.*s", STR_ARG(component), str_empty(host) ? "" : ", ", STR_ARG(host));
    cell_str(c, str_trim(e->message));
    cell_age(c, first);
    cell_int(c, e->series ? e->series->count : e->count ? e->count : 1);
    cell_str(c, e->metadata.name);
}

#define FIELD(name, expr) \
    static struct str field_##name(struct arena *a, const void *obj) \
    { \
        const struct core_v1_event *e = obj; \
        (void)a; \
        return (expr); \
    }
FIELD(kind, e->involved_object.kind)
FIELD(ns, e->involved_object.namespace)
FIELD(name, e->involved_object.name)
FIELD(uid, e->involved_object.uid)
FIELD(version, e->involved_object.api_version)
FIELD(rv, e->involved_object.resource_version)
FIELD(fpath, e->involved_object.field_path)
FIELD(reason, e->reason)
FIELD(component, str_empty(e->reporting_component) ? e->source.component : e->reporting_component)
FIELD(source, str_empty(e->source.component) ? e->reporting_component : e->source.component)
FIELD(type, e->type)

static const struct kind_field fields[] = {
    { STR_INIT("involvedObject.kind"), field_kind },
    { STR_INIT("involvedObject.namespace"), field_ns },
    { STR_INIT("involvedObject.name"), field_name },
    { STR_INIT("involvedObject.uid"), field_uid },
    { STR_INIT("involvedObject.apiVersion"), field_version },
    { STR_INIT("involvedObject.resourceVersion"), field_rv },
    { STR_INIT("involvedObject.fieldPath"), field_fpath },
    { STR_INIT("reason"), field_reason },
    { STR_INIT("reportingComponent"), field_component },
    { STR_INIT("source"), field_source },
    { STR_INIT("type"), field_type },
    { STR_INIT("regarding.kind"), field_kind },
    { STR_INIT("regarding.namespace"), field_ns },
    { STR_INIT("regarding.name"), field_name },
    { STR_INIT("regarding.uid"), field_uid },
    { STR_INIT("regarding.apiVersion"), field_version },
    { STR_INIT("regarding.resourceVersion"), field_rv },
    { STR_INIT("regarding.fieldPath"), field_fpath },
    { STR_INIT("reportingController"), field_component },
    { STR_NULL, NULL },
};

const struct kind_ops core_event_ops = {
    .group = STR_INIT(""), .resource = STR_INIT("events"), .flags = KIND_VOLATILE | KIND_NO_GC | KIND_CREATE_ON_UPDATE,
    .validate_create = validate_create, .cells = cells, .fields = fields,
};

/* ---- events.k8s.io: the same facts under other names ---- */

static bool to_hub(struct arena *a, const void *obj, void *ret)
{
    const struct events_v1_event *e = obj;
    struct core_v1_event *h = ret;
    h->metadata = e->metadata;
    h->event_time = e->event_time;
    h->reporting_component = e->reporting_controller;
    h->reporting_instance = e->reporting_instance;
    h->action = e->action;
    h->reason = e->reason;
    h->involved_object = e->regarding;
    h->related = e->related;
    h->message = e->note;
    h->type = e->type;
    h->source = e->deprecated_source;
    h->first_timestamp = e->deprecated_first_timestamp;
    h->last_timestamp = e->deprecated_last_timestamp;
    h->count = e->deprecated_count;
    if (e->series) {
        h->series = arena_new(a, struct core_v1_event_series);
        if (!h->series) {
            return false;
        }
        h->series->count = e->series->count;
        h->series->last_observed_time = e->series->last_observed_time;
    }
    return true;
}

static bool from_hub(struct arena *a, const void *hub, void *ret)
{
    const struct core_v1_event *h = hub;
    struct events_v1_event *e = ret;
    e->metadata = h->metadata;
    e->event_time = h->event_time;
    e->reporting_controller = h->reporting_component;
    e->reporting_instance = h->reporting_instance;
    e->action = h->action;
    e->reason = h->reason;
    e->regarding = h->involved_object;
    e->related = h->related;
    e->note = h->message;
    e->type = h->type;
    e->deprecated_source = h->source;
    e->deprecated_first_timestamp = h->first_timestamp;
    e->deprecated_last_timestamp = h->last_timestamp;
    e->deprecated_count = h->count;
    if (h->series) {
        e->series = arena_new(a, struct events_v1_event_series);
        if (!e->series) {
            return false;
        }
        e->series->count = h->series->count;
        e->series->last_observed_time = h->series->last_observed_time;
    }
    return true;
}

const struct kind_conversion events_event_conversion = {
    .group = STR_INIT("events.k8s.io"), .version = STR_INIT("v1"), .kind = STR_INIT("Event"), .to_hub = to_hub, .from_hub = from_hub,
};
