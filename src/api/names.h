/*
 * The shapes of names, labels and keys, and what Kubernetes says about one that does not have its shape. A check adds its
 * messages to a struct names_errs (prepared with {0}) and returns whether there were none; the caller puts the field before
 * each ("metadata.name: Invalid value: ..."). Messages are constants.
 */
#ifndef API_NAMES_H
#define API_NAMES_H

#include "base/str.h"

#define NAMES_MAX 6

struct names_errs {
    const char *msg[NAMES_MAX];
    unsigned n;
};

bool names_dns1123_label(struct str s, struct names_errs *e);     /* at most 63, a-z 0-9 '-' */
bool names_dns1123_subdomain(struct str s, struct names_errs *e); /* at most 253, labels joined by '.' */
bool names_dns1035_label(struct str s, struct names_errs *e);     /* the first a letter: names of services once were */
bool names_wildcard_subdomain(struct str s, struct names_errs *e); /* "*.example.com" */
bool names_qualified(struct str s, struct names_errs *e);         /* label and annotation keys, finalizers: "prefix/Name" */
bool names_label_value(struct str s, struct names_errs *e);       /* at most 63, may be empty */
bool names_path_segment(struct str s, struct names_errs *e);      /* names of RBAC objects: no '/', no '%', not "." */
bool names_port_name(struct str s, struct names_errs *e);         /* of a container or service port: at most 15 */
bool names_config_key(struct str s, struct names_errs *e);        /* of ConfigMap and Secret data */
bool names_env_var(struct str s, struct names_errs *e);           /* printable ASCII without '=' */
bool names_http_header(struct str s, struct names_errs *e);
bool names_c_identifier(struct str s, struct names_errs *e);
bool names_percent(struct str s, struct names_errs *e);           /* "25%" */
bool names_port_number(int64_t port, struct names_errs *e);       /* 1 to 65535 */

#endif
