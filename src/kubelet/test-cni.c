/* CNI plugins as the specification sees them: the test's plugins are shell scripts that write down what they were given. */
#include "kubelet/cni-exec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/test.h"

struct fix {
    struct loop *loop;
    struct cni_dirs dirs;
    char dir[64];
    bool done;
    struct cni_result result;
    struct err err;
};

static void put(struct fix *f, const char *name, const char *text, mode_t mode)
{
    char path[256];
    struct err err = { 0 };
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    CHECK(fs_write_atomic(path, str_c(text), mode, &err));
}

static void fix_init(struct fix *f)
{
    static const char sub[] = "#!/bin/sh\n"
                              "here=$(dirname \"$0\")/..\n"
                              "{ echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS\"; cat; echo; } >>\"$here/said-$(basename \"$0\")\"\n"
                              "[ ! -e \"$here/fail-$(basename \"$0\")\" ] || { echo '{\"code\":11,\"msg\":\"no room\",\"details\":\"try later\"}'; exit 1; }\n"
                              "[ \"$CNI_COMMAND\" != ADD ] || echo '{\"cniVersion\":\"0.4.0\",\"ips\":[{\"version\":\"4\",\"address\":\"10.1.2.3/24\"},{\"address\":\"fd00::3/64\"}]}'\n";
    struct err err = { 0 };
    char path[128];
    *f = (struct fix){ .dir = "/tmp/coracle-test-cni-XXXXXX" };
    CHECK(mkdtemp(f->dir));
    CHECK(chmod(f->dir, 0755) == 0);
    snprintf(f->dirs.conf, sizeof(f->dirs.conf), "%s/conf", f->dir);
    snprintf(f->dirs.bin, sizeof(f->dirs.bin), "/nowhere:%s/bin", f->dir);
    snprintf(f->dirs.state, sizeof(f->dirs.state), "%s/state", f->dir);
    snprintf(path, sizeof(path), "%s/bin", f->dir);
    CHECK(fs_mkdirs(f->dirs.conf, 0755, &err) && fs_mkdirs(f->dirs.state, 0755, &err) && fs_mkdirs(path, 0755, &err));
    put(f, "bin/first", sub, 0755);
    put(f, "bin/second", sub, 0755);
    f->loop = loop_new(&err);
    CHECK(f->loop);
}

static void fix_deinit(struct fix *f)
{
    f->loop = loop_free(f->loop);
    CHECK(fs_remove_tree(f->dir, NULL));
}

static void on_done(void *arg, const struct cni_result *result, const struct err *err)
{
    struct fix *f = arg;
    CHECK(!result == (err != NULL));
    f->done = true;
    f->err = err ? *err : (struct err){ 0 };
    f->result = result ? *result : (struct cni_result){ 0 };
}

static void wait(struct fix *f)
{
    CHECK(!f->done);
    for (int i = 0; i < 1000 && !f->done; i++) {
        loop_turn(f->loop, 10);
    }
    CHECK(f->done);
    f->done = false;
}

static void check_said(struct fix *f, const char *plugin, const char *want, bool there)
{
    char path[128];
    struct err err = { 0 };
    CLEANUP(buf_deinit) struct buf b;
    buf_init(&b, 65536);
    snprintf(path, sizeof(path), "%s/said-%s", f->dir, plugin);
    CHECK(fs_read(path, 65536, &b, &err));
    if ((str_find(buf_str(&b), str_c(want)) >= 0) != there) {
        printf("  %s: %s: %s\n", there ? "missing" : "not expected", want, buf_str(&b).ptr);
        CHECK(false);
    }
}

#define LIST "{\"cniVersion\":\"0.4.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"first\",\"x\":1},{\"type\":\"second\",\"capabilities\":{\"portMappings\":true}}]}"
static const struct cni_port port = { "tcp", 8080, 80, STR_INIT("127.0.0.1") };
static const struct cni_pod pod = { .id = STR_INIT("abc123"), .name = STR_INIT("web"), .ns = STR_INIT("shop"), .uid = STR_INIT("u1"), .ports = &port, .n_ports = 1 };

TEST(plugins_run_in_order_and_each_sees_what_the_one_before_it_said)
{
    struct fix f;
    struct cni_result r;
    struct err err = { 0 };
    fix_init(&f);
    CHECK(!cni_ready(&f.dirs, &err));
    put(&f, "conf/10-a.conflist", LIST, 0644);
    put(&f, "conf/20-b.conf", "{\"cniVersion\":\"0.3.1\",\"name\":\"other\",\"type\":\"none\"}", 0644);
    CHECK(cni_ready(&f.dirs, &err));
    (void)cni_add(f.loop, &f.dirs, &pod, "/proc/9/ns/net", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_NONE);
    CHECK_INT(f.result.n_ips, 2);
    CHECK(strcmp(f.result.ips[0], "10.1.2.3") == 0 && strcmp(f.result.ips[1], "fd00::3") == 0);
    check_said(&f, "first", "ADD abc123 /proc/9/ns/net eth0 IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc123;K8S_POD_UID=u1", true);
    check_said(&f, "first", "{\"type\":\"first\",\"x\":1,\"name\":\"net\",\"cniVersion\":\"0.4.0\"}", true);
    check_said(&f, "first", "runtimeConfig", false);
    check_said(&f, "second", "\"prevResult\":{\"cniVersion\":\"0.4.0\",\"ips\":", true);
    check_said(&f, "second", "\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\",\"hostIP\":\"127.0.0.1\"}]}", true);
    CHECK(cni_remembered(&f.dirs, STR("abc123"), &r));
    CHECK_INT(r.n_ips, 2);
    (void)cni_check(f.loop, &f.dirs, STR("abc123"), "/proc/9/ns/net", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_NONE);
    check_said(&f, "second", "CHECK abc123", true);
    fix_deinit(&f);
}

TEST(what_was_given_is_given_back_under_the_configuration_of_then)
{
    struct fix f;
    struct cni_result r;
    char path[160];
    fix_init(&f);
    put(&f, "conf/10-a.conflist", LIST, 0644);
    (void)cni_add(f.loop, &f.dirs, &pod, "/proc/9/ns/net", on_done, &f);
    wait(&f);
    snprintf(path, sizeof(path), "%s/conf/10-a.conflist", f.dir);
    CHECK(unlink(path) == 0);
    (void)cni_del(f.loop, &f.dirs, STR("abc123"), "", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_NONE);
    check_said(&f, "first", "DEL abc123  eth0 IgnoreUnknown=1;K8S_POD_NAMESPACE=shop", true);
    check_said(&f, "second", "DEL abc123", true);
    CHECK(!cni_remembered(&f.dirs, STR("abc123"), &r));
    /* Nothing is left: success, again and again. */
    (void)cni_del(f.loop, &f.dirs, STR("abc123"), "", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_NONE);
    (void)cni_del(f.loop, &f.dirs, STR("../../etc/x"), "", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_INVALID);
    fix_deinit(&f);
}

TEST(a_plugin_that_fails_says_why_and_can_be_undone)
{
    struct fix f;
    fix_init(&f);
    put(&f, "conf/10-a.conflist", LIST, 0644);
    put(&f, "fail-second", "", 0644);
    (void)cni_add(f.loop, &f.dirs, &pod, "/proc/9/ns/net", on_done, &f);
    wait(&f);
    CHECK(strcmp(f.err.msg, "CNI plugin second: no room: try later") == 0);
    char path[128];
    snprintf(path, sizeof(path), "%s/fail-second", f.dir);
    CHECK(unlink(path) == 0);
    (void)cni_del(f.loop, &f.dirs, STR("abc123"), "/proc/9/ns/net", on_done, &f);
    wait(&f);
    CHECK_INT(f.err.code, ERR_NONE);
    check_said(&f, "first", "DEL abc123 /proc/9/ns/net", true);
    put(&f, "conf/10-a.conflist", "{\"cniVersion\":\"0.4.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"../../bin/sh\"}]}", 0644);
    (void)cni_add(f.loop, &f.dirs, &pod, "/proc/9/ns/net", on_done, &f);
    wait(&f);
    CHECK(strstr(f.err.msg, "is no CNI plugin's name"));
    /* One that is cancelled is killed. */
    put(&f, "bin/first", "#!/bin/sh\nexec sleep 100\n", 0755);
    put(&f, "conf/10-a.conflist", LIST, 0644);
    struct cni_run *r = cni_add(f.loop, &f.dirs, &pod, "/proc/9/ns/net", on_done, &f);
    for (int i = 0; i < 5; i++) {
        loop_turn(f.loop, 5);
    }
    (void)cni_cancel(r);
    CHECK(!f.done);
    fix_deinit(&f);
}
