#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/fixture.h"
#include "controllers/controllers.h"
#include "net/loop.h"

#define VOLUME(name, phase, more)                                                                                                  \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"uid-" name "\",\"resourceVersion\":\"1\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"}," \
    "\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/data\"}" more "},\"status\":{\"phase\":\"" phase "\"}}"
#define CLAIM(meta, spec, status)                                                                                                  \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"u\",\"resourceVersion\":\"1\"" meta "},\"spec\":{\"accessModes\":["   \
    "\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}" spec "},\"status\":{" status "}}"
#define REF(uid) ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"" uid "\"}"
#define BOUND ",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\"}"
#define PENDING "\"phase\":\"Pending\""

static void put_volume(struct fixture *f, const char *json)
{
    fixture_put(f, "", "v1", "persistentvolumes", json);
}

static void put_claim(struct fixture *f, const char *json)
{
    fixture_put(f, "", "v1", "persistentvolumeclaims", json);
}

static void put_class(struct fixture *f, const char *provisioner, const char *mode)
{
    char json[512];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"fast\",\"uid\":\"k\",\"resourceVersion\":\"1\"},\"provisioner\":\"%s\",\"volumeBindingMode\":\"%s\"}",
             provisioner, mode);
    fixture_put(f, "storage.k8s.io", "v1", "storageclasses", json);
}

TEST(binding_writes_the_volume_first_and_then_the_claim)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_volume(&f, VOLUME("v", "Pending", ""));
    CHECK(strstr(fixture_pass(&f, "volume/v"), "PUT persistentvolumes /v/status ") != NULL);
    CHECK(strstr(f.out.ptr, "\"phase\":\"Available\"") != NULL);
    put_volume(&f, VOLUME("v", "Available", ""));
    put_claim(&f, CLAIM("", "", PENDING));
    const char *out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "PUT persistentvolumes /v ") == out);
    CHECK(strstr(out, "\"annotations\":{\"pv.kubernetes.io/bound-by-controller\":\"yes\"}") != NULL);
    CHECK(strstr(out, "\"claimRef\":{\"kind\":\"PersistentVolumeClaim\",\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"u\",\"apiVersion\":\"v1\"") != NULL);
    put_volume(&f, VOLUME("v", "Available", REF("u")));
    CHECK_INT(fixture_count(fixture_pass(&f, "volume/v"), "PUT"), 0); /* not bound before the claim says so, too */
    out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "PUT persistentvolumeclaims d/c ") == out && strstr(out, "\"volumeName\":\"v\"") != NULL);
    CHECK(strstr(out, "\"pv.kubernetes.io/bind-completed\":\"yes\",\"pv.kubernetes.io/bound-by-controller\":\"yes\"") != NULL);
    put_claim(&f, CLAIM(BOUND, ",\"volumeName\":\"v\"", PENDING));
    out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "PUT persistentvolumeclaims d/c/status ") == out);
    CHECK(strstr(out, "\"status\":{\"phase\":\"Bound\",\"accessModes\":[\"ReadWriteOnce\"],\"capacity\":{\"storage\":\"1Gi\"}") != NULL);
    CHECK(strstr(fixture_pass(&f, "volume/v"), "\"phase\":\"Bound\"") != NULL);
    fixture_deinit(&f);
}

TEST(a_claim_that_names_its_volume_gets_that_or_is_told_why_not)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_claim(&f, CLAIM("", ",\"volumeName\":\"v\",\"storageClassName\":\"slow\"", PENDING));
    CHECK_INT(fixture_count(fixture_pass(&f, "claim/d/c"), "PUT"), 0);
    put_volume(&f, VOLUME("v", "Available", ""));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Warning VolumeMismatch: Cannot bind to requested volume \"v\": storageClassName does not match") != NULL);
    CHECK_INT(fixture_count(fixture_pass(&f, "claim/d/c"), "event"), 0); /* told once */
    put_volume(&f, VOLUME("v", "Bound", ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"other\",\"uid\":\"x\"}"));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Warning FailedBinding: volume \"v\" already bound to a different claim.") != NULL);
    put_volume(&f, VOLUME("v", "Available", ",\"storageClassName\":\"slow\""));
    CHECK_INT(fixture_count(fixture_pass(&f, "claim/d/c"), "PUT persistentvolumes /v "), 1);
    fixture_deinit(&f);
}

TEST(a_claim_without_a_volume_waits_and_says_for_what)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_claim(&f, CLAIM("", "", PENDING));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Normal FailedBinding: no persistent volumes available for this claim and no storage class is set") != NULL);
    put_claim(&f, CLAIM("", ",\"storageClassName\":\"fast\"", PENDING));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Warning ProvisioningFailed: storageclass.storage.k8s.io \"fast\" not found") != NULL);
    put_class(&f, "kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    put_volume(&f, VOLUME("v", "Available", ",\"storageClassName\":\"fast\"")); /* the scheduler's to choose */
    const char *out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "event Normal WaitForFirstConsumer: waiting for first consumer to be created before binding") == out);
    fixture_put(&f, "", "v1", "pods", "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\",\"uid\":\"p\",\"resourceVersion\":\"1\"},\"spec\":{\"volumes\":[{\"name\":\"x\","
                                      "\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Normal WaitForPodScheduled: waiting for pod p to be scheduled") != NULL);
    put_volume(&f, VOLUME("v", "Available", ",\"storageClassName\":\"fast\"" REF("u"))); /* chosen */
    CHECK_INT(fixture_count(fixture_pass(&f, "claim/d/c"), "\"volumeName\":\"v\""), 1);
    fixture_deinit(&f);
}

TEST(an_external_provisioner_is_told_by_an_annotation)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_class(&f, "disks.example.com", "Immediate");
    put_claim(&f, CLAIM("", ",\"storageClassName\":\"fast\"", PENDING));
    const char *out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "PUT persistentvolumeclaims d/c ") == out);
    CHECK(strstr(out, "\"annotations\":{\"volume.beta.kubernetes.io/storage-provisioner\":\"disks.example.com\",\"volume.kubernetes.io/storage-provisioner\":"
                      "\"disks.example.com\"}") != NULL);
    put_claim(&f, CLAIM(",\"annotations\":{\"volume.kubernetes.io/storage-provisioner\":\"disks.example.com\"}", ",\"storageClassName\":\"fast\"", PENDING));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner "
                                                "'disks.example.com' or manually") != NULL);
    fixture_deinit(&f);
}

TEST(a_bound_claim_that_loses_its_volume_is_lost)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_claim(&f, CLAIM(BOUND, ",\"volumeName\":\"v\"", "\"phase\":\"Bound\""));
    const char *out = fixture_pass(&f, "claim/d/c");
    CHECK(strstr(out, "\"phase\":\"Lost\"") != NULL);
    CHECK(strstr(out, "event Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!") != NULL);
    put_volume(&f, VOLUME("v", "Bound", ",\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\",\"uid\":\"another\"}"));
    CHECK(strstr(fixture_pass(&f, "claim/d/c"), "event Warning ClaimMisbound") != NULL);
    fixture_deinit(&f);
}

TEST(a_volume_whose_claim_is_gone_is_released_and_its_policy_followed)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_volume(&f, VOLUME("v", "Bound", REF("u") ",\"persistentVolumeReclaimPolicy\":\"Retain\""));
    const char *out = fixture_pass(&f, "volume/v");
    CHECK(strstr(out, "GET persistentvolumeclaims d/c") < strstr(out, "PUT persistentvolumes /v/status") && strstr(out, "\"phase\":\"Released\"") != NULL);
    put_volume(&f, VOLUME("v", "Released", REF("u") ",\"persistentVolumeReclaimPolicy\":\"Retain\""));
    CHECK_INT(fixture_count(fixture_pass(&f, "volume/v"), "PUT"), 0);
    put_volume(&f, VOLUME("v", "Released", REF("u") ",\"persistentVolumeReclaimPolicy\":\"Delete\""));
    out = fixture_pass(&f, "volume/v");
    CHECK(strstr(out, "\"phase\":\"Failed\",\"message\":\"host_path deleter only supports /tmp/.+ but received provided /data\"") != NULL);
    CHECK(strstr(out, "event Warning VolumeFailedDelete: host_path deleter only supports") != NULL);
    CHECK_INT(fixture_count(out, "DELETE"), 0);
    fixture_deinit(&f);
}

struct waiting {
    struct loop *loop;
    const char *path;
    struct loop_timer timer;
    int left;
};

static void look_again(void *arg)
{
    struct waiting *w = arg;
    if (access(w->path, F_OK) < 0 || w->left-- == 0) {
        loop_stop(w->loop);
    } else {
        loop_timer_start(&w->timer, 5);
    }
}

/* Runs the loop until the path is gone and a moment longer, for what the worker answers. */
static void turn(struct fixture *f, const char *path)
{
    struct waiting w = { .loop = f->loop, .path = path, .left = 1000 };
    for (int i = 0; i < 2; i++) {
        loop_timer_init(&w.timer, f->loop, look_again, &w);
        loop_timer_start(&w.timer, 20);
        loop_run(f->loop);
    }
}

TEST(a_host_path_below_tmp_is_deleted_with_its_volume)
{
    struct fixture f;
    char dir[] = "/tmp/coracle-volume.XXXXXX", file[64], json[1024];
    CHECK(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/data", dir);
    CHECK(mkdir(file, 0700) == 0);
    fixture_init(&f, &controller_volume_binder);
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"v\",\"uid\":\"uid-v\",\"resourceVersion\":\"1\"},\"spec\":{\"hostPath\":{\"path\":\"%s\"},"
             "\"persistentVolumeReclaimPolicy\":\"Delete\"" REF("u") "},\"status\":{\"phase\":\"Released\"}}", dir);
    put_volume(&f, json);
    CHECK_INT(fixture_count(fixture_pass(&f, "volume/v"), "DELETE"), 0);
    turn(&f, dir);
    CHECK(access(dir, F_OK) < 0);
    CHECK(strstr(fixture_pass(&f, "volume/v"), "DELETE persistentvolumes /v ") != NULL);
    fixture_put(&f, "", "v1", "persistentvolumes",
                "{\"metadata\":{\"name\":\"w\",\"uid\":\"uid-w\",\"resourceVersion\":\"1\"},\"spec\":{\"hostPath\":{\"path\":\"/tmp/../etc\"},"
                "\"persistentVolumeReclaimPolicy\":\"Delete\"" REF("u") "},\"status\":{\"phase\":\"Released\"}}");
    CHECK(strstr(fixture_pass(&f, "volume/w"), "host_path deleter only supports /tmp/.+") != NULL);
    fixture_deinit(&f);
}

TEST(a_volume_whose_claim_has_another_is_free_again)
{
    struct fixture f;
    fixture_init(&f, &controller_volume_binder);
    put_claim(&f, CLAIM(BOUND, ",\"volumeName\":\"other\"", "\"phase\":\"Bound\""));
    put_volume(&f, "{\"metadata\":{\"name\":\"v\",\"uid\":\"uid-v\",\"resourceVersion\":\"1\",\"annotations\":{\"pv.kubernetes.io/bound-by-controller\":\"yes\"}},"
                   "\"spec\":{\"capacity\":{\"storage\":\"1Gi\"}" REF("u") "},\"status\":{\"phase\":\"Available\"}}");
    const char *out = fixture_pass(&f, "volume/v");
    CHECK(strstr(out, "PUT persistentvolumes /v ") == out && !strstr(out, "claimRef") && !strstr(out, "bound-by-controller"));
    put_volume(&f, VOLUME("v", "Available", REF("u"))); /* an administrator's claimRef stays, without the uid */
    out = fixture_pass(&f, "volume/v");
    CHECK(strstr(out, "\"claimRef\":{\"namespace\":\"d\",\"name\":\"c\"}") != NULL);
    fixture_deinit(&f);
}

TEST(what_is_in_use_keeps_its_finalizer)
{
    struct fixture f;
    fixture_init(&f, &controller_claim_protection);
    put_claim(&f, CLAIM("", "", PENDING));
    CHECK(strstr(fixture_pass(&f, "d/c"), "\"finalizers\":[\"kubernetes.io/pvc-protection\"]") != NULL);
    put_claim(&f, CLAIM(",\"finalizers\":[\"x/y\",\"kubernetes.io/pvc-protection\"],\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"", "", PENDING));
    fixture_put(&f, "", "v1", "pods", "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\",\"uid\":\"p\",\"resourceVersion\":\"1\"},\"spec\":{\"nodeName\":\"n\","
                                      "\"volumes\":[{\"name\":\"t\",\"emptyDir\":{}},{\"name\":\"x\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    CHECK_INT(fixture_count(fixture_pass(&f, "d/c"), "PUT"), 0);
    fixture_put(&f, "", "v1", "pods", "{\"metadata\":{\"namespace\":\"d\",\"name\":\"p\",\"uid\":\"p\",\"resourceVersion\":\"1\"},\"spec\":{"
                                      "\"volumes\":[{\"name\":\"x\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    CHECK_INT(fixture_count(fixture_pass(&f, "d/c"), "PUT"), 0); /* the server is asked first, which may know of another pod */
    CHECK_INT(fixture_count(fixture_pass(&f, "d/c"), "PUT"), 0);
    fixture_deinit(&f);
    fixture_init(&f, &controller_volume_protection);
    put_volume(&f, "{\"metadata\":{\"name\":\"v\",\"uid\":\"uid-v\",\"resourceVersion\":\"1\",\"finalizers\":[\"kubernetes.io/pv-protection\"],"
                   "\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Bound\"}}");
    CHECK_INT(fixture_count(fixture_pass(&f, "v"), "PUT"), 0);
    put_volume(&f, "{\"metadata\":{\"name\":\"v\",\"uid\":\"uid-v\",\"resourceVersion\":\"1\",\"finalizers\":[\"kubernetes.io/pv-protection\"],"
                   "\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Released\"}}");
    const char *out = fixture_pass(&f, "v");
    CHECK(strstr(out, "PUT persistentvolumes /v ") == out && !strstr(out, "finalizers"));
    fixture_deinit(&f);
}
