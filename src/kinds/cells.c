#include "kinds/kind.h"

#include <stdarg.h>

#include "api/gen/core_v1.h"
#include "api/json-writer.h"
#include "api/selector.h"

static void append(struct kind_cells *c, struct str json)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 12;
        struct str *grown = arena_grow_n(c->arena, c->json, c->n, capacity, sizeof(*grown));
        if (!grown) {
            return;
        }
        c->json = grown;
        c->capacity = capacity;
    }
    c->json[c->n++] = json.ptr ? json : STR("null");
}

void cell_str(struct kind_cells *c, struct str s)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 8u << 20);
    json_write_string(&b, s);
    append(c, buf_failed(&b) ? STR_NULL : arena_str(c->arena, buf_str(&b)));
}

void cell_printf(struct kind_cells *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cell_str(c, arena_vprintf(c->arena, fmt, ap));
    va_end(ap);
}

void cell_int(struct kind_cells *c, int64_t v)
{
    append(c, arena_printf(c->arena, "%lld", (long long)v));
}

void cell_bool(struct kind_cells *c, bool v)
{
    append(c, v ? STR("true") : STR("false"));
}

void cell_null(struct kind_cells *c)
{
    append(c, STR("null"));
}

/* Two units at most, coarser with age: 119s, 3m20s, 25m, 3h5m, 26h, 3d4h, 20d, 2y3d. */
struct str kind_duration_text(struct arena *a, int64_t s)
{
    if (s < -1) {
        return STR("<invalid>");
    }
    if (s < 0) {
        return STR("0s");
    }
    int64_t m = s / 60, h = s / 3600;
    if (s < 60 * 2) {
        return arena_printf(a, "%llds", (long long)s);
    }
    if (m < 10) {
        return s % 60 == 0 ? arena_printf(a, "%lldm", (long long)m)
                           : arena_printf(a, "%lldm%llds", (long long)m, (long long)(s % 60));
    }
    if (m < 60 * 3) {
        return arena_printf(a, "%lldm", (long long)m);
    }
    if (h < 8) {
        return m % 60 == 0 ? arena_printf(a, "%lldh", (long long)h)
                           : arena_printf(a, "%lldh%lldm", (long long)h, (long long)(m % 60));
    }
    if (h < 48) {
        return arena_printf(a, "%lldh", (long long)h);
    }
    if (h < 24 * 8) {
        return h % 24 == 0 ? arena_printf(a, "%lldd", (long long)(h / 24))
                           : arena_printf(a, "%lldd%lldh", (long long)(h / 24), (long long)(h % 24));
    }
    if (h < 24 * 365 * 2) {
        return arena_printf(a, "%lldd", (long long)(h / 24));
    }
    if (h < 24 * 365 * 8) {
        int64_t days = h / 24 % 365;
        return days == 0 ? arena_printf(a, "%lldy", (long long)(h / 24 / 365))
                         : arena_printf(a, "%lldy%lldd", (long long)(h / 24 / 365), (long long)days);
    }
    return arena_printf(a, "%lldy", (long long)(h / 24 / 365));
}

struct str kind_lower(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len);
    for (size_t i = 0; out && i < s.len; i++) {
        out[i] = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]);
    }
    return out ? str_n(out, s.len) : s;
}

void cell_age(struct kind_cells *c, struct api_time t)
{
    cell_str(c, t.set ? kind_duration_text(c->arena, c->now_sec - t.sec) : STR("<unknown>"));
}

void cell_pairs(struct kind_cells *c, const struct api_str_pair *pairs, size_t n)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        list = arena_printf(c->arena, "%.*s%s%.*s=%.*s", STR_ARG(list), i ? "," : "", STR_ARG(pairs[i].key), STR_ARG(pairs[i].value));
    }
    cell_str(c, n ? list : STR("<none>"));
}

void cell_selector(struct kind_cells *c, const struct meta_v1_label_selector *ls)
{
    struct selector s;
    struct err err;
    if (!ls) {
        cell_str(c, STR("<none>"));
        return;
    }
    if (!selector_from_label_selector(c->arena, ls, &s, &err)) {
        cell_str(c, STR("<invalid>"));
        return;
    }
    struct str text = selector_str(c->arena, &s);
    cell_str(c, str_empty(text) ? STR("<none>") : text);
}

void cell_containers(struct kind_cells *c, const struct core_v1_pod_spec *spec)
{
    struct str names = STR_EMPTY, images = STR_EMPTY;
    for (size_t i = 0; spec && i < spec->n_containers; i++) {
        names = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(names), i ? "," : "", STR_ARG(spec->containers[i].name));
        images = arena_printf(c->arena, "%.*s%s%.*s", STR_ARG(images), i ? "," : "", STR_ARG(spec->containers[i].image));
    }
    cell_str(c, names);
    cell_str(c, images);
}

void kind_set_label(struct kind_ctx *ctx, struct meta_v1_object_meta *m, struct str key, struct str value)
{
    size_t at = 0;
    while (at < m->n_labels && str_cmp(m->labels[at].key, key) < 0) {
        at++;
    }
    bool there = at < m->n_labels && str_eq(m->labels[at].key, key);
    if (there && str_eq(m->labels[at].value, value)) {
        return;
    }
    struct api_str_pair *grown = arena_new_n(ctx->arena, struct api_str_pair, m->n_labels + 1);
    if (!grown) {
        return;
    }
    if (m->n_labels > 0) {
        memcpy(grown, m->labels, at * sizeof(*grown));
        memcpy(grown + at + !there, m->labels + at, (m->n_labels - at) * sizeof(*grown));
    }
    grown[at] = (struct api_str_pair){ key, value };
    m->labels = grown;
    m->n_labels += !there;
}

void kind_warn(struct kind_ctx *ctx, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(ctx->arena, fmt, ap);
    va_end(ap);
    if (!text.ptr) {
        return;
    }
    if (ctx->n_warnings == ctx->warnings_capacity) {
        size_t capacity = ctx->warnings_capacity ? ctx->warnings_capacity * 2 : 4;
        struct str *grown = arena_grow_n(ctx->arena, ctx->warnings, ctx->n_warnings, capacity, sizeof(*grown));
        if (!grown) {
            return;
        }
        ctx->warnings = grown;
        ctx->warnings_capacity = capacity;
    }
    ctx->warnings[ctx->n_warnings++] = text;
}
