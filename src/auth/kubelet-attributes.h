/* What a request to the kubelet's server asks for, as attributes of the "nodes" resource (Kubernetes documentation, "Kubelet
 * authentication/authorization"). */
#ifndef AUTH_KUBELET_ATTRIBUTES_H
#define AUTH_KUBELET_ATTRIBUTES_H

#include "auth/authz.h"

#define KUBELET_ATTRIBUTES_MAX 2

/*
 * Fills the attributes to ask for, best first: one of them allowed is enough (a finer subresource, then "proxy"). Returns how many.
 *   /stats stats   /metrics metrics   /logs log   /spec spec   /checkpoint checkpoint   /statusz statusz   /flagz configz   (each with what is below)
 *   /pods /runningpods pods, then proxy   /healthz healthz, then proxy   /configz configz, then proxy   all else proxy
 * The verb is that of the method (POST create, GET get, PUT update, PATCH patch, DELETE delete), but what runs something in a
 * container or opens a stream (exec, attach, run, portforward) is always "create": a WebSocket upgrade comes as GET and must not pass
 * with the right to read.
 */
size_t kubelet_attributes(const struct auth_user *user, struct str method, struct str path, struct str node,
                          struct authz_attributes ret[KUBELET_ATTRIBUTES_MAX]);

#endif
