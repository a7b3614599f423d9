/* What etcd sends: the messages of calls and of the watch, decoded as the store decodes them, and their status as it maps it. */
#include "api/decode-pb.h"
#include "store/etcd-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t touch(struct str s)
{
    size_t sum = s.len;
    for (size_t i = 0; i < s.len; i++) {
        sum += (uint8_t)s.ptr[i];
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_type *const types[] = {
        &etcd_v3_watch_response_type, &etcd_v3_txn_response_type,         &etcd_v3_range_response_type,
        &etcd_v3_status_response_type, &etcd_v3_lease_grant_response_type, &etcd_v3_compaction_response_type,
    };
    volatile size_t sum = 0;
    (void)sum;
    if (size < 2) {
        return 0;
    }
    const struct api_type *t = types[data[0] % ARRAY_SIZE(types)];
    struct str bytes = str_n((const char *)data + 1, size - 1);
    CLEANUP(arena_deinit) struct arena a;
    struct err err = { 0 };
    arena_init(&a, 8u << 20);
    void *m = arena_alloc(&a, t->size);
    if (m && api_decode_pb(&a, t, bytes, NULL, m, &err)) {
        if (t == types[0]) {
            const struct etcd_v3_watch_response *w = m;
            for (size_t i = 0; i < w->n_events; i++) {
                sum += w->events[i].kv ? touch(w->events[i].kv->key) + touch(w->events[i].kv->value) : 0;
            }
        } else if (t == types[1]) {
            const struct etcd_v3_txn_response *x = m;
            for (size_t i = 0; i < x->n_responses; i++) {
                const struct etcd_v3_range_response *r = x->responses[i].response_range;
                sum += r && r->n_kvs ? touch(r->kvs[0].value) : 0;
            }
        } else if (t == types[2]) {
            const struct etcd_v3_range_response *r = m;
            for (size_t i = 0; i < r->n_kvs; i++) {
                sum += touch(r->kvs[i].key) + touch(r->kvs[i].value);
            }
        }
    }
    struct grpc_status st = { .code = data[0] % GRPC_CODE_MAX, .sent = data[1] & 1 };
    err_set(&st.err, ERR_UNAVAILABLE, "%.*s", (int)MIN(bytes.len, (size_t)200), bytes.ptr);
    struct etcd_result r = etcd_result_of(&st);
    if (r.status == STORE_OK && st.code != GRPC_OK) {
        abort();
    }
    return 0;
}
