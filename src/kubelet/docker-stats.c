/* Figures of containers: a list, and one request for each container of it, a few at a time. */
#include "kubelet/docker-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "kubelet/limits.h"

#define AT_ONCE 8

/* The last sample of each container: how fast CPU is used is the difference of two. */
struct sample {
    int64_t time_ns;
    uint64_t cpu_ns;
    uint64_t round;
};
struct docker_samples {
    struct map by_id;
    uint64_t round;
};

struct docker_samples *docker_samples_free(struct docker_samples *s)
{
    struct str key;
    void *v;
    if (s) {
        for (size_t pos = 0; map_next(&s->by_id, &pos, &key, &v);) {
            free(v);
        }
        map_deinit(&s->by_id);
        free(s);
    }
    return NULL;
}

struct one {
    struct runtime_call *c;
    struct docker_http *http;
    struct cri_v1_container_stats *to;
};

struct stats {
    struct val list;
    size_t at, under_way;
    struct one *ones;
    struct cri_v1_container_stats *stats;
    size_t n;
};

static void drop(struct runtime_call *c)
{
    struct stats *s = c->state;
    for (size_t i = 0; s->ones && i < s->n; i++) {
        s->ones[i].http = docker_http_cancel(s->ones[i].http);
    }
}

static struct cri_v1_uint64_value *figure(struct arena *a, int64_t v)
{
    struct cri_v1_uint64_value *r = arena_new(a, struct cri_v1_uint64_value);
    if (r) {
        r->value = v > 0 ? (uint64_t)v : 0;
    }
    return r;
}

static void rate(struct docker *d, struct arena *a, struct str id, struct cri_v1_cpu_usage *cpu)
{
    struct sample *s = map_get(&d->samples->by_id, id);
    uint64_t used = cpu->usage_core_nano_seconds ? cpu->usage_core_nano_seconds->value : 0;
    if (s && cpu->timestamp - s->time_ns > 500000000 && used >= s->cpu_ns) {
        cpu->usage_nano_cores = figure(a, (int64_t)((double)(used - s->cpu_ns) * 1e9 / (double)(cpu->timestamp - s->time_ns)));
    }
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s) {
            abort();
        }
        map_put(&d->samples->by_id, id, s);
    }
    s->round = d->samples->round;
    if (!s->time_ns || cpu->usage_nano_cores) {
        s->time_ns = cpu->timestamp;
        s->cpu_ns = used;
    }
}

static void take(struct one *o, const struct val *v)
{
    struct arena *a = &o->c->a;
    const struct val *memory = val_get(v, STR("memory_stats")), *more = val_get(memory, STR("stats"));
    struct cri_v1_container_stats *to = o->to;
    int64_t used = docker_int(memory, "usage");
    /* Control groups of version 1, and of 2. */
    int64_t inactive = val_get(more, STR("total_inactive_file")) ? docker_int(more, "total_inactive_file") : docker_int(more, "inactive_file");
    int64_t rss = val_get(more, STR("total_rss")) ? docker_int(more, "total_rss") : docker_int(more, "anon");
    to->cpu = arena_new(a, struct cri_v1_cpu_usage);
    to->memory = arena_new(a, struct cri_v1_memory_usage);
    if (!to->cpu || !to->memory) {
        to->cpu = NULL;
        to->memory = NULL;
        return;
    }
    to->cpu->timestamp = to->memory->timestamp = docker_time(docker_str(v, "read"));
    to->cpu->usage_core_nano_seconds = figure(a, docker_int(VAL_AT(v, "cpu_stats", "cpu_usage"), "total_usage"));
    rate(o->c->d, a, to->attributes->id, to->cpu);
    to->memory->usage_bytes = figure(a, used);
    to->memory->working_set_bytes = figure(a, used - inactive);
    to->memory->rss_bytes = figure(a, rss);
    to->memory->page_faults = figure(a, docker_int(more, "pgfault"));
    to->memory->major_page_faults = figure(a, docker_int(more, "pgmajfault"));
}

static void forget_old(struct docker_samples *s)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&s->by_id, &pos, &key, &v);) {
        struct sample *one = v;
        if (one->round != s->round) {
            (void)map_remove(&s->by_id, key);
            free(one);
        }
    }
}

static void go_on(struct runtime_call *c);

static void on_one(void *arg, const struct docker_answer *a)
{
    struct one *o = arg;
    struct stats *s = o->c->state;
    struct val v;
    o->http = NULL;
    s->under_way--;
    struct str text = a->err ? STR_NULL : arena_str(&o->c->a, a->body);
    if (text.len && val_parse_json(&o->c->a, text, DOCKER_JSON_DEPTH, NULL, &v, NULL)) {
        take(o, &v); /* one that has just ended is left out */
    }
    go_on(o->c);
}

static void go_on(struct runtime_call *c)
{
    struct stats *s = c->state;
    while (s->at < s->n && s->under_way < AT_ONCE) {
        struct one *o = &s->ones[s->at];
        const struct docker_http_spec spec = { .method = "GET",
                                               .path = docker_path(&c->a, "/containers/", s->stats[s->at].attributes->id, "/stats?stream=false&one-shot=true") };
        s->at++;
        s->under_way++;
        o->http = docker_http(c->d, &spec, on_one, o);
    }
    if (s->under_way) {
        return;
    }
    struct cri_v1_list_container_stats_response *r = docker_response(c);
    if (r) {
        r->stats = s->stats;
        for (size_t i = 0; i < s->n; i++) {
            if (s->stats[i].cpu) {
                r->stats[r->n_stats++] = s->stats[i];
            }
        }
        forget_old(c->d->samples);
        docker_done(c, r);
    }
}

static bool attributes(struct arena *a, const struct val *item, struct cri_v1_container_stats *to)
{
    struct str parts[4];
    const struct val *names = val_get(item, STR("Names"));
    uint32_t attempt;
    struct cri_v1_container_attributes *at = to->attributes = arena_new(a, struct cri_v1_container_attributes);
    if (!at || !(at->metadata = arena_new(a, struct cri_v1_container_metadata)) ||
        !docker_labels(a, val_get(item, STR("Labels")), &at->labels, &at->n_labels, &at->annotations, &at->n_annotations)) {
        return false;
    }
    at->id = docker_str(item, "Id");
    if (!val_is(names, VAL_ARRAY) || !names->n || !docker_name_parse(val_as_str(&names->items[0]), parts, &attempt)) {
        return false;
    }
    *at->metadata = (struct cri_v1_container_metadata){ .name = parts[0], .attempt = attempt };
    return true;
}

static void on_list(struct runtime_call *c, const struct docker_answer *a)
{
    struct stats *s = arena_new(&c->a, struct stats);
    struct val v;
    if (!docker_json(c, a, &v)) {
        return;
    }
    size_t n = val_is(&v, VAL_ARRAY) ? v.n : 0;
    if (!s || !(s->ones = arena_new_n(&c->a, struct one, n + 1)) || !(s->stats = arena_new_n(&c->a, struct cri_v1_container_stats, n + 1))) {
        docker_fail_with(c, ERR_TOO_LARGE, "the runtime's answer is too large");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (attributes(&c->a, &v.items[i], &s->stats[s->n])) {
            s->ones[s->n] = (struct one){ .c = c, .to = &s->stats[s->n] };
            s->n++;
        }
    }
    if (!c->d->samples) {
        c->d->samples = calloc(1, sizeof(*c->d->samples));
        if (!c->d->samples) {
            abort();
        }
        map_init(&c->d->samples->by_id);
    }
    c->d->samples->round++;
    c->state = s;
    c->drop = drop;
    go_on(c);
}

void docker_list_stats(struct runtime_call *c)
{
    const struct cri_v1_list_container_stats_request *q = c->request;
    const struct cri_v1_container_stats_filter *f = q->filter;
    struct str filters = docker_filters(&c->a, DOCKER_TYPE_CONTAINER, f ? f->label_selector : NULL, f ? f->n_label_selector : 0);
    docker_ask(c, "GET", arena_printf(&c->a, "/containers/json?%.*s", STR_ARG(filters)), STR_EMPTY, on_list);
}
