#include "scheduler/config-file.h"

#include "api/yaml.h"
#include "scheduler/framework.h"

struct reader {
    struct arena *a;
    const struct flag_result *given;
    struct component_options *component;
    struct sched_settings *settings;
    struct err *err;
};

static bool unknown(struct reader *r, const char *where, struct str key)
{
    return err_set(r->err, ERR_INVALID, "unknown field \"%s%s%.*s\": this scheduler does not honour it", where, where[0] ? "." : "", STR_ARG(key));
}

static bool wrong(struct reader *r, struct str key)
{
    return err_set(r->err, ERR_INVALID, "field \"%.*s\" has a value that is not possible", STR_ARG(key));
}

/* Nothing is said: a null, false, 0, "" or an empty list or object. */
static bool is_nothing(const struct val *v)
{
    return v->kind == VAL_NULL || (v->kind == VAL_BOOL && !v->b) || (v->kind == VAL_INT && !v->i) || (v->kind == VAL_STRING && !v->s.len) ||
           ((v->kind == VAL_ARRAY || v->kind == VAL_OBJECT) && !v->n);
}

static bool number(struct reader *r, const struct val_member *m, int64_t least, int64_t most, int64_t *ret)
{
    return (val_as_i64(&m->value, ret) && *ret >= least && *ret <= most) || wrong(r, m->key);
}

static bool text(struct reader *r, const struct val_member *m, struct str *ret)
{
    *ret = val_as_str(&m->value);
    return ret->ptr != NULL || wrong(r, m->key);
}

/* ---- plugins ---- */

/* What every scheduler does and nobody can turn off here; and what is not there, so that it is always off. */
static const char *const always[] = { "PrioritySort", "DefaultBinder", "SchedulingGates" };
static const char *const never[] = { "VolumeRestrictions", "VolumeZone", "NodeVolumeLimits", "DynamicResources", "GangScheduling" };

static bool is_in(struct str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(name, list[i])) {
            return true;
        }
    }
    return false;
}

/* The plugin's index, or -1. */
static int plugin_of(struct str name)
{
    for (size_t i = 0; i < sched_n_plugins; i++) {
        if (str_eq_c(name, sched_plugins[i]->name)) {
            return (int)i;
        }
    }
    return -1;
}

enum point { POINT_ALL, POINT_FILTER, POINT_SCORE, POINT_POST_FILTER };

static void turn(struct sched_profile *p, enum point at, size_t plugin, bool on)
{
    uint32_t bit = 1u << plugin;
    if (at == POINT_ALL || at == POINT_FILTER) {
        p->no_filter = on ? p->no_filter & ~bit : p->no_filter | bit;
    }
    if (at == POINT_ALL || at == POINT_SCORE) {
        p->no_score = on ? p->no_score & ~bit : p->no_score | bit;
    }
}

static bool disable(struct reader *r, struct sched_profile *p, enum point at, struct str name)
{
    int plugin = plugin_of(name);
    bool all = str_eq_c(name, "*");
    for (size_t i = 0; all && i < sched_n_plugins; i++) {
        turn(p, at, i, false);
    }
    if ((all || str_eq_c(name, "DefaultPreemption")) && (at == POINT_ALL || at == POINT_POST_FILTER)) {
        p->no_preemption = true;
        return true;
    }
    if (plugin >= 0) {
        turn(p, at, (size_t)plugin, false);
        return true;
    }
    if (is_in(name, always, ARRAY_SIZE(always))) {
        return err_set(r->err, ERR_INVALID, "plugin \"%.*s\" cannot be disabled", STR_ARG(name));
    }
    return all || is_in(name, never, ARRAY_SIZE(never)) || err_set(r->err, ERR_INVALID, "there is no plugin \"%.*s\"", STR_ARG(name));
}

static bool enable(struct reader *r, struct sched_profile *p, enum point at, struct str name, int64_t weight)
{
    int plugin = plugin_of(name);
    if (str_eq_c(name, "DefaultPreemption") && (at == POINT_ALL || at == POINT_POST_FILTER)) {
        p->no_preemption = false;
        return true;
    }
    if (plugin >= 0) {
        const struct sched_plugin *x = sched_plugins[plugin];
        if ((at == POINT_FILTER && !x->filter) || (at == POINT_SCORE && !x->score) || at == POINT_POST_FILTER) {
            return err_set(r->err, ERR_INVALID, "plugin \"%.*s\" does not extend this point", STR_ARG(name));
        }
        turn(p, at, (size_t)plugin, true);
        if (weight && at != POINT_FILTER) {
            p->weights[plugin] = (int32_t)weight;
        }
        return true;
    }
    if (is_in(name, never, ARRAY_SIZE(never))) {
        return err_set(r->err, ERR_INVALID, "plugin \"%.*s\" is known to Kubernetes, not implemented by Coracle", STR_ARG(name));
    }
    return is_in(name, always, ARRAY_SIZE(always)) || err_set(r->err, ERR_INVALID, "there is no plugin \"%.*s\"", STR_ARG(name));
}

/* A list of {name, weight}. */
static bool read_list(struct reader *r, struct sched_profile *p, enum point at, const struct val_member *m, bool on)
{
    for (size_t i = 0; m->value.kind == VAL_ARRAY && i < m->value.n; i++) {
        const struct val *item = &m->value.items[i];
        struct str name = STR_NULL;
        int64_t weight = 0;
        for (size_t k = 0; item->kind == VAL_OBJECT && k < item->n; k++) {
            const struct val_member *f = &item->members[k];
            if (str_eq_c(f->key, "name") ? !text(r, f, &name)
                : str_eq_c(f->key, "weight") ? !number(r, f, 0, INT32_MAX / SCHED_SCORE_MAX, &weight) : !unknown(r, "plugins", f->key)) {
                return false;
            }
        }
        if (!name.ptr) {
            return wrong(r, m->key);
        }
        if (on ? !enable(r, p, at, name, weight) : !disable(r, p, at, name)) {
            return false;
        }
    }
    return m->value.kind == VAL_ARRAY || m->value.kind == VAL_NULL || wrong(r, m->key);
}

static bool read_point(struct reader *r, struct sched_profile *p, enum point at, const struct val *v)
{
    /* What is disabled goes first: "disabled: *" with a list of what is enabled is the way to name all. */
    for (int on = 0; on < 2; on++) {
        for (size_t i = 0; i < v->n; i++) {
            bool is_on = str_eq_c(v->members[i].key, "enabled");
            if (!is_on && !str_eq_c(v->members[i].key, "disabled")) {
                return unknown(r, "plugins", v->members[i].key);
            }
            if (is_on == (on == 1) && !read_list(r, p, at, &v->members[i], is_on)) {
                return false;
            }
        }
    }
    return true;
}

static bool read_plugins(struct reader *r, struct sched_profile *p, const struct val *v)
{
    static const struct {
        const char *name;
        enum point at;
    } points[] = { { "multiPoint", POINT_ALL }, { "filter", POINT_FILTER }, { "score", POINT_SCORE }, { "postFilter", POINT_POST_FILTER } };
    for (size_t i = 0; i < v->n; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_SIZE(points); k++) {
            known = known || (str_eq_c(v->members[i].key, points[k].name) && v->members[i].value.kind == VAL_OBJECT);
        }
        if (!known && !is_nothing(&v->members[i].value)) {
            return err_set(r->err, ERR_INVALID, "plugins.%.*s is not implemented: plugins are chosen by multiPoint, filter, score and postFilter",
                           STR_ARG(v->members[i].key));
        }
    }
    /* What is said of one point goes before what is said of all. */
    for (size_t k = 0; k < ARRAY_SIZE(points); k++) {
        const struct val *at = val_get(v, str_c(points[k].name));
        if (at && at->kind == VAL_OBJECT && !read_point(r, p, points[k].at, at)) {
            return false;
        }
    }
    return true;
}

/* ---- arguments of plugins ---- */

static bool read_resources(struct reader *r, const struct val *v, int32_t *cpu, int32_t *memory)
{
    *cpu = *memory = 0;
    for (size_t i = 0; v->kind == VAL_ARRAY && i < v->n; i++) {
        struct str name = val_get_str(&v->items[i], STR("name"));
        const struct val *w = val_get(&v->items[i], STR("weight"));
        int64_t weight = 1;
        if (w && (!val_as_i64(w, &weight) || weight < 1 || weight > 100)) {
            return wrong(r, STR("scoringStrategy.resources"));
        }
        if (str_eq_c(name, "cpu")) {
            *cpu = (int32_t)weight;
        } else if (str_eq_c(name, "memory")) {
            *memory = (int32_t)weight;
        } else {
            return err_set(r->err, ERR_INVALID, "scoringStrategy.resources: \"%.*s\" is not implemented: cpu and memory are scored", STR_ARG(name));
        }
    }
    return v->kind == VAL_ARRAY || wrong(r, STR("scoringStrategy.resources"));
}

static bool read_fit(struct reader *r, struct sched_profile *p, const struct val *v)
{
    for (size_t i = 0; i < v->n; i++) {
        struct str key = v->members[i].key;
        const struct val *s = &v->members[i].value;
        if (!str_eq_c(key, "scoringStrategy") || s->kind != VAL_OBJECT) {
            if (!is_nothing(s)) {
                return unknown(r, "NodeResourcesFitArgs", key);
            }
            continue;
        }
        for (size_t k = 0; k < s->n; k++) {
            const struct val_member *m = &s->members[k];
            if (str_eq_c(m->key, "type")) {
                struct str type = val_as_str(&m->value);
                p->fit = str_eq_c(type, "MostAllocated") ? SCHED_MOST_ALLOCATED : SCHED_LEAST_ALLOCATED;
                if (p->fit == SCHED_LEAST_ALLOCATED && !str_eq_c(type, "LeastAllocated")) {
                    return err_set(r->err, ERR_INVALID, "scoringStrategy.type \"%.*s\" is not implemented: LeastAllocated or MostAllocated", STR_ARG(type));
                }
            } else if (str_eq_c(m->key, "resources")) {
                if (!read_resources(r, &m->value, &p->cpu_weight, &p->memory_weight)) {
                    return false;
                }
            } else if (!is_nothing(&m->value)) {
                return unknown(r, "NodeResourcesFitArgs.scoringStrategy", m->key);
            }
        }
    }
    return true;
}

static bool read_affinity(struct reader *r, struct sched_profile *p, const struct val *v)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        int64_t n;
        if (str_eq_c(m->key, "hardPodAffinityWeight")) {
            if (!number(r, m, 0, 100, &n)) {
                return false;
            }
            p->has_hard_affinity_weight = true;
            p->hard_affinity_weight = (int32_t)n;
        } else if (str_eq_c(m->key, "ignorePreferredTermsOfExistingPods") && m->value.kind == VAL_BOOL) {
            p->ignore_preferred_of_existing = m->value.b;
        } else {
            return unknown(r, "InterPodAffinityArgs", m->key);
        }
    }
    return true;
}

/* Values that are upstream's defaults, and the only ones here. */
static bool is_default_arg(struct str plugin, const struct val_member *m)
{
    static const struct {
        const char *plugin, *key, *json;
    } defaults[] = {
        { "DefaultPreemption", "minCandidateNodesPercentage", "10" },
        { "DefaultPreemption", "minCandidateNodesAbsolute", "100" },
        { "PodTopologySpread", "defaultingType", "\"System\"" },
        { "VolumeBinding", "bindTimeoutSeconds", "600" },
        { "NodeResourcesBalancedAllocation", "resources", "[{\"name\":\"cpu\",\"weight\":1},{\"name\":\"memory\",\"weight\":1}]" },
    };
    struct buf b;
    bool same = false;
    buf_init(&b, 65536);
    val_write_json(&b, &m->value);
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
        same = same || (str_eq_c(plugin, defaults[i].plugin) && str_eq_c(m->key, defaults[i].key) && str_eq_c(buf_str(&b), defaults[i].json));
    }
    buf_deinit(&b);
    return same || is_nothing(&m->value);
}

static bool read_args(struct reader *r, struct sched_profile *p, struct str plugin, struct val *args)
{
    char kind[128];
    snprintf(kind, sizeof(kind), "%.*sArgs", STR_ARG(plugin));
    struct str said = val_get_str(args, STR("kind")), version = val_get_str(args, STR("apiVersion"));
    if ((said.len && !str_eq_c(said, kind)) || (version.len && !str_eq_c(version, "kubescheduler.config.k8s.io/v1"))) {
        return err_set(r->err, ERR_INVALID, "the arguments of plugin \"%.*s\" are no %s of kubescheduler.config.k8s.io/v1", STR_ARG(plugin), kind);
    }
    (void)val_remove(args, STR("kind"));
    (void)val_remove(args, STR("apiVersion"));
    if (str_eq_c(plugin, "NodeResourcesFit")) {
        return read_fit(r, p, args);
    }
    if (str_eq_c(plugin, "InterPodAffinity")) {
        return read_affinity(r, p, args);
    }
    if (plugin_of(plugin) < 0 && !str_eq_c(plugin, "DefaultPreemption") && !is_in(plugin, always, ARRAY_SIZE(always)) &&
        !is_in(plugin, never, ARRAY_SIZE(never))) {
        return err_set(r->err, ERR_INVALID, "there is no plugin \"%.*s\"", STR_ARG(plugin));
    }
    for (size_t i = 0; i < args->n; i++) {
        if (!is_default_arg(plugin, &args->members[i])) {
            return unknown(r, kind, args->members[i].key);
        }
    }
    return true;
}

static bool read_plugin_config(struct reader *r, struct sched_profile *p, const struct val *v)
{
    for (size_t i = 0; v->kind == VAL_ARRAY && i < v->n; i++) {
        const struct val *item = &v->items[i];
        struct val *args = val_get(item, STR("args"));
        struct str name = val_get_str(item, STR("name"));
        for (size_t k = 0; item->kind == VAL_OBJECT && k < item->n; k++) {
            if (!str_eq_c(item->members[k].key, "name") && !str_eq_c(item->members[k].key, "args")) {
                return unknown(r, "pluginConfig", item->members[k].key);
            }
        }
        if (!name.len || (args && args->kind != VAL_OBJECT && args->kind != VAL_NULL)) {
            return wrong(r, STR("pluginConfig"));
        }
        if (args && args->kind == VAL_OBJECT && !read_args(r, p, name, args)) {
            return false;
        }
    }
    return v->kind == VAL_ARRAY || v->kind == VAL_NULL || wrong(r, STR("pluginConfig"));
}

/* ---- profiles and the rest ---- */

static bool read_profile(struct reader *r, const struct val *v)
{
    struct sched_settings *s = r->settings;
    if (v->kind != VAL_OBJECT || s->n_profiles == SCHED_PROFILES_MAX) {
        return err_set(r->err, ERR_INVALID, "profiles: at most %d objects", SCHED_PROFILES_MAX);
    }
    struct sched_profile *p = &s->profiles[s->n_profiles];
    *p = sched_default_profile;
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        int64_t n;
        if (str_eq_c(m->key, "schedulerName")) {
            if (!text(r, m, &p->name) || !p->name.len) {
                return wrong(r, m->key);
            }
        } else if (str_eq_c(m->key, "percentageOfNodesToScore")) {
            if (m->value.kind != VAL_NULL && !number(r, m, 0, 100, &n)) {
                return false;
            }
            p->percentage_of_nodes = m->value.kind == VAL_NULL ? 0 : (unsigned)n;
        } else if (str_eq_c(m->key, "plugins")) {
            if (m->value.kind == VAL_OBJECT ? !read_plugins(r, p, &m->value) : m->value.kind != VAL_NULL && !wrong(r, m->key)) {
                return false;
            }
        } else if (str_eq_c(m->key, "pluginConfig")) {
            if (!read_plugin_config(r, p, &m->value)) {
                return false;
            }
        } else {
            return unknown(r, "profiles", m->key);
        }
    }
    for (size_t i = 0; i < s->n_profiles; i++) {
        if (str_eq(s->profiles[i].name, p->name)) {
            return err_set(r->err, ERR_INVALID, "profiles: two have the schedulerName \"%.*s\"", STR_ARG(p->name));
        }
    }
    s->n_profiles++;
    return true;
}

static bool read_duration(struct reader *r, const struct val_member *m, const char *flag, int64_t *to)
{
    int64_t ms;
    if (!flags_parse_duration(val_as_str(&m->value), &ms) || ms <= 0) {
        return wrong(r, m->key);
    }
    *to = flags_changed(r->given, flag) ? *to : ms;
    return true;
}

static bool read_leader(struct reader *r, const struct val *v)
{
    struct component_options *o = r->component;
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        bool ok = true;
        if (str_eq_c(m->key, "leaderElect") && m->value.kind == VAL_BOOL) {
            o->leader_elect = flags_changed(r->given, "leader-elect") ? o->leader_elect : m->value.b;
        } else if (str_eq_c(m->key, "leaseDuration")) {
            ok = read_duration(r, m, "leader-elect-lease-duration", &o->lease_ms);
        } else if (str_eq_c(m->key, "renewDeadline")) {
            ok = read_duration(r, m, "leader-elect-renew-deadline", &o->renew_deadline_ms);
        } else if (str_eq_c(m->key, "retryPeriod")) {
            ok = read_duration(r, m, "leader-elect-retry-period", &o->retry_ms);
        } else if (str_eq_c(m->key, "resourceLock")) {
            ok = str_eq_c(val_as_str(&m->value), "leases") || wrong(r, m->key);
        } else if (str_eq_c(m->key, "resourceName")) {
            struct str name;
            ok = text(r, m, &name);
            o->lease_name = ok && !flags_changed(r->given, "leader-elect-resource-name") ? name : o->lease_name;
        } else if (str_eq_c(m->key, "resourceNamespace")) {
            struct str name;
            ok = text(r, m, &name);
            o->lease_namespace = ok && !flags_changed(r->given, "leader-elect-resource-namespace") ? name : o->lease_namespace;
        } else {
            ok = unknown(r, "leaderElection", m->key);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool read_connection(struct reader *r, const struct val *v)
{
    struct component_options *o = r->component;
    for (size_t i = 0; i < v->n; i++) {
        const struct val_member *m = &v->members[i];
        struct str file;
        int64_t n;
        if (str_eq_c(m->key, "kubeconfig")) {
            if (!text(r, m, &file)) {
                return false;
            }
            o->kubeconfig = file.len && !flags_changed(r->given, "kubeconfig") ? file : o->kubeconfig;
        } else if (str_eq_c(m->key, "qps") && (m->value.kind == VAL_DOUBLE || m->value.kind == VAL_INT)) {
            o->kube_api_qps = flags_changed(r->given, "kube-api-qps") ? o->kube_api_qps : m->value.kind == VAL_INT ? (double)m->value.i : m->value.d;
        } else if (str_eq_c(m->key, "burst")) {
            if (!number(r, m, 0, INT32_MAX, &n)) {
                return false;
            }
            o->kube_api_burst = flags_changed(r->given, "kube-api-burst") ? o->kube_api_burst : (int32_t)n;
        } else if (!is_nothing(&m->value) && !str_starts(m->key, STR("contentType")) && !str_starts(m->key, STR("acceptContentTypes"))) {
            return unknown(r, "clientConnection", m->key);
        }
    }
    return true;
}

static bool read_member(struct reader *r, const struct val_member *m)
{
    const struct val *v = &m->value;
    int64_t n;
    if (str_eq_c(m->key, "apiVersion") || str_eq_c(m->key, "kind")) {
        return true;
    }
    if (str_eq_c(m->key, "profiles") && v->kind == VAL_ARRAY) {
        for (size_t i = 0; i < v->n; i++) {
            if (!read_profile(r, &v->items[i])) {
                return false;
            }
        }
        return true;
    }
    if (str_eq_c(m->key, "leaderElection") && v->kind == VAL_OBJECT) {
        return read_leader(r, v);
    }
    if (str_eq_c(m->key, "clientConnection") && v->kind == VAL_OBJECT) {
        return read_connection(r, v);
    }
    if (str_eq_c(m->key, "percentageOfNodesToScore")) {
        bool ok = v->kind == VAL_NULL || number(r, m, 0, 100, &n);
        r->settings->percentage_of_nodes = ok && v->kind != VAL_NULL ? (unsigned)n : 0;
        return ok;
    }
    if (str_eq_c(m->key, "parallelism")) {
        return number(r, m, 1, INT32_MAX, &n); /* the most that may be used: one is */
    }
    if (str_eq_c(m->key, "podInitialBackoffSeconds") || str_eq_c(m->key, "podMaxBackoffSeconds")) {
        uint64_t *to = str_eq_c(m->key, "podInitialBackoffSeconds") ? &r->settings->initial_backoff_ms : &r->settings->max_backoff_ms;
        bool ok = number(r, m, 1, 86400, &n);
        *to = ok ? (uint64_t)n * 1000 : 0;
        return ok;
    }
    static const char *const empty[] = { "extenders", "enableProfiling", "enableContentionProfiling", "delayCacheUntilActive" };
    return (is_in(m->key, empty, ARRAY_SIZE(empty)) && is_nothing(v)) || unknown(r, "", m->key);
}

bool sched_config_read(struct arena *a, struct str text_of_file, const struct flag_result *given, struct component_options *component,
                       struct sched_settings *settings, struct err *err)
{
    struct reader r = { .a = a, .given = given, .component = component, .settings = settings, .err = err };
    struct val doc;
    struct val_dups dups;
    val_dups_init(&dups);
    if (!yaml_or_json_parse(a, text_of_file, &dups, &doc, err)) {
        return false;
    }
    if (dups.n) {
        return err_set(err, ERR_INVALID, "%.*s", STR_ARG(yaml_dups_message(a, &dups)));
    }
    if (doc.kind != VAL_OBJECT || !str_eq_c(val_get_str(&doc, STR("kind")), "KubeSchedulerConfiguration") ||
        !str_eq_c(val_get_str(&doc, STR("apiVersion")), "kubescheduler.config.k8s.io/v1")) {
        return err_set(err, ERR_INVALID, "not a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1");
    }
    *settings = (struct sched_settings){ 0 };
    for (size_t i = 0; i < doc.n; i++) {
        if (!read_member(&r, &doc.members[i])) {
            return false;
        }
    }
    return true;
}
