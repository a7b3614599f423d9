/* The life of one pod: seen, Running after a while, perhaps ended by itself, and deleted after a while when that is asked. */
#include "hollow/hollow-private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/json-writer.h"
#include "base/clock.h"
#include "base/rand.h"

enum pod_state { STARTING, RUNNING, ENDED, STOPPING };

struct hollow_pod {
    struct list link;
    struct hollow_node *node;
    enum pod_state state;
    bool may_end;        /* restartPolicy other than Always */
    bool counted;        /* among those that are ready */
    unsigned failures, round, ip;
    uint64_t shown_ns, start_ms;
    int64_t created_s;
    struct hollow_call *call;
    struct loop_timer timer;
    char *containers;    /* JSON object members of each container's status, "{…},{…}" with %s where ready, started and state go; owned */
    char *ns, *name;     /* owned */
    char uid[RAND_UUID_SIZE];
};

static void on_timer(void *arg);

static void count_ready(struct hollow_pod *p, bool ready)
{
    if (p->counted != ready) {
        p->counted = ready;
        if (ready) {
            p->node->fleet->figures.ready++;
        } else {
            p->node->fleet->figures.ready--;
        }
    }
}

static void pod_free(struct hollow_pod *p)
{
    count_ready(p, false);
    p->node->fleet->figures.pods--;
    list_remove(&p->link);
    hollow_call_cancel(p->call);
    loop_timer_stop(&p->timer);
    free(p->containers);
    free(p->ns);
    free(p->name);
    free(p);
}

static char *text_of(struct str s)
{
    char *copy = strndup(s.ptr ? s.ptr : "", s.len);
    if (!copy) {
        abort();
    }
    return copy;
}

/* ---- what is sent ---- */

/* Name and image of each container, as the beginning of its status. */
static char *containers_of(const struct val *pod)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    const struct val *list = VAL_AT(pod, "spec", "containers");
    for (size_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        const struct val *c = &list->items[i];
        buf_append_c(&b, "{\"name\":");
        json_write_string(&b, val_get_str(c, STR("name")));
        buf_append_c(&b, ",\"image\":");
        json_write_string(&b, val_get_str(c, STR("image")));
        buf_append_c(&b, ",\"imageID\":\"hollow\",\"containerID\":\"hollow://");
        char id[RAND_UUID_SIZE];
        rand_uuid(id);
        buf_append_c(&b, id);
        buf_append_c(&b, "\",\"restartCount\":0\n");
    }
    return text_of(buf_str(&b));
}

static void write_status(struct buf *b, const struct hollow_pod *p, bool ended)
{
    static const char *const types[] = { "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady" };
    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_real_s(), 0, 0, now);
    buf_printf(b, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"%s\",\"conditions\":[", p->uid, ended ? "Succeeded" : "Running");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        bool yes = !ended || i == 1;
        buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastTransitionTime\":\"%s\"%s}", i ? "," : "", types[i], yes ? "True" : "False",
                   now, ended && i > 1 ? ",\"reason\":\"PodCompleted\"" : "");
    }
    unsigned node = p->node->index;
    buf_printf(b, "],\"hostIP\":\"198.18.%u.%u\",\"podIP\":\"100.%u.%u.%u\",\"podIPs\":[{\"ip\":\"100.%u.%u.%u\"}],\"startTime\":\"%s\","
                  "\"containerStatuses\":[",
               node >> 8 & 255, node & 255, 64 + (node >> 8 & 63), node & 255, p->ip & 255, 64 + (node >> 8 & 63), node & 255,
               p->ip & 255, now);
    struct str rest = str_c(p->containers), one;
    for (bool first = true; str_split(&rest, '\n', &one) && one.len > 0; first = false) {
        buf_printf(b, "%s%.*s,\"ready\":%s,\"started\":%s,\"state\":", first ? "" : ",", STR_ARG(one), ended ? "false" : "true",
                   ended ? "false" : "true");
        if (ended) {
            buf_printf(b, "{\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\",\"startedAt\":\"%s\",\"finishedAt\":\"%s\"}}}", now, now);
        } else {
            buf_printf(b, "{\"running\":{\"startedAt\":\"%s\"}}}", now);
        }
    }
    buf_append_c(b, "]}}");
}

static void on_status(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)body;
    struct hollow_pod *p = arg;
    struct hollow_fleet *f = n->fleet;
    p->call = NULL;
    if (status == 404 || status == 409) { /* gone, or another of its name: the watch will say so */
        return;
    }
    if (status < 200 || status > 299) {
        loop_timer_start(&p->timer, hollow_retry_ms(++p->failures));
        return;
    }
    p->failures = 0;
    if (p->state == STARTING) {
        uint64_t now = clock_mono_ns(), planned = p->shown_ns + p->start_ms * 1000000;
        int64_t sec;
        uint32_t nsec;
        clock_real(&sec, &nsec);
        int64_t since = (sec - p->created_s) * 1000000000 + nsec;
        p->state = RUNNING;
        count_ready(p, true);
        f->figures.now.pods_started++;
        hollow_figures_latency(&f->figures, HOLLOW_L_POD_REPORT, now > planned ? now - planned : 0);
        if (p->created_s > 0 && since > 0) {
            hollow_figures_latency(&f->figures, HOLLOW_L_POD_START, (uint64_t)since);
        }
        if (p->may_end) {
            loop_timer_start(&p->timer, hollow_about(f->o->job_ms));
        }
    } else {
        p->state = ENDED;
        count_ready(p, false);
    }
    if (p->state == ENDED || !p->may_end) {
        free(TAKE(p->containers)); /* said for the last time */
    }
}

static void send_status(struct hollow_pod *p)
{
    char target[600];
    CLEANUP(buf_deinit) struct buf body;
    buf_init(&body, 4 << 20);
    write_status(&body, p, p->state == RUNNING);
    snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s/status", p->ns, p->name);
    struct hollow_request r = { .kind = HOLLOW_POD_STATUS, .method = "PATCH", .target = str_c(target),
                                .content_type = "application/strategic-merge-patch+json", .body = buf_str(&body) };
    p->call = hollow_send(p->node, &r, on_status, p);
}

static void on_deleted(struct hollow_node *n, int status, struct str body, void *arg)
{
    (void)n, (void)body;
    struct hollow_pod *p = arg;
    p->call = NULL;
    if (status == 404 || status == 409 || (status >= 200 && status < 300)) {
        return; /* the watch says that it is gone */
    }
    loop_timer_start(&p->timer, hollow_retry_ms(++p->failures));
}

static void send_delete(struct hollow_pod *p)
{
    char target[600], text[200];
    snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s", p->ns, p->name);
    snprintf(text, sizeof(text), "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"%s\"}}",
             p->uid);
    struct hollow_request r = { .kind = HOLLOW_POD_DELETE, .method = "DELETE", .target = str_c(target),
                                .content_type = "application/json", .body = str_c(text) };
    p->call = hollow_send(p->node, &r, on_deleted, p);
}

static void on_timer(void *arg)
{
    struct hollow_pod *p = arg;
    if (p->call) {
        loop_timer_start(&p->timer, 20);
    } else if (p->state == STOPPING) {
        send_delete(p);
    } else if (p->containers) {
        send_status(p);
    }
}

/* ---- what is seen ---- */

static struct hollow_pod *find(struct hollow_node *n, struct str uid)
{
    LIST_FOREACH(&n->pods, struct hollow_pod, link, p) {
        if (str_eq_c(uid, p->uid)) {
            return p;
        }
    }
    return NULL;
}

static struct hollow_pod *pod_new(struct hollow_node *n, const struct val *pod, struct str uid)
{
    struct hollow_pod *p = calloc(1, sizeof(*p));
    if (!p || !str_to_cstr(uid, p->uid, sizeof(p->uid))) {
        free(p);
        return NULL;
    }
    struct str phase = VAL_STR_AT(pod, "status", "phase");
    uint32_t nsec;
    p->node = n;
    p->ns = text_of(VAL_STR_AT(pod, "metadata", "namespace"));
    p->name = text_of(VAL_STR_AT(pod, "metadata", "name"));
    p->containers = containers_of(pod);
    p->may_end = !str_eq_c(VAL_STR_AT(pod, "spec", "restartPolicy"), "Always");
    p->ip = n->next_ip++ % 253 + 1;
    p->shown_ns = clock_mono_ns();
    if (!clock_parse_rfc3339(VAL_STR_AT(pod, "metadata", "creationTimestamp"), &p->created_s, &nsec)) {
        p->created_s = 0;
    }
    loop_timer_init(&p->timer, n->fleet->loop, on_timer, p);
    list_push_back(&n->pods, &p->link);
    n->fleet->figures.pods++;
    /* A pod of an earlier run of ours goes on as it was. */
    if (str_eq_c(phase, "Running")) {
        p->state = RUNNING;
        count_ready(p, true);
        if (p->may_end) {
            loop_timer_start(&p->timer, hollow_about(n->fleet->o->job_ms));
        }
    } else if (str_eq_c(phase, "Succeeded") || str_eq_c(phase, "Failed")) {
        p->state = ENDED;
    } else {
        p->start_ms = hollow_about(n->fleet->o->pod_start_ms);
        loop_timer_start(&p->timer, p->start_ms);
    }
    return p;
}

void hollow_pod_seen(struct hollow_node *n, struct str type, const struct val *pod)
{
    struct str uid = VAL_STR_AT(pod, "metadata", "uid");
    struct hollow_pod *p = find(n, uid);
    if (str_eq_c(type, "DELETED")) {
        if (p) {
            n->fleet->figures.now.pods_ended++;
            pod_free(p);
        }
        return;
    }
    if (!p && !(p = pod_new(n, pod, uid))) {
        return;
    }
    p->round = n->round;
    if (!str_empty(VAL_STR_AT(pod, "metadata", "deletionTimestamp")) && p->state != STOPPING) {
        count_ready(p, false);
        p->state = STOPPING;
        loop_timer_start(&p->timer, hollow_about(n->fleet->o->pod_stop_ms));
    }
}

void hollow_pods_listed(struct hollow_node *n)
{
    LIST_FOREACH(&n->pods, struct hollow_pod, link, p) {
        if (p->round != n->round) {
            n->fleet->figures.now.pods_ended++;
            pod_free(p);
        }
    }
    n->round++; /* what the next list does not show again will be gone */
}

void hollow_pods_free(struct hollow_node *n)
{
    LIST_FOREACH(&n->pods, struct hollow_pod, link, p) {
        pod_free(p);
    }
}
