/*
 * What a request asks for, read from method and path alone, before anything is looked up: the attributes that authorisation,
 * flow control and admission decide by. The rules are those of Kubernetes' request attributes ("Determine the Request Verb").
 *
 *   /api/v1/namespaces/a/pods/p/log        core v1, namespace a, resource pods, name p, subresource log
 *   /apis/apps/v1/deployments?watch=1      apps v1, all namespaces, verb watch
 *   /healthz                               no resource request: path and lower-case method
 */
#ifndef APISERVER_REQUEST_INFO_H
#define APISERVER_REQUEST_INFO_H

#include "base/arena.h"
#include "base/err.h"

struct request_info {
    bool is_resource;
    struct str path;   /* decoded, without the query */
    struct str verb;   /* get, list, watch, create, update, patch, delete, deletecollection; else the method in lower case */
    struct str prefix; /* "api" or "apis" */
    struct str group, version, ns, resource, subresource, name; /* "" where there is none */
    struct str rest;   /* what follows the subresource: the path of a proxy request, without leading slash */
    bool rest_slash;   /* the path went on after the subresource, perhaps with nothing but a slash */
};

/* 'method' in capitals; 'path' percent-decoded by the caller; 'query' raw ("a=b&c=d", may be absent). Everything lives in 'a' or
 * is borrowed from 'method', 'path'. */
MUST_CHECK bool request_info_parse(struct arena *a, struct str method, struct str path, struct str query,
                                   struct request_info *ret, struct err *err);

/* Query parameters: the first value of 'key', decoded into 'a'; absent when there is none. As in Go's net/url, a parameter whose escapes
 * are none is not there. */
struct str query_get(struct arena *a, struct str query, struct str key);
/* Every value of 'key'; the array lives in 'a'. */
size_t query_get_all(struct arena *a, struct str query, struct str key, struct str **ret_values);

#endif
