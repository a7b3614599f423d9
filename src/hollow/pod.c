/*
 * The life of one pod, as a kubelet tells of it: admitted when it is seen, running after a while, perhaps ended by itself; when it is
 * to be deleted its containers end after a while, that is said, and only then the object goes.
 */
#include "hollow/hollow-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/json-writer.h"
#include "base/clock.h"
#include "base/rand.h"

/* STARTING: pulling, so to speak; STOPPING: its containers got their SIGTERM; STOPPED: they have ended, and the object is to go. */
enum pod_state { STARTING, RUNNING, ENDED, STOPPING, STOPPED };

struct hollow_pod {
    struct list link;
    struct hollow_node *node;
    enum pod_state state;
    bool may_end;        /* restartPolicy other than Always */
    bool counted;        /* among those that are ready */
    bool admitted;       /* the API was told that its containers are being made */
    bool over;           /* … that they have ended */
    unsigned failures, round, ip;
    uint64_t shown_ns, start_ms;
    int64_t created_s, started_s;
    struct hollow_call *call;
    struct loop_timer timer;
    const char *name, *containers; /* in 'text', behind the namespace */
    char uid[RAND_UUID_SIZE];
    char text[];         /* namespace, name, names and images of the containers ("NAME\tIMAGE\n…"), each ended by a zero */
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
    free(p);
}

/* ---- what is sent ---- */

enum news { ADMITTED, STARTED, OVER };

static void write_container(struct buf *b, const struct hollow_pod *p, struct str line, enum news news, const char *now, const char *started)
{
    struct str name, image;
    (void)str_cut(line, '\t', &name, &image);
    buf_append_c(b, "{\"name\":");
    json_write_string(b, name);
    buf_append_c(b, ",\"image\":");
    json_write_string(b, image);
    buf_printf(b, ",\"imageID\":\"%s\",\"restartCount\":0,\"ready\":%s,\"started\":%s", news == ADMITTED ? "" : "hollow",
               news == STARTED ? "true" : "false", news == STARTED ? "true" : "false");
    if (news != ADMITTED) {
        /* A pod has one of each name, so its uid and the name make an id that the next patch says again. */
        buf_printf(b, ",\"containerID\":\"hollow://%s-%.*s\"", p->uid, STR_ARG(name));
    }
    if (news == ADMITTED) {
        buf_append_c(b, ",\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}}");
    } else if (news == STARTED) {
        buf_printf(b, ",\"state\":{\"waiting\":null,\"running\":{\"startedAt\":\"%s\"}}}", now);
    } else {
        buf_printf(b, ",\"state\":{\"waiting\":null,\"running\":null,\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\",\"startedAt\":"
                      "\"%s\",\"finishedAt\":\"%s\"}}}", started, now);
    }
}

static void write_conditions(struct buf *b, enum news news, const char *now)
{
    static const struct {
        const char *type;
        bool yes[3];
    } types[] = { { "PodReadyToStartContainers", { false, true, false } },
                  { "Initialized", { true, true, true } },
                  { "Ready", { false, true, false } },
                  { "ContainersReady", { false, true, false } },
                  { "PodScheduled", { true, true, true } } };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        bool reason = i == 2 || i == 3;
        buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastTransitionTime\":\"%s\",\"reason\":%s}", i ? "," : "", types[i].type,
                   types[i].yes[news] ? "True" : "False", now,
                   !reason || news == STARTED ? "null" : news == OVER ? "\"PodCompleted\"" : "\"ContainersNotReady\"");
    }
}

static void write_status(struct buf *b, const struct hollow_pod *p, enum news news)
{
    static const char *const phases[] = { "Pending", "Running", "Succeeded" };
    char now[CLOCK_RFC3339_SIZE], started[CLOCK_RFC3339_SIZE];
    unsigned node = p->node->index;
    clock_format_rfc3339(clock_real_s(), 0, 0, now);
    clock_format_rfc3339(p->started_s, 0, 0, started);
    buf_printf(b, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"%s\",\"conditions\":[", p->uid, phases[news]);
    write_conditions(b, news, now);
    buf_printf(b, "],\"hostIP\":\"198.18.%u.%u\",\"hostIPs\":[{\"ip\":\"198.18.%u.%u\"}],\"startTime\":\"%s\",", node >> 8 & 255, node & 255,
               node >> 8 & 255, node & 255, started);
    if (news != ADMITTED) {
        char ip[32];
        snprintf(ip, sizeof(ip), "100.%u.%u.%u", 64 + (node >> 8 & 63), node & 255, p->ip & 255);
        buf_printf(b, "\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],", ip, ip);
    }
    buf_append_c(b, "\"containerStatuses\":[");
    struct str rest = str_c(p->containers), one;
    for (bool first = true; str_split(&rest, '\n', &one) && one.len > 0; first = false) {
        buf_append_c(b, first ? "" : ",");
        write_container(b, p, one, news, now, started);
    }
    buf_append_c(b, "]}}");
}

static enum news news_of(const struct hollow_pod *p)
{
    return p->state == STOPPING || p->state == RUNNING ? OVER : p->admitted ? STARTED : ADMITTED;
}

static void note_started(struct hollow_pod *p)
{
    struct hollow_fleet *f = p->node->fleet;
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
    if (p->over) {
        count_ready(p, false);
        p->state = p->state == STOPPING ? STOPPED : ENDED;
        if (p->state == STOPPED) {
            loop_timer_start(&p->timer, 0);
        }
    } else if (p->state == STARTING && !p->admitted) {
        uint64_t spent = (clock_mono_ns() - p->shown_ns) / 1000000;
        p->admitted = true;
        loop_timer_start(&p->timer, p->start_ms - MIN(p->start_ms, spent));
    } else if (p->state == STARTING) {
        note_started(p);
        if (p->may_end) {
            loop_timer_start(&p->timer, hollow_about(f->o->job_ms));
        }
    } /* else: it is being deleted since, and its timer runs */
}

static void send_status(struct hollow_pod *p)
{
    char target[600];
    CLEANUP(buf_deinit) struct buf body;
    enum news news = news_of(p);
    buf_init(&body, 4 << 20);
    write_status(&body, p, news);
    p->over = news == OVER;
    snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s/status", p->text, p->name);
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
    snprintf(target, sizeof(target), "/api/v1/namespaces/%s/pods/%s", p->text, p->name);
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
    } else if (p->state == STOPPED) {
        send_delete(p);
    } else if (p->state != ENDED) {
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

static void write_containers(struct buf *b, const struct val *pod)
{
    const struct val *list = VAL_AT(pod, "spec", "containers");
    for (size_t i = 0; val_is(list, VAL_ARRAY) && i < list->n; i++) {
        const struct val *c = &list->items[i];
        buf_printf(b, "%.*s\t%.*s\n", STR_ARG(val_get_str(c, STR("name"))), STR_ARG(val_get_str(c, STR("image"))));
    }
}

/* Neither name, namespace nor image may hold a control character (Kubernetes' validation). */
static struct hollow_pod *pod_alloc(const struct val *pod)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1 << 20);
    buf_append(&b, VAL_STR_AT(pod, "metadata", "namespace"));
    buf_append_char(&b, '\0');
    size_t name = b.len;
    buf_append(&b, VAL_STR_AT(pod, "metadata", "name"));
    buf_append_char(&b, '\0');
    size_t containers = b.len;
    write_containers(&b, pod);
    buf_append_char(&b, '\0');
    struct hollow_pod *p = buf_failed(&b) ? NULL : calloc(1, sizeof(*p) + b.len);
    if (p) {
        memcpy(p->text, b.ptr, b.len);
        p->name = p->text + name;
        p->containers = p->text + containers;
    }
    return p;
}

static struct hollow_pod *pod_new(struct hollow_node *n, const struct val *pod, struct str uid)
{
    struct hollow_pod *p = pod_alloc(pod);
    if (!p || !str_to_cstr(uid, p->uid, sizeof(p->uid))) {
        free(p);
        return NULL;
    }
    struct str phase = VAL_STR_AT(pod, "status", "phase");
    uint32_t nsec;
    p->node = n;
    p->may_end = !str_eq_c(VAL_STR_AT(pod, "spec", "restartPolicy"), "Always");
    p->ip = n->next_ip++ % 253 + 1;
    p->shown_ns = clock_mono_ns();
    if (!clock_parse_rfc3339(VAL_STR_AT(pod, "metadata", "creationTimestamp"), &p->created_s, &nsec)) {
        p->created_s = 0;
    }
    if (!clock_parse_rfc3339(VAL_STR_AT(pod, "status", "startTime"), &p->started_s, &nsec)) {
        p->started_s = clock_real_s();
    }
    loop_timer_init(&p->timer, n->fleet->loop, on_timer, p);
    list_push_back(&n->pods, &p->link);
    n->fleet->figures.pods++;
    /* A pod of an earlier run of ours goes on as it was. */
    if (str_eq_c(phase, "Running")) {
        p->state = RUNNING;
        p->admitted = true;
        count_ready(p, true);
        if (p->may_end) {
            loop_timer_start(&p->timer, hollow_about(n->fleet->o->job_ms));
        }
    } else if (str_eq_c(phase, "Succeeded") || str_eq_c(phase, "Failed")) {
        p->state = ENDED;
    } else {
        p->start_ms = hollow_about(n->fleet->o->pod_start_ms);
        loop_timer_start(&p->timer, 0);
    }
    return p;
}

/* Ended pods go at once; others have their containers stopped, and say so, before they go. */
static void begin_stop(struct hollow_pod *p, bool now)
{
    if (p->state == ENDED) {
        p->state = STOPPED;
        loop_timer_start(&p->timer, 0);
    } else if (p->state != STOPPED) {
        bool ran = p->state == RUNNING;
        p->state = STOPPING;
        loop_timer_start(&p->timer, ran && !now ? hollow_about(p->node->fleet->o->pod_stop_ms) : 0);
    }
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
        const struct val *grace = VAL_AT(pod, "metadata", "deletionGracePeriodSeconds");
        begin_stop(p, val_is(grace, VAL_INT) && grace->i == 0);
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
