/* The strict look at objects of configuration files. */
#ifndef APISERVER_CONFIG_MEMBERS_H
#define APISERVER_CONFIG_MEMBERS_H

#include "api/val.h"
#include "base/err.h"

/* 'v' is an object, and every member is one of the 'n' names: what is mistyped would silently mean something else. 'path' is
 * where it stands, for the message. ERR_INVALID names the member that is not known. */
bool config_members_only(const struct val *v, const char *path, const char *const *names, size_t n, struct err *err);
#define CONFIG_MEMBERS_ONLY(v, path, err, ...) \
    config_members_only((v), (path), (const char *const[]){ __VA_ARGS__ }, ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })), (err))

#endif
