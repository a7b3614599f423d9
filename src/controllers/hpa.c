/*
 * horizontal-pod-autoscaler: every sync period asks the target's scale, its pods and the metrics, decides, and writes the scale and
 * the status ("Horizontal Pod Autoscaling"). The asking happens between passes; a pass looks at what came.
 */
#include <stdlib.h>

#include "api/copy.h"
#include "api/decode-json.h"
#include "api/encode-json.h"
#include "api/equal.h"
#include "api/gen/autoscaling_v1.h"
#include "base/map.h"
#include "client/client.h"
#include "controllers/hpa-decide.h"
#include "controllers/setup.h"
#include "net/loop.h"

struct state {
    struct controller *controller;
    const struct api_resource *resource;
    struct informer *hpas;
    struct map items; /* "namespace/name" -> struct item */
};

enum stage { RESTS, ASKS_SCALE, ASKS_METRICS, READY, WRITES_SCALE, SCALED };

/* One autoscaler between its passes. */
struct item {
    struct state *s;
    char *key, *uid;
    enum stage stage;
    uint64_t next_ms;   /* when it asks again */
    uint64_t spec_hash; /* of the spec that the last round looked at: HorizontalPodAutoscalers count no generations */
    struct hpa_memory memory;
    struct arena arena; /* of the round: everything below */
    const hpa_t *hpa;   /* as it was when the round began */
    struct str scale_path;
    struct hpa_inputs in;
    struct hpa_outcome out;
    struct hpa_answer written;
    struct question *questions; /* the scale, the pods, the metrics */
    size_t n_pending;
};

struct question {
    struct item *item;
    struct hpa_answer *answer;
    struct client_call *call;
};

/* ---- asking ---- */

static void end_round(struct item *x)
{
    for (size_t i = 0; x->questions && i < x->in.n_metrics + 2; i++) {
        client_cancel(x->questions[i].call);
    }
    arena_deinit(&x->arena);
    arena_init(&x->arena, ARENA_NO_BUDGET); /* the answers are bounded */
    x->questions = NULL;
    x->n_pending = 0;
    x->stage = RESTS;
}

static void item_free(struct item *x)
{
    if (x) {
        end_round(x);
        hpa_memory_deinit(&x->memory);
        free(x->key);
        free(x->uid);
        free(x);
    }
}

static void ask_metrics(struct item *x);

static void on_answer(void *data, const struct client_answer *answer)
{
    struct question *q = data;
    struct item *x = q->item;
    q->call = NULL;
    *q->answer = (struct hpa_answer){ .body = arena_str(&x->arena, answer->body), .http_status = answer->http_status };
    if (answer->err) {
        q->answer->error = arena_str(&x->arena, str_c(answer->err->msg));
    }
    if (--x->n_pending > 0) {
        return;
    }
    if (x->stage == ASKS_SCALE && !answer->err && hpa_read_scale(&x->arena, &x->in)) {
        ask_metrics(x);
        return;
    }
    x->stage = x->stage == WRITES_SCALE ? SCALED : READY;
    controller_enqueue(x->s->controller, str_c(x->key));
}

static void ask(struct item *x, size_t i, struct hpa_answer *answer, struct str method, struct str path, struct str body)
{
    struct question *q = &x->questions[i];
    *q = (struct question){ .item = x, .answer = answer };
    x->n_pending++;
    q->call = client_raw(controller_client(x->s->controller), method, path, body.len ? STR("application/json") : STR_NULL, body, on_answer, q);
}

static void ask_metrics(struct item *x)
{
    struct str ns = x->hpa->metadata.namespace, selector = x->in.scale.status.selector;
    x->stage = ASKS_METRICS;
    if (!hpa_needs_metrics(&x->in)) {
        x->stage = READY;
        controller_enqueue(x->s->controller, str_c(x->key));
        return;
    }
    x->n_pending = 1; /* so that no answer ends it before all are asked */
    ask(x, 1, &x->in.pods, STR("GET"), hpa_pods_path(&x->arena, ns, selector), STR_NULL);
    for (size_t i = 0; i < x->in.n_metrics; i++) {
        struct str path = hpa_metric_path(&x->arena, ns, &x->hpa->spec.metrics[i], selector);
        if (path.ptr) {
            ask(x, i + 2, &x->in.answers[i], STR("GET"), path, STR_NULL);
        } else {
            x->in.answers[i].error = STR("there is no such kind of object");
        }
    }
    x->n_pending--;
}

/* The target's path: its kind has to be known here. */
static struct str scale_path(struct arena *a, const hpa_t *hpa)
{
    const struct autoscaling_v2_cross_version_object_reference *t = &hpa->spec.scale_target_ref;
    struct str group, version;
    if (!str_cut(t->api_version, '/', &group, &version)) {
        version = group;
        group = STR_EMPTY;
    }
    const struct api_resource *r = api_resource_of_kind(group, version, t->kind);
    return r && r->namespaced ? arena_printf(a, "%s%.*s/namespaces/%.*s/%.*s/%.*s/scale", group.len ? "/apis/" : "/api/", STR_ARG(t->api_version),
                                             STR_ARG(hpa->metadata.namespace), STR_ARG(r->resource), STR_ARG(t->name))
                              : STR_NULL;
}

static uint64_t spec_hash(const hpa_t *hpa)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 64u << 20);
    if (!api_encode_json(&b, &autoscaling_v2_horizontal_pod_autoscaler_spec_type, &hpa->spec, NULL, NULL)) {
        abort();
    }
    return str_fnv1a(buf_str(&b));
}

static void begin_round(struct item *x, const hpa_t *hpa)
{
    size_t n = hpa->spec.n_metrics;
    end_round(x);
    x->hpa = api_copy(&x->arena, &autoscaling_v2_horizontal_pod_autoscaler_type, hpa);
    x->questions = arena_new_n(&x->arena, struct question, n + 2);
    x->in = (struct hpa_inputs){ .hpa = x->hpa, .n_metrics = n, .answers = arena_new_n(&x->arena, struct hpa_answer, n) };
    if (!x->hpa || !x->questions || !x->in.answers) {
        abort();
    }
    x->spec_hash = spec_hash(hpa);
    x->scale_path = scale_path(&x->arena, x->hpa);
    if (!x->scale_path.ptr) {
        const struct autoscaling_v2_cross_version_object_reference *t = &hpa->spec.scale_target_ref;
        x->in.scale_answer.error = arena_printf(&x->arena, "no matches for kind \"%.*s\" in version \"%.*s\"", STR_ARG(t->kind), STR_ARG(t->api_version));
        x->stage = READY;
        return;
    }
    x->stage = ASKS_SCALE;
    ask(x, 0, &x->in.scale_answer, STR("GET"), x->scale_path, STR_NULL);
}

/* ---- what comes of it ---- */

static void write_scale(struct item *x)
{
    CLEANUP(buf_deinit) struct buf b;
    struct autoscaling_v1_scale scale = x->in.scale;
    scale.spec.replicas = x->out.desired;
    buf_init(&b, 1u << 20);
    if (!api_encode_json(&b, &autoscaling_v1_scale_type, &scale, NULL, NULL)) {
        abort();
    }
    x->stage = WRITES_SCALE;
    ask(x, 0, &x->written, STR("PUT"), x->scale_path, arena_str(&x->arena, buf_str(&b)));
}

static void write_status(struct item *x, struct actions *a, const hpa_t *hpa)
{
    hpa_t changed = *hpa;
    hpa_status(&x->out, act_arena(a), act_now(a), &changed);
    if (!api_equal_field(&autoscaling_v2_horizontal_pod_autoscaler_type, "status", hpa, &changed)) {
        act_update_sub(a, x->s->resource, "status", &changed);
    }
    for (size_t i = 0; i < x->out.n_events; i++) {
        const struct hpa_event *e = &x->out.events[i];
        act_event(a, x->s->resource, hpa, e->type, e->reason, "%.*s", STR_ARG(e->message));
    }
}

static struct item *item_of(struct state *s, struct str key, const hpa_t *hpa)
{
    struct item *x = map_get(&s->items, key);
    if (x && !str_eq_c(hpa->metadata.uid, x->uid)) {
        item_free(map_remove(&s->items, key));
        x = NULL;
    }
    if (!x) {
        x = calloc(1, sizeof(*x));
        if (!x) {
            abort();
        }
        x->s = s;
        x->key = str_dup(key);
        x->uid = str_dup(hpa->metadata.uid);
        arena_init(&x->arena, ARENA_NO_BUDGET);
        map_put(&s->items, key, x);
    }
    return x;
}

static void decide(struct item *x, struct actions *a, const hpa_t *hpa)
{
    const struct controllers_hpa *flags = &controllers_config.hpa;
    x->in.now_s = act_now(a);
    x->in.tuning = (struct hpa_tuning){ .up = flags->tolerance, .down = flags->tolerance, .cpu_initialization_s = flags->cpu_initialization_ms / 1000,
                                        .initial_readiness_s = flags->initial_readiness_ms / 1000, .now_s = act_now(a) };
    x->in.down_window_s = flags->downscale_stabilization_ms / 1000;
    hpa_decide(&x->arena, &x->in, &x->memory, &x->out);
    if (x->out.rescale) {
        write_scale(x);
        return;
    }
    write_status(x, a, hpa);
    end_round(x);
}

static void reconcile(void *state, struct str key, struct actions *a)
{
    struct state *s = state;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    const hpa_t *hpa = informer_get(s->hpas, ns, name);
    if (!hpa || hpa->metadata.deletion_timestamp.set) {
        item_free(map_remove(&s->items, key));
        return;
    }
    struct item *x = item_of(s, key, hpa);
    uint64_t now = loop_now_ms(controller_loop(s->controller));
    bool news = x->spec_hash != spec_hash(hpa);
    if (x->stage == RESTS && (now >= x->next_ms || news)) {
        x->next_ms = now + (uint64_t)MAX(controllers_config.hpa.sync_ms, (int64_t)100);
        begin_round(x, hpa);
    }
    if (x->stage == READY) {
        decide(x, a, hpa);
    } else if (x->stage == SCALED) {
        hpa_scaled(&x->arena, &x->in, &x->memory, &x->written, &x->out);
        write_status(x, a, hpa);
        end_round(x);
    }
    if (x->stage == RESTS) {
        act_requeue_after(a, x->next_ms > now ? x->next_ms - now : 1);
    }
}

static void *setup(struct controller *c, struct informers *informers)
{
    struct state *s = state_new(sizeof(*s));
    s->controller = c;
    map_init(&s->items);
    struct informer_spec hpas = { .resource = api_resource_find(STR("autoscaling"), STR("v2"), STR("horizontalpodautoscalers")),
                                  .fields = whole_objects };
    s->hpas = controller_watch(c, informers, &hpas);
    s->resource = informer_resource(s->hpas);
    return s;
}

static void teardown(void *state)
{
    struct state *s = state;
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&s->items, &pos, &key, &value);) {
        item_free(value);
    }
    map_deinit(&s->items);
    free(s);
}

const struct controller_ops controller_hpa = {
    .name = "horizontal-pod-autoscaler-controller",
    .service_account = "horizontal-pod-autoscaler",
    .setup = setup,
    .reconcile = reconcile,
    .teardown = teardown,
    .concurrency_flag = &controllers_config.hpa.syncs,
};
