#include "apiserver/admission-config.h"

#include <stdlib.h>

#include "api/yaml.h"
#include "apiserver/config-members.h"
#include "base/buf.h"
#include "base/fs.h"

enum { FILE_MAX = 1 << 20 };

static bool of_kind(const struct val *v, const char *group, const char *kind, const char *const *versions, size_t n, struct err *err)
{
    struct str api = val_get_str(v, STR("apiVersion")), have = val_get_str(v, STR("kind"));
    for (size_t i = 0; i < n; i++) {
        struct str tail = str_sub(api, strlen(group), api.len);
        if (str_starts(api, str_c(group)) && str_eq_c(tail, versions[i]) && str_eq_c(have, kind)) {
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "%s of %s%s is needed, not \"%.*s\" of \"%.*s\"", kind, group, versions[0], STR_ARG(have), STR_ARG(api));
}

static bool strings(struct admission_config *c, const struct val *v, const char *what, struct str **ret, size_t *ret_n, struct err *err)
{
    const struct val *list = val_get(v, str_c(what));
    if (!list || val_is(list, VAL_NULL)) {
        return true;
    }
    if (!val_is(list, VAL_ARRAY) || !(*ret = arena_new_n(&c->arena, struct str, list->n + 1))) {
        return err_set(err, ERR_INVALID, "exemptions.%s: a list of names is needed", what);
    }
    for (uint32_t i = 0; i < list->n; i++) {
        if (!val_is(&list->items[i], VAL_STRING) || str_empty(list->items[i].s)) {
            return err_set(err, ERR_INVALID, "exemptions.%s[%u]: a name is needed", what, i);
        }
        (*ret)[(*ret_n)++] = arena_str(&c->arena, list->items[i].s);
    }
    return true;
}

static bool mode(const struct val *defaults, const char *name, const char *version, struct pod_security *p, struct err *err)
{
    const struct val *l = val_get(defaults, str_c(name)), *v = val_get(defaults, str_c(version));
    if (l && !pod_security_parse_level(val_as_str(l), &p->level)) {
        return err_set(err, ERR_INVALID, "defaults.%s: must be one of privileged, baseline, restricted", name);
    }
    if (v && !pod_security_parse_version(val_as_str(v), &p->minor)) {
        return err_set(err, ERR_INVALID, "defaults.%s: must be \"latest\" or \"v1.x\"", version);
    }
    return true;
}

static bool pod_security(struct admission_config *c, const struct val *v, struct err *err)
{
    static const char *const versions[] = { "v1", "v1beta1", "v1alpha1" };
    const struct val *defaults = val_get(v, STR("defaults")), *exempt = val_get(v, STR("exemptions"));
    if (!CONFIG_MEMBERS_ONLY(v, "PodSecurity", err, "apiVersion", "kind", "defaults", "exemptions") ||
        !of_kind(v, "pod-security.admission.config.k8s.io/", "PodSecurityConfiguration", versions, ARRAY_SIZE(versions), err)) {
        return false;
    }
    if (defaults && (!CONFIG_MEMBERS_ONLY(defaults, "defaults", err, "enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version") ||
                     !mode(defaults, "enforce", "enforce-version", &c->defaults.enforce, err) ||
                     !mode(defaults, "audit", "audit-version", &c->defaults.audit, err) ||
                     !mode(defaults, "warn", "warn-version", &c->defaults.warn, err))) {
        return false;
    }
    return !exempt || (CONFIG_MEMBERS_ONLY(exempt, "exemptions", err, "usernames", "runtimeClasses", "namespaces") &&
                       strings(c, exempt, "usernames", &c->users, &c->n_users, err) &&
                       strings(c, exempt, "runtimeClasses", &c->runtime_classes, &c->n_runtime_classes, err) &&
                       strings(c, exempt, "namespaces", &c->namespaces, &c->n_namespaces, err));
}

static bool document(struct arena *a, struct str text, struct val *ret, struct err *err)
{
    struct val_dups dups;
    val_dups_init(&dups);
    if (!yaml_or_json_parse(a, text, &dups, ret, err)) {
        return false;
    }
    return dups.n == 0 || err_set(err, ERR_INVALID, "%.*s", STR_ARG(yaml_dups_message(a, &dups)));
}

static bool read_file(struct arena *a, struct str path, struct str *ret, struct err *err)
{
    char p[4096];
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, FILE_MAX);
    if (!str_to_cstr(path, p, sizeof(p))) {
        return err_set(err, ERR_INVALID, "the path of a file is too long");
    }
    if (!fs_read(p, FILE_MAX, &b, err)) {
        return false;
    }
    *ret = arena_str(a, buf_str(&b));
    return ret->ptr || err_set(err, ERR_INVALID, "%s is too large", p);
}

/* One plugin: its configuration stands in place, or in a file of its own. */
static bool plugin(struct admission_config *c, struct arena *a, const struct val *v, struct str dir, struct err *err)
{
    struct str name = val_get_str(v, STR("name")), path = val_get_str(v, STR("path")), text;
    const struct val *in_place = val_get(v, STR("configuration"));
    struct val own;
    if (!CONFIG_MEMBERS_ONLY(v, "plugins", err, "name", "path", "configuration")) {
        return false;
    }
    if (!str_eq_c(name, "PodSecurity")) {
        return err_set(err, ERR_INVALID, "the admission plugin \"%.*s\" cannot be configured here; PodSecurity alone can", STR_ARG(name));
    }
    if (in_place && !val_is(in_place, VAL_NULL)) {
        return pod_security(c, in_place, err);
    }
    if (str_empty(path)) {
        return true;
    }
    if (path.ptr[0] != '/') {
        path = arena_printf(a, "%.*s/%.*s", STR_ARG(dir), STR_ARG(path));
    }
    return read_file(a, path, &text, err) && document(a, text, &own, err) && pod_security(c, &own, err);
}

bool admission_config_parse(struct admission_config *c, struct str text, struct str dir, struct err *err)
{
    static const char *const versions[] = { "v1", "v1alpha1" };
    CLEANUP(arena_deinit) struct arena a;
    struct val doc;
    arena_init(&a, 16u << 20);
    if (!document(&a, text, &doc, err) || !CONFIG_MEMBERS_ONLY(&doc, "AdmissionConfiguration", err, "apiVersion", "kind", "plugins") ||
        !of_kind(&doc, "apiserver.config.k8s.io/", "AdmissionConfiguration", versions, ARRAY_SIZE(versions), err)) {
        return false;
    }
    const struct val *plugins = val_get(&doc, STR("plugins"));
    if (plugins && !val_is(plugins, VAL_ARRAY)) {
        return err_set(err, ERR_INVALID, "plugins: a list is needed");
    }
    for (uint32_t i = 0; plugins && i < plugins->n; i++) {
        if (!plugin(c, &a, &plugins->items[i], dir, err)) {
            return false;
        }
    }
    return true;
}

bool admission_config_open(struct apiserver *s, struct err *err)
{
    static const struct pod_security all = { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST };
    struct str path = s->cfg.admission_control_config_file, text;
    struct admission_config *c = calloc(1, sizeof(*c));
    struct err why = { 0 };
    if (!c) {
        return err_set(err, ERR_INTERNAL, "out of memory");
    }
    s->admission_config = c;
    arena_init(&c->arena, 4u << 20);
    c->defaults = (struct pod_security_policy){ all, all, all };
    if (str_empty(path)) {
        return true;
    }
    ptrdiff_t slash = str_rfind_char(path, '/');
    if (!read_file(&c->arena, path, &text, &why) || !admission_config_parse(c, text, slash < 0 ? STR(".") : str_sub(path, 0, (size_t)slash), &why)) {
        return err_set(err, ERR_INVALID, "--admission-control-config-file: %s", why.msg);
    }
    return true;
}

void admission_config_close(struct apiserver *s)
{
    if (s->admission_config) {
        arena_deinit(&s->admission_config->arena);
        free(s->admission_config);
        s->admission_config = NULL;
    }
}
