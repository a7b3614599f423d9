/*
 * The user's own kubeconfig: a cluster, a user and a context of one name are put into it, or taken out, and all else in it stays
 * (comments excepted, as with kubectl). The file keeps its owner.
 */
#ifndef CLUSTER_USER_CONFIG_H
#define CLUSTER_USER_CONFIG_H

#include "client/kubeconfig.h"
#include "cluster/place.h"

/* The file that kubectl would write to: 'flag' when not empty, the first of $KUBECONFIG, or ~/.kube/config. */
MUST_CHECK bool user_config_path(struct str flag, char dst[PATH_MAX], struct err *err);
/* "coracle", or "coracle-NAME". */
void user_config_context(const struct place *place, char dst[64]);
/* Sets the entries named 'name' and makes them the current context. */
MUST_CHECK bool user_config_add(const char *path, const char *name, const struct client_config *config, struct err *err);
/* Gives the entries named 'name' these certificates, where there still is a user of that name; the current context stays. */
MUST_CHECK bool user_config_renew(const char *path, const char *name, const struct client_config *config, struct err *err);
/* Removes them; a current context of that name is unset. An absent file or entry is fine. */
MUST_CHECK bool user_config_remove(const char *path, const char *name, struct err *err);

#endif
