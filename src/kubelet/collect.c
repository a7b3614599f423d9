/* Housekeeping: rotation of container logs, and removal of images that nobody uses when the disk fills up. */
#include "kubelet/kubelet-private.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/log.h"
#include "kubelet/machine-info.h"

#define LOOK_MS 10000
#define IMAGES_MS 300000

struct seen_image {
    uint64_t first_ms, used_ms;
};

struct collector {
    struct kubelet *k;
    struct loop_timer timer, images_timer;
    struct runtime_call *images_call;
    struct map seen; /* image id -> struct seen_image */
};

/* ---- logs ---- */

static void on_reopened(void *arg UNUSED, const void *response UNUSED, const struct err *err)
{
    if (err) {
        log_warning("a container's log cannot be reopened: %s", err->msg);
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name); /* newest first: names end in a time */
}

/* N.log.YYYYMMDD-HHMMSS: keeps the newest 'keep'. */
static void drop_old(const char *dir, const char *base, int keep)
{
    struct dirent **list = NULL;
    char path[PATH_MAX];
    int n = scandir(dir, &list, NULL, by_name);
    for (int i = 0, kept = 0; i < n; i++) {
        size_t len = strlen(base);
        if (strncmp(list[i]->d_name, base, len) == 0 && list[i]->d_name[len] == '.' && kept++ >= keep) {
            snprintf(path, sizeof(path), "%.3000s/%s", dir, list[i]->d_name);
            (void)unlink(path);
        }
        free(list[i]);
    }
    free(list);
}

static void rotate(struct pod_container *c, int64_t max)
{
    struct kubelet *k = c->pod->k;
    char dir[PATH_MAX], path[PATH_MAX], to[PATH_MAX], base[32], stamp[32];
    struct stat st;
    struct tm tm;
    time_t now = time(NULL);
    pod_log_dir(c->pod, dir);
    snprintf(base, sizeof(base), "%u.log", c->run.attempt);
    snprintf(path, sizeof(path), "%.3000s/%s/%s", dir, c->name, base);
    if (stat(path, &st) < 0 || st.st_size < max) {
        return;
    }
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
    snprintf(to, sizeof(to), "%.3500s.%s", path, stamp);
    if (rename(path, to) < 0) {
        return;
    }
    const struct cri_v1_reopen_container_log_request request = { .container_id = str_c(c->run.id) };
    (void)runtime_call(k->rt, &cri_v1_runtime_service_reopen_container_log_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_reopened, NULL);
    snprintf(to, sizeof(to), "%.3000s/%s", dir, c->name);
    drop_old(to, base, MAX(k->cfg->container_log_max_files - 1, 1));
}

static void on_look(void *arg)
{
    struct collector *g = arg;
    struct kubelet *k = g->k;
    struct pod *p;
    int64_t max = quantity_value(quantity_of(k->cfg->container_log_max_size));
    for (size_t pos = 0; max > 0 && !k->rt->rotates_logs && (p = pods_next(k, &pos));) {
        for (size_t i = 0; i < p->n_containers; i++) {
            if (container_is_running(p->containers[i])) {
                rotate(p->containers[i], max);
            }
        }
    }
    loop_timer_start(&g->timer, LOOK_MS);
}

/* ---- images ---- */

static void on_removed(void *arg UNUSED, const void *response UNUSED, const struct err *err)
{
    if (err) {
        log_warning("an image cannot be removed: %s", err->msg);
    }
}

static bool image_in_use(struct kubelet *k, const struct cri_v1_image *im)
{
    struct pod *p;
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        for (size_t i = 0; i < p->n_containers; i++) {
            struct pod_container *c = p->containers[i];
            if ((c->has_run && (str_eq_c(im->id, c->run.image_ref) || str_eq_c(im->id, c->run.image)))) {
                return true;
            }
            for (size_t j = 0; j < im->n_repo_tags; j++) {
                if ((c->spec && str_eq(c->spec->image, im->repo_tags[j])) || (c->has_run && str_eq_c(im->repo_tags[j], c->run.image))) {
                    return true;
                }
            }
            for (size_t j = 0; j < im->n_repo_digests; j++) {
                if (c->has_run && str_eq_c(im->repo_digests[j], c->run.image_ref)) {
                    return true;
                }
            }
        }
    }
    return false;
}

static void on_images(void *arg, const void *response, const struct err *err)
{
    struct collector *g = arg;
    struct kubelet *k = g->k;
    const struct cri_v1_list_images_response *r = response;
    struct disk_space disk;
    uint64_t now = loop_now_ms(k->loop);
    g->images_call = NULL;
    if (err || !machine_disk(k->root, &disk) || disk.total <= 0) {
        return;
    }
    int64_t used = 100 - disk.available * 100 / disk.total;
    int64_t goal = used >= k->cfg->image_gc_high ? (used - k->cfg->image_gc_low) * (disk.total / 100) : 0;
    for (size_t i = 0; i < r->n_images; i++) {
        const struct cri_v1_image *im = &r->images[i];
        struct seen_image *s = map_get(&g->seen, im->id);
        if (!s) {
            s = calloc(1, sizeof(*s));
            if (!s) {
                abort();
            }
            s->first_ms = s->used_ms = now;
            map_put(&g->seen, im->id, s);
        }
        bool pause = im->pinned;
        for (size_t j = 0; j < im->n_repo_tags; j++) {
            pause = pause || (k->cfg->pod_infra_image.len && str_eq(im->repo_tags[j], k->cfg->pod_infra_image)) || str_find(im->repo_tags[j], STR("/pause:")) >= 0;
        }
        if (image_in_use(k, im)) {
            s->used_ms = now;
        } else if (goal > 0 && !pause && now - s->first_ms >= (uint64_t)k->cfg->image_min_age_ms && k->pods_synced) {
            struct cri_v1_image_spec spec = { .image = im->id };
            const struct cri_v1_remove_image_request request = { .image = &spec };
            log_info("image %.*s is removed: the disk is %lld %% full", STR_ARG(im->id), (long long)used);
            (void)runtime_call(k->rt, &cri_v1_image_service_remove_image_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_removed, NULL);
            goal -= (int64_t)im->size;
        }
    }
}

static void on_images_due(void *arg)
{
    struct collector *g = arg;
    const struct cri_v1_list_images_request request = { 0 };
    loop_timer_start(&g->images_timer, IMAGES_MS);
    if (!g->images_call && g->k->cfg->image_gc_high < 100) {
        g->images_call = runtime_call(g->k->rt, &cri_v1_image_service_list_images_rpc, &request, KUBELET_CRI_TIMEOUT_MS, on_images, g);
    }
}

void collector_start(struct kubelet *k)
{
    struct collector *g = calloc(1, sizeof(*g));
    if (!g) {
        abort();
    }
    g->k = k;
    k->collector = g;
    map_init(&g->seen);
    loop_timer_init(&g->timer, k->loop, on_look, g);
    loop_timer_init(&g->images_timer, k->loop, on_images_due, g);
    loop_timer_start(&g->timer, LOOK_MS);
    loop_timer_start(&g->images_timer, IMAGES_MS);
}

void collector_stop(struct kubelet *k)
{
    struct collector *g = k->collector;
    void *s;
    struct str key;
    if (g) {
        loop_timer_stop(&g->timer);
        loop_timer_stop(&g->images_timer);
        runtime_cancel(k->rt, g->images_call);
        for (size_t pos = 0; map_next(&g->seen, &pos, &key, &s);) {
            free(s);
        }
        map_deinit(&g->seen);
        free(g);
        k->collector = NULL;
    }
}
