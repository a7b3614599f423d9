/* List, then watch from the list's version; a watch that ends goes on where it ended, and one that is too old lists again. */
#include "hollow/hollow-private.h"

#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"

static void begin_watch(struct hollow_watch *w);
static void begin_list(struct hollow_watch *w);

/* Thousands of these are held: an empty one holds nothing. */
static void forget_line(struct hollow_watch *w)
{
    buf_deinit(&w->line);
    buf_init(&w->line, HOLLOW_MAX_EVENT);
}

static void count_open(struct hollow_watch *w, bool open)
{
    if (w->counted != open) {
        w->counted = open;
        if (open) {
            w->node->fleet->figures.watches++;
        } else {
            w->node->fleet->figures.watches--;
        }
    }
}

static void again(struct hollow_watch *w, bool failed)
{
    count_open(w, false);
    w->failures = failed ? w->failures + 1 : 0;
    loop_timer_start(&w->retry, failed ? hollow_retry_ms(w->failures) : rand_below(200));
}

static void on_retry(void *arg)
{
    struct hollow_watch *w = arg;
    if (w->version[0]) {
        begin_watch(w);
    } else {
        begin_list(w);
    }
}

static bool keep_version(struct hollow_watch *w, const struct val *object)
{
    struct str version = VAL_STR_AT(object, "metadata", "resourceVersion");
    return !str_empty(version) && str_to_cstr(version, w->version, sizeof(w->version));
}

/* False: the watch cannot go on. */
static bool take_event(struct hollow_watch *w, struct str line)
{
    struct hollow_fleet *f = w->node->fleet;
    struct val event;
    f->figures.now.events++;
    f->figures.now.event_bytes += line.len;
    if (!hollow_parse(f, line, &event)) {
        return false;
    }
    struct str type = val_get_str(&event, STR("type"));
    const struct val *object = val_get(&event, STR("object"));
    if (str_eq_c(type, "ERROR") || !object) {
        w->version[0] = '\0';
        return false;
    }
    if (!keep_version(w, object)) {
        return false;
    }
    if (w->on_object && !str_eq_c(type, "BOOKMARK")) {
        w->on_object(w->node, type, object);
    }
    return true;
}

static void on_response(struct http_call *c, const struct http_response *r, void *arg)
{
    (void)c;
    struct hollow_watch *w = arg;
    w->status = r->status;
    if (r->status == 200) {
        w->failures = 0;
        count_open(w, true);
    }
}

static void on_body(struct http_call *c, struct str data, void *arg)
{
    struct hollow_watch *w = arg;
    struct str head, tail;
    if (w->status != 200) {
        return;
    }
    bool ok = true;
    while (ok && str_cut(data, '\n', &head, &tail)) {
        if (w->line.len == 0) {
            ok = take_event(w, head);
        } else {
            buf_append(&w->line, head);
            ok = !buf_failed(&w->line) && take_event(w, buf_str(&w->line));
            forget_line(w);
        }
        data = tail;
    }
    buf_append(&w->line, data);
    if (!ok || buf_failed(&w->line)) {
        w->call = http_call_cancel(c);
        forget_line(w);
        again(w, true);
    }
}

static void on_end(struct http_call *c, const struct http_headers *trailers, void *arg)
{
    (void)c, (void)trailers;
    struct hollow_watch *w = arg;
    w->call = NULL;
    forget_line(w);
    if (w->status == 410) {
        w->version[0] = '\0';
    } else if (w->status != 200) {
        w->node->fleet->figures.now.refused++;
    }
    again(w, w->status != 200);
}

static void on_error(struct http_call *c, const struct http_call_error *e, void *arg)
{
    (void)c;
    struct hollow_watch *w = arg;
    w->call = NULL;
    forget_line(w);
    w->node->fleet->figures.now.failed++;
    log_debug("%s: watch of %s: %s", w->node->name, w->path, e->err.msg);
    again(w, true);
}

static const struct http_call_ops ops = { .on_response = on_response, .on_body = on_body, .on_end = on_end, .on_error = on_error };

static void begin_watch(struct hollow_watch *w)
{
    char target[512];
    struct hollow_fleet *f = w->node->fleet;
    snprintf(target, sizeof(target), "%.*s%s?%s%swatch=true&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%u",
             STR_ARG(f->endpoint.prefix), w->path, w->selector, w->selector[0] ? "&" : "", w->version, 300 + (unsigned)rand_below(300));
    struct http_header headers[6];
    struct http_call_config config = { .method = STR("GET"), .target = str_c(target), .headers = headers, .response_ms = HOLLOW_REQUEST_MS };
    config.n_headers = hollow_headers(w->node, false, headers);
    w->status = 0;
    f->figures.now.watches_begun++;
    f->figures.now.requests++;
    w->call = http_client_start(w->node->http, &config, &ops, w);
}

static void on_list(struct hollow_node *n, int status, struct str body, void *arg)
{
    struct hollow_watch *w = arg;
    struct val list;
    w->list = NULL;
    n->fleet->figures.now.lists++;
    if (status != 200 || !hollow_parse(n->fleet, body, &list) || !keep_version(w, &list)) {
        again(w, true);
        return;
    }
    const struct val *items = val_get(&list, STR("items"));
    for (size_t i = 0; w->on_object && val_is(items, VAL_ARRAY) && i < items->n; i++) {
        w->on_object(n, STR("ADDED"), &items->items[i]);
    }
    if (w->on_listed) {
        w->on_listed(n);
    }
    begin_watch(w);
}

static void begin_list(struct hollow_watch *w)
{
    char target[512];
    snprintf(target, sizeof(target), "%s?%s%sresourceVersion=0", w->path, w->selector, w->selector[0] ? "&" : "");
    struct hollow_request r = { .kind = HOLLOW_LIST, .method = "GET", .keep = true, .target = str_c(target) };
    w->list = hollow_send(w->node, &r, on_list, w);
}

void hollow_watch_init(struct hollow_watch *w, struct hollow_node *n, const char *path)
{
    *w = (struct hollow_watch){ .node = n, .path = path };
    buf_init(&w->line, HOLLOW_MAX_EVENT);
    loop_timer_init(&w->retry, n->fleet->loop, on_retry, w);
}

void hollow_watch_start(struct hollow_watch *w)
{
    begin_list(w);
}

void hollow_watch_stop(struct hollow_watch *w)
{
    if (!w->node) {
        return;
    }
    count_open(w, false);
    hollow_call_cancel(w->list);
    http_call_cancel(w->call);
    loop_timer_stop(&w->retry);
    buf_deinit(&w->line);
    *w = (struct hollow_watch){ .node = NULL };
}
