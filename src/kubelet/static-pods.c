/*
 * Static pods: manifests in a folder (or one file), watched by inotify and looked at now and then. Their uid is a hash of node and
 * manifest, so a changed file is another pod. Each has a mirror in the API that shows it there.
 */
#include "kubelet/kubelet-private.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/decode-json.h"
#include "api/default.h"
#include "api/encode-json.h"
#include "api/val-convert.h"
#include "api/yaml.h"
#include "base/fs.h"
#include "base/log.h"
#include "client/client.h"
#include "client/meta.h"

struct static_pods {
    struct kubelet *k;
    struct loop_timer timer;
    struct loop_io io;
    int inotify, parent; /* the watch on the folder that the folder or file is in */
    char name[256];      /* of the folder or file in it */
};

/* What a folder, or the folder of a single file, may tell: names that come, go, or were written. */
#define CHANGES (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE)

/* A watch is on an inode: the folder may be another one since, and a single file is replaced by renaming. So the parent is watched
 * for that name, and the folder for all. */
static void watch(struct static_pods *s, const char *root)
{
    char parent[PATH_MAX];
    struct stat st;
    snprintf(parent, sizeof(parent), "%s", root);
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/') {
        parent[--n] = '\0';
    }
    char *slash = strrchr(parent, '/');
    snprintf(s->name, sizeof(s->name), "%.255s", slash ? slash + 1 : parent);
    if (slash) {
        slash[slash == parent ? 1 : 0] = '\0';
    }
    s->parent = inotify_add_watch(s->inotify, slash ? parent : ".", CHANGES);
    if (stat(root, &st) == 0 && S_ISDIR(st.st_mode)) {
        (void)inotify_add_watch(s->inotify, root, CHANGES);
    }
}

static void stamp(struct kubelet *k, struct arena *a, struct core_v1_pod *o, struct str text)
{
    struct meta_v1_object_meta *m = &o->metadata;
    uint64_t h1 = str_fnv1a(text), h2 = str_fnv1a(str_c(k->node_name)) * 31 + str_fnv1a(m->name);
    struct str hash = arena_printf(a, "%016llx%016llx", (unsigned long long)h1, (unsigned long long)h2);
    m->uid = hash;
    m->name = arena_printf(a, "%.*s-%s", STR_ARG(m->name), k->node_name);
    if (!m->namespace.len) {
        m->namespace = STR("default");
    }
    struct api_str_pair *list = arena_new_n(a, struct api_str_pair, m->n_annotations + 2);
    for (size_t i = 0; list && i < m->n_annotations; i++) {
        list[i] = m->annotations[i];
    }
    if (list) {
        list[m->n_annotations++] = (struct api_str_pair){ STR("kubernetes.io/config.hash"), hash };
        list[m->n_annotations++] = (struct api_str_pair){ STR("kubernetes.io/config.source"), STR("file") };
        m->annotations = list;
    }
    o->spec.node_name = str_c(k->node_name);
    /* Static pods tolerate everything that would drive others off (documentation of static pods). */
    struct core_v1_toleration *t = arena_new_n(a, struct core_v1_toleration, o->spec.n_tolerations + 1);
    for (size_t i = 0; t && i < o->spec.n_tolerations; i++) {
        t[i] = o->spec.tolerations[i];
    }
    if (t) {
        t[o->spec.n_tolerations++] = (struct core_v1_toleration){ .operator = STR("Exists"), .effect = STR("NoExecute") };
        o->spec.tolerations = t;
    }
}

static void read_manifest(struct static_pods *s, const char *path, struct map *seen)
{
    struct arena a;
    struct val doc;
    struct err err = { 0 };
    struct buf b;
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    buf_init(&b, KUBELET_MAX_MANIFEST);
    struct core_v1_pod *o = arena_new(&a, struct core_v1_pod);
    if (o && fs_read(path, KUBELET_MAX_MANIFEST, &b, &err) && yaml_or_json_parse(&a, buf_str(&b), NULL, &doc, &err) &&
        api_from_val(&a, &core_v1_pod_type, &doc, NULL, o, &err) && api_default(&a, &core_v1_pod_type, o, NULL)) {
        if (!str_eq_c(o->kind, "Pod") || !o->metadata.name.len || !o->spec.n_containers) {
            log_warning("static pod %s: no Pod with a name and containers", path);
        } else {
            stamp(s->k, &a, o, buf_str(&b));
            map_put(seen, o->metadata.uid, s);
            pods_set(s->k, o, POD_FROM_FILE);
        }
    } else {
        log_warning("static pod %s: %s", path, err.msg);
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

static void look(void *arg)
{
    struct static_pods *s = arg;
    struct kubelet *k = s->k;
    char root[PATH_MAX], path[PATH_MAX];
    struct stat st;
    struct map seen;
    struct pod *p;
    map_init(&seen);
    if (s->inotify >= 0 && str_to_cstr(k->cfg->pod_manifest_path, root, sizeof(root))) {
        watch(s, root);
    }
    if (str_to_cstr(k->cfg->pod_manifest_path, root, sizeof(root)) && stat(root, &st) == 0) {
        DIR *d = S_ISDIR(st.st_mode) ? opendir(root) : NULL;
        if (!d) {
            read_manifest(s, root, &seen);
        }
        for (struct dirent *e; d && (e = readdir(d));) {
            snprintf(path, sizeof(path), "%.3000s/%s", root, e->d_name);
            if (e->d_name[0] != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
                read_manifest(s, path, &seen);
            }
        }
        if (d) {
            closedir(d);
        }
    }
    for (size_t pos = 0; (p = pods_next(k, &pos));) {
        if (p->source == POD_FROM_FILE && !p->gone && !map_has(&seen, str_c(p->uid))) {
            pods_gone(k, str_c(p->uid), POD_FROM_FILE);
        }
    }
    map_deinit(&seen);
    loop_timer_start(&s->timer, (uint64_t)MAX(k->cfg->file_check_ms, (int64_t)1000));
}

static void on_change(struct loop_io *io, unsigned events UNUSED, void *arg)
{
    struct static_pods *s = arg;
    char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool ours = false;
    for (ssize_t n; (n = read(io->fd, bytes, sizeof(bytes))) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(bytes + at);
            ours = ours || e->wd != s->parent || (e->len && strcmp(e->name, s->name) == 0) || (e->mask & IN_Q_OVERFLOW);
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
    if (ours) {
        loop_timer_start(&s->timer, 100); /* the writer may not be done */
    }
}

void statics_start(struct kubelet *k)
{
    char root[PATH_MAX];
    if (str_empty(k->cfg->pod_manifest_path) || !str_to_cstr(k->cfg->pod_manifest_path, root, sizeof(root))) {
        return;
    }
    struct static_pods *s = calloc(1, sizeof(*s));
    if (!s) {
        abort();
    }
    s->k = k;
    k->statics = s;
    loop_timer_init(&s->timer, k->loop, look, s);
    s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (s->inotify >= 0) {
        loop_io_init(&s->io, k->loop, s->inotify, on_change, s);
        (void)loop_io_set(&s->io, LOOP_READ);
    }
    look(s);
}

void statics_stop(struct kubelet *k)
{
    struct static_pods *s = k->statics;
    if (s) {
        loop_timer_stop(&s->timer);
        loop_io_stop(&s->io);
        if (s->inotify >= 0) {
            close(s->inotify);
        }
        free(s);
        k->statics = NULL;
    }
}

/* ---- mirrors ---- */

static const struct api_resource *pods_resource(void)
{
    return api_resource_find(STR_EMPTY, STR("v1"), STR("pods"));
}

static void on_mirror(void *data UNUSED, const struct client_answer *answer)
{
    if (answer->err && answer->err->code != ERR_ALREADY_EXISTS && answer->err->code != ERR_NOT_FOUND && answer->err->code != ERR_CONFLICT) {
        log_warning("a mirror pod cannot be written: %s", answer->err->msg);
    }
}

static void delete_mirror(struct pod *m)
{
    struct client_target t = { .resource = pods_resource(), .ns = str_c(m->ns), .name = str_c(m->name) };
    struct client_delete_options o = { .uid = str_c(m->uid), .grace_seconds = 0 };
    if (!m->delete_sent) {
        m->delete_sent = true;
        client_detach(client_delete(m->k->client, &t, &o, on_mirror, NULL));
    }
}

static void create_mirror(struct pod *p)
{
    struct arena a;
    const struct core_v1_node *node = node_object(p->k);
    arena_init(&a, KUBELET_MAX_WORK_ARENA);
    struct core_v1_pod o = *p->obj;
    struct meta_v1_object_meta *m = &o.metadata;
    struct api_str_pair *list = arena_new_n(&a, struct api_str_pair, m->n_annotations + 1);
    for (size_t i = 0; list && i < m->n_annotations; i++) {
        list[i] = m->annotations[i];
    }
    if (list && node) {
        list[m->n_annotations++] = (struct api_str_pair){ STR("kubernetes.io/config.mirror"), str_c(p->uid) };
        m->annotations = list;
        struct meta_v1_owner_reference owner = { .api_version = STR("v1"), .kind = STR("Node"), .name = node->metadata.name,
                                                 .uid = node->metadata.uid, .controller = true, .has_controller = true };
        m->owner_references = &owner;
        m->n_owner_references = 1;
        m->uid = STR_NULL;
        m->resource_version = STR_NULL;
        o.kind = STR("Pod");
        o.api_version = STR("v1");
        struct client_target t = { .resource = pods_resource(), .ns = m->namespace };
        client_detach(client_create(p->k->client, &t, NULL, &o, on_mirror, NULL));
    }
    arena_deinit(&a);
}

void statics_mirror(struct pod *p)
{
    struct kubelet *k = p->k;
    struct pod *other;
    if (!k->client || !k->pods_synced || !node_object(k)) {
        return; /* the Node owns mirrors; once it is there, all pods are looked at again */
    }
    if (p->mirror_only) {
        struct pod *own = pods_find_name(k, str_c(p->ns), str_c(p->name));
        bool wanted = own && own->source == POD_FROM_FILE && !own->gone && !p->gone && !p->deleting &&
                      str_eq_c(meta_annotation(&p->obj->metadata, STR("kubernetes.io/config.mirror")), own->uid);
        if (!wanted && !p->gone) {
            delete_mirror(p);
        }
        if (own && own->mirror != (wanted ? p : NULL) && own->source == POD_FROM_FILE) {
            own->mirror = wanted ? p : NULL;
            free(own->status_sent);
            own->status_sent = NULL;
            own->mirror_asked_ms = 0;
            pod_wake(own);
        }
        return;
    }
    if (p->gone || p->mirror) {
        return;
    }
    for (size_t pos = 0; (other = pods_next(k, &pos));) {
        if (other->mirror_only && strcmp(other->ns, p->ns) == 0 && strcmp(other->name, p->name) == 0) {
            pod_wake(other);
            return;
        }
    }
    uint64_t now = loop_now_ms(k->loop);
    if (!p->mirror_asked_ms || now - p->mirror_asked_ms > 10000) {
        p->mirror_asked_ms = now;
        create_mirror(p);
    }
}
