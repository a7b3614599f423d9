#include "auth/kubelet-attributes.h"

static struct str verb_of(struct str method)
{
    static const struct {
        const char *method, *verb;
    } verbs[] = {
        { "POST", "create" }, { "GET", "get" },     { "HEAD", "get" },
        { "PUT", "update" },  { "PATCH", "patch" }, { "DELETE", "delete" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (str_eq_c(method, verbs[i].method)) {
            return str_c(verbs[i].verb);
        }
    }
    return STR_EMPTY; /* no rule names it */
}

/* "/stats" or anything below it. */
static bool below(struct str path, struct str root)
{
    return str_eq(path, root) || (str_starts(path, root) && path.ptr[root.len] == '/');
}

size_t kubelet_attributes(const struct auth_user *user, struct str method, struct str path,
                          struct str node, struct authz_attributes ret[KUBELET_ATTRIBUTES_MAX])
{
    static const struct {
        struct str root;
        struct str sub;
        bool or_proxy; /* the finer right is newer: the old one still does */
    } paths[] = {
        { STR_INIT("/stats"), STR_INIT("stats"), false },
        { STR_INIT("/metrics"), STR_INIT("metrics"), false },
        { STR_INIT("/paths"), STR_INIT("metrics"), false }, /* of ours: who is connected to whom */
        { STR_INIT("/logs"), STR_INIT("log"), false },
        { STR_INIT("/spec"), STR_INIT("spec"), false },
        { STR_INIT("/checkpoint"), STR_INIT("checkpoint"), false },
        { STR_INIT("/statusz"), STR_INIT("statusz"), false },
        { STR_INIT("/flagz"), STR_INIT("configz"), false },
        { STR_INIT("/pods"), STR_INIT("pods"), true },
        { STR_INIT("/runningpods"), STR_INIT("pods"), true },
        { STR_INIT("/runningPods"), STR_INIT("pods"), true },
        { STR_INIT("/healthz"), STR_INIT("healthz"), true },
        { STR_INIT("/configz"), STR_INIT("configz"), true },
    };
    static const struct str streams[] = {
        STR_INIT("/exec"),        STR_INIT("/attach"),      STR_INIT("/run"),
        STR_INIT("/portForward"), STR_INIT("/portforward"), STR_INIT("/cri"),
    };
    struct authz_attributes base = {
        .user = user,
        .verb = verb_of(method),
        .resource_request = true,
        .api_version = STR("v1"),
        .resource = STR("nodes"),
        .subresource = STR("proxy"),
        .name = node,
        .path = path,
    };
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        if (below(path, streams[i])) {
            base.verb = STR("create");
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (below(path, paths[i].root)) {
            ret[0] = ret[1] = base;
            ret[0].subresource = paths[i].sub;
            return paths[i].or_proxy ? 2 : 1;
        }
    }
    ret[0] = base;
    return 1;
}
