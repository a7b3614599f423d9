#include "kinds/core/service-families.h"

#include "kinds/rules.h"

#define V4 STR("IPv4")
#define V6 STR("IPv6")
#define POLICY STR("spec.ipFamilyPolicy")
#define IPS STR("spec.clusterIPs")
#define FAMILIES STR("spec.ipFamilies")

static const struct str families[] = { STR_INIT("IPv4"), STR_INIT("IPv6"), STR_NULL };
static const struct str policies[] = { STR_INIT("PreferDualStack"), STR_INIT("RequireDualStack"), STR_INIT("SingleStack"), STR_NULL };

struct str service_list_json(struct arena *a, const struct str *items, size_t n)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < n; i++) {
        list = arena_printf(a, "%.*s%s\"%.*s\"", STR_ARG(list), i ? "," : "", STR_ARG(items[i]));
    }
    return arena_printf(a, "[%.*s]", STR_ARG(list));
}

static bool has(const struct kind_ctx *ctx, struct str family)
{
    return ctx->world->has_ip_family(ctx->world, family);
}

static bool external(const struct core_v1_service *s)
{
    return str_eq_c(s->spec.type, "ExternalName");
}

static bool headless(const struct core_v1_service *s)
{
    return str_eq_c(s->spec.cluster_ip, "None");
}

static bool single(const struct core_v1_service *s)
{
    return str_eq_c(s->spec.ip_family_policy, "SingleStack");
}

static struct str family_of(struct str ip)
{
    return str_find_char(ip, ':') >= 0 ? V6 : V4;
}

static struct str other(struct str family)
{
    return str_eq(family, V4) ? V6 : V4;
}

static bool same_list(const struct str *a, size_t n_a, const struct str *b, size_t n_b)
{
    bool same = n_a == n_b;
    for (size_t i = 0; same && i < n_a; i++) {
        same = str_eq(a[i], b[i]);
    }
    return same;
}

static bool same_ips(const struct core_v1_service *a, const struct core_v1_service *b)
{
    return same_list(a->spec.cluster_ips, a->spec.n_cluster_ips, b->spec.cluster_ips, b->spec.n_cluster_ips);
}

static bool same_families(const struct core_v1_service *a, const struct core_v1_service *b)
{
    return same_list(a->spec.ip_families, a->spec.n_ip_families, b->spec.ip_families, b->spec.n_ip_families);
}

static void add_family(struct kind_ctx *ctx, struct core_v1_service *s, struct str family)
{
    struct str *list = arena_new_n(ctx->arena, struct str, s->spec.n_ip_families + 1);
    if (list) {
        for (size_t i = 0; i < s->spec.n_ip_families; i++) {
            list[i] = s->spec.ip_families[i];
        }
        list[s->spec.n_ip_families++] = family;
        s->spec.ip_families = list;
    }
}

/* ---- what is wrong in itself ---- */

static void check_form(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    for (size_t i = 0; i < s->spec.n_ip_families; i++) {
        struct str at = path_index(ctx->arena, FAMILIES, i), family = s->spec.ip_families[i];
        if (!str_eq(family, V4) && !str_eq(family, V6)) {
            field_not_supported(ctx->errs, at, family, families);
        }
        for (size_t j = 0; j < i; j++) {
            if (str_eq(s->spec.ip_families[j], family)) {
                field_duplicate_str(ctx->errs, at, family);
                break;
            }
        }
    }
    if (!str_empty(s->spec.ip_family_policy)) {
        (void)rule_enum(ctx->errs, POLICY, s->spec.ip_family_policy, policies);
    }
}

static void check_ips(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    size_t n = s->spec.n_cluster_ips;
    const struct str *ips = s->spec.cluster_ips;
    struct str list = service_list_json(ctx->arena, ips, n);
    bool wrong = false;
    if (str_empty(s->spec.cluster_ip) && n > 0) {
        field_invalid_json(ctx->errs, IPS, list, "must be empty when `clusterIP` is not specified");
    } else if (!str_empty(s->spec.cluster_ip) && n == 0) {
        field_required(ctx->errs, IPS, "%s", "");
    } else if (n > 0 && !str_eq(ips[0], s->spec.cluster_ip)) {
        field_invalid_json(ctx->errs, IPS, list, "first value must match `clusterIP`");
    }
    check_form(ctx, s);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 && str_eq_c(ips[i], "None")) {
            if (n > 1) {
                wrong = true;
                field_invalid_json(ctx->errs, IPS, list, "'None' must be the first and only value");
            }
            continue;
        }
        wrong |= !rule_ip(ctx->errs, path_index(ctx->arena, IPS, i), ips[i]);
    }
    if (n > 2) {
        field_invalid_json(ctx->errs, IPS, list, "may only hold up to 2 values");
    }
    if (wrong) {
        return; /* what follows would speak of addresses that are none */
    }
    if (n == 2 && str_eq(family_of(ips[0]), family_of(ips[1]))) {
        field_invalid_json(ctx->errs, IPS, list, "may specify no more than one IP for each IP family");
    }
    for (size_t i = 0; !headless(s) && i < n && i < s->spec.n_ip_families; i++) {
        struct str family = s->spec.ip_families[i];
        if (!str_eq(family, family_of(ips[i])) && (str_eq(family, V4) || str_eq(family, V6))) {
            field_invalid_str(ctx->errs, path_index(ctx->arena, IPS, i), ips[i], "expected an %.*s value as indicated by `ipFamilies[%zu]`",
                              STR_ARG(family), i);
        }
    }
}

/* ---- filling in ---- */

static void default_policy(struct core_v1_service *s, const struct core_v1_service *old)
{
    if (!str_empty(s->spec.ip_family_policy)) {
        return;
    }
    if (old && !str_empty(old->spec.ip_family_policy)) {
        s->spec.ip_family_policy = old->spec.ip_family_policy;
    } else {
        /* Endpoints of a headless Service without selector are made by hand: they may be of either family. */
        s->spec.ip_family_policy = headless(s) && s->spec.n_selector == 0 ? STR("RequireDualStack") : STR("SingleStack");
    }
}

/* A policy of SingleStack says what to drop; without it, a second address or family is not dropped. */
static void downgrade(struct kind_ctx *ctx, struct core_v1_service *s, const struct core_v1_service *old)
{
    if (single(s)) {
        if (s->spec.n_cluster_ips > 1 && same_ips(s, old)) {
            s->spec.n_cluster_ips = 1;
        }
        if (s->spec.n_ip_families > 1 && same_families(s, old)) {
            s->spec.n_ip_families = 1;
        }
        return;
    }
    if (s->spec.n_cluster_ips > 0 && s->spec.n_cluster_ips < old->spec.n_cluster_ips) {
        field_invalid_str(ctx->errs, POLICY, s->spec.ip_family_policy, "must be 'SingleStack' to release the secondary cluster IP");
    }
    if (s->spec.n_ip_families > 0 && s->spec.n_ip_families < old->spec.n_ip_families) {
        field_invalid_str(ctx->errs, POLICY, s->spec.ip_family_policy, "must be 'SingleStack' to release the secondary IP family");
    }
}

static void check_single(struct kind_ctx *ctx, const struct core_v1_service *s)
{
    if (single(s) && s->spec.n_cluster_ips == 2) {
        field_invalid_str(ctx->errs, POLICY, s->spec.ip_family_policy,
                          "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
    }
    if (single(s) && s->spec.n_ip_families == 2) {
        field_invalid_str(ctx->errs, POLICY, s->spec.ip_family_policy,
                          "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
    }
}

static void infer_families(struct kind_ctx *ctx, struct core_v1_service *s)
{
    for (size_t i = 0; i < s->spec.n_cluster_ips && !str_eq_c(s->spec.cluster_ips[i], "None"); i++) {
        struct str family = family_of(s->spec.cluster_ips[i]);
        if (i < s->spec.n_ip_families) {
            continue;
        }
        if (!has(ctx, family)) {
            /* Golden error 211: an address of no range says so, where it is given out. */
            field_invalid_json(ctx->errs, path_index(ctx->arena, IPS, i),
                               service_list_json(ctx->arena, s->spec.cluster_ips, s->spec.n_cluster_ips),
                               "%.*s is not configured on this cluster", STR_ARG(family));
        } else {
            add_family(ctx, s, family);
        }
    }
}

void service_families_fill(struct kind_ctx *ctx, struct core_v1_service *s, const struct core_v1_service *old)
{
    size_t before = ctx->errs->n;
    bool dual = has(ctx, V4) && has(ctx, V6);
    struct str first = ctx->world->first_ip_family(ctx->world);
    if (external(s)) {
        return;
    }
    /* A PreferDualStack Service that nobody touches stays as it is when the cluster becomes dual-stack, or no longer is. */
    if (old && str_eq_c(s->spec.ip_family_policy, "PreferDualStack") && str_eq(s->spec.ip_family_policy, old->spec.ip_family_policy) &&
        str_eq(s->spec.type, old->spec.type) && s->spec.n_ip_families > 0 && same_ips(s, old) && same_families(s, old) &&
        str_eq(s->spec.cluster_ip, old->spec.cluster_ip)) {
        return;
    }
    default_policy(s, old);
    check_ips(ctx, s);
    if (ctx->errs->n > before) {
        return;
    }
    if (old) {
        downgrade(ctx, s, old);
    }
    check_single(ctx, s);
    infer_families(ctx, s);
    if (ctx->errs->n > before) {
        return;
    }
    if (headless(s) && s->spec.n_selector == 0) {
        if (s->spec.n_ip_families == 0) {
            add_family(ctx, s, first);
        }
        if (s->spec.n_ip_families == 1 && !single(s)) {
            add_family(ctx, s, other(s->spec.ip_families[0]));
        }
        return;
    }
    if (str_eq_c(s->spec.ip_family_policy, "RequireDualStack") && !dual) {
        field_invalid_str(ctx->errs, POLICY, s->spec.ip_family_policy, "this cluster is not configured for dual-stack services");
    }
    for (size_t i = 0; i < s->spec.n_ip_families; i++) {
        if (!has(ctx, s->spec.ip_families[i])) {
            field_invalid_str(ctx->errs, path_index(ctx->arena, FAMILIES, i), s->spec.ip_families[i], "not configured on this cluster");
        }
    }
    if (ctx->errs->n > before) {
        return;
    }
    if (s->spec.n_ip_families == 0) {
        add_family(ctx, s, first);
    }
    if (s->spec.n_ip_families == 1 && !single(s) && dual) {
        add_family(ctx, s, other(s->spec.ip_families[0]));
    }
}

/* ---- what stays ---- */

/* One rule for addresses and for families: equal in number, equal in content; a second may come and go. */
static void may_not_change(struct kind_ctx *ctx, struct str path, const struct str *now, size_t n_now, const struct str *old, size_t n_old)
{
    for (size_t i = 0; i < n_now && i < n_old; i++) {
        if (!str_eq(now[i], old[i])) {
            field_invalid_json(ctx->errs, path_index(ctx->arena, path, i), service_list_json(ctx->arena, now, n_now),
                               "may not change once set");
        }
    }
}

void service_families_validate_update(struct kind_ctx *ctx, const struct core_v1_service *s, const struct core_v1_service *old)
{
    if (external(s) || external(old) || (headless(s) && headless(old))) {
        return;
    }
    may_not_change(ctx, IPS, s->spec.cluster_ips, s->spec.n_cluster_ips, old->spec.cluster_ips, old->spec.n_cluster_ips);
    if (headless(s) == headless(old)) {
        may_not_change(ctx, FAMILIES, s->spec.ip_families, s->spec.n_ip_families, old->spec.ip_families, old->spec.n_ip_families);
    }
}
