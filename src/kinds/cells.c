#include "kinds/kind.h"

#include <stdarg.h>

#include "api/json-writer.h"

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

void cell_age(struct kind_cells *c, struct api_time t)
{
    cell_str(c, t.set ? kind_duration_text(c->arena, c->now_sec - t.sec) : STR("<unknown>"));
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
