#include "kubelet/image-auth.h"

#include "api/val.h"
#include "base/encoding.h"

#define DEPTH 16

void image_name_split(struct str image, struct str *ret_host, struct str *ret_path)
{
    struct str head, tail;
    bool has_host = str_cut(image, '/', &head, &tail) &&
                    (str_find_char(head, '.') >= 0 || str_find_char(head, ':') >= 0 || str_eq_c(head, "localhost"));
    *ret_host = has_host ? head : STR("docker.io");
    *ret_path = has_host ? tail : image;
    ptrdiff_t at = str_find_char(*ret_path, '@');
    if (at >= 0) {
        *ret_path = str_sub(*ret_path, 0, (size_t)at);
    }
    ptrdiff_t slash = str_rfind_char(*ret_path, '/'), colon = str_rfind_char(*ret_path, ':');
    if (colon > slash) {
        *ret_path = str_sub(*ret_path, 0, (size_t)colon);
    }
}

/* Label by label; "*" stands for one. */
static bool host_matches(struct str pattern, struct str host)
{
    struct str p, h, p_rest = pattern, h_rest = host, p_port, h_port;
    bool p_has = str_cut(pattern, ':', &p_rest, &p_port), h_has = str_cut(host, ':', &h_rest, &h_port);
    if (p_has != h_has || (p_has && !str_eq(p_port, h_port))) {
        return false;
    }
    for (;;) {
        bool more_p = str_split(&p_rest, '.', &p), more_h = str_split(&h_rest, '.', &h);
        if (more_p != more_h) {
            return false;
        }
        if (!more_p) {
            return true;
        }
        if (!str_eq_c(p, "*") && !str_eq_nocase(p, h)) {
            return false;
        }
    }
}

static bool key_matches(struct str key, struct str host, struct str path)
{
    struct str k_host, k_path;
    if (str_starts(key, STR("https://"))) {
        key = str_sub(key, 8, key.len);
    } else if (str_starts(key, STR("http://"))) {
        key = str_sub(key, 7, key.len);
    }
    if (!str_cut(key, '/', &k_host, &k_path)) {
        k_path = STR_EMPTY;
    }
    if (str_eq_c(k_host, "index.docker.io") || str_eq_c(k_host, "registry-1.docker.io")) {
        k_host = STR("docker.io");
    }
    while (k_path.len && k_path.ptr[k_path.len - 1] == '/') {
        k_path.len--;
    }
    if (str_eq_c(k_path, "v1") || str_eq_c(k_path, "v2")) {
        k_path = STR_EMPTY; /* of the registry's API, no part of a name */
    }
    return host_matches(k_host, host) &&
           (!k_path.len || (str_starts(path, k_path) && (path.len == k_path.len || path.ptr[k_path.len] == '/')));
}

static bool take(struct arena *a, const struct val *entry, struct cri_v1_auth_config *ret)
{
    struct str auth = val_get_str(entry, STR("auth")), both, user, password;
    *ret = (struct cri_v1_auth_config){ .username = val_get_str(entry, STR("username")), .password = val_get_str(entry, STR("password")),
                                        .identity_token = val_get_str(entry, STR("identitytoken")), .registry_token = val_get_str(entry, STR("registrytoken")) };
    if (auth.len && base64_decode(a, auth, &both) && str_cut(both, ':', &user, &password)) {
        ret->username = user;
        ret->password = password;
    }
    return ret->username.len || ret->identity_token.len || ret->registry_token.len;
}

bool image_auth_find(struct arena *a, const struct core_v1_secret *secret, struct str image, struct cri_v1_auth_config *ret)
{
    struct str host, path;
    size_t best = 0;
    bool found = false;
    image_name_split(image, &host, &path);
    for (size_t i = 0; i < secret->n_data; i++) {
        bool config_json = str_eq_c(secret->data[i].key, ".dockerconfigjson");
        struct val doc;
        if ((!config_json && !str_eq_c(secret->data[i].key, ".dockercfg")) || !val_parse_json(a, secret->data[i].value, DEPTH, NULL, &doc, NULL)) {
            continue;
        }
        const struct val *auths = config_json ? val_get(&doc, STR("auths")) : &doc;
        for (uint32_t j = 0; val_is(auths, VAL_OBJECT) && j < auths->n; j++) {
            const struct val_member *m = &auths->members[j];
            struct cri_v1_auth_config one;
            if (key_matches(m->key, host, path) && m->key.len >= best && take(a, &m->value, &one)) {
                best = m->key.len;
                *ret = one;
                found = true;
            }
        }
    }
    return found;
}
