#include "kinds/batch/job-policies.h"

#include <stdlib.h>

#include "kinds/rules.h"

/* The limits of batch/v1 ("Jobs", API reference): rules, patterns, exit codes; and of indexed Jobs. */
enum {
    RULES_MOST = 20,
    PATTERNS_MOST = 20,
    CODES_MOST = 255,
    PARALLELISM_MOST = 100000,
    FAILED_INDEXES_MOST = 100000,
    COMPLETIONS_SOFT = 100000,
    OF_MANY_MOST = 10000,
    INDEXES_TEXT_MOST = 64 * 1024,
    MANAGED_BY_MOST = 63,
};

#define AT(name) path_child(ctx->arena, path, name)

/* ---- indexed Jobs ---- */

static void of_many(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    if (!s->has_completions || s->completions <= COMPLETIONS_SOFT || !s->has_backoff_limit_per_index) {
        return;
    }
    if (!s->has_max_failed_indexes) {
        field_required(ctx->errs, AT("maxFailedIndexes"), "must be specified when completions is above %d", COMPLETIONS_SOFT);
    }
    if (s->has_parallelism && s->parallelism > OF_MANY_MOST) {
        field_invalid_int(ctx->errs, AT("parallelism"), s->parallelism,
                          "must be less than or equal to %d when completions are above %d and used with backoff limit per index", OF_MANY_MOST,
                          COMPLETIONS_SOFT);
    }
    if (s->has_max_failed_indexes && s->max_failed_indexes > OF_MANY_MOST) {
        field_invalid_int(ctx->errs, AT("maxFailedIndexes"), s->max_failed_indexes,
                          "must be less than or equal to %d when completions are above %d and used with backoff limit per index", OF_MANY_MOST,
                          COMPLETIONS_SOFT);
    }
}

static void indexed_job(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    if (s->has_parallelism && s->parallelism > PARALLELISM_MOST) {
        field_invalid_int(ctx->errs, AT("parallelism"), s->parallelism,
                          "must be less than or equal to %d when completion mode is Indexed", PARALLELISM_MOST);
    }
    if (s->has_completions && s->has_max_failed_indexes && s->max_failed_indexes > s->completions) {
        field_invalid_int(ctx->errs, AT("maxFailedIndexes"), s->max_failed_indexes, "must be less than or equal to completions");
    }
    if (s->has_max_failed_indexes && s->max_failed_indexes > FAILED_INDEXES_MOST) {
        field_invalid_int(ctx->errs, AT("maxFailedIndexes"), s->max_failed_indexes, "must be less than or equal to %d", FAILED_INDEXES_MOST);
    }
    of_many(ctx, path, s);
}

static void limits(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    if (s->has_backoff_limit_per_index) {
        rule_non_negative(ctx->errs, AT("backoffLimitPerIndex"), s->backoff_limit_per_index);
    }
    if (s->has_max_failed_indexes) {
        rule_non_negative(ctx->errs, AT("maxFailedIndexes"), s->max_failed_indexes);
        if (!s->has_backoff_limit_per_index) {
            field_required(ctx->errs, AT("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
        }
    }
    if (str_eq_c(s->completion_mode, "Indexed")) {
        indexed_job(ctx, path, s);
        return;
    }
    if (s->has_backoff_limit_per_index) {
        field_invalid_int(ctx->errs, AT("backoffLimitPerIndex"), s->backoff_limit_per_index, "requires indexed completion mode");
    }
    if (s->has_max_failed_indexes) {
        field_invalid_int(ctx->errs, AT("maxFailedIndexes"), s->max_failed_indexes, "requires indexed completion mode");
    }
}

/* ---- podFailurePolicy ---- */

static bool has_container(const struct core_v1_pod_spec *pod, struct str name)
{
    for (size_t i = 0; i < pod->n_containers; i++) {
        if (str_eq(pod->containers[i].name, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < pod->n_init_containers; i++) {
        if (str_eq(pod->init_containers[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* "[1,2]" for a message. */
static struct str codes_json(struct arena *a, const int32_t *values, size_t n)
{
    struct str text = STR("[");
    for (size_t i = 0; i < n; i++) {
        text = arena_printf(a, "%.*s%s%d", STR_ARG(text), i ? "," : "", values[i]);
    }
    return arena_printf(a, "%.*s]", STR_ARG(text));
}

static void codes(struct kind_ctx *ctx, struct str path, const int32_t *values, size_t n, bool in)
{
    bool ordered = true;
    if (n == 0) {
        field_invalid_json(ctx->errs, path, STR("[]"), "at least one value is required");
    } else if (n > CODES_MOST) {
        field_too_many(ctx->errs, path, n, CODES_MOST);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++) {
            again = again || values[k] == values[i];
        }
        if (in && values[i] == 0) {
            field_invalid_int(ctx->errs, path_index(ctx->arena, path, i), values[i], "must not be 0 for the In operator");
        } else if (again) {
            field_duplicate_json(ctx->errs, path_index(ctx->arena, path, i), arena_printf(ctx->arena, "%d", values[i]));
        }
        ordered = ordered && (!i || values[i - 1] <= values[i]);
    }
    if (!ordered) {
        field_invalid_json(ctx->errs, path, codes_json(ctx->arena, values, n), "must be ordered");
    }
}

static void on_exit_codes(struct kind_ctx *ctx, struct str path, const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *r,
                          const struct core_v1_pod_spec *pod)
{
    static const struct str operators[] = { STR_INIT("In"), STR_INIT("NotIn"), STR_NULL };
    if (str_empty(r->operator)) {
        field_required(ctx->errs, AT("operator"), "valid values: [\"In\" \"NotIn\"]");
    } else {
        (void)rule_enum(ctx->errs, AT("operator"), r->operator, operators);
    }
    if (r->container_name.ptr && !has_container(pod, r->container_name)) {
        field_invalid_str(ctx->errs, AT("containerName"), r->container_name,
                          "must be one of the container or initContainer names in the pod template");
    }
    codes(ctx, AT("values"), r->values, r->n_values, str_eq_c(r->operator, "In"));
}

static void on_conditions(struct kind_ctx *ctx, struct str list, const struct batch_v1_pod_failure_policy_rule *rule)
{
    static const struct str statuses[] = { STR_INIT("False"), STR_INIT("True"), STR_INIT("Unknown"), STR_NULL };
    if (rule->n_on_pod_conditions > PATTERNS_MOST) {
        field_too_many(ctx->errs, list, rule->n_on_pod_conditions, PATTERNS_MOST);
        return;
    }
    for (size_t i = 0; i < rule->n_on_pod_conditions; i++) {
        const struct batch_v1_pod_failure_policy_on_pod_conditions_pattern *p = &rule->on_pod_conditions[i];
        struct str path = path_index(ctx->arena, list, i);
        if (str_empty(p->status)) {
            field_required(ctx->errs, AT("status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
        } else {
            (void)rule_enum(ctx->errs, AT("status"), p->status, statuses);
        }
        (void)rule_name(ctx->errs, AT("type"), p->type, names_qualified);
    }
}

static void failure_rule(struct kind_ctx *ctx, struct str path, const struct batch_v1_pod_failure_policy_rule *rule,
                         const struct batch_v1_job_spec *s)
{
    static const struct str actions[] = { STR_INIT("Count"), STR_INIT("FailIndex"), STR_INIT("FailJob"), STR_INIT("Ignore"), STR_NULL };
    if (str_empty(rule->action)) {
        field_required(ctx->errs, AT("action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    } else if (rule_enum(ctx->errs, AT("action"), rule->action, actions) && str_eq_c(rule->action, "FailIndex") &&
               !s->has_backoff_limit_per_index) {
        field_invalid_str(ctx->errs, AT("action"), rule->action, "requires the backoffLimitPerIndex to be specified");
    }
    if (rule->on_exit_codes) {
        on_exit_codes(ctx, AT("onExitCodes"), rule->on_exit_codes, &s->template.spec);
    }
    on_conditions(ctx, AT("onPodConditions"), rule);
    if (rule->on_exit_codes && rule->n_on_pod_conditions) {
        field_add(ctx->errs, FIELD_INVALID, path,
                  STR("Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"));
    } else if (!rule->on_exit_codes && !rule->n_on_pod_conditions) {
        field_add(ctx->errs, FIELD_INVALID, path,
                  STR("Invalid value: specifying one of OnExitCodes and OnPodConditions is required"));
    }
}

static void failure_policy(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    struct str list = path_child(ctx->arena, AT("podFailurePolicy"), "rules"), restart = s->template.spec.restart_policy;
    if (s->pod_failure_policy->n_rules > RULES_MOST) {
        field_too_many(ctx->errs, list, s->pod_failure_policy->n_rules, RULES_MOST);
    } else {
        for (size_t i = 0; i < s->pod_failure_policy->n_rules; i++) {
            failure_rule(ctx, path_index(ctx->arena, list, i), &s->pod_failure_policy->rules[i], s);
        }
    }
    if (!str_eq_c(restart, "Never")) {
        field_invalid_str(ctx->errs, field_path(ctx->arena, "%.*s.template.spec.restartPolicy", STR_ARG(path)), restart,
                          "only \"Never\" is supported when podFailurePolicy is specified");
    }
}

/* ---- successPolicy ---- */

static bool number(struct str text, int32_t completions, int32_t *last, struct arena *a, struct str *ret_err)
{
    int32_t i;
    if (!str_to_i32(text, &i) || i < 0) {
        *ret_err = arena_printf(a, "cannot convert string to integer for index: \"%.*s\"", STR_ARG(text));
    } else if (i >= completions) {
        *ret_err = arena_printf(a, "too large index: \"%.*s\"", STR_ARG(text));
    } else if (*last >= i) {
        *ret_err = arena_printf(a, "non-increasing order, previous: %d, current: %d", *last, i);
    } else {
        *last = i;
        return true;
    }
    return false;
}

/* How many indexes "0-2,5" names, or -1. */
static int32_t indexes(struct str text, int32_t completions, struct arena *a, struct str *ret_err)
{
    struct str rest = text, one, first, second, more;
    int32_t last = -1, total = 0;
    while (!str_empty(rest) && str_split(&rest, ',', &one)) {
        bool range = str_cut(one, '-', &first, &second);
        if (range && str_cut(second, '-', &second, &more)) {
            *ret_err = arena_printf(
                a, "the fragment \"%.*s\" violates the requirement that an index interval can have at most two parts separated by '-'",
                STR_ARG(one));
            return -1;
        }
        if (!number(first, completions, &last, a, ret_err)) {
            return -1;
        }
        int32_t begin = last;
        if (range && !number(second, completions, &last, a, ret_err)) {
            return -1;
        }
        total += last - begin + 1;
    }
    return total;
}

static void success_rule(struct kind_ctx *ctx, struct str path, const struct batch_v1_success_policy_rule *r, int32_t completions)
{
    int32_t named = -1;
    struct str err = STR_EMPTY;
    if (!r->has_succeeded_count && !r->succeeded_indexes.ptr) {
        field_required(ctx->errs, path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    if (r->succeeded_indexes.len > INDEXES_TEXT_MOST) {
        field_too_long(ctx->errs, AT("succeededIndexes"), INDEXES_TEXT_MOST);
    } else if (r->succeeded_indexes.ptr && (named = indexes(r->succeeded_indexes, completions, ctx->arena, &err)) < 0) {
        field_invalid_str(ctx->errs, AT("succeededIndexes"), r->succeeded_indexes, "error parsing succeededIndexes: %.*s", STR_ARG(err));
    }
    if (!r->has_succeeded_count) {
        return;
    }
    rule_non_negative(ctx->errs, AT("succeededCount"), r->succeeded_count);
    if (r->succeeded_count > completions) {
        field_invalid_int(ctx->errs, AT("succeededCount"), r->succeeded_count,
                          "must be less than or equal to %d (the number of specified completions)", completions);
    } else if (named >= 0 && r->succeeded_count > named) {
        field_invalid_int(ctx->errs, AT("succeededCount"), r->succeeded_count,
                          "must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", named);
    }
}

static void success_policy(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    const struct batch_v1_success_policy *p = s->success_policy;
    struct str at = AT("successPolicy"), list = path_child(ctx->arena, at, "rules");
    if (!str_eq_c(s->completion_mode, "Indexed")) {
        field_invalid_json(ctx->errs, at, rule_json(ctx->arena, &batch_v1_success_policy_type, p), "requires indexed completion mode");
        return;
    }
    if (p->n_rules == 0) {
        field_required(ctx->errs, list, "at least one rules must be specified when the successPolicy is specified");
    } else if (p->n_rules > RULES_MOST) {
        field_too_many(ctx->errs, list, p->n_rules, RULES_MOST);
        return;
    }
    for (size_t i = 0; i < p->n_rules; i++) {
        success_rule(ctx, path_index(ctx->arena, list, i), &p->rules[i], s->has_completions ? s->completions : 0);
    }
}

/* ---- all of it ---- */

void job_policies_validate(struct kind_ctx *ctx, struct str path, const struct batch_v1_job_spec *s)
{
    static const struct str replacements[] = { STR_INIT("Failed"), STR_INIT("TerminatingOrFailed"), STR_NULL };
    static const struct str failed_only[] = { STR_INIT("Failed"), STR_NULL };
    limits(ctx, path, s);
    if (s->pod_failure_policy) {
        failure_policy(ctx, path, s);
    }
    if (s->success_policy) {
        success_policy(ctx, path, s);
    }
    if (s->pod_replacement_policy.ptr) {
        (void)rule_enum(ctx->errs, AT("podReplacementPolicy"), s->pod_replacement_policy, s->pod_failure_policy ? failed_only : replacements);
    }
    if (s->managed_by.ptr) {
        struct str host, rest;
        if (s->managed_by.len > MANAGED_BY_MOST) {
            field_too_long(ctx->errs, AT("managedBy"), MANAGED_BY_MOST);
        }
        if (!str_cut(s->managed_by, '/', &host, &rest) || str_empty(host) || str_empty(rest)) {
            field_invalid_str(ctx->errs, AT("managedBy"), s->managed_by, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        } else {
            (void)rule_name(ctx->errs, AT("managedBy"), host, names_dns1123_subdomain);
        }
    }
}
