/* Configuration files, environments, name servers. */
#include "kubelet/test-fixture.h"

#include "base/fs.h"

static bool load(struct kubelet_config *c, const char *text, struct err *err, char *flag)
{
    static char path[] = "/tmp/coracle-test-kubelet-config", config_flag[] = "--config=/tmp/coracle-test-kubelet-config", name[] = "kubelet";
    char *argv[] = { name, config_flag, flag, NULL };
    struct flag_section sections[KUBELET_FLAG_SECTIONS];
    const struct flag_program program = { "kubelet", "", sections, KUBELET_FLAG_SECTIONS };
    struct flag_result flags;
    memset(c, 0, sizeof(*c));
    kubelet_flag_sections(c, sections);
    CHECK_OK(fs_write_atomic(path, str_c(text), 0600, err), err);
    bool ok = flags_parse(&program, flag ? 3 : 2, argv, &flags, err) && kubelet_config_load(&program, flag ? 3 : 2, argv, c, &flags, err);
    (void)remove(path);
    return ok;
}

#define HEAD "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

TEST(a_configuration_file_sets_what_flags_do_not)
{
    static char flag[] = "--max-pods=7";
    struct kubelet_config c;
    struct err err = { 0 };
    CHECK_OK(load(&c, HEAD "maxPods: 50\nclusterDNS: [10.96.0.10, 10.96.0.11]\nclusterDomain: x.y\nauthentication:\n  anonymous: {enabled: false}\n"
                           "  x509: {clientCAFile: /ca}\nnodeStatusReportFrequency: 1m30s\nsystemReserved: {cpu: 100m, memory: 1Gi}\nlogging: {flushFrequency: 0}\n",
                  &err, flag),
             &err);
    CHECK_INT(c.max_pods, 7);
    CHECK_INT(c.cluster_dns.n, 2);
    CHECK_STR_C(c.cluster_dns.items[1], "10.96.0.11");
    CHECK_STR_C(c.cluster_domain, "x.y");
    CHECK_STR_C(c.client_ca_file, "/ca");
    CHECK(!c.anonymous_auth);
    CHECK_INT(c.node_status_report_ms, 90000);
    CHECK_STR_C(flags_map_get(&c.system_reserved, STR("memory")), "1Gi");
}

TEST(a_field_that_is_not_honoured_is_named)
{
    struct kubelet_config c;
    struct err err = { 0 };
    CHECK(!load(&c, HEAD "authentication: {webhok: {enabled: true}}\n", &err, NULL));
    CHECK(strstr(err.msg, "unknown field \"authentication.webhok\"") != NULL);
    CHECK(!load(&c, "kind: Other\n", &err, NULL));
    CHECK(!load(&c, HEAD "readOnlyPorts: 0\n", &err, NULL));
    CHECK(strstr(err.msg, "unknown field \"readOnlyPorts\"") != NULL);
    CHECK(!load(&c, HEAD "seccompDefault: true\n", &err, NULL));
    CHECK(!load(&c, HEAD "maxPods: 1\nmaxPods: 2\n", &err, NULL));
}

TEST(a_file_that_says_nothing_means_the_defaults_of_its_format)
{
    static char flag[] = "--authorization-mode=AlwaysAllow";
    struct kubelet_config c;
    struct err err = { 0 };
    CHECK_OK(load(&c, HEAD "seccompDefault: false\nruntimeRequestTimeout: 0s\nevictionHard: {}\n", &err, flag), &err);
    CHECK(!c.anonymous_auth && c.token_webhook);
    CHECK_INT(c.read_only_port, 0);
    CHECK_INT(c.runtime_timeout_ms, 120000);
    CHECK_STR_C(c.authorization_mode, "AlwaysAllow");
}

static struct pod_container *container(struct fixture *f, const char *yaml)
{
    struct pod *p = fixture_pod(f, yaml);
    return p->containers[0];
}

static struct str value(const struct api_str_pair *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_c(list[i].key, key)) {
            return list[i].value;
        }
    }
    return STR_NULL;
}

TEST(variables_see_those_before_them)
{
    struct fixture f;
    struct api_str_pair *e;
    struct err err = { 0 };
    size_t n;
    fixture_init(&f);
    struct pod_container *c = container(&f, "{kind: Pod, metadata: {name: p, labels: {l: v}}, spec: {containers: [{name: a, image: 'x:1', resources: {limits: {cpu: 1500m, memory: 3Mi}},"
                                            " env: [{name: A, value: '1'}, {name: B, value: 'x$(A)$$(A)$(NONE)$'}, {name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['l']\"}}},"
                                            " {name: C, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: M, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}},"
                                            " {name: H, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]}]}}");
    CHECK_OK(env_build(c, &f.a, &e, &n, &err), &err);
    CHECK_STR_C(value(e, n, "B"), "x1$(A)$(NONE)$");
    CHECK_STR_C(value(e, n, "L"), "v");
    CHECK_STR_C(value(e, n, "C"), "2");
    CHECK_STR_C(value(e, n, "M"), "3");
    CHECK_STR_C(value(e, n, "H"), "192.0.2.1");
    fixture_deinit(&f);
}

TEST(a_missing_config_map_is_an_error_unless_it_is_optional)
{
    struct fixture f;
    struct api_str_pair *e;
    struct err err = { 0 };
    size_t n;
    fixture_init(&f);
    struct pod_container *c = container(&f, "{kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: 'x:1', envFrom: [{configMapRef: {name: m}}]}]}}");
    CHECK(!env_build(c, &f.a, &e, &n, &err));
    CHECK_STR_C(str_c(err.msg), "configmap \"m\" not found");
    c = container(&f, "{kind: Pod, metadata: {name: q, uid: u2}, spec: {containers: [{name: a, image: 'x:1', envFrom: [{configMapRef: {name: m, optional: true}}]}]}}");
    CHECK_OK(env_build(c, &f.a, &e, &n, &err), &err);
    fixture_deinit(&f);
}

TEST(cluster_first_puts_the_cluster_before_the_hosts_search_list)
{
    struct fixture f;
    struct err err = { 0 };
    char path[128];
    static struct str dns[] = { STR_INIT("10.96.0.10") };
    struct cri_v1_dns_config c;
    fixture_init(&f);
    snprintf(path, sizeof(path), "%s/resolv.conf", f.dir);
    CHECK(fs_write_atomic(path, STR("nameserver 192.0.2.53\nsearch old.example\nsearch example.org  a.b\noptions edns0\n"), 0644, &err));
    f.cfg.resolv_conf = str_c(path);
    f.cfg.cluster_dns = (struct flag_strings){ dns, 1 };
    struct pod *p = fixture_pod(&f, "{kind: Pod, metadata: {name: p, namespace: ns}, spec: {containers: [{name: a, image: 'x:1'}]}}");
    CHECK_OK(dns_config(p, &f.a, &c, &err), &err);
    CHECK_INT(c.n_servers, 1);
    CHECK_STR_C(c.servers[0], "10.96.0.10");
    CHECK_INT(c.n_searches, 5);
    CHECK_STR_C(c.searches[0], "ns.svc.cluster.local");
    CHECK_STR_C(c.searches[3], "example.org");
    CHECK_STR_C(c.options[0], "ndots:5");
    p = fixture_pod(&f, "{kind: Pod, metadata: {name: q, uid: u2}, spec: {dnsPolicy: Default, containers: [{name: a, image: 'x:1'}]}}");
    CHECK_OK(dns_config(p, &f.a, &c, &err), &err);
    CHECK_STR_C(c.servers[0], "192.0.2.53");
    CHECK_STR_C(c.options[0], "edns0");
    fixture_deinit(&f);
}

TEST(the_container_is_told_users_capabilities_and_limits)
{
    struct fixture f;
    struct err err = { 0 };
    struct cri_v1_container_config g;
    fixture_init(&f);
    struct pod_container *c = container(&f, "{kind: Pod, metadata: {name: p}, spec: {securityContext: {runAsUser: 5, fsGroup: 9, seccompProfile: {type: RuntimeDefault}},"
                                            " containers: [{name: a, image: 'x:1', args: ['$(A)'], env: [{name: A, value: z}], resources: {requests: {cpu: 250m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}},"
                                            " securityContext: {runAsUser: 7, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_ADMIN]}}}]}}");
    const struct api_str_pair env = { STR("A"), STR("z") };
    CHECK_OK(container_config(c, &f.a, &env, 1, NULL, 2, &g, &err), &err);
    const struct cri_v1_linux_container_security_context *s = g.linux_->security_context;
    const struct cri_v1_linux_container_resources *r = g.linux_->resources;
    CHECK_STR_C(g.args[0], "z");
    CHECK_STR_C(g.log_path, "a/2.log");
    CHECK_INT(s->run_as_user->value, 7);
    CHECK_INT(s->supplemental_groups[0], 9);
    CHECK(s->readonly_rootfs && s->no_new_privs && !s->privileged);
    CHECK_STR_C(s->capabilities->drop_capabilities[0], "ALL");
    CHECK_INT(s->seccomp->profile_type, CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_RUNTIME_DEFAULT);
    CHECK_INT(r->cpu_shares, 256);
    CHECK_INT(r->cpu_quota, 50000);
    CHECK_INT(r->memory_limit_in_bytes, 128 << 20);
    CHECK_INT(r->oom_score_adj, 1000 - 62);
    fixture_deinit(&f);
}

TEST(run_as_non_root_refuses_an_image_that_runs_as_root)
{
    struct fixture f;
    struct err err = { 0 };
    struct cri_v1_container_config g;
    fixture_init(&f);
    struct pod_container *c = container(&f, "{kind: Pod, metadata: {name: p}, spec: {securityContext: {runAsNonRoot: true}, containers: [{name: a, image: 'x:1'}]}}");
    CHECK(!container_config(c, &f.a, NULL, 0, NULL, 0, &g, &err));
    CHECK(strstr(err.msg, "image will run as root"));
    struct cri_v1_int64_value uid = { 1000 };
    const struct cri_v1_image image = { .id = STR("i"), .uid = &uid };
    CHECK_OK(container_config(c, &f.a, NULL, 0, &image, 0, &g, &err), &err);
    fixture_deinit(&f);
}
