#include "api/decode-pb.h"
#include "api/encode-pb.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "store/etcd-private.h"

static struct metric requests = METRIC_COUNTER("etcd_requests_total", "Calls to etcd.", "operation");
static struct metric errors = METRIC_COUNTER("etcd_request_errors_total", "Calls to etcd that failed.", "operation");
static struct metric seconds = METRIC_HISTOGRAM("etcd_request_duration_seconds", "Time that calls to etcd took.",
                                                metric_buckets_seconds, "operation");

enum { AGAIN_MIN_MS = 10, AGAIN_MAX_MS = 500 };

static bool says(const struct grpc_status *st, const char *words)
{
    return strstr(st->err.msg, words) != NULL;
}

/* The member refuses to propose: the call was not made, and this member is of no use until it has a leader. */
static bool is_no_leader(const struct grpc_status *st)
{
    return st->code == GRPC_UNAVAILABLE && says(st, "no leader");
}

static bool was_not_made(const struct grpc_status *st)
{
    return !st->sent || is_no_leader(st) || says(st, "too many requests") || says(st, "etcdserver: not capable") ||
           says(st, "server stopped") || says(st, "rpc not supported for learner");
}

struct etcd_result etcd_result_of(const struct grpc_status *st)
{
    struct etcd_result r = { .status = STORE_E_UNAVAILABLE, .message = st->err.msg };
    switch ((int)st->code) {
    case GRPC_OK:
        r.status = STORE_OK;
        break;
    case GRPC_OUT_OF_RANGE:
        r.status = says(st, "future revision") ? STORE_E_FUTURE : STORE_E_COMPACTED;
        break;
    case GRPC_RESOURCE_EXHAUSTED:
        if (says(st, "database space exceeded")) {
            r.status = STORE_E_FULL;
        } else if (says(st, "larger than")) {
            r.status = STORE_E_TOO_LARGE; /* gRPC's own bound on a request */
        }
        break;
    case GRPC_INVALID_ARGUMENT:
        r.status = says(st, "request is too large") ? STORE_E_TOO_LARGE : STORE_E_IO;
        break;
    case GRPC_NOT_FOUND: /* a lease that has ended meanwhile: the write was refused */
        break;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
    case GRPC_UNIMPLEMENTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_DATA_LOSS:
        r.status = STORE_E_IO;
        break;
    default:
        r.ambiguous = !was_not_made(st);
        break;
    }
    return r;
}

static bool may_repeat(const struct etcd_call *c, const struct grpc_status *st)
{
    switch ((int)st->code) {
    case GRPC_UNAVAILABLE:
    case GRPC_ABORTED:
    case GRPC_CANCELLED:
    case GRPC_INTERNAL:
    case GRPC_UNKNOWN:
    case GRPC_DEADLINE_EXCEEDED:
        return c->read || was_not_made(st);
    case GRPC_RESOURCE_EXHAUSTED:
        return says(st, "too many requests") || says(st, "too many calls at once");
    default:
        return false;
    }
}

static struct str operation(const struct etcd_call *c)
{
    ptrdiff_t slash = str_rfind_char(c->rpc->path, '/');
    return str_sub(c->rpc->path, (size_t)slash + 1, SIZE_MAX);
}

static void call_free(struct etcd_call *c)
{
    list_remove(&c->link);
    loop_timer_stop(&c->again);
    buf_deinit(&c->request);
    free(c);
}

static void finish(struct etcd_call *c, const void *response, const struct etcd_result *result)
{
    etcd_done_fn *done = c->done;
    void *arg = c->arg;
    metric_observe(metric_cell(&seconds, operation(c)), (double)(loop_now_ms(c->store->loop) - c->begun_ms) / 1000);
    if (result->status != STORE_OK) {
        metric_add(metric_cell(&errors, operation(c)), 1);
    }
    call_free(c);
    done(arg, response, result);
}

static void on_done(void *arg, struct str bytes, const struct grpc_status *st)
{
    struct etcd_call *c = arg;
    struct etcd_store *s = c->store;
    uint64_t now = loop_now_ms(s->loop);
    c->grpc = NULL;
    if (st->code == GRPC_OK) {
        CLEANUP(arena_deinit) struct arena a;
        struct err err = { 0 };
        arena_init(&a, STORE_ETCD_MAX_ARENA);
        void *response = arena_alloc(&a, c->rpc->response->size);
        bool ok = response && api_decode_pb(&a, c->rpc->response, bytes, NULL, response, &err);
        /* A write whose answer cannot be read has been made, or not. */
        struct etcd_result r = { .status = ok ? STORE_OK : STORE_E_IO, .ambiguous = !ok && !c->read, .message = err.msg };
        if (!ok) {
            log_error("store: etcd's answer cannot be read: %s", err.msg);
        }
        finish(c, ok ? response : NULL, &r);
        return;
    }
    if (is_no_leader(st)) {
        grpc_client_leave(s->grpc, "it has no leader");
    }
    if (may_repeat(c, st) && now < c->until_ms && !s->closing) {
        uint64_t wait = MIN((uint64_t)AGAIN_MIN_MS << MIN(c->attempts, 6u), (uint64_t)AGAIN_MAX_MS);
        loop_timer_start(&c->again, wait / 2 + rand_below(wait / 2 + 1));
        return;
    }
    struct etcd_result r = etcd_result_of(st);
    r.ambiguous = r.ambiguous && !c->read;
    finish(c, NULL, &r);
}

static void attempt(void *arg)
{
    struct etcd_call *c = arg;
    uint64_t now = loop_now_ms(c->store->loop), left = c->until_ms > now ? c->until_ms - now : 1;
    c->attempts++;
    /* The second and later attempts have more time, so that big pages get through a slow line. */
    uint64_t most = c->read && c->attempts <= 2 ? STORE_ETCD_READ_ATTEMPT_MS : STORE_ETCD_ATTEMPT_MS;
    c->grpc = grpc_unary(c->store->grpc, c->rpc->path.ptr, buf_str(&c->request), MIN(left, most), on_done, c);
    grpc_call_wait_for_ready(c->grpc);
}

struct etcd_call *etcd_call(struct etcd_store *s, const struct api_rpc *rpc, const void *request, bool read, uint32_t timeout_ms,
                            etcd_done_fn *done, void *arg)
{
    struct etcd_call *c = calloc(1, sizeof(*c));
    if (!c) {
        abort();
    }
    *c = (struct etcd_call){ .store = s, .rpc = rpc, .read = read, .done = done, .arg = arg, .begun_ms = loop_now_ms(s->loop) };
    c->until_ms = c->begun_ms + (timeout_ms ? timeout_ms : STORE_ETCD_CALL_MS);
    list_push_back(&s->calls, &c->link);
    loop_timer_init(&c->again, s->loop, attempt, c);
    buf_init(&c->request, BUF_NO_MAX); /* values are bounded by STORE_MAX_VALUE */
    if (!api_encode_pb(&c->request, rpc->request, request)) {
        abort();
    }
    metric_add(metric_cell(&requests, operation(c)), 1);
    attempt(c);
    return c;
}

void etcd_call_cancel(struct etcd_call *c)
{
    if (c) {
        grpc_call_cancel(c->grpc);
        call_free(c);
    }
}
