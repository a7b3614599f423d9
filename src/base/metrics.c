#include "base/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"

const double metric_buckets_seconds[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                          1,     2.5,   5,    10,    20,   30,  60,   0 };

struct metric_cell {
    struct metric *metric;
    struct metric_cell *next;
    char *labels;               /* "verb=\"GET\",code=\"200\"", escaped */
    _Atomic uint64_t value;     /* the bits of a double: value, or sum of a histogram */
    _Atomic uint64_t n_buckets[]; /* histograms: one per bound, and one for the rest */
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *all; /* under all_lock */
static struct {
    void (*fn)(void *user);
    void *user;
} hooks[16]; /* under all_lock */
static size_t n_hooks;

static double from_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static size_t bounds_of(const struct metric *m)
{
    size_t n = 0;
    while (m->buckets && m->buckets[n] != 0) {
        n++;
    }
    return n;
}

static void append_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' || c == '"') {
            buf_append_char(b, '\\');
            buf_append_char(b, c);
        } else if (c == '\n') {
            buf_append_c(b, "\\n");
        } else {
            buf_append_char(b, c);
        }
    }
}

static void append_labels(struct buf *b, const struct metric *m, const struct str *values)
{
    for (size_t i = 0; i < METRIC_MAX_LABELS && m->labels[i]; i++) {
        buf_printf(b, "%s%s=\"", i ? "," : "", m->labels[i]);
        append_escaped(b, values ? values[i] : STR("other"));
        buf_append_char(b, '"');
    }
}

static struct metric_cell *cell_new(struct metric *m, const struct str *values)
{
    size_t n = m->kind == METRIC_KIND_HISTOGRAM ? bounds_of(m) + 1 : 0;
    struct metric_cell *c = calloc(1, sizeof(*c) + n * sizeof(c->n_buckets[0]));
    struct buf b;
    buf_init(&b, BUF_NO_MAX);
    append_labels(&b, m, values);
    if (!c || buf_failed(&b)) {
        abort();
    }
    c->metric = m;
    size_t len;
    c->labels = b.len ? buf_take(&b, &len) : NULL;
    buf_deinit(&b);
    c->next = m->cells;
    m->cells = c;
    return c;
}

struct metric_cell *metric_cell_of(struct metric *m, const struct str *values)
{
    struct buf key;
    buf_init(&key, 64 * 1024);
    for (size_t i = 0; i < METRIC_MAX_LABELS && m->labels[i]; i++) {
        buf_append(&key, values[i]);
        buf_append_char(&key, '\0');
    }
    pthread_mutex_lock(&m->lock);
    if (!m->registered) {
        m->registered = true;
        map_init(&m->by_labels);
        pthread_mutex_lock(&all_lock);
        m->next = all;
        all = m;
        pthread_mutex_unlock(&all_lock);
    }
    struct metric_cell *c = buf_failed(&key) ? NULL : map_get(&m->by_labels, buf_str(&key));
    if (!c && (buf_failed(&key) || m->by_labels.n >= METRIC_MAX_CELLS)) {
        if (!m->other) {
            m->other = cell_new(m, NULL);
        }
        c = m->other;
    } else if (!c) {
        c = cell_new(m, values);
        map_put(&m->by_labels, buf_str(&key), c);
    }
    pthread_mutex_unlock(&m->lock);
    buf_deinit(&key);
    return c;
}

void metric_forget(struct metric *m, const struct str *values)
{
    struct buf key;
    buf_init(&key, 64 * 1024);
    for (size_t i = 0; i < METRIC_MAX_LABELS && m->labels[i]; i++) {
        buf_append(&key, values[i]);
        buf_append_char(&key, '\0');
    }
    pthread_mutex_lock(&m->lock);
    struct metric_cell *c = m->registered ? map_remove(&m->by_labels, buf_str(&key)) : NULL;
    for (struct metric_cell **at = &m->cells; c && *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            free(c->labels);
            free(c);
            break;
        }
    }
    pthread_mutex_unlock(&m->lock);
    buf_deinit(&key);
}

static void add_to(_Atomic uint64_t *value, double by)
{
    uint64_t old = atomic_load_explicit(value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(value, &old, to_bits(from_bits(old) + by), memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

void metric_add(struct metric_cell *c, double by)
{
    add_to(&c->value, by);
}

void metric_set(struct metric_cell *c, double to)
{
    atomic_store_explicit(&c->value, to_bits(to), memory_order_relaxed);
}

void metric_observe(struct metric_cell *c, double value)
{
    size_t n = bounds_of(c->metric), i = 0;
    while (i < n && value > c->metric->buckets[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&c->n_buckets[i], 1, memory_order_relaxed);
    add_to(&c->value, value);
}

static uint64_t count_of(const struct metric_cell *c)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= bounds_of(c->metric); i++) {
        total += atomic_load_explicit(&c->n_buckets[i], memory_order_relaxed);
    }
    return total;
}

double metric_value(const struct metric_cell *c)
{
    if (c->metric->kind == METRIC_KIND_HISTOGRAM) {
        return (double)count_of(c);
    }
    return from_bits(atomic_load_explicit(&c->value, memory_order_relaxed));
}

void metrics_on_write(void (*fn)(void *user), void *user)
{
    pthread_mutex_lock(&all_lock);
    if (n_hooks < ARRAY_SIZE(hooks)) {
        hooks[n_hooks].fn = fn;
        hooks[n_hooks++].user = user;
    }
    pthread_mutex_unlock(&all_lock);
}

/* Numbers as Go writes them, closely enough for any reader: whole ones without a point. */
static void append_number(struct buf *b, double d)
{
    if (isnan(d)) {
        buf_append_c(b, "NaN");
    } else if (isinf(d)) {
        buf_append_c(b, d > 0 ? "+Inf" : "-Inf");
    } else if (fabs(d) < 1e15 && d == floor(d)) {
        buf_append_i64(b, (int64_t)d);
    } else {
        char text[40];
        for (int digits = 6; digits <= 17; digits++) { /* the shortest that reads back as the same */
            snprintf(text, sizeof(text), "%.*g", digits, d);
            if (strtod(text, NULL) == d) {
                break;
            }
        }
        buf_append_c(b, text);
    }
}

static void write_line(struct buf *b, const char *name, const char *suffix, const char *labels, const char *le,
                       double value)
{
    buf_append_c(b, name);
    buf_append_c(b, suffix);
    if (labels || le) {
        buf_printf(b, "{%s%s%s%s%s}", labels ? labels : "", labels && le ? "," : "", le ? "le=\"" : "", le ? le : "",
                   le ? "\"" : "");
    }
    buf_append_char(b, ' ');
    append_number(b, value);
    buf_append_char(b, '\n');
}

static void write_histogram(struct buf *b, const struct metric_cell *c)
{
    const struct metric *m = c->metric;
    size_t n = bounds_of(m);
    uint64_t total = 0;
    for (size_t i = 0; i <= n; i++) {
        char le[32] = "+Inf";
        if (i < n) {
            snprintf(le, sizeof(le), "%g", m->buckets[i]);
        }
        total += atomic_load_explicit(&c->n_buckets[i], memory_order_relaxed);
        write_line(b, m->name, "_bucket", c->labels, le, (double)total);
    }
    write_line(b, m->name, "_sum", c->labels, NULL,
               from_bits(atomic_load_explicit(&c->value, memory_order_relaxed)));
    write_line(b, m->name, "_count", c->labels, NULL, (double)total);
}

static void write_head(struct buf *b, const char *name, const char *help, const char *type)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_metric(struct buf *b, struct metric *m)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    pthread_mutex_lock(&m->lock);
    if (m->cells) {
        write_head(b, m->name, m->help, types[m->kind]);
    }
    for (const struct metric_cell *c = m->cells; c; c = c->next) {
        if (m->kind == METRIC_KIND_HISTOGRAM) {
            write_histogram(b, c);
        } else {
            write_line(b, m->name, "", c->labels, NULL,
                       from_bits(atomic_load_explicit(&c->value, memory_order_relaxed)));
        }
    }
    pthread_mutex_unlock(&m->lock);
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double open_descriptors(void)
{
    double n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder's own */
}

/* Field 22 of /proc/self/stat is the start in ticks since boot; the boot is now minus the time since it. */
static double start_time(void)
{
    struct buf b;
    double start = 0;
    struct timespec real, boot;
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    buf_init(&b, 8192);
    if (fs_read("/proc/self/stat", 4096, &b, NULL)) {
        struct str s = buf_str(&b), field = STR_NULL;
        ptrdiff_t name_end = str_rfind_char(s, ')');
        struct str rest = str_sub(s, (size_t)(name_end < 0 ? 0 : name_end + 2), s.len);
        for (int i = 3; i <= 22 && str_split(&rest, ' ', &field); i++) {
        }
        uint64_t ticks = 0;
        if (str_to_u64(field, &ticks)) {
            start = (double)real.tv_sec - (double)boot.tv_sec + (double)ticks / (double)sysconf(_SC_CLK_TCK);
        }
    }
    buf_deinit(&b);
    return start;
}

static void write_process(struct buf *b)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    write_head(b, "process_cpu_seconds_total", "User and system time spent.", "counter");
    write_line(b, "process_cpu_seconds_total", "", NULL, NULL, seconds_of(use.ru_utime) + seconds_of(use.ru_stime));
    struct buf statm;
    buf_init(&statm, 4096);
    if (fs_read("/proc/self/statm", 4096, &statm, NULL)) {
        struct str rest = buf_str(&statm), size, resident;
        uint64_t pages = 0, all_pages = 0;
        if (str_split(&rest, ' ', &size) && str_split(&rest, ' ', &resident) && str_to_u64(resident, &pages) &&
            str_to_u64(size, &all_pages)) {
            double page = (double)sysconf(_SC_PAGESIZE);
            write_head(b, "process_resident_memory_bytes", "Resident memory.", "gauge");
            write_line(b, "process_resident_memory_bytes", "", NULL, NULL, (double)pages * page);
            write_head(b, "process_virtual_memory_bytes", "Virtual memory.", "gauge");
            write_line(b, "process_virtual_memory_bytes", "", NULL, NULL, (double)all_pages * page);
        }
    }
    buf_deinit(&statm);
    write_head(b, "process_open_fds", "Open descriptors.", "gauge");
    write_line(b, "process_open_fds", "", NULL, NULL, open_descriptors());
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        write_head(b, "process_max_fds", "Most descriptors.", "gauge");
        write_line(b, "process_max_fds", "", NULL, NULL, (double)limit.rlim_cur);
    }
    write_head(b, "process_start_time_seconds", "Start of the process since 1970.", "gauge");
    write_line(b, "process_start_time_seconds", "", NULL, NULL, start_time());
}

void metrics_write(struct buf *b)
{
    pthread_mutex_lock(&all_lock);
    size_t n = n_hooks;
    pthread_mutex_unlock(&all_lock);
    for (size_t i = 0; i < n; i++) { /* hooks are only ever added */
        hooks[i].fn(hooks[i].user);
    }
    pthread_mutex_lock(&all_lock);
    struct metric *first = all; /* the list only grows at its head */
    pthread_mutex_unlock(&all_lock);
    for (struct metric *m = first; m; m = m->next) {
        write_metric(b, m);
    }
    write_process(b);
}
