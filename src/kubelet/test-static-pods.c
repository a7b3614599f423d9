/* Static pods from a folder. */
#include "kubelet/test-fixture.h"

#include <unistd.h>

#include "base/fs.h"

static void put(struct fixture *f, const char *name, const char *text)
{
    char path[256];
    struct err err = { 0 };
    snprintf(path, sizeof(path), "%s/manifests/%s", f->dir, name);
    CHECK_OK(fs_write_atomic(path, str_c(text), 0644, &err), &err);
}

/* Lets inotify and its small delay pass. */
static void notice(struct fixture *f)
{
    for (int i = 0; i < 8; i++) {
        loop_turn(f->k.loop, 50);
    }
    fixture_settle(f);
}

static bool runs(struct fixture *f, const char *name)
{
    const struct fake_container *c = fixture_run(f, name);
    return c && c->state == CRI_V1_CONTAINER_STATE_CONTAINER_RUNNING;
}

TEST(static_pods_follow_their_files)
{
    struct fixture f;
    struct err err = { 0 };
    char dir[128], path[256];
    fixture_init(&f);
    snprintf(dir, sizeof(dir), "%s/manifests", f.dir);
    CHECK(fs_mkdirs(dir, 0755, &err));
    f.cfg.pod_manifest_path = str_c(dir);
    f.cfg.file_check_ms = 60000;
    put(&f, "one.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: a, image: 'x:1'}]}\n");
    put(&f, "bad.yaml", "kind: [\n");
    put(&f, ".hidden", "apiVersion: v1\nkind: Pod\nmetadata: {name: no}\nspec: {containers: [{name: n1, image: 'x:1'}]}\n");
    statics_start(&f.k);
    fixture_settle(&f);
    CHECK(runs(&f, "a") && !fixture_run(&f, "n1"));
    struct pod *p = pods_find_name(&f.k, STR("default"), STR("one-n1"));
    CHECK(p && p->source == POD_FROM_FILE);
    char uid[96];
    snprintf(uid, sizeof(uid), "%s", p->uid);
    /* A changed file is another pod. */
    put(&f, "one.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: b, image: 'x:1'}]}\n");
    notice(&f);
    CHECK(pods_find(&f.k, str_c(uid)) == NULL);
    CHECK(runs(&f, "b"));
    /* One that is gone ends its pod. */
    snprintf(path, sizeof(path), "%s/one.yaml", dir);
    CHECK(unlink(path) == 0);
    notice(&f);
    CHECK(!runs(&f, "b"));
    CHECK(pods_find_name(&f.k, STR("default"), STR("one-n1")) == NULL);
    statics_stop(&f.k);
    fixture_deinit(&f);
}
