/* dockerd's formats, and what it is told: pure parts; and what is made of answers that a real dockerd gives seldom. */
#include "kubelet/docker-private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/test.h"
#include "kubelet/cri-log.h"
#include "kubelet/docker-frame.h"
#include "net/addr.h"
#include "net/http-server.h"

/* ---- frames ---- */

struct seen {
    struct buf out, err;
};

static void take(void *arg, bool error, struct str bytes)
{
    struct seen *s = arg;
    buf_append(error ? &s->err : &s->out, bytes);
}

TEST(frames_come_apart_however_they_arrive)
{
    static const char bytes[] = "\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\2xy\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1d";
    for (size_t step = 1; step < 12; step++) {
        struct seen s;
        struct docker_frames f = { .take = take, .arg = &s };
        buf_init(&s.out, 100);
        buf_init(&s.err, 100);
        for (size_t i = 0; i < sizeof(bytes) - 1; i += step) {
            docker_frames_feed(&f, str_n(bytes + i, MIN(step, sizeof(bytes) - 1 - i)));
        }
        CHECK(str_eq_c(buf_str(&s.out), "abcd"));
        CHECK(str_eq_c(buf_str(&s.err), "xy"));
        CHECK(!f.broken);
        docker_frames_feed(&f, STR("\7\0\0\0\0\0\0\1zz"));
        CHECK(f.broken);
        CHECK(str_eq_c(buf_str(&s.out), "abcd"));
        buf_deinit(&s.out);
        buf_deinit(&s.err);
    }
}

/* ---- logs ---- */

static void read_log(const struct cri_log_options *o, const char *text, const char *want)
{
    struct cri_log_filter f;
    struct buf out;
    buf_init(&out, 4096);
    cri_log_filter_init(&f, o);
    cri_log_feed(&f, str_c(text), &out);
    cri_log_end(&f, &out);
    if (!str_eq_c(buf_str(&out), want)) {
        printf("  got: %s", buf_str(&out).ptr);
    }
    CHECK(str_eq_c(buf_str(&out), want));
    cri_log_filter_deinit(&f);
    buf_deinit(&out);
}

TEST(logs_of_dockerd_are_read_like_those_of_others)
{
    static const char log[] = "{\"log\":\"one \\\"1\\\" \\u003c\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-24T12:39:19.5Z\"}\n"
                              "{\"log\":\"bad\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-24T12:39:20Z\"}\n"
                              "{\"log\":\"part \",\"stream\":\"stdout\",\"time\":\"2026-11-24T12:39:21Z\"}\n"
                              "{\"log\":\"end\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":[1]},\"time\":\"2026-11-24T12:39:21Z\"}\n"
                              "{nonsense\n"
                              "{\"log\":\"cut\\n\",\"stream\":\"stdout\",\"ti";
    struct cri_log_options o = { .limit_bytes = -1, .tail_lines = -1 };
    read_log(&o, log, "one \"1\" <\nbad\npart end\n");
    o.stream = CRI_LOG_STDERR;
    o.timestamps = true;
    read_log(&o, log, "2026-11-24T12:39:20Z bad\n");
    o.stream = CRI_LOG_STDOUT;
    read_log(&o, log, "2026-11-24T12:39:19.5Z one \"1\" <\n2026-11-24T12:39:21Z part end\n");
    o.stream = CRI_LOG_ALL;
    o.timestamps = false;
    o.has_since = true;
    CHECK(clock_parse_rfc3339(STR("2026-11-24T12:39:20Z"), &o.since_s, &o.since_ns));
    read_log(&o, log, "bad\npart end\n");
    o.limit_bytes = 6;
    read_log(&o, log, "bad\npa");
}

/* ---- what dockerd is told ---- */

static void check_text(const struct buf *b, const char *want)
{
    if (str_find(buf_str(b), str_c(want)) < 0) {
        printf("  missing: %s\n  in: %s\n", want, buf_str(b).ptr);
        CHECK(false);
    }
}

static struct docker make(void)
{
    return (struct docker){ .options = { .pause_image = STR("pause:1"), .log_max_size = STR("10Mi"), .log_max_files = 5 }, .swap_limit = true, .own_oom = 100 };
}

TEST(names_are_those_of_dockershim)
{
    struct str parts[4];
    uint32_t attempt;
    CHECK(docker_name_parse(STR("/k8s_app_web-1_shop_11-22_3"), parts, &attempt));
    CHECK(str_eq_c(parts[0], "app") && str_eq_c(parts[1], "web-1") && str_eq_c(parts[2], "shop") && str_eq_c(parts[3], "11-22"));
    CHECK_INT(attempt, 3);
    CHECK(docker_name_parse(STR("k8s_app_web-1_shop_11-22_4_x7k2"), parts, &attempt));
    CHECK_INT(attempt, 4);
    CHECK(!docker_name_parse(STR("/mine"), parts, &attempt));
    CHECK(!docker_name_parse(STR("/k8s_app_web"), parts, &attempt));
    CHECK(!docker_name_parse(STR("/k8s_a_b_c_d_-1"), parts, &attempt));
    CHECK(!docker_name_parse(STR("/k8s_a_b_c_d_99999999999"), parts, &attempt));
}

TEST(a_sandbox_has_no_network_of_dockerds)
{
    struct docker d = make();
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 65536);
    struct cri_v1_pod_sandbox_metadata m = { STR("web"), STR("u1"), STR("shop"), 2 };
    struct cri_v1_namespace_option n = { .network = CRI_V1_NAMESPACE_MODE_POD, .pid = CRI_V1_NAMESPACE_MODE_CONTAINER };
    struct cri_v1_linux_sandbox_security_context sec = { .namespace_options = &n };
    struct api_str_pair label = { STR("app"), STR("a\"b") }, sysctl = { STR("net.core.somaxconn"), STR("128") };
    struct cri_v1_linux_pod_sandbox_config l = { .cgroup_parent = STR("/kubepods/podu1"), .security_context = &sec, .sysctls = &sysctl, .n_sysctls = 1 };
    struct cri_v1_pod_sandbox_config c = { .metadata = &m, .hostname = STR("web"), .labels = &label, .n_labels = 1, .annotations = &label, .n_annotations = 1,
                                           .linux_ = &l };
    struct cri_v1_run_pod_sandbox_request q = { .config = &c };
    CHECK(docker_sandbox_body(&d, &q, &b, &err));
    CHECK(json_check(buf_str(&b), 32, &err));
    check_text(&b, "\"Image\":\"pause:1\",\"Hostname\":\"web\"");
    check_text(&b, "\"app\":\"a\\\"b\",\"annotation.app\":\"a\\\"b\",\"io.kubernetes.docker.type\":\"podsandbox\"");
    check_text(&b, "\"NetworkMode\":\"none\",\"IpcMode\":\"shareable\"");
    check_text(&b, "\"CgroupParent\":\"/kubepods/podu1\"");
    check_text(&b, "\"Sysctls\":{\"net.core.somaxconn\":\"128\"}");
    check_text(&b, "\"OomScoreAdj\":100"); /* not below our own without the right to */
    n.network = n.ipc = n.pid = CRI_V1_NAMESPACE_MODE_NODE;
    buf_clear(&b);
    d.may_lower_oom = true;
    CHECK(docker_sandbox_body(&d, &q, &b, &err));
    check_text(&b, "\"NetworkMode\":\"host\",\"IpcMode\":\"host\",\"PidMode\":\"host\"");
    check_text(&b, "\"OomScoreAdj\":-998");
    q.runtime_handler = STR("kata");
    CHECK(!docker_sandbox_body(&d, &q, &b, &err));
    buf_deinit(&b);
}

TEST(a_container_joins_its_sandbox_with_the_rights_that_the_pod_says)
{
    struct docker d = make();
    struct err err = { 0 };
    struct buf b;
    buf_init(&b, 65536);
    struct cri_v1_pod_sandbox_metadata m = { STR("web"), STR("u1"), STR("shop"), 2 };
    struct cri_v1_pod_sandbox_config sandbox = { .metadata = &m, .log_directory = STR("/var/log/pods/x") };
    struct cri_v1_container_metadata cm = { STR("app"), 1 };
    struct cri_v1_image_spec image = { .image = STR("sha256:12"), .user_specified_image = STR("app:1") };
    struct str command[] = { STR("sh"), STR("-c") }, drop[] = { STR("ALL") }, add[] = { STR("NET_BIND_SERVICE") };
    struct cri_v1_key_value env = { STR("A"), STR("b=c\nd") };
    struct cri_v1_mount mounts[] = { { .container_path = STR("/a:b"), .host_path = STR("/h:i"), .readonly = true,
                                       .propagation = CRI_V1_MOUNT_PROPAGATION_PROPAGATION_HOST_TO_CONTAINER } };
    struct cri_v1_linux_container_resources res = { .cpu_shares = 512, .cpu_period = 100000, .cpu_quota = 50000, .memory_limit_in_bytes = 1 << 20, .oom_score_adj = 999 };
    struct cri_v1_int64_value uid = { 1000 }, gid = { 2000 };
    struct cri_v1_capability caps = { .add_capabilities = add, .n_add_capabilities = 1, .drop_capabilities = drop, .n_drop_capabilities = 1 };
    int64_t group = 7;
    struct cri_v1_security_profile seccomp = { .profile_type = CRI_V1_SECURITY_PROFILE_PROFILE_TYPE_UNCONFINED };
    struct cri_v1_namespace_option ns = { .pid = CRI_V1_NAMESPACE_MODE_POD };
    struct cri_v1_linux_container_security_context sec = { .capabilities = &caps, .run_as_user = &uid, .run_as_group = &gid, .readonly_rootfs = true,
                                                           .no_new_privs = true, .supplemental_groups = &group, .n_supplemental_groups = 1,
                                                           .seccomp = &seccomp, .namespace_options = &ns };
    struct cri_v1_linux_container_config l = { &res, &sec };
    struct cri_v1_container_config c = { .metadata = &cm, .image = &image, .command = command, .n_command = 2, .envs = &env, .n_envs = 1, .mounts = mounts,
                                         .n_mounts = 1, .log_path = STR("app/1.log"), .tty = true, .stdin = true, .linux_ = &l };
    struct cri_v1_create_container_request q = { STR("sb1"), &c, &sandbox };
    docker_container_name(&b, &q);
    CHECK(str_eq_c(buf_str(&b), "k8s_app_web_shop_u1_1"));
    buf_clear(&b);
    CHECK(docker_container_body(&d, &q, &b, &err));
    CHECK(json_check(buf_str(&b), 32, &err));
    check_text(&b, "\"Image\":\"sha256:12\",\"User\":\"1000:2000\",\"Entrypoint\":[\"sh\",\"-c\"]");
    check_text(&b, "\"Env\":[\"A=b=c\\nd\"]");
    check_text(&b, "{\"Type\":\"bind\",\"Source\":\"/h:i\",\"Target\":\"/a:b\",\"ReadOnly\":true,\"BindOptions\":{\"Propagation\":\"rslave\"}}");
    check_text(&b, "\"CpuShares\":512,\"CpuPeriod\":100000,\"CpuQuota\":50000,\"Memory\":1048576,\"MemorySwap\":1048576");
    check_text(&b, "\"NetworkMode\":\"container:sb1\",\"IpcMode\":\"container:sb1\",\"PidMode\":\"container:sb1\"");
    check_text(&b, "\"CapAdd\":[\"NET_BIND_SERVICE\"],\"CapDrop\":[\"ALL\"]");
    check_text(&b, "\"SecurityOpt\":[\"no-new-privileges\",\"seccomp=unconfined\"]");
    check_text(&b, "\"GroupAdd\":[\"7\"]");
    check_text(&b, "\"io.kubernetes.sandbox.id\":\"sb1\",\"io.coracle.image\":\"app:1\",\"io.kubernetes.container.logpath\":\"/var/log/pods/x/app/1.log\"");
    check_text(&b, "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"10485760\",\"max-file\":\"5\"}}");
    sec.privileged = true;
    buf_clear(&b);
    CHECK(docker_container_body(&d, &q, &b, &err));
    check_text(&b, "\"Privileged\":true");
    CHECK(str_find(buf_str(&b), STR("seccomp")) < 0 && str_find(buf_str(&b), STR("MaskedPaths")) < 0);
    /* What cannot be done is said. */
    mounts[0].recursive_read_only = true;
    buf_clear(&b);
    CHECK(!docker_container_body(&d, &q, &b, &err));
    buf_deinit(&b);
}

TEST(labels_of_dockerd_are_taken_apart_again)
{
    static const char text[] = "{\"app\":\"x\",\"annotation.a/b\":\"y\",\"io.kubernetes.docker.type\":\"container\",\"io.kubernetes.sandbox.id\":\"1\"}";
    struct arena a;
    struct val v;
    struct api_str_pair *labels, *annotations;
    size_t n, n_annotations;
    arena_init(&a, 65536);
    CHECK(val_parse_json(&a, str_c(text), 8, NULL, &v, NULL));
    CHECK(docker_labels(&a, &v, &labels, &n, &annotations, &n_annotations));
    CHECK_INT(n, 1);
    CHECK_INT(n_annotations, 1);
    CHECK(str_eq_c(labels[0].key, "app") && str_eq_c(annotations[0].key, "a/b") && str_eq_c(annotations[0].value, "y"));
    CHECK(docker_time(STR("0001-01-01T00:00:00Z")) == 0);
    CHECK(docker_time(STR("2026-11-24T12:39:19.000000005Z")) == 1795523959000000005);
    arena_deinit(&a);
}

/* ---- a dockerd that says what the test wants ---- */

struct fake {
    struct loop *loop;
    struct http_server *server;
    struct runtime *rt;
    char dir[64];
    const char *version, *info, *list;
    int status;
    bool done;
    struct err err;
    size_t n_items;
    char path[256];
};

static void on_request(struct http_stream *s, void *arg)
{
    struct fake *f = arg;
    struct str target = http_stream_request(s)->target;
    bool version = str_eq_c(target, "/version"), info = str_ends(target, STR("/info"));
    struct net_chunk body = net_chunk_copy(str_c(version ? f->version : info ? f->info : f->list));
    snprintf(f->path, sizeof(f->path), "%.*s", STR_ARG(target));
    http_stream_reply(s, version || info ? 200 : f->status, NULL, 0, &body, 1);
    http_stream_release(s);
}

static void fake_start(struct fake *f)
{
    struct err err = { 0 };
    struct net_addr at;
    char path[128], endpoint[144];
    struct fake init = { .version = "{\"Version\":\"20.10\",\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\"}", .info = "{\"CgroupDriver\":\"cgroupfs\"}",
                         .list = "[]", .status = 200, .dir = "/tmp/coracle-test-docker-XXXXXX" };
    *f = init;
    CHECK(mkdtemp(f->dir));
    f->loop = loop_new(&err);
    const struct http_server_config config = { .on_request = on_request, .arg = f };
    f->server = http_server_new(f->loop, &config, &err);
    snprintf(path, sizeof(path), "%s/docker.sock", f->dir);
    CHECK(f->loop && f->server && net_addr_unix(str_c(path), &at));
    int fd = net_listen(&at, 0600, &err);
    CHECK(fd >= 0 && http_server_listen(f->server, fd, NULL, NULL, &err));
    snprintf(endpoint, sizeof(endpoint), "unix://%s", path);
    const struct docker_options o = { .endpoint = str_c(endpoint), .cgroup_driver = STR("cgroupfs"), .cni_conf_dir = str_c(f->dir), .cni_bin_dir = str_c(f->dir),
                                      .state_dir = str_c(f->dir) };
    f->rt = runtime_docker_new(f->loop, &o, &err);
    CHECK(f->rt);
}

static void fake_stop(struct fake *f)
{
    f->rt = runtime_free(f->rt);
    f->server = http_server_free(f->server);
    f->loop = loop_free(f->loop);
    CHECK(fs_remove_tree(f->dir, NULL));
}

static void on_listed(void *arg, const void *response, const struct err *err)
{
    struct fake *f = arg;
    const struct cri_v1_list_containers_response *r = response;
    f->done = true;
    CHECK(!response == (err != NULL));
    f->err = err ? *err : (struct err){ 0 };
    f->n_items = r ? r->n_containers : 0;
}

static void list(struct fake *f, uint64_t timeout_ms)
{
    const struct cri_v1_list_containers_request q = { 0 };
    f->done = false;
    (void)runtime_call(f->rt, &cri_v1_runtime_service_list_containers_rpc, &q, timeout_ms, on_listed, f);
    CHECK(!f->done); /* never from within */
    for (int i = 0; i < 500 && !f->done; i++) {
        loop_turn(f->loop, 10);
    }
    CHECK(f->done);
}

TEST(dockerd_is_spoken_to_in_a_version_that_both_know)
{
    struct fake f;
    fake_start(&f);
    f.list = "[{\"Id\":\"1\",\"Names\":[\"/k8s_a_p_n_u_0\"],\"State\":\"running\",\"Created\":5,\"Labels\":{}},{\"Id\":\"2\",\"Names\":[\"/mine\"]},7,null]";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_NONE);
    CHECK(strncmp(f.path, "/v1.41/containers/json?all=1&filters=", 37) == 0);
    f.version = "{\"Version\":\"29\",\"ApiVersion\":\"1.52\",\"MinAPIVersion\":\"1.44\"}";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_NONE); /* agreed on before */
    fake_stop(&f);
    fake_start(&f);
    f.version = "{\"Version\":\"29\",\"ApiVersion\":\"1.52\",\"MinAPIVersion\":\"1.44\"}";
    list(&f, 5000);
    CHECK(strstr(f.err.msg, "speaks versions 1.44 to 1.52"));
    f.version = "{\"ApiVersion\":7}";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_INVALID);
    f.version = "<html>";
    list(&f, 5000);
    CHECK(f.err.code != ERR_NONE);
    fake_stop(&f);
}

TEST(dockerd_must_make_control_groups_as_the_kubelet_does)
{
    struct fake f;
    fake_start(&f);
    f.info = "{\"CgroupDriver\":\"systemd\"}";
    list(&f, 5000);
    CHECK(strstr(f.err.msg, "cgroup driver is \"systemd\""));
    f.info = "{\"CgroupDriver\":\"cgroupfs\"}";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_NONE);
    fake_stop(&f);
}

TEST(answers_of_dockerd_that_make_no_sense_are_errors)
{
    struct fake f;
    fake_start(&f);
    static const char *const bad[] = { "", "{", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nonsense" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        f.list = bad[i];
        list(&f, 5000);
        CHECK(f.err.code != ERR_NONE);
    }
    f.status = 404;
    f.list = "{\"message\":\"No such container: x\"}";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_NOT_FOUND);
    CHECK(strcmp(f.err.msg, "No such container: x") == 0);
    f.status = 500;
    f.list = "boom\n";
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_INTERNAL);
    CHECK(strcmp(f.err.msg, "boom") == 0);
    /* Nobody is there any more. */
    f.server = http_server_free(f.server);
    list(&f, 5000);
    CHECK_INT(f.err.code, ERR_UNAVAILABLE);
    fake_stop(&f);
}

TEST(only_a_unix_socket_is_taken_for_dockerd)
{
    struct err err = { 0 };
    struct loop *l = loop_new(&err);
    struct docker_options o = { .endpoint = STR("tcp://127.0.0.1:2375") };
    CHECK(!runtime_docker_new(l, &o, &err));
    CHECK(strstr(err.msg, "is no unix socket"));
    loop_free(l);
}
