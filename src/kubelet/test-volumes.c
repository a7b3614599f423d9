#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "kubelet/mounts.h"
#include "kubelet/test-kubelet.h"

struct fixture {
    struct test_world w;
    struct arena a;
    struct err err;
    struct pod *pod;
    bool done, failed;
};

/* A pod "web" in "ns" with one container "app"; 'volumes' is the JSON of the list, 'more' further fields of the spec. */
static void start_with(struct fixture *f, bool apiserver, const char *volumes, const char *more)
{
    char json[8192];
    memset(f, 0, sizeof(*f));
    test_world_init(&f->w, apiserver);
    arena_init(&f->a, 4 << 20);
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"web\",\"namespace\":\"ns\",\"uid\":\"u-1\",\"annotations\":{\"x\":\"\\u0001\\ta\\r\\u00e9\\\\\"},\"labels\":{\"app\":\"web\",\"q\":\"a\\\"b\\nc\"}},"
             "\"spec\":{\"serviceAccountName\":\"robot\",\"containers\":[{\"name\":\"app\",\"resources\":{\"limits\":{\"memory\":\"8Mi\",\"cpu\":\"250m\"}}}],"
             "\"volumes\":%s%s}}",
             volumes, more);
    f->pod = test_pod(&f->w, json);
}

static void start(struct fixture *f, bool apiserver, const char *volumes)
{
    start_with(f, apiserver, volumes, "");
}

static void end(struct fixture *f)
{
    arena_deinit(&f->a);
    test_world_deinit(&f->w);
}

static void on_fetched(void *arg, const struct err *err)
{
    struct fixture *f = arg;
    f->done = true;
    f->failed = err != NULL;
    if (err) {
        f->err = *err;
    }
}

/* Fetches what the volume shows and sets it up. */
static bool setup(struct fixture *f, const char *name)
{
    struct volume v;
    struct object_need needs[OBJECT_NEEDS_MAX];
    f->err = (struct err){ 0 };
    CHECK_OK(volume_find(f->pod, str_c(name), &v, &f->err), &f->err);
    if (v.ops->needs) {
        size_t n = v.ops->needs(&v, needs, ARRAY_SIZE(needs));
        f->done = false;
        objects_fetch(f->w.k.objects, f->pod, needs, n, 0, on_fetched, f);
        test_wait(&f->w, &f->done);
        if (f->failed) {
            return false;
        }
    }
    return v.ops->setup(&v, &f->err);
}

#define VOLUMES "pods/u-1/volumes/kubernetes.io~"

/* ---- emptyDir ---- */

TEST(empty_dir_is_for_everybody_and_then_the_containers_own)
{
    struct fixture f;
    char path[PATH_MAX];
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]");
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "empty-dir/d"), 0777);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d", f.w.k.root);
    CHECK(chmod(path, 0700) == 0);
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "empty-dir/d"), 0700);
    end(&f);
}

TEST(empty_dir_that_was_half_made_is_finished)
{
    struct fixture f;
    char path[PATH_MAX];
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]");
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d", f.w.k.root);
    CHECK_OK(fs_mkdirs(path, 0700, &f.err), &f.err);
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "empty-dir/d"), 0777);
    end(&f);
}

TEST(empty_dir_belongs_to_the_pods_group)
{
    struct fixture f;
    struct stat st;
    char path[PATH_MAX];
    if (geteuid() != 0) {
        test_skip("groups are given by root");
    }
    start_with(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]", ",\"securityContext\":{\"fsGroup\":2000}");
    CHECK_OK(setup(&f, "d"), &f.err);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d", f.w.k.root);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_gid, 2000);
    CHECK_INT(st.st_mode & 07777, 02777);
    end(&f);
}

static long long size_of(struct fixture *f, const char *name)
{
    char path[PATH_MAX];
    long long size = 0;
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/%s/file", f->w.k.root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (long long mib = 1; mib <= 32 && fallocate(fd, 0, (mib - 1) << 20, 1 << 20) == 0; mib++) {
        size = mib;
    }
    close(fd);
    return size;
}

TEST(empty_dir_in_memory_is_bounded_by_its_limit_and_the_pods)
{
    struct fixture f;
    test_needs_mounts();
    start(&f, false, "[{\"name\":\"own\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"3Mi\"}},{\"name\":\"pod\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1Gi\"}}]");
    CHECK_OK(setup(&f, "own"), &f.err);
    CHECK_OK(setup(&f, "pod"), &f.err);
    CHECK_INT(size_of(&f, "own"), 3);
    CHECK_INT(size_of(&f, "pod"), 8);
    CHECK_OK(volumes_teardown(f.pod, &f.err), &f.err);
    CHECK_INT(test_mode(&f.w, "pods/u-1"), -1);
    end(&f);
}

TEST(empty_dir_of_an_unknown_medium_is_refused)
{
    struct fixture f;
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{\"medium\":\"HugePages\"}}]");
    CHECK(!setup(&f, "d"));
    CHECK(strstr(f.err.msg, "HugePages") != NULL);
    end(&f);
}

/* ---- hostPath ---- */

static bool host_path(const char *root, const char *name, const char *type, char *ret_error, size_t size)
{
    struct fixture f;
    char json[2048];
    snprintf(json, sizeof(json), "[{\"name\":\"h\",\"hostPath\":{\"path\":\"%s/%s\"%s%s%s}}]", root, name, type ? ",\"type\":\"" : "", type ? type : "",
             type ? "\"" : "");
    start(&f, false, json);
    bool ok = setup(&f, "h");
    snprintf(ret_error, size, "%.200s", f.err.msg);
    end(&f);
    return ok;
}

TEST(host_path_types_are_checked_and_made)
{
    static const struct {
        const char *name, *type, *wrong;
    } cases[] = {
        { "dir", "Directory", NULL },
        { "file", "Directory", "is not a directory" },
        { "missing", "Directory", "is not a directory" },
        { "file", "File", NULL },
        { "dir", "File", "is not a file" },
        { "fifo", "File", "is not a file" },
        { "fifo", "Socket", "is not a socket file" },
        { "file", "CharDevice", "is not a character device" },
        { "file", "BlockDevice", "is not a block device" },
        { "file", "DirectoryOrCreate", "is not a directory" },
        { "new/dir", "DirectoryOrCreate", NULL },
        { "new/dir", "FileOrCreate", "is not a file" },
        { "new/dir/file", "FileOrCreate", NULL },
        { "dir/no/such/file", "FileOrCreate", "cannot make" },
        { "fifo", NULL, NULL },
        { "fifo", "", NULL },
        { "dir", "Folder", "is not known" },
    };
    struct test_world w;
    struct err err = { 0 };
    char path[PATH_MAX], message[256];
    test_world_init(&w, false);
    snprintf(path, sizeof(path), "%s/dir", w.k.root);
    CHECK_OK(fs_mkdirs(path, 0755, &err), &err);
    snprintf(path, sizeof(path), "%s/fifo", w.k.root);
    CHECK(mkfifo(path, 0600) == 0);
    test_write(&w, "file", "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool ok = host_path(w.k.root, cases[i].name, cases[i].type, message, sizeof(message));
        if (ok != !cases[i].wrong || (cases[i].wrong && !strstr(message, cases[i].wrong))) {
            printf("  case %zu: %s\n", i, message);
        }
        CHECK(ok == !cases[i].wrong);
        CHECK(!cases[i].wrong || strstr(message, cases[i].wrong));
    }
    CHECK_INT(test_mode(&w, "new/dir") & 0700, 0700);
    test_world_deinit(&w);
}

/* ---- objects ---- */

#define CONFIG_MAP "/api/v1/namespaces/ns/configmaps/conf"
#define SECRET "/api/v1/namespaces/ns/secrets/sec"

TEST(config_map_shows_its_keys_and_follows_changes)
{
    struct fixture f;
    start(&f, true, "[{\"name\":\"c\",\"configMap\":{\"name\":\"conf\",\"defaultMode\":416}}]");
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"a\":\"1\",\"b\":\"2\"},\"binaryData\":{\"c\":\"AAE=\"}}");
    CHECK_OK(setup(&f, "c"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/c/a"), "1");
    CHECK_STR(test_file(&f.w, &f.a, VOLUMES "configmap/c/c"), STR("\0\1"));
    CHECK_INT(test_mode(&f.w, VOLUMES "configmap/c/a"), 0640);
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"a\":\"3\"}}");
    CHECK_OK(setup(&f, "c"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/c/a"), "3");
    CHECK_INT(test_mode(&f.w, VOLUMES "configmap/c/b"), -1);
    end(&f);
}

TEST(config_map_that_cannot_be_read_any_more_stays_as_it_was)
{
    struct fixture f;
    start(&f, true, "[{\"name\":\"c\",\"configMap\":{\"name\":\"conf\"}}]");
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"a\":\"1\"}}");
    CHECK_OK(setup(&f, "c"), &f.err);
    test_route(&f.w, "GET", CONFIG_MAP, 403, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"no\",\"reason\":\"Forbidden\",\"code\":403}");
    CHECK_OK(setup(&f, "c"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/c/a"), "1");
    end(&f);
}

TEST(items_choose_keys_paths_and_modes)
{
    struct fixture f;
    start(&f, true, "[{\"name\":\"c\",\"configMap\":{\"name\":\"conf\",\"items\":[{\"key\":\"a\",\"path\":\"x/y\",\"mode\":256}]}},"
                    "{\"name\":\"bad\",\"configMap\":{\"name\":\"conf\",\"items\":[{\"key\":\"zzz\",\"path\":\"z\"}]}},"
                    "{\"name\":\"perhaps\",\"configMap\":{\"name\":\"conf\",\"optional\":true,\"items\":[{\"key\":\"zzz\",\"path\":\"z\"},{\"key\":\"b\",\"path\":\"b\"}]}}]");
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
    CHECK_OK(setup(&f, "c"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/c/x/y"), "1");
    CHECK_INT(test_mode(&f.w, VOLUMES "configmap/c/x/y"), 0400);
    CHECK_INT(test_mode(&f.w, VOLUMES "configmap/c/b"), -1);
    CHECK(!setup(&f, "bad"));
    CHECK_STR_C(str_c(f.err.msg), "configmap \"conf\" references non-existent key: zzz");
    CHECK_OK(setup(&f, "perhaps"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/perhaps/b"), "2");
    end(&f);
}

TEST(missing_object_is_an_error_unless_it_is_optional)
{
    struct fixture f;
    start(&f, true, "[{\"name\":\"c\",\"configMap\":{\"name\":\"conf\"}},{\"name\":\"o\",\"configMap\":{\"name\":\"conf\",\"optional\":true}}]");
    CHECK(!setup(&f, "c"));
    CHECK_STR_C(str_c(f.err.msg), "configmap \"conf\" not found");
    CHECK_OK(setup(&f, "o"), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "configmap/o/..data"), 0755);
    /* It comes. */
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"a\":\"1\"}}");
    for (int i = 0; i < 60; i++) {
        loop_turn(f.w.k.loop, 20); /* that it is missing is remembered for a second */
    }
    CHECK_OK(setup(&f, "o"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "configmap/o/a"), "1");
    end(&f);
}

TEST(secret_never_touches_the_disk)
{
    struct fixture f;
    char dir[PATH_MAX];
    bool mounted;
    test_needs_mounts();
    start(&f, true, "[{\"name\":\"s\",\"secret\":{\"secretName\":\"sec\"}}]");
    test_route(&f.w, "GET", SECRET, 200, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"sec\"},\"data\":{\"password\":\"aHVudGVyMg==\"}}");
    CHECK_OK(setup(&f, "s"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "secret/s/password"), "hunter2");
    snprintf(dir, sizeof(dir), "%s/" VOLUMES "secret/s", f.w.k.root);
    CHECK_OK(mounts_has(dir, &mounted, &f.err), &f.err);
    CHECK(mounted);
    CHECK_OK(volumes_teardown(f.pod, &f.err), &f.err);
    CHECK_INT(test_mode(&f.w, "pods/u-1"), -1);
    end(&f);
}

TEST(downward_api_shows_fields_as_the_documentation_words_them)
{
    struct fixture f;
    test_needs_mounts();
    start(&f, false, "[{\"name\":\"d\",\"downwardAPI\":{\"items\":["
                     "{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}},"
                     "{\"path\":\"notes\",\"fieldRef\":{\"fieldPath\":\"metadata.annotations\"}},"
                     "{\"path\":\"one\",\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"},\"mode\":256},"
                     "{\"path\":\"name\",\"fieldRef\":{\"fieldPath\":\"metadata.name\"}},"
                     "{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"app\",\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}},"
                     "{\"path\":\"cpus\",\"resourceFieldRef\":{\"containerName\":\"app\",\"resource\":\"limits.cpu\"}},"
                     "{\"path\":\"memory\",\"resourceFieldRef\":{\"containerName\":\"app\",\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}]}},"
                     "{\"name\":\"bad\",\"downwardAPI\":{\"items\":[{\"path\":\"x\",\"fieldRef\":{\"fieldPath\":\"spec.nothing\"}}]}}]");
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/labels"), "app=\"web\"\nq=\"a\\\"b\\nc\"");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/notes"), "x=\"\\x01\\ta\\r\u00e9\\\\\"");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/one"), "web");
    CHECK_INT(test_mode(&f.w, VOLUMES "downward-api/d/one"), 0400);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/name"), "web");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/cpu"), "250");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/cpus"), "1");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "downward-api/d/memory"), "8");
    CHECK(!setup(&f, "bad"));
    end(&f);
}

/* ---- projected, tokens ---- */

#define TOKEN "/api/v1/namespaces/ns/serviceaccounts/robot/token"

static const char *token_json(struct fixture *f, const char *token, int64_t life_s)
{
    char stamp[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(clock_real_s() + life_s, 0, 0, stamp);
    return arena_printf(&f->a, "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"token\":\"%s\",\"expirationTimestamp\":\"%s\"}}",
                        token, stamp).ptr;
}

#define PROJECTED "[{\"name\":\"p\",\"projected\":{\"defaultMode\":420,\"sources\":[" \
    "{\"serviceAccountToken\":{\"path\":\"token\",\"expirationSeconds\":3607}}," \
    "{\"configMap\":{\"name\":\"conf\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}}," \
    "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}]}}]}}]"

TEST(projected_joins_token_certificate_and_namespace)
{
    struct fixture f;
    test_needs_mounts();
    start(&f, true, PROJECTED);
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"ca.crt\":\"PEM\",\"x\":\"y\"}}");
    struct test_route *t = test_route(&f.w, "POST", TOKEN, 201, token_json(&f, "first", 3607));
    CHECK_OK(setup(&f, "p"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "projected/p/token"), "first");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "projected/p/ca.crt"), "PEM");
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "projected/p/namespace"), "ns");
    CHECK_INT(test_mode(&f.w, VOLUMES "projected/p/x"), -1);
    CHECK_INT(test_mode(&f.w, VOLUMES "projected/p/token"), 0644);
    CHECK(strstr(t->body, "\"expirationSeconds\":3607") && strstr(t->body, "\"uid\":\"u-1\"") && strstr(t->body, "\"name\":\"web\"") &&
          strstr(t->body, "\"kind\":\"Pod\""));
    end(&f);
}

TEST(token_is_asked_for_again_when_most_of_its_life_is_over)
{
    struct fixture f;
    test_needs_mounts();
    start(&f, true, PROJECTED);
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"ca.crt\":\"PEM\"}}");
    struct test_route *t = test_route(&f.w, "POST", TOKEN, 201, token_json(&f, "long", 3600));
    CHECK_OK(setup(&f, "p"), &f.err);
    CHECK_OK(setup(&f, "p"), &f.err);
    CHECK_INT(t->asked, 1);
    end(&f);

    start(&f, true, PROJECTED);
    test_route(&f.w, "GET", CONFIG_MAP, 200, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"conf\"},\"data\":{\"ca.crt\":\"PEM\"}}");
    test_route(&f.w, "POST", TOKEN, 201, token_json(&f, "short", 1));
    CHECK_OK(setup(&f, "p"), &f.err);
    t = test_route(&f.w, "POST", TOKEN, 201, token_json(&f, "fresh", 3600));
    CHECK_OK(setup(&f, "p"), &f.err);
    CHECK_INT(t->asked, 1);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "projected/p/token"), "fresh");
    /* The apiserver is away: what there is stays. */
    test_route(&f.w, "POST", TOKEN, 403, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"no\",\"reason\":\"Forbidden\",\"code\":403}");
    CHECK_OK(setup(&f, "p"), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, VOLUMES "projected/p/token"), "fresh");
    end(&f);
}

static void check_token(const char *more, int want_mode, int want_uid, int want_gid)
{
    struct fixture f;
    struct stat st;
    char path[PATH_MAX];
    start_with(&f, true, "[{\"name\":\"p\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"token\"}}]}}]", more);
    test_route(&f.w, "POST", TOKEN, 201, token_json(&f, "t", 3600));
    CHECK_OK(setup(&f, "p"), &f.err);
    snprintf(path, sizeof(path), "%s/" VOLUMES "projected/p/token", f.w.k.root);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_mode & 07777, want_mode);
    CHECK_INT(st.st_uid, want_uid);
    CHECK_INT(st.st_gid, want_gid);
    end(&f);
}

TEST(token_is_for_those_who_must_read_it)
{
    test_needs_mounts();
    check_token("", 0644, 0, 0);
    check_token(",\"securityContext\":{\"runAsUser\":1000}", 0600, 1000, 0);
    check_token(",\"securityContext\":{\"runAsUser\":1000,\"fsGroup\":7}", 0640, 1000, 7);
    check_token(",\"securityContext\":{\"fsGroup\":7}", 0640, 0, 7);
    check_token(",\"securityContext\":{\"runAsUser\":1000},\"initContainers\":[{\"name\":\"i\",\"securityContext\":{\"runAsUser\":1}}]", 0644, 0, 0);
}

/* ---- the whole, subPath ---- */

TEST(volume_of_an_unknown_kind_is_named)
{
    struct fixture f;
    struct volume v;
    start(&f, false, "[{\"name\":\"n\",\"nfs\":{\"server\":\"s\",\"path\":\"/\"}}]");
    CHECK(!volume_find(f.pod, STR("n"), &v, &f.err));
    CHECK(strstr(f.err.msg, "\"n\"") != NULL);
    CHECK(!volume_find(f.pod, STR("other"), &v, &f.err));
    CHECK_INT(f.err.code, ERR_NOT_FOUND);
    end(&f);
}

static bool subpath(struct fixture *f, const char *volume, size_t index, const char *sub, char dst[PATH_MAX])
{
    struct volume v;
    f->err = (struct err){ 0 };
    CHECK_OK(volume_find(f->pod, str_c(volume), &v, &f->err), &f->err);
    return volume_subpath(&v, "app", index, str_c(sub), dst, &f->err);
}

TEST(sub_path_is_made_with_the_volumes_mode_and_bound)
{
    struct fixture f;
    char dst[PATH_MAX];
    struct err err = { 0 };
    test_needs_mounts();
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]");
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_OK(subpath(&f, "d", 0, "a//b/", dst), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "empty-dir/d/a/b"), 0777);
    CHECK(strstr(dst, "/pods/u-1/volume-subpaths/d/app/0") != NULL);
    test_write(&f.w, VOLUMES "empty-dir/d/a/b/file", "x");
    CHECK_STR_C(test_file(&f.w, &f.a, "pods/u-1/volume-subpaths/d/app/0/file"), "x");
    /* The next run of the container. */
    CHECK_OK(subpath(&f, "d", 0, "a/b/file", dst), &f.err);
    CHECK_STR_C(test_file(&f.w, &f.a, "pods/u-1/volume-subpaths/d/app/0"), "x");
    CHECK_OK(volumes_teardown(f.pod, &err), &err);
    CHECK_INT(test_mode(&f.w, "pods/u-1"), -1);
    end(&f);
}

TEST(sub_path_never_leaves_its_volume)
{
    struct fixture f;
    char dst[PATH_MAX], path[PATH_MAX];
    test_needs_mounts();
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]");
    CHECK_OK(setup(&f, "d"), &f.err);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d/out", f.w.k.root);
    CHECK(symlink("/etc", path) == 0);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d/up", f.w.k.root);
    CHECK(symlink("../..", path) == 0);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d/in", f.w.k.root);
    CHECK(symlink("inner", path) == 0);
    CHECK(!subpath(&f, "d", 0, "out", dst));
    CHECK(!subpath(&f, "d", 0, "out/coracle-test-kubelet", dst));
    CHECK(!subpath(&f, "d", 0, "up", dst));
    CHECK(!subpath(&f, "d", 0, "up/new", dst));
    CHECK(!subpath(&f, "d", 0, "in/../..", dst));
    CHECK(strstr(f.err.msg, "must not contain '..'") != NULL);
    CHECK(!subpath(&f, "d", 0, "/etc", dst));
    CHECK(strstr(f.err.msg, "must not be an absolute path") != NULL);
    CHECK(access("/etc/coracle-test-kubelet", F_OK) < 0);
    CHECK_INT(test_mode(&f.w, "pods/u-1/volumes/new"), -1);
    /* A link that stays inside is followed. */
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d/inner", f.w.k.root);
    CHECK(mkdir(path, 0755) == 0);
    CHECK_OK(subpath(&f, "d", 0, "in/made", dst), &f.err);
    CHECK_INT(test_mode(&f.w, VOLUMES "empty-dir/d/inner/made"), 0777);
    end(&f);
}

TEST(sub_path_that_is_swapped_for_a_link_afterwards_changes_nothing)
{
    struct fixture f;
    char dst[PATH_MAX], path[PATH_MAX], away[PATH_MAX];
    test_needs_mounts();
    start(&f, false, "[{\"name\":\"d\",\"emptyDir\":{}}]");
    CHECK_OK(setup(&f, "d"), &f.err);
    CHECK_OK(subpath(&f, "d", 1, "mine", dst), &f.err);
    snprintf(path, sizeof(path), "%s/" VOLUMES "empty-dir/d/mine", f.w.k.root);
    snprintf(away, sizeof(away), "%s/" VOLUMES "empty-dir/d/away", f.w.k.root);
    CHECK(rename(path, away) == 0 && symlink("/etc", path) == 0);
    test_write(&f.w, VOLUMES "empty-dir/d/away/marker", "mine");
    /* What the runtime is told is still the folder that was checked. */
    CHECK_STR_C(test_file(&f.w, &f.a, "pods/u-1/volume-subpaths/d/app/1/marker"), "mine");
    snprintf(path, sizeof(path), "%.4000s/passwd", dst);
    CHECK(access(path, F_OK) < 0);
    end(&f);
}

TEST(teardown_never_deletes_through_a_mount)
{
    struct fixture f;
    char json[2048], host[PATH_MAX / 2], dst[PATH_MAX];
    struct test_world w;
    struct err err = { 0 };
    test_needs_mounts();
    test_world_init(&w, false);
    snprintf(host, sizeof(host), "%s/host", w.k.root);
    CHECK_OK(fs_mkdirs(host, 0755, &err), &err);
    snprintf(host, sizeof(host), "%s/host/sub", w.k.root);
    CHECK_OK(fs_mkdirs(host, 0755, &err), &err);
    test_write(&w, "host/sub/precious", "1");
    snprintf(json, sizeof(json), "[{\"name\":\"h\",\"hostPath\":{\"path\":\"%s/host\"}}]", w.k.root);
    start(&f, false, json);
    CHECK_OK(setup(&f, "h"), &f.err);
    for (size_t i = 0; i < 300; i++) {
        CHECK_OK(subpath(&f, "h", i, "sub", dst), &f.err);
    }
    CHECK_OK(volumes_teardown(f.pod, &f.err), &f.err);
    CHECK_INT(test_mode(&f.w, "pods/u-1"), -1);
    CHECK_INT(test_mode(&w, "host/sub/precious"), 0644);
    end(&f);
    test_world_deinit(&w);
}

/* ---- claims ---- */

#define CLAIM "/api/v1/namespaces/ns/persistentvolumeclaims/data"
#define VOLUME "/api/v1/persistentvolumes/pv-1"
#define CLAIM_JSON(status) \
    "{\"kind\":\"PersistentVolumeClaim\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"data\",\"uid\":\"c-1\"},\"spec\":{\"volumeName\":\"pv-1\"},\"status\":{" status "}}"
#define VOLUME_JSON(uid, source) \
    "{\"kind\":\"PersistentVolume\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"pv-1\"},\"spec\":{\"claimRef\":{\"uid\":\"" uid "\"}," source "}}"

static bool setup_claim(struct fixture *f, const char *claim, const char *volume)
{
    test_route(&f->w, "GET", CLAIM, 200, claim);
    test_route(&f->w, "GET", VOLUME, 200, volume);
    (void)setup(f, "d"); /* the claim, which says of which volume it is */
    return setup(f, "d");
}

static void make_file(const char *path)
{
    CLEANUP(fs_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
}

TEST(a_claim_leads_to_its_volumes_folder_and_goes_on_doing_so)
{
    struct fixture f;
    char json[2 * PATH_MAX], local[PATH_MAX], path[PATH_MAX];
    struct volume v;
    start_with(&f, true, "[{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}]", geteuid() == 0 ? ",\"securityContext\":{\"fsGroup\":1234}" : "");
    snprintf(local, sizeof(local), "%s/disk", f.w.k.root);
    CHECK(mkdir(local, 0700) == 0);
    snprintf(path, sizeof(path), "%.3000s/host", f.w.k.root);
    make_file(path);
    snprintf(path, sizeof(path), "%.3000s/sub", local);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof(path), "%.3000s/sub/file", local);
    make_file(path);
    snprintf(path, sizeof(path), "%.3000s/sub/link", local);
    CHECK(symlink("../../host", path) == 0);
    snprintf(json, sizeof(json), VOLUME_JSON("c-1", "\"local\":{\"path\":\"%s\"}"), local);
    CHECK(!setup_claim(&f, CLAIM_JSON("\"phase\":\"Pending\""), json));
    CHECK_STR_C(str_c(f.err.msg), "PVC data is not bound");
    CHECK_OK(setup_claim(&f, CLAIM_JSON("\"phase\":\"Bound\""), json), &f.err);
    CHECK_OK(volume_find(f.pod, STR("d"), &v, &f.err), &f.err);
    CHECK(volume_path(&v, path) && strcmp(path, local) == 0);
    if (geteuid() == 0) {
        struct stat st;
        CHECK(stat(local, &st) == 0 && st.st_gid == 1234 && (st.st_mode & 07777) == 02770);
        snprintf(path, sizeof(path), "%.3000s/sub/file", local);
        CHECK(stat(path, &st) == 0 && st.st_gid == 1234 && (st.st_mode & 07777) == 0660);
        snprintf(path, sizeof(path), "%.3000s/sub/link", local);
        CHECK(lstat(path, &st) == 0 && st.st_gid == 1234);
        CHECK(stat(path, &st) == 0 && st.st_gid != 1234 && (st.st_mode & 07777) == 0600); /* the host's file behind it */
    }
    CHECK(!setup_claim(&f, CLAIM_JSON("\"phase\":\"Bound\""), VOLUME_JSON("another", "\"local\":{\"path\":\"/\"}")));
    CHECK(volume_path(&v, path) && strcmp(path, local) == 0); /* a later failure leaves what there is */
    end(&f);
}

TEST(a_claim_whose_volume_cannot_be_had_says_why)
{
    static const struct {
        const char *volume, *why;
    } cases[] = {
        { VOLUME_JSON("another", "\"hostPath\":{\"path\":\"/tmp\"}"), "bound to another claim than data" },
        { VOLUME_JSON("c-1", "\"local\":{\"path\":\"/nowhere/at/all\"}"), "the local volume /nowhere/at/all" },
        { VOLUME_JSON("c-1", "\"hostPath\":{\"path\":\"/nowhere/at/all\",\"type\":\"Directory\"}"), "/nowhere/at/all is not a directory" },
        { VOLUME_JSON("c-1", "\"nfs\":{\"server\":\"s\",\"path\":\"/\"}"), "of a kind that this kubelet does not have" },
    };
    struct fixture f;
    start(&f, true, "[{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}]");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK(!setup_claim(&f, CLAIM_JSON("\"phase\":\"Bound\""), cases[i].volume));
        CHECK(str_find(str_c(f.err.msg), str_c(cases[i].why)) >= 0);
    }
    end(&f);
}
