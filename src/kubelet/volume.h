/*
 * Volumes: one file per kind, each exporting one 'const struct volume_ops', listed in volume.c. A volume's folder is
 * ROOT/pods/UID/volumes/PLUGIN/NAME. Making one is repeatable: it is done again to bring changed objects in.
 */
#ifndef KUBELET_VOLUME_H
#define KUBELET_VOLUME_H

#include "kubelet/objects.h"

struct volume {
    struct pod *pod;
    const struct core_v1_volume *spec;
    const struct volume_ops *ops;
    char dir[PATH_MAX];
};

struct volume_ops {
    const char *plugin; /* "kubernetes.io~empty-dir" */
    bool (*matches)(const struct core_v1_volume_source *s);
    /* The objects it shows; returns how many were written. Asked again once these are here: objects may lead to others. NULL: none. */
    size_t (*needs)(const struct volume *v, struct object_need *needs, size_t max);
    bool (*setup)(struct volume *v, struct err *err);
    /* Where it is on the host, when that is not its folder. */
    bool (*path)(const struct volume *v, char dst[PATH_MAX]);
    bool changes; /* set up again on a timer */
};

extern const struct volume_ops volume_empty_dir, volume_host_path, volume_config_map, volume_secret, volume_projected, volume_downward_api,
    volume_claim;

/* The volume by name; false when the pod has none. */
bool volume_find(struct pod *p, struct str name, struct volume *ret, struct err *err);
bool volume_path(const struct volume *v, char dst[PATH_MAX]);
/* An operation of the pod: fetches what all volumes need and sets them up; then p->volumes_ready or p->volume_error. */
void volumes_setup(struct pod *p);
/* Unmounts and removes everything of the pod's folder. False while something is still mounted. */
bool volumes_teardown(struct pod *p, struct err *err);
bool volumes_due(const struct pod *p);
/*
 * SubPath (volume-subpath.c). What 'sub' names below the volume is opened without ever leaving the volume, folders being made
 * where they are missing, and bound to a place of the kubelet's own, which is what the runtime is told ('dst'). So a container
 * that swaps a folder for a link afterwards changes nothing. 'index': of the mount, to tell places apart.
 */
MUST_CHECK bool volume_subpath(const struct volume *v, const char *container, size_t index, struct str sub, char dst[PATH_MAX],
                               struct err *err);

/* ---- what several kinds share ---- */

struct volume_file {
    struct str path; /* relative, checked */
    struct str data;
    uint32_t mode;
    int64_t owner; /* user id; -1: root's, like all others */
};
struct volume_files {
    struct arena *a;
    struct volume_file *items;
    size_t n, capacity;
    bool failed; /* the arena is full: write_all() refuses */
};
/* A second file of the same path replaces the first, as in a projected volume whose sources overlap. */
void volume_files_add(struct volume_files *f, struct str path, struct str data, uint32_t mode);
void volume_files_add_owned(struct volume_files *f, struct str path, struct str data, uint32_t mode, int64_t owner);
/* Files of a ConfigMap, Secret or of the downward API, by items or all keys. */
MUST_CHECK bool volume_files_config_map(struct volume_files *f, struct pod *p, struct str name, const struct core_v1_key_to_path *items,
                                        size_t n_items, bool optional, uint32_t mode, struct err *err);
MUST_CHECK bool volume_files_secret(struct volume_files *f, struct pod *p, struct str name, const struct core_v1_key_to_path *items,
                                    size_t n_items, bool optional, uint32_t mode, struct err *err);
MUST_CHECK bool volume_files_downward(struct volume_files *f, struct pod *p, const struct core_v1_downward_api_volume_file *items,
                                      size_t n_items, uint32_t mode, struct err *err);
/* Replaces the content of 'dir' at once: a new folder with a time in its name, and the link ..data moved to it. Nothing is
 * written when content and modes are the same. 'gid' -1: leave the group. */
MUST_CHECK bool atomic_write(const char *dir, const struct volume_file *files, size_t n, int64_t gid, struct err *err);
int64_t pod_fs_group(const struct pod *p);
/* Checks what spec's type asks for, and makes it where it says so. 'name' is the volume's, for the error. */
MUST_CHECK bool host_path_prepare(const struct core_v1_host_path_volume_source *s, struct str name, struct err *err);

#endif
