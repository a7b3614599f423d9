/*
 * Credentials for pulling an image, out of pull secrets (kubernetes.io/dockerconfigjson and the older dockercfg), as the API
 * documents them: a key names a registry, with or without scheme, port and path, and '*' stands for one label of the host.
 */
#ifndef KUBELET_IMAGE_AUTH_H
#define KUBELET_IMAGE_AUTH_H

#include "api/gen/core_v1.h"
#include "api/gen/cri_v1.h"
#include "base/arena.h"

/* "registry.example:5000/team/app:1" -> host "registry.example:5000", path "team/app". Short names are docker.io's. */
void image_name_split(struct str image, struct str *ret_host, struct str *ret_path);
/* The best match for the image in the secret: the longest key. False when there is none, or the secret cannot be read. */
bool image_auth_find(struct arena *a, const struct core_v1_secret *secret, struct str image, struct cri_v1_auth_config *ret);

#endif
