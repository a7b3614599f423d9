/*
 * metadata.managedFields: who owns which fields (KEP-555, "Server-Side Apply" in the Kubernetes documentation).
 *
 * An entry belongs to a manager: its name, operation, subresource and, for updates, apiVersion. After each write the fields that
 * changed belong to the writer; others lose them. Fields that the server itself keeps in metadata (names, uid, times, versions)
 * are never tracked. At most MANAGED_UPDATES_MAX update entries are kept: the oldest are folded into "ancient-changes".
 *
 * Upstream tracks early: right after the request's object is decoded and defaulted, before admission changes it and before the
 * kind prepares it (generated fields, status), so what those fill in belongs to nobody. What callers do (create, update, patch):
 *   1. managed_init() with the live entries (and, except for subresources, those that the request brought);
 *   2. managed_update_typed() with the object before and after, as structs of the request's version, both without managedFields; on
 *      create there is none before. managed_update() is the same for objects that are trees;
 *   3. managed_encode() into the new object.
 * A write that changes nothing but times in managedFields is none: see managed_same_but_times().
 */
#ifndef API_MANAGED_FIELDS_H
#define API_MANAGED_FIELDS_H

#include "api/fields-walk.h"

struct meta_v1_managed_fields_entry;

#define MANAGED_UPDATES_MAX 10
/* Longest manager name a request may give (fieldManager), bytes. */
#define MANAGED_NAME_MAX 128

struct managed_entry {
    struct str manager, subresource, api_version;
    bool apply;
    struct api_time time;
    struct fields set;
    /* Of a live entry: its text, and the set that was read from it. While they are the same the text need not be made anew.
     * 'unread': nobody needed the set so far, and 'set' is empty. */
    struct str text;
    struct fields read;
    bool unread;
};

struct managed {
    struct managed_entry *entries;
    size_t n, capacity;
};

/* Who writes, and how the object looks. */
struct managed_writer {
    struct str manager;     /* "" becomes "unknown" */
    struct str api_version; /* of the request: "apps/v1" */
    struct str subresource; /* "" for the object itself */
    int64_t now_sec;        /* becomes the entry's time */
    struct fields_at schema;
    const struct val *empty; /* an object of this type before anything is set: a zeroed struct's tree; for custom resources
                              * apiVersion and kind alone */
    /* Fields that this endpoint resets, with all below them: nobody comes to own them by it. "status" for an object that has a
     * status subresource, "spec" for that subresource (managed_reset_fields()). NULL: none. */
    const struct fields *ignore;
    /* The object's tree (of the request's version) in another version, with the schema there: for entries of that version. NULL,
     * or false: the versions have one shape. '*ret_drop': there is no such version any more, its entries go. */
    bool (*convert)(void *user, struct arena *a, struct str api_version, const struct val *v, struct val *ret,
                    struct fields_at *ret_schema, bool *ret_drop);
    /* The tree of a struct that was given to managed_update_typed(). */
    bool (*tree)(void *user, struct arena *a, const void *object, struct val *ret);
    void *user;
};

/* What an endpoint resets by the general rule: 'has_status' tells whether the resource has a status subresource. */
MUST_CHECK bool managed_reset_fields(struct arena *a, bool has_status, struct str subresource, struct fields *ret);

/* Entries as they are stored. False when one of them is no valid entry (operation, fieldsType, fieldsV1). */
MUST_CHECK bool managed_decode(struct arena *a, const struct meta_v1_managed_fields_entry *entries, size_t n,
                               struct managed *ret, struct err *err);
/* Which entries a write starts from, live ones unread: those of the request if it brought valid ones (a list with one empty entry clears them), else
 * those of the live object. For a subresource, pass none of the request. */
MUST_CHECK bool managed_init(struct arena *a, const struct meta_v1_managed_fields_entry *live, size_t n_live,
                             const struct meta_v1_managed_fields_entry *request, size_t n_request, struct managed *ret,
                             struct err *err);
/* Tracks a create ('live' is NULL), update or patch. An object without entries that is not being created stays untracked, as
 * upstream leaves objects whose entries were cleared. */
MUST_CHECK bool managed_update(struct arena *a, struct managed *m, const struct managed_writer *w, const struct val *live,
                               const struct val *object, struct err *err);
/* The same for structs of type 't'. */
MUST_CHECK bool managed_update_typed(struct arena *a, struct managed *m, const struct managed_writer *w, const struct api_type *t,
                                     const void *live, const void *object, struct err *err);
/* Reads the sets of all entries: before anybody looks at 'set'. One that cannot be read owns nothing. False past the budget. */
MUST_CHECK bool managed_read(struct arena *a, struct managed *m);
/* Entries as they are stored, in upstream's order: Apply before Update, then by time, manager, version, subresource. */
MUST_CHECK bool managed_encode(struct arena *a, struct managed *m, struct meta_v1_managed_fields_entry **ret, size_t *ret_n,
                               struct err *err);

/* Do two lists of entries differ in nothing but times? If the objects are the same otherwise, the write changed nothing and the old
 * entries stay. */
bool managed_same_but_times(const struct meta_v1_managed_fields_entry *x, size_t n_x,
                            const struct meta_v1_managed_fields_entry *y, size_t n_y);

/* ---- shared with apply.c ---- */

/* The entry of that manager, or NULL. */
struct managed_entry *managed_find(struct managed *m, struct str manager, bool apply, struct str api_version,
                                   struct str subresource);
/* Adds an entry; NULL past the budget. */
MUST_CHECK struct managed_entry *managed_add(struct arena *a, struct managed *m, const struct managed_entry *e);
/* Drops entries that own nothing, and fields of metadata that are not tracked. */
MUST_CHECK bool managed_tidy(struct arena *a, struct managed *m);
/* The difference of two trees of the writer's version, as an entry of 'api_version' sees it. */
MUST_CHECK bool managed_compare(struct arena *a, const struct managed_writer *w, struct str api_version, const struct val *from,
                                const struct val *to, struct fields_diff *ret, bool *ret_drop);

#endif
