/*
 * A bootstrap token as a client sends it, the Secret that it is kept in as somebody wrote it ("key=value" a line), and a request to a kubelet's
 * port ("METHOD /path"): whatever it is, it asks for something of that node, and what runs a command is never a read.
 */
#include <stdlib.h>

#include "api/gen/core_v1.h"
#include "auth/bootstrap-token.h"
#include "auth/kubelet-attributes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAIRS_MAX = 16 };

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void secret(struct arena *a, struct str text)
{
    struct api_str_pair pairs[PAIRS_MAX];
    struct core_v1_secret s = { .type = STR("bootstrap.kubernetes.io/token") };
    struct bootstrap_token t;
    struct str line, key, value;
    struct err err;
    int64_t at;
    s.metadata.namespace = STR("kube-system");
    s.metadata.name = STR("bootstrap-token-abcdef");
    while (s.n_data < PAIRS_MAX && str_split(&text, '\n', &line)) {
        if (str_cut(line, '=', &key, &value)) {
            pairs[s.n_data++] = (struct api_str_pair){ key, value };
        }
    }
    s.data = pairs;
    if (bootstrap_token_read(&s, a, &t, &err)) {
        must(str_eq(t.id, STR("abcdef")) && t.secret.len == 16);
        must(!t.bad_groups || t.n_groups == 0);
        (void)bootstrap_token_expired(&t, 0);
    }
    (void)bootstrap_token_expiration(&s, &at);
}

static void request(struct str text)
{
    static const struct auth_user user = { .name = STR_INIT("u") };
    struct authz_attributes attr[KUBELET_ATTRIBUTES_MAX];
    struct str method, path;
    if (!str_cut(text, ' ', &method, &path)) {
        return;
    }
    size_t n = kubelet_attributes(&user, method, path, STR("node-1"), attr);
    must(n >= 1 && n <= KUBELET_ATTRIBUTES_MAX);
    for (size_t i = 0; i < n; i++) {
        must(str_eq(attr[i].resource, STR("nodes")) && str_eq(attr[i].name, STR("node-1")) && (!str_eq(method, STR("GET")) || !str_empty(attr[i].verb)));
        must(!str_starts(path, STR("/exec/")) || !str_eq(attr[i].verb, STR("get")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str text = str_n((const char *)data, size), id, rest;
    arena_init(&a, 8u << 20);
    if (bootstrap_token_split(text, &id, &rest)) {
        must(bootstrap_token_is_id(id) && id.len + 1 + rest.len == text.len);
    }
    (void)bootstrap_token_is_group(text);
    secret(&a, text);
    request(text);
    arena_deinit(&a);
    return 0;
}
