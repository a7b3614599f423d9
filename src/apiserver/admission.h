/*
 * Admission: plugins that change or refuse writes after authorisation.
 *
 * A plugin is one file in admission/, exporting one 'const struct admission_plugin', listed in admission/table.c in the order
 * upstream calls them. The mutate stage calls every enabled plugin's admit(), the validate stage its validate(). Objects are
 * typed structs of the resource's storage version in the request's arena; 'obj' is NULL on delete, 'old' on create. On CONNECT
 * (exec, attach, portforward, proxy) both are NULL.
 *
 * A hook returns STAGE_DONE to let the write pass, STAGE_ERROR after admission_deny() (or after filling r->status in another
 * way), or STAGE_WAIT when it needs to ask somebody: request_again() then calls the same stage once more, which starts with
 * the same plugin again; what the plugin has learned it keeps in attrs->plugin_data.
 */
#ifndef APISERVER_ADMISSION_H
#define APISERVER_ADMISSION_H

#include "api/type.h"
#include "apiserver/stage.h"
#include "base/err.h"

struct auth_user;
struct core_v1_namespace;
struct kind_world;
struct arena;

enum admission_op { ADMIT_CREATE = 1, ADMIT_UPDATE = 2, ADMIT_DELETE = 4, ADMIT_CONNECT = 8 };

struct admission_attrs {
    enum admission_op op;
    const struct api_resource *resource; /* storage version of what is written */
    struct str subresource;              /* "", "status", "eviction", … */
    struct str ns, name;                 /* "" where there is none; the name is final (generateName is resolved after admit()) */
    const struct api_type *type;         /* of obj and old: the resource's, or the subresource's (Eviction, Binding, TokenRequest, Scale) */
    void *obj;
    const void *old;
    const struct auth_user *user;
    bool dry_run;
    const struct core_v1_namespace *namespace_; /* of ns; ask admission_namespace() */
    void *plugin_data; /* of the plugin that waits */
};

struct admission_plugin {
    struct str name;   /* "NamespaceLifecycle", as in --enable-admission-plugins */
    unsigned ops;      /* set of enum admission_op */
    bool default_on;
    enum stage_result (*admit)(struct request *r, struct admission_attrs *attrs);    /* may be NULL */
    enum stage_result (*validate)(struct request *r, struct admission_attrs *attrs); /* may be NULL */
};

/* Ends with NULL; in calling order. */
extern const struct admission_plugin *const admission_plugins[];

/* Plugins in the table. */
size_t admission_count(void);

/* Is it group/resource that is written ("" is the core group) and, with 'subresource', exactly that one? */
bool admission_is(const struct admission_attrs *attrs, const char *group, const char *resource, const char *subresource);

/* Answers 403: 'pods "x" is forbidden: <reason>'. Returns STAGE_ERROR. */
PRINTF_LIKE(3, 4) enum stage_result admission_deny(struct request *r, const struct admission_attrs *attrs, const char *fmt, ...);

/* Adds a Warning header to the answer. */
PRINTF_LIKE(2, 3) void admission_warn(struct request *r, const char *fmt, ...);

/* Look-ups in the watch cache, answered at once. */
const struct kind_world *admission_world(const struct request *r);
/* The namespace that is written into, looked up once for all plugins; NULL: there is none, or it has no room in the arena. */
const struct core_v1_namespace *admission_namespace(struct request *r, struct admission_attrs *attrs);
/* The arena of the request. */
struct arena *admission_arena(struct request *r);

/* Which plugins run: the defaults, plus 'enable', minus 'disable' (comma-separated names). False with a reason for a name that
 * is none. 'ret_enabled' has one bool per plugin of the table. */
MUST_CHECK bool admission_select(struct str enable, struct str disable, bool *ret_enabled, size_t n, struct err *err);

#endif
