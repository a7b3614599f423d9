/*
 * Discovery: the documents that tell a client what is served. Built once from the table of resources (and again when the set
 * changes), then sent as they are.
 *
 *   /api, /apis, /apis/<group>        APIVersions, APIGroupList, APIGroup
 *   /api/v1, /apis/<group>/<version>  APIResourceList
 *   /api, /apis with Accept "…;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"   aggregated, with an ETag
 *   /                                 the list of paths
 *
 * Group and version order are upstream's priorities: clients show the first version and prefer the first group.
 */
#ifndef APISERVER_DISCOVERY_H
#define APISERVER_DISCOVERY_H

#include "api/type.h"
#include "base/err.h"

struct discovery;

struct discovery_doc {
    struct str path;      /* "/apis/apps/v1" */
    struct str json;
    const char *type;     /* descriptor for the other representations: "meta.v1.APIResourceList" */
    struct str etag;      /* aggregated documents; quoted, upper-case hex of the SHA-512 */
};

/* 'served' is what is on now; 'address' is "host:port" for serverAddressByClientCIDRs. Aborts when out of memory. */
struct discovery *discovery_new(const struct api_resource *const *served, size_t n_served, struct str address);
struct discovery *discovery_free(struct discovery *d);

/* The document at 'path' without trailing slash, or NULL. */
const struct discovery_doc *discovery_find(const struct discovery *d, struct str path, bool aggregated);
/* Is the group served at all, in any version? Decides between "404 page not found" and a Status. */
bool discovery_has_group(const struct discovery *d, struct str group);
/* "/": {"paths": […]}, indented. 'more' are the paths beyond the API's own, ended by NULL. */
struct str discovery_root(struct discovery *d, const char *const *more);

#endif
