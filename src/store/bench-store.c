/*
 * Figures of the store: durable puts a second with 1, 16 and 64 in flight, bytes that reach the device for each, the speed of
 * building lists, the memory of objects, and the cost of a watch event.
 *
 *   bench-store FOLDER [BLOCK_DEVICE_NAME]   with a device name (as in /sys/block/NAME/stat) device writes are counted there
 *   bench-store etcd:URL [BLOCK_DEVICE_NAME] the creates alone, over etcd
 *   bench-store creates:FOLDER [BLOCK_DEVICE_NAME]  the creates alone
 *   bench-store million:FOLDER [BLOCK_DEVICE_NAME]   a million updates of a thousand keys
 */
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "net/loop.h"
#include "store/store.h"
#include "store/watch-cache.h"

enum { VALUE = 1500, JSON = 4500 };

static struct loop *loop;
static const char *device;

static uint64_t device_bytes(void)
{
    char path[128];
    unsigned long long f[11] = { 0 };
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 4096);
    if (!device) {
        return 0;
    }
    snprintf(path, sizeof(path), "/sys/block/%s/stat", device);
    if (!fs_read(path, 4096, &b, NULL) || sscanf(b.ptr, "%llu %llu %llu %llu %llu %llu %llu", &f[0], &f[1], &f[2], &f[3],
                                                 &f[4], &f[5], &f[6]) != 7) {
        return 0;
    }
    return f[6] * 512;
}

static double cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct run {
    struct store *s;
    struct store_resource *r;
    unsigned started, done, total, keys;
    bool creates;
    char value[VALUE + 1];
};

static void start(struct run *x);

static void on_put(void *arg, const struct store_result *res)
{
    struct run *x = arg;
    if (res->status != STORE_OK) {
        fprintf(stderr, "put: %s\n", store_status_text(res->status));
        exit(1);
    }
    x->done++;
    if (x->started < x->total) {
        start(x);
    }
}

static void start(struct run *x)
{
    char key[64];
    static unsigned series;
    series += x->started == 0;
    snprintf(key, sizeof(key), "/registry/pods/default/%c%06u", x->creates ? (char)('a' + series) : 'p', x->started++ % x->keys);
    struct store_write w = { .resource = x->r, .key = str_c(key), .value = str_n(x->value, VALUE),
                             .expect = x->creates ? STORE_ABSENT : STORE_ANY, .done = on_put, .arg = x };
    store_write(x->s, &w);
}

static void puts_in_flight(struct store *s, struct store_resource *r, unsigned in_flight, unsigned total, unsigned keys)
{
    struct run x = { .s = s, .r = r, .total = total, .keys = keys ? keys : total, .creates = keys == 0 };
    struct store_stats a, b;
    for (int i = 0; i < VALUE; i++) {
        x.value[i] = (char)('a' + rand() % 26);
    }
    sync();
    store_get_stats(s, &a);
    uint64_t bytes = device_bytes(), t = clock_mono_ns();
    double cpu = cpu_us();
    for (unsigned i = 0; i < in_flight; i++) {
        start(&x);
    }
    while (x.done < total) {
        loop_turn(loop, -1);
    }
    t = clock_mono_ns() - t;
    cpu = cpu_us() - cpu;
    bytes = device_bytes() - bytes;
    store_get_stats(s, &b);
    printf("%3u in flight, %5u keys: %7.0f %s/s, %5.1f writes a group, %5.1f us CPU and %5.2f KB to the device each, file %.1f MB, "
           "WAL %.1f MB\n", in_flight, x.keys, total * 1e9 / (double)t, x.creates ? "creates" : "puts",
           (double)total / (double)MAX(b.groups - a.groups, UINT64_C(1)), cpu / total,
           (double)bytes / total / 1000, (double)b.file_bytes / 1e6, (double)b.wal_bytes / 1e6);
}

/* Creates of new keys, as an API server's first writes of objects. */
static void bench_creates(struct store *s)
{
    struct store_resource_config rc = { .prefix = STR("/registry/pods/") };
    struct store_resource *r = store_resource_open(s, &rc);
    static const unsigned at_once[] = { 1, 16, 64 };
    while (!s->sole_writer && store_resource_watermark(r) == 0) {
        loop_turn(loop, 10);
    }
    for (size_t i = 0; i < ARRAY_SIZE(at_once); i++) {
        puts_in_flight(s, r, at_once[i], 2000 + at_once[i] * 100, 0);
    }
    store_resource_close(r);
}

static void bench_puts(const char *dir, bool creates_alone)
{
    char path[512];
    struct err err;
    snprintf(path, sizeof(path), "%s/bench.db", dir);
    struct store_config cfg = { .loop = loop, .path = path };
    struct store *s = store_open_sqlite(&cfg, &err);
    if (!s) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct store_resource_config rc = { .prefix = STR("/registry/pods/") };
    bench_creates(s);
    if (creates_alone) {
        store_close(s);
        return;
    }
    struct store_resource *r = store_resource_open(s, &rc);
    puts_in_flight(s, r, 64, 40000, 2000); /* also fills the write-ahead log once */
    puts_in_flight(s, r, 1, 5000, 2000);
    puts_in_flight(s, r, 16, 20000, 2000);
    puts_in_flight(s, r, 64, 100000, 2000);
    puts_in_flight(s, r, 1, 5000, 200);
    puts_in_flight(s, r, 64, 100000, 200);
    store_resource_close(r);
    uint64_t t = clock_mono_ns();
    store_close(s);
    printf("close: %.1f ms\n", (double)(clock_mono_ns() - t) / 1e6);
    t = clock_mono_ns();
    s = store_open_sqlite(&cfg, &err);
    printf("open of 2,000 keys: %.1f ms\n", (double)(clock_mono_ns() - t) / 1e6);
    store_close(s);
}

static void bench_etcd(const char *url)
{
    struct err err;
    struct str server = str_c(url);
    struct store_config cfg = { .loop = loop };
    struct store_etcd_config etcd = { .servers = &server, .n_servers = 1 };
    struct store *s = store_open_etcd(&cfg, &etcd, &err);
    if (!s) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    bench_creates(s);
    store_close(s);
}

static void bench_million(const char *dir)
{
    char path[512];
    struct err err;
    snprintf(path, sizeof(path), "%s/million.db", dir);
    struct store_config cfg = { .loop = loop, .path = path };
    struct store *s = store_open_sqlite(&cfg, &err);
    if (!s) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    struct store_resource_config rc = { .prefix = STR("/registry/pods/") };
    struct store_resource *r = store_resource_open(s, &rc);
    for (int i = 0; i < 4; i++) {
        puts_in_flight(s, r, 64, 250000, 1000);
    }
    store_resource_close(r);
    store_close(s);
}

static const struct str fields[] = { STR_INIT("spec.nodeName"), STR_INIT("status.phase") };
static const struct object_class pod_class = {
    .prefix = STR_INIT("{\"kind\":\"Pod\",\"apiVersion\":\"v1\","), .item_prefix = STR_INIT("{"), .fields = fields, .n_fields = 2,
};

static struct object *pod_new(unsigned i, int64_t revision)
{
    static char json[JSON + 64];
    char name[32], node[16];
    int n = snprintf(json, sizeof(json), "\"metadata\":{\"name\":\"p%06u\",\"namespace\":\"default\",\"uid\":\"%08x-aaaa-bbbb-"
                                         "cccc-0123456789ab\",\"resourceVersion\":\"\",\"labels\":{\"app\":\"web\",\"tier\":\"f\"}},"
                                         "\"spec\":{\"nodeName\":\"node-%u\"},\"status\":{\"phase\":\"Running\"},\"x\":\"", i, i, i % 100);
    memset(json + n, 'x', (size_t)(JSON - n - 2));
    memcpy(json + JSON - 2, "\"}", 2);
    snprintf(name, sizeof(name), "p%06u", i);
    snprintf(node, sizeof(node), "node-%u", i % 100);
    char uid[40];
    snprintf(uid, sizeof(uid), "%08x-aaaa-bbbb-cccc-0123456789ab", i);
    struct object_label labels[] = { { STR("app"), STR("web") }, { STR("tier"), STR("f") } };
    struct object_init init = {
        .class = &pod_class, .json = str_n(json, JSON), .rv_at = OBJECT_FIND_RV, .namespace = STR("default"),
        .name = str_c(name), .uid = str_c(uid), .labels = labels, .n_labels = 2,
        .fields = (struct str[]){ str_c(node), STR("Running") },
    };
    struct err err;
    struct object *o = object_new(&init, &err);
    if (revision) {
        object_set_revision(o, revision);
    }
    return o;
}

static struct object *build(void *arg UNUSED, struct str key, struct str value UNUSED, struct err *err UNUSED)
{
    uint64_t i;
    return str_to_u64(str_sub(key, key.len - 6, 6), &i) ? pod_new((unsigned)i, 0) : NULL;
}

static void on_ready(void *arg UNUSED)
{
}

static unsigned answered;

static void on_pod(void *arg UNUSED, const struct store_result *res UNUSED)
{
    answered++;
}

static void put_pod(struct store *s, struct watch_cache *c, unsigned i)
{
    char key[64];
    static char value[VALUE];
    snprintf(key, sizeof(key), "/registry/pods/default/p%06u", i);
    struct object *o = pod_new(i, 0);
    struct store_write w = { .resource = watch_cache_resource(c), .key = str_c(key), .value = str_n(value, VALUE),
                             .expect = STORE_ANY, .object = o, .done = on_pod };
    store_write(s, &w);
    object_unref(o);
}

static void bench_cache(void)
{
    enum { PODS = 10000, WATCHERS = 100 };
    struct err err;
    struct store_config cfg = { .loop = loop };
    struct store *s = store_open_memory(&cfg, &err);
    static const struct watch_cache_ops ops = { .build = build };
    struct watch_cache_config cc = { .store = s, .prefix = STR("/registry/pods/"), .namespaced = true, .indexed_fields = 1,
                                     .ops = &ops };
    struct watch_cache *c = watch_cache_new(&cc);
    while (!watch_cache_ready(c)) {
        loop_turn(loop, 10);
    }
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    uint64_t t = clock_mono_ns();
    for (unsigned i = 0; i < PODS; i++) {
        put_pod(s, c, i);
        if (i % 64 == 63) {
            while (answered + 64 < i) {
                loop_turn(loop, -1);
            }
        }
    }
    while (answered < PODS) {
        loop_turn(loop, -1);
    }
    printf("%d creates through store (memory) and cache: %.1f us each\n", PODS, (double)(clock_mono_ns() - t) / 1e3 / PODS);
    store_close(NULL);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    printf("memory with %d pods of %d B JSON (and %d B stored values in the memory back end): %.0f B each\n", PODS, JSON, VALUE,
           (double)(after - before) / PODS);

    size_t bytes = 0, n = 0;
    t = clock_mono_ns();
    struct snapshot *snap = watch_cache_snapshot(c);
    struct snapshot_iter it;
    const struct object *o;
    struct iovec iov[OBJECT_IOV];
    snapshot_iter_init(&it, snap, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        int k = object_item_iov(o, iov);
        for (int i = 0; i < k; i++) {
            bytes += iov[i].iov_len;
        }
        n++;
    }
    t = clock_mono_ns() - t;
    printf("list of %zu pods as iovecs, %.1f MB: %.2f ms\n", n, (double)bytes / 1e6, (double)t / 1e6);
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, BUF_NO_MAX);
    t = clock_mono_ns();
    snapshot_iter_init(&it, snap, STR_EMPTY, STR_EMPTY, STR_EMPTY);
    while ((o = snapshot_iter_next(&it))) {
        if (b.len > 60000) {
            buf_clear(&b);
        }
        object_item_append(o, &b);
    }
    printf("the same gathered into records: %.2f ms\n", (double)(clock_mono_ns() - t) / 1e6);

    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct snapshot *many[16];
    for (int i = 0; i < 16; i++) {
        many[i] = watch_cache_snapshot(c);
    }
    printf("16 more snapshots: %zu B\n", mallinfo2().uordblks + mallinfo2().hblkhd - before);
    for (int i = 0; i < 16; i++) {
        snapshot_unref(many[i]);
    }
    snapshot_unref(snap);

    /* One watcher of everything, and one for each of 100 nodes. */
    struct watcher *all, *node[WATCHERS];
    struct watch_options opt = { .start = WATCH_ONLY_NEW, .field = -1, .ready = on_ready };
    struct watch_item item;
    (void)!watcher_new(c, &opt, &all);
    (void)!watch_next(all, &item);
    for (int i = 0; i < WATCHERS; i++) {
        char value[16];
        snprintf(value, sizeof(value), "node-%d", i);
        opt.field = 0;
        opt.field_value = str_c(value);
        (void)!watcher_new(c, &opt, &node[i]);
        (void)!watch_next(node[i], &item);
    }
    uint64_t t_pull = 0, delivered = 0;
    answered = 0;
    t = clock_mono_ns();
    for (unsigned i = 0; i < PODS; i += 50) {
        for (unsigned k = 0; k < 50; k++) {
            put_pod(s, c, i + k);
        }
        while (answered < i + 50) {
            loop_turn(loop, -1);
        }
        uint64_t from = clock_mono_ns();
        while (watch_next(all, &item) == WATCH_GOT_ITEM) {
            (void)watch_item_iov(&item, (struct iovec[WATCH_IOV]){ 0 });
            delivered++;
        }
        for (int w = 0; w < WATCHERS; w++) {
            while (watch_next(node[w], &item) == WATCH_GOT_ITEM) {
                (void)watch_item_iov(&item, (struct iovec[WATCH_IOV]){ 0 });
                delivered++;
            }
        }
        t_pull += clock_mono_ns() - from;
    }
    t = clock_mono_ns() - t;
    printf("%d updates, %llu events to %d watchers: %.1f us an update in all, %.2f us an event pulled\n", PODS,
           (unsigned long long)delivered, WATCHERS + 1, (double)t / 1e3 / PODS, (double)t_pull / 1e3 / (double)delivered);
    for (int i = 0; i < WATCHERS; i++) {
        watcher_free(node[i]);
    }
    watcher_free(all);
    watch_cache_free(c);
    store_close(s);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench-store FOLDER [BLOCK_DEVICE]\n");
        return 2;
    }
    device = argc > 2 ? argv[2] : NULL;
    struct err err;
    loop = loop_new(&err);
    if (strncmp(argv[1], "etcd:", 5) == 0) {
        bench_etcd(argv[1] + 5);
    } else if (strncmp(argv[1], "creates:", 8) == 0) {
        bench_puts(argv[1] + 8, true);
    } else if (strncmp(argv[1], "million:", 8) == 0) {
        bench_million(argv[1] + 8);
    } else {
        bench_puts(argv[1], false);
        bench_cache();
    }
    loop_free(loop);
    return 0;
}
