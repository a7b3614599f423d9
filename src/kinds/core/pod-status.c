#include "kinds/core/pod-status.h"

#include "api/json-writer.h"
#include "kinds/rules.h"

void pod_status_prepare(struct kind_ctx *ctx, struct core_v1_pod_status *s)
{
    struct str first = s->n_pod_ips > 0 ? s->pod_ips[0].ip : STR_EMPTY;
    if (str_empty(s->pod_ip)) {
        s->pod_ip = first;
    } else if (!str_eq(s->pod_ip, first)) {
        s->pod_ips = arena_new(ctx->arena, struct core_v1_pod_ip);
        s->n_pod_ips = s->pod_ips != NULL;
        if (s->pod_ips) {
            s->pod_ips->ip = s->pod_ip;
        }
    }
}

static bool is_among(struct str ip, const struct str *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], ip)) {
            return true;
        }
    }
    return false;
}

/* As upstream's messages show its internal type, whose fields have Go's names. */
static struct str json_of(struct arena *a, const struct str *ips, size_t n)
{
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 1u << 20);
    buf_append_char(&b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_append(&b, i ? STR(",{\"IP\":") : STR("{\"IP\":"));
        json_write_string(&b, ips[i]);
        buf_append_char(&b, '}');
    }
    buf_append_char(&b, ']');
    return arena_str(a, buf_str(&b));
}

static void validate_ips(struct kind_ctx *ctx, struct str path, const struct str *ips, size_t n, const struct str *old, size_t n_old)
{
    size_t n_v6 = 0;
    for (size_t i = 0; i < n; i++) {
        bool v6 = false;
        if (!is_among(ips[i], old, n_old)) {
            (void)rule_ip(ctx->errs, path_index(ctx->arena, path, i), ips[i]);
        }
        n_v6 += rule_is_ip(ips[i], &v6) && v6;
    }
    if (n > 2 || (n == 2 && n_v6 != 1)) {
        field_invalid_json(ctx->errs, path, json_of(ctx->arena, ips, n), "may specify no more than one IP for each IP family");
    }
}

void pod_status_validate(struct kind_ctx *ctx, const struct core_v1_pod_status *s, const struct core_v1_pod_status *old)
{
    /* An entry is nothing but its address: the lists are read as lists of texts. */
    _Static_assert(sizeof(*s->pod_ips) == sizeof(struct str) && sizeof(*s->host_ips) == sizeof(struct str), "an entry is an address");
    validate_ips(ctx, STR("status.podIPs"), (const struct str *)s->pod_ips, s->n_pod_ips, (const struct str *)old->pod_ips, old->n_pod_ips);
    if (s->n_host_ips > 0 && !str_eq(s->host_ip, s->host_ips[0].ip)) {
        field_invalid_str(ctx->errs, STR("status.hostIPs[0].ip"), s->host_ips[0].ip, "must be equal to `hostIP`");
    }
    validate_ips(ctx, STR("status.hostIPs"), (const struct str *)s->host_ips, s->n_host_ips, (const struct str *)old->host_ips, old->n_host_ips);
}
