/* The catalog of paths: what is reported, how it is judged, how it is shown. */
#include "apiserver/paths.h"

#include <stdlib.h>

#include "api/val.h"
#include "apiserver/limits.h"
#include "base/test.h"

enum { NOW = 1800000000 };

struct made {
    struct arena a;
    struct path_catalog c;
    struct path_part *parts;
    size_t n_parts;
};

static struct path_world usual(void)
{
    static const struct path_node nodes[] = { { STR_INIT("node-1"), STR_INIT("10.89.0.2:10250") } };
    return (struct path_world){ .now = NOW, .nodes = nodes, .n_nodes = 1, .authz = STR("Node,RBAC"), .anonymous = true, .kubelets_verified = true,
                                .kubelet_identity = true, .service_address = STR("10.96.0.1:443"), .address = STR("10.89.0.2:6443") };
}

/* A catalog of the apiserver's report and, when given, of a kubelet's on node-1; each is the text between the brackets of "paths". */
static void make(struct made *m, struct path_world w, const char *apiserver, const char *kubelet)
{
    struct err err = { 0 };
    arena_init(&m->a, PATHS_ARENA);
    m->parts = NULL;
    m->n_parts = 0;
    struct str text = arena_printf(&m->a, "{\"parts\":[{\"process\":\"kube-apiserver\",\"paths\":[%s]}]}", apiserver);
    CHECK(path_report_read(&m->a, text, STR_NULL, &m->parts, &m->n_parts, &err));
    if (kubelet) {
        text = arena_printf(&m->a, "{\"parts\":[{\"process\":\"kubelet\",\"paths\":[%s]}]}", kubelet);
        CHECK(path_report_read(&m->a, text, STR("node-1"), &m->parts, &m->n_parts, &err));
    }
    w.parts = m->parts;
    w.n_parts = m->n_parts;
    CHECK(path_catalog_build(&m->a, &w, &m->c));
}

static const struct path_row *row_of(const struct made *m, const char *id)
{
    for (size_t i = 0; i < m->c.n_rows; i++) {
        if (strcmp(m->c.rows[i].kind->id, id) == 0) {
            return &m->c.rows[i];
        }
    }
    return NULL;
}

#define VERDICT(m, id, want, words, mending)                                       \
    do {                                                                           \
        const struct path_row *r_ = row_of(&(m), (id));                            \
        CHECK(r_ != NULL);                                                         \
        if (r_) {                                                                  \
            CHECK_STR_C(str_c(path_verdict_word(r_->verdict)), (want));            \
            CHECK(str_find(r_->reason, STR(words)) >= 0);                          \
            CHECK(!*(mending) || str_find(r_->mend, str_c(mending)) >= 0);         \
        }                                                                          \
    } while (0)

#define TLS_OUT "\"way\":\"out\",\"transport\":\"tls\",\"tls\":\"TLSv1.3\",\"opened\":1,\"open\":1"

TEST(what_is_possible_is_listed_though_nobody_has_used_it)
{
    struct made m;
    make(&m, usual(), "", NULL);
    CHECK_INT(m.c.n_rows, 6);
    CHECK_INT(row_of(&m, "apiserver-users")->opened, 0);
    VERDICT(m, "apiserver-users", "safe", "", "");
    VERDICT(m, "apiserver-pods", "safe", "", "");
    CHECK_STR_C(row_of(&m, "apiserver-pods")->address, "10.96.0.1:443");
    VERDICT(m, "apiserver-bootstrap", "safe", "", "");
    VERDICT(m, "apiserver-anonymous", "safe", "without credentials", "");
    VERDICT(m, "apiserver-kubelet", "safe", "verified", "");
    CHECK_STR_C(row_of(&m, "apiserver-kubelet")->to.node, "node-1");
    VERDICT(m, "apiserver-backends", "unused", "plain HTTP", "--ssh-user");
    CHECK(!path_catalog_unsafe(&m.c));
    arena_deinit(&m.a);
}

TEST(kubelets_that_are_not_verified_are_unsafe_and_the_flag_is_named)
{
    struct made m;
    struct path_world w = usual();
    w.kubelets_verified = false;
    make(&m, w, "", NULL);
    VERDICT(m, "apiserver-kubelet", "unsafe", "not verified", "--kubelet-certificate-authority");
    CHECK(path_catalog_unsafe(&m.c));
    arena_deinit(&m.a);
    make(&m, w, "{" TLS_OUT ",\"peer\":\"kubelet/node-1\",\"purpose\":\"kubelet\",\"address\":\"10.89.0.2:10250\",\"peerState\":\"refused\"}", NULL);
    VERDICT(m, "apiserver-kubelet", "unsafe", "not verified", "--kubelet-certificate-authority");
    arena_deinit(&m.a);
    w.tunnelled = true;
    make(&m, w, "", NULL);
    VERDICT(m, "apiserver-kubelet", "safe", "tunnel", "");
    arena_deinit(&m.a);
    w = usual();
    w.kubelet_identity = false;
    make(&m, w, "", NULL);
    VERDICT(m, "apiserver-kubelet", "unsafe", "shows no certificate", "--kubelet-client-certificate");
    arena_deinit(&m.a);
}

TEST(authorisation_that_allows_everything_is_unsafe)
{
    struct made m;
    struct path_world w = usual();
    w.authz = STR("AlwaysAllow");
    make(&m, w, "{\"way\":\"in\",\"peer\":\"users\",\"purpose\":\"api:x509\",\"transport\":\"tls\",\"peerState\":\"verified\",\"opened\":1}", NULL);
    VERDICT(m, "apiserver-users", "unsafe", "may do everything", "--authorization-mode=Node,RBAC");
    VERDICT(m, "apiserver-anonymous", "unsafe", "without credentials", "--anonymous-auth=false");
    CHECK_STR_C(row_of(&m, "apiserver-users")->authn, "x509");
    arena_deinit(&m.a);
}

TEST(plain_ports_are_local_on_loopback_and_unsafe_elsewhere)
{
    static const struct {
        const char *process_path, *id, *mend;
    } ports[] = {
        { "\"purpose\":\"insecure-api\"", "apiserver-insecure-port", "--insecure-port=0" },
        { "\"purpose\":\"read-only\"", "read-only-port", "--read-only-port=0" },
        { "\"purpose\":\"cadvisor\"", "cadvisor-port", "--cadvisor-port=0" },
        { "\"purpose\":\"health\"", "health-port", "--healthz-bind-address=127.0.0.1" },
        { "\"purpose\":\"metrics\"", "metrics-port", "--port=0" },
    };
    static const struct {
        const char *address, *verdict;
    } addresses[] = { { "127.0.0.1:10255", "local" }, { "[::1]:10255", "local" }, { "0.0.0.0:10255", "unsafe" }, { "[::]:10255", "unsafe" },
                      { "10.89.0.2:10255", "unsafe" } };
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(addresses); k++) {
            char text[256];
            struct made m;
            (void)snprintf(text, sizeof(text), "{\"way\":\"listen\",\"transport\":\"plain\",\"authn\":\"nobody\",\"address\":\"%s\",%s}", addresses[k].address,
                           ports[i].process_path);
            make(&m, usual(), i == 0 ? text : "", i == 0 ? NULL : text);
            VERDICT(m, ports[i].id, addresses[k].verdict, "", strcmp(addresses[k].verdict, "unsafe") == 0 ? ports[i].mend : "");
            arena_deinit(&m.a);
        }
    }
}

TEST(kubelets_port_is_judged_by_who_may_come_and_what_they_may)
{
    static const struct {
        const char *authn, *authz, *verdict, *mend;
    } cases[] = {
        { "x509 tokens", "Webhook", "safe", "" },
        { "x509 tokens anonymous", "Webhook", "unsafe", "--anonymous-auth=false" },
        { "x509", "AlwaysAllow", "unsafe", "--authorization-mode=Webhook" },
        { "x509 anonymous", "AlwaysAllow", "unsafe", "--anonymous-auth=false" },
        { "nobody", "Webhook", "unsafe", "--client-ca-file" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        struct made m;
        (void)snprintf(text, sizeof(text), "{\"way\":\"listen\",\"transport\":\"tls\",\"purpose\":\"kubelet\",\"address\":\"0.0.0.0:10250\",\"authn\":\"%s\",\"authz\":\"%s\"}",
                       cases[i].authn, cases[i].authz);
        make(&m, usual(), "", text);
        VERDICT(m, "kubelet-port", cases[i].verdict, "", cases[i].mend);
        arena_deinit(&m.a);
    }
}

TEST(proxied_pods_are_unsafe_once_they_are_used)
{
    struct made m;
    struct path_world w = usual();
    const char *used = "{\"way\":\"out\",\"peer\":\"pods\",\"purpose\":\"pod-proxy:http\",\"transport\":\"plain\",\"opened\":1,\"remote\":\"10.244.0.5\"}";
    make(&m, w, used, NULL);
    VERDICT(m, "apiserver-backends", "unsafe", "plain HTTP", "--ssh-user");
    arena_deinit(&m.a);
    make(&m, w, "{" TLS_OUT ",\"peer\":\"pods\",\"purpose\":\"pod-proxy:https\",\"peerState\":\"refused\"}", NULL);
    VERDICT(m, "apiserver-backends", "unsafe", "no guarantee of integrity", "");
    arena_deinit(&m.a);
    w.tunnelled = true;
    make(&m, w, used, NULL);
    VERDICT(m, "apiserver-backends", "safe", "tunnel", "");
    arena_deinit(&m.a);
}

TEST(clients_that_do_not_verify_the_apiserver_are_unsafe)
{
    struct made m;
    make(&m, usual(), "{\"way\":\"in\",\"peer\":\"kubelet\",\"purpose\":\"api:x509\",\"authz\":\"Node,RBAC\",\"transport\":\"tls\",\"opened\":3}",
         "{" TLS_OUT ",\"peer\":\"kube-apiserver\",\"purpose\":\"api\",\"address\":\"10.89.0.2:6443\",\"peerState\":\"refused\"}");
    VERDICT(m, "component-apiserver", "unsafe", "does not verify", "certificate-authority");
    const struct path_row *r = row_of(&m, "component-apiserver");
    CHECK_STR_C(r->from.name, "kubelet");
    CHECK_STR_C(r->from.node, "node-1");
    CHECK_STR_C(r->authn, "x509"); /* of the apiserver's end */
    CHECK_STR_C(r->authz, "Node,RBAC");
    CHECK(row_of(&m, "apiserver-kubelets") == NULL); /* told by the kubelet itself */
    arena_deinit(&m.a);
}

TEST(a_component_without_a_report_is_told_by_the_apiservers_end)
{
    struct made m;
    struct path_world w = usual();
    make(&m, w, "{\"way\":\"in\",\"peer\":\"kubelet\",\"purpose\":\"api:x509\",\"transport\":\"tls\",\"opened\":3,\"peerState\":\"verified\",\"peerSubject\":\"CN=system:node:n\"}", NULL);
    CHECK(path_report_missing(&m.a, STR("kubelet"), STR("node-1"), STR("it is another program"), &m.parts, &m.n_parts));
    w.parts = m.parts;
    w.n_parts = m.n_parts;
    CHECK(path_catalog_build(&m.a, &w, &m.c));
    VERDICT(m, "apiserver-kubelets", "safe", "", "");
    CHECK(str_find(row_of(&m, "apiserver-kubelets")->seen_by, STR("its end")) >= 0);
    arena_deinit(&m.a);
}

TEST(certificates_that_ended_are_unsafe_and_those_about_to_are_noted)
{
    static const struct {
        int64_t from, until;
        const char *verdict;
        bool warning;
    } cases[] = {
        { NOW - 300 * 86400, NOW + 65 * 86400, "safe", false }, { NOW - 360 * 86400, NOW + 5 * 86400, "safe", true },
        { NOW - 360 * 86400, NOW - 1, "unsafe", false },        { NOW + 3600, NOW + 86400, "unsafe", false },
        { NOW - 1000, NOW + 2600, "safe", false },              { NOW - 3000, NOW + 600, "safe", true }, /* an hour's certificate */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        struct made m;
        (void)snprintf(text, sizeof(text), "{" TLS_OUT ",\"peer\":\"kubelet/node-1\",\"purpose\":\"kubelet\",\"address\":\"10.89.0.2:10250\",\"peerState\":\"verified\","
                       "\"peerSubject\":\"CN=k\",\"peerNotBefore\":%lld,\"peerNotAfter\":%lld}", (long long)cases[i].from, (long long)cases[i].until);
        make(&m, usual(), text, NULL);
        VERDICT(m, "apiserver-kubelet", cases[i].verdict, "", "");
        CHECK((row_of(&m, "apiserver-kubelet")->warning.len > 0) == cases[i].warning);
        arena_deinit(&m.a);
    }
}

TEST(etcd_needs_tls_verification_and_a_client_certificate_unless_it_is_local)
{
    static const struct {
        const char *text, *verdict;
    } cases[] = {
        { "{\"way\":\"out\",\"peer\":\"etcd\",\"purpose\":\"store\",\"transport\":\"plain\",\"address\":\"127.0.0.1:2379\",\"opened\":1}", "local" },
        { "{\"way\":\"out\",\"peer\":\"etcd\",\"purpose\":\"store\",\"transport\":\"plain\",\"address\":\"10.0.0.9:2379\",\"opened\":1}", "unsafe" },
        { "{" TLS_OUT ",\"peer\":\"etcd\",\"purpose\":\"store\",\"address\":\"10.0.0.9:2379\",\"peerState\":\"verified\"}", "unsafe" },
        { "{" TLS_OUT ",\"peer\":\"etcd\",\"purpose\":\"store\",\"address\":\"10.0.0.9:2379\",\"peerState\":\"verified\",\"ownSubject\":\"CN=a\"}", "safe" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct made m;
        make(&m, usual(), cases[i].text, NULL);
        VERDICT(m, "apiserver-etcd", cases[i].verdict, "", "");
        arena_deinit(&m.a);
    }
}

TEST(tunnels_are_safe_with_pinned_keys_only)
{
    static const struct {
        const char *trust, *verdict, *mend;
    } cases[] = { { "pinned", "safe", "" }, { "annotation", "unsafe", "--ssh-known-hosts-file" }, { "", "unsafe", "--ssh-known-hosts-file" } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        struct made m;
        (void)snprintf(text, sizeof(text), "{\"way\":\"out\",\"peer\":\"node/node-1\",\"purpose\":\"tunnel\",\"transport\":\"ssh\",\"address\":\"10.89.0.2:22\",\"opened\":1,"
                       "\"open\":1,\"trust\":\"%s\"}", cases[i].trust);
        make(&m, usual(), text, NULL);
        VERDICT(m, "tunnel-node", cases[i].verdict, "", cases[i].mend);
        arena_deinit(&m.a);
    }
}

TEST(unsafe_flags_make_the_catalog_unsafe)
{
    struct made m;
    struct err err = { 0 };
    struct path_world w = usual();
    make(&m, w, "", NULL);
    CHECK(path_report_read(&m.a, STR("{\"parts\":[{\"process\":\"kubelet\",\"unsafeFlags\":[{\"flag\":\"--read-only-port\",\"value\":\"10255\",\"given\":true,\"why\":\"w\",\"mend\":\"m\"}]}]}"),
                           STR("node-1"), &m.parts, &m.n_parts, &err));
    w.parts = m.parts;
    w.n_parts = m.n_parts;
    CHECK(path_catalog_build(&m.a, &w, &m.c));
    CHECK_INT(m.c.n_flags, 1);
    CHECK(path_catalog_unsafe(&m.c));
    arena_deinit(&m.a);
}

TEST(reports_that_are_none_are_refused_and_long_ones_are_cut)
{
    struct arena a;
    struct path_part *parts = NULL;
    size_t n = 0;
    struct err err;
    static const char *const bad[] = { "", "[]", "{}", "{\"parts\":{}}", "{\"parts\":[]}", "{\"parts\":[{]}", "nonsense",
                                       "{\"parts\":[{\"paths\":[[[[[[[[[[[1]]]]]]]]]]]}]}" };
    arena_init(&a, PATHS_ARENA);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!path_report_read(&a, str_c(bad[i]), STR_NULL, &parts, &n, &err));
        CHECK_INT(n, 0);
    }
    CHECK(path_report_read(&a, STR("{\"parts\":[{\"process\":7,\"paths\":[3,null,{\"way\":9,\"opened\":-4,\"bytesIn\":1e99}]},{}]}"), STR_NULL, &parts, &n, &err));
    CHECK_INT(n, 2);
    CHECK_INT(parts[0].n_facts, 3);
    CHECK_INT(parts[0].facts[2].opened, 0);
    struct buf b;
    buf_init(&b, 8u << 20);
    buf_append_c(&b, "{\"parts\":[{\"process\":\"");
    for (int i = 0; i < 5000; i++) {
        buf_append_char(&b, 'x');
    }
    buf_append_c(&b, "\",\"paths\":[{}");
    for (unsigned i = 0; i < PATHS_MAX_FACTS + 100; i++) {
        buf_append_c(&b, ",{}");
    }
    buf_append_c(&b, "]}]}");
    CHECK(path_report_read(&a, buf_str(&b), STR_NULL, &parts, &n, &err));
    CHECK_INT(parts[2].process.len, PATHS_MAX_TEXT);
    CHECK_INT(parts[2].n_facts, PATHS_MAX_FACTS);
    buf_deinit(&b);
    arena_deinit(&a);
}

/* What a node or a certificate may be called. */
#define EVIL "<script>alert(1)</script>\\\"'><img src=x onerror=alert(2)>&lt;\\u2028</style>"

TEST(texts_of_peers_are_escaped_in_page_and_json)
{
    struct made m;
    struct buf page, json;
    struct path_world w = usual();
    static const struct path_node nodes[] = { { STR_INIT("</script><script>alert(3)</script>"), STR_INIT("<b>") } };
    w.nodes = nodes;
    make(&m, w, "{" TLS_OUT ",\"peer\":\"" EVIL "\",\"purpose\":\"" EVIL "\",\"address\":\"" EVIL "\",\"peerSubject\":\"CN=" EVIL "\",\"lastError\":\"" EVIL
         "\",\"authn\":\"" EVIL "\"}", NULL);
    m.parts[0].error = STR("<script>alert(4)</script>");
    buf_init(&page, 16u << 20);
    buf_init(&json, 16u << 20);
    path_catalog_write_page(&m.c, STR("NONCE"), &page);
    path_catalog_write_json(&m.c, &json);
    CHECK(str_find(buf_str(&page), STR("<script>alert")) < 0);
    CHECK(str_find(buf_str(&page), STR("<img")) < 0);
    CHECK(str_find(buf_str(&page), STR("<b>")) < 0);
    CHECK(str_find(buf_str(&page), STR("&lt;script&gt;alert(1)")) >= 0);
    /* Two scripts and one style, all with the nonce; nothing else ends them. */
    size_t scripts = 0, ends = 0;
    struct str rest = buf_str(&page);
    for (ptrdiff_t at; (at = str_find(rest, STR("<script"))) >= 0; rest = str_sub(rest, (size_t)at + 7, rest.len)) {
        scripts++;
    }
    rest = buf_str(&page);
    for (ptrdiff_t at; (at = str_find(rest, STR("</script"))) >= 0; rest = str_sub(rest, (size_t)at + 8, rest.len)) {
        ends++;
    }
    CHECK_INT(scripts, 2);
    CHECK_INT(ends, 2);
    CHECK(str_find(buf_str(&json), STR("<")) < 0);
    struct val v;
    struct err err;
    CHECK(val_parse_json(&m.a, buf_str(&json), 12, NULL, &v, &err));
    CHECK(str_find(buf_str(&page), STR("http://")) < 0 || str_find(buf_str(&page), STR("http://www.w3.org/2000/svg")) >= 0);
    buf_deinit(&page);
    buf_deinit(&json);
    arena_deinit(&m.a);
}
