#include "auth/user.h"

bool auth_user_in_group(const struct auth_user *u, struct str group)
{
    for (size_t i = 0; i < u->n_groups; i++) {
        if (str_eq(u->groups[i], group)) {
            return true;
        }
    }
    return false;
}

struct str auth_user_extra(const struct auth_user *u, struct str key)
{
    for (size_t i = 0; i < u->n_extra; i++) {
        if (str_eq(u->extra[i].key, key) && u->extra[i].n_values > 0) {
            return u->extra[i].values[0];
        }
    }
    return STR_NULL;
}

bool auth_user_add_group(struct auth_user *u, struct arena *a, struct str group)
{
    if (auth_user_in_group(u, group)) {
        return true;
    }
    struct str *grown = arena_grow_n(a, u->groups, u->n_groups, u->n_groups + 1, sizeof(*grown));
    if (!grown) {
        return false;
    }
    grown[u->n_groups] = group;
    u->groups = grown;
    u->n_groups++;
    return true;
}

static bool copy_list(struct arena *a, const struct str *src, size_t n, const struct str **ret)
{
    struct str *dst = arena_new_n(a, struct str, n ? n : 1);
    if (!dst) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        dst[i] = arena_str(a, src[i]);
        if (src[i].ptr && !dst[i].ptr) {
            return false;
        }
    }
    *ret = dst;
    return true;
}

bool auth_user_copy(struct auth_user *dst, const struct auth_user *src, struct arena *a)
{
    struct auth_user u = { .name = arena_str(a, src->name), .uid = arena_str(a, src->uid) };
    struct auth_extra *extra = arena_new_n(a, struct auth_extra, src->n_extra ? src->n_extra : 1);
    if ((src->name.ptr && !u.name.ptr) || (src->uid.ptr && !u.uid.ptr) || !extra ||
        !copy_list(a, src->groups, src->n_groups, &u.groups)) {
        return false;
    }
    u.n_groups = src->n_groups;
    for (size_t i = 0; i < src->n_extra; i++) {
        extra[i].key = arena_str(a, src->extra[i].key);
        extra[i].n_values = src->extra[i].n_values;
        if (!extra[i].key.ptr ||
            !copy_list(a, src->extra[i].values, src->extra[i].n_values, &extra[i].values)) {
            return false;
        }
    }
    u.extra = extra;
    u.n_extra = src->n_extra;
    *dst = u;
    return true;
}

bool auth_service_account_split(struct str user_name, struct str *ret_namespace,
                                struct str *ret_name)
{
    struct str prefix = AUTH_SERVICE_ACCOUNT_PREFIX, ns, name;
    if (!str_starts(user_name, prefix) ||
        !str_cut(str_sub(user_name, prefix.len, user_name.len), ':', &ns, &name) || ns.len == 0 ||
        name.len == 0 || str_find_char(name, ':') >= 0) {
        return false;
    }
    *ret_namespace = ns;
    *ret_name = name;
    return true;
}

bool auth_service_account_user(struct arena *a, struct str namespace_, struct str name,
                               struct str uid, struct auth_user *ret)
{
    struct str *groups = arena_new_n(a, struct str, 2);
    struct auth_user u = {
        .name =
            arena_printf(a, "system:serviceaccount:%.*s:%.*s", STR_ARG(namespace_), STR_ARG(name)),
        .uid = arena_str(a, uid),
        .groups = groups,
        .n_groups = 2,
    };
    if (!groups || !u.name.ptr || (uid.ptr && !u.uid.ptr)) {
        return false;
    }
    groups[0] = AUTH_GROUP_SERVICE_ACCOUNTS;
    groups[1] = arena_printf(a, "system:serviceaccounts:%.*s", STR_ARG(namespace_));
    if (!groups[1].ptr) {
        return false;
    }
    *ret = u;
    return true;
}

struct str auth_user_node(const struct auth_user *u)
{
    struct str prefix = AUTH_NODE_PREFIX;
    if (!str_starts(u->name, prefix) || !auth_user_in_group(u, AUTH_GROUP_NODES)) {
        return STR_NULL;
    }
    return str_sub(u->name, prefix.len, u->name.len);
}
