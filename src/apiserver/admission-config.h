/*
 * AdmissionConfiguration: the file of --admission-control-config-file. Of its plugins PodSecurity can be configured here; what it says for
 * another is refused by name, rather than not followed.
 */
#ifndef APISERVER_ADMISSION_CONFIG_H
#define APISERVER_ADMISSION_CONFIG_H

#include "apiserver/server.h"
#include "kinds/core/pod-security.h"

/* PodSecurityConfiguration: what holds where a namespace has no labels, and who is not asked. */
struct admission_config {
    struct arena arena;
    struct pod_security_policy defaults;
    struct str *users, *runtime_classes, *namespaces; /* exempt */
    size_t n_users, n_runtime_classes, n_namespaces;
};

/* Into s->admission_config; without a file everything is allowed and nobody exempt. */
MUST_CHECK bool admission_config_open(struct apiserver *s, struct err *err);
void admission_config_close(struct apiserver *s);
/* The file's text; 'dir' is the folder that relative paths in it begin at. For tests, too. */
MUST_CHECK bool admission_config_parse(struct admission_config *c, struct str text, struct str dir, struct err *err);

#endif
