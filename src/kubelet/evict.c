/*
 * What volumes take: emptyDir volumes with a limit are measured every ten seconds, and a pod that went past one is evicted (Kubernetes
 * documentation, "Local ephemeral storage"). Volumes without a limit are measured while somebody asks for figures. One folder is
 * walked at a time, a few hundred entries a turn, so that a volume with a million files delays nobody.
 */
#include "kubelet/kubelet-private.h"

#include <stdlib.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "base/log.h"
#include "kubelet/disk-use.h"
#include "kubelet/volume.h"

/* How often limits are looked at; as the original's eviction manager. */
#define LOOK_MS 10000
/* How old a figure may be that nobody needs for a limit; as --volume-stats-agg-period. */
#define FIGURE_MS 60000
/* Who asked for figures is shown fresh ones for so long. */
#define WANTED_MS 180000
#define ENTRIES_A_TURN 400
#define PAUSE_MS 1
/* What an evicted pod's containers get; as the original's, since they may go on writing. */
#define EVICT_GRACE_S 1

struct job {
    struct job *next;
    char uid[96], volume[64];
};

struct measure {
    struct volume_use use;
    uint64_t at_ms;
    bool seen; /* in this round */
};

struct evictor {
    struct kubelet *k;
    struct loop_timer look, step;
    struct job *jobs; /* the first one is under way when 'walk' is there */
    struct disk_walk *walk;
    struct map measures; /* "uid/volume" -> struct measure */
    uint64_t wanted_until_ms;
};

static struct str key_of(char dst[200], const char *uid, const char *volume)
{
    snprintf(dst, 200, "%s/%s", uid, volume);
    return str_c(dst);
}

static int64_t limit_of(const struct core_v1_volume *v)
{
    const struct core_v1_empty_dir_volume_source *e = v->volume_source.empty_dir;
    return e && !e->medium.len && e->size_limit.len ? quantity_value(quantity_of(e->size_limit)) : 0; /* a tmpfs has its size */
}

static bool is_measured(const struct pod *p)
{
    return p->obj && !p->mirror_only && p->volumes_ready && !p->finished && !p->gone;
}

static struct job *pop(struct evictor *e)
{
    struct job *j = e->jobs;
    e->jobs = j->next;
    return j;
}

static void next(struct evictor *e)
{
    e->walk = disk_walk_free(e->walk);
    while (e->jobs && !e->walk) {
        struct pod *p = pods_find(e->k, str_c(e->jobs->uid));
        struct volume v;
        char dir[PATH_MAX];
        struct err err = { 0 };
        int rc;
        if (p && is_measured(p) && volume_find(p, str_c(e->jobs->volume), &v, &err) && volume_path(&v, dir)) {
            e->walk = disk_walk_new(dir, &rc);
        }
        if (!e->walk) {
            free(pop(e));
        }
    }
    if (e->walk) {
        loop_timer_start(&e->step, PAUSE_MS);
    }
}

static void check_limit(struct pod *p, const struct core_v1_volume *v, const struct disk_use *use)
{
    int64_t limit = limit_of(v);
    if (limit <= 0 || p->over_limit || (use->bytes <= (uint64_t)limit && !use->too_deep)) {
        return;
    }
    if (use->too_deep && use->bytes <= (uint64_t)limit) {
        snprintf(p->end_message, sizeof(p->end_message), "EmptyDir volume \"%.*s\" has more than %d folders within each other, and cannot be measured",
                 STR_ARG(v->name), DISK_USE_DEPTH);
    } else {
        snprintf(p->end_message, sizeof(p->end_message), "Usage of EmptyDir volume \"%.*s\" exceeds the limit \"%.*s\". ", STR_ARG(v->name),
                 STR_ARG(v->volume_source.empty_dir->size_limit));
    }
    snprintf(p->end_reason, sizeof(p->end_reason), "Evicted");
    p->over_limit = true;
    p->grace_s = EVICT_GRACE_S;
    log_info("pod %s/%s is evicted: %s", p->ns, p->name, p->end_message);
    pod_event(p, NULL, "Warning/Evicted", "%s", p->end_message);
    pod_wake(p);
}

static void keep_figure(struct evictor *e, const struct job *j, const struct disk_use *use)
{
    char key[200];
    struct measure *m = map_get(&e->measures, key_of(key, j->uid, j->volume));
    if (!m) {
        m = calloc(1, sizeof(*m));
        if (!m) {
            abort();
        }
        map_put(&e->measures, str_c(key), m);
    }
    *m = (struct measure){ .use = { .bytes = use->bytes, .inodes = use->inodes, .time_s = clock_real_s() }, .at_ms = loop_now_ms(e->k->loop), .seen = true };
}

/* The limit is looked at in each step: what is past it need not be walked to its end, which may be far. */
static void on_step(void *arg)
{
    struct evictor *e = arg;
    struct disk_use use;
    bool all = disk_walk_step(e->walk, ENTRIES_A_TURN, &use);
    struct pod *p = pods_find(e->k, str_c(e->jobs->uid));
    bool wanted = p && is_measured(p);
    for (size_t i = 0; wanted && i < p->obj->spec.n_volumes; i++) {
        if (str_eq_c(p->obj->spec.volumes[i].name, e->jobs->volume)) {
            check_limit(p, &p->obj->spec.volumes[i], &use);
        }
    }
    if (!all && wanted && !p->over_limit) {
        loop_timer_start(&e->step, PAUSE_MS);
        return;
    }
    if (all && wanted) {
        keep_figure(e, e->jobs, &use);
    }
    free(pop(e));
    next(e);
}

static void add_job(struct job ***end, const struct pod *p, struct str volume)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j) {
        abort();
    }
    snprintf(j->uid, sizeof(j->uid), "%s", p->uid);
    snprintf(j->volume, sizeof(j->volume), "%.*s", STR_ARG(volume));
    **end = j;
    *end = &j->next;
}

/* What is measured for pods that are no more goes. */
static void forget_unseen(struct evictor *e)
{
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&e->measures, &pos, &key, &value);) {
        if (!((struct measure *)value)->seen) {
            free(map_remove(&e->measures, key));
        }
    }
}

/* Begins a round, unless one is under way. */
void evictor_look(struct kubelet *k)
{
    struct evictor *e = k->evictor;
    struct job **end = &e->jobs;
    struct pod *p;
    uint64_t now = loop_now_ms(k->loop);
    struct str key;
    void *value;
    if (e->jobs) {
        return;
    }
    for (size_t pos = 0; map_next(&e->measures, &pos, &key, &value);) {
        ((struct measure *)value)->seen = false;
    }
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        for (size_t i = 0; is_measured(p) && i < p->obj->spec.n_volumes; i++) {
            const struct core_v1_volume *v = &p->obj->spec.volumes[i];
            char text[200], name[64];
            if (v->volume_source.host_path || !str_to_cstr(v->name, name, sizeof(name))) {
                continue; /* the host's files are nobody's use */
            }
            struct measure *m = map_get(&e->measures, key_of(text, p->uid, name));
            if (m) {
                m->seen = true;
            }
            if (limit_of(v) > 0 || (now < e->wanted_until_ms && (!m || now >= m->at_ms + FIGURE_MS))) {
                add_job(&end, p, v->name);
            }
        }
    }
    forget_unseen(e);
    next(e);
}

static void on_look(void *arg)
{
    struct evictor *e = arg;
    evictor_look(e->k);
    loop_timer_start(&e->look, LOOK_MS);
}

bool volume_use_of(struct pod *p, struct str volume, struct volume_use *ret)
{
    struct evictor *e = p->k->evictor;
    char key[200], name[64];
    if (!e || !str_to_cstr(volume, name, sizeof(name))) {
        return false;
    }
    if (loop_now_ms(p->k->loop) >= e->wanted_until_ms) {
        loop_timer_start(&e->look, 0);
    }
    e->wanted_until_ms = loop_now_ms(p->k->loop) + WANTED_MS;
    const struct measure *m = map_get(&e->measures, key_of(key, p->uid, name));
    if (m) {
        *ret = m->use;
    }
    return m != NULL;
}

void evictor_start(struct kubelet *k)
{
    struct evictor *e = calloc(1, sizeof(*e));
    if (!e) {
        abort();
    }
    e->k = k;
    k->evictor = e;
    map_init(&e->measures);
    loop_timer_init(&e->look, k->loop, on_look, e);
    loop_timer_init(&e->step, k->loop, on_step, e);
    loop_timer_start(&e->look, LOOK_MS);
}

void evictor_stop(struct kubelet *k)
{
    struct evictor *e = k->evictor;
    struct str key;
    void *value;
    if (!e) {
        return;
    }
    loop_timer_stop(&e->look);
    loop_timer_stop(&e->step);
    disk_walk_free(e->walk);
    while (e->jobs) {
        free(pop(e));
    }
    for (size_t pos = 0; map_next(&e->measures, &pos, &key, &value);) {
        free(value);
    }
    map_deinit(&e->measures);
    free(e);
    k->evictor = NULL;
}
