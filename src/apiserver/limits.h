/* Every bound a peer can push against in this room, with its reason and its answer. */
#ifndef APISERVER_LIMITS_H
#define APISERVER_LIMITS_H

/* Upstream's limit of a request body (--max-request-bytes of etcd is below it). Answer: 413. */
#define REQUEST_MAX_BODY (3u << 20)
/* Memory of one request beyond its body: decoded objects, the object as loaded, encodings. A body of 3 MB of small values
 * decodes to about ten times its size; a list in protobuf or as a table is encoded piece by piece. Answer: 413. */
#define REQUEST_ARENA (192u << 20)
/* Memory of requests that ended, kept for the next ones: up to 64 KB each, as long as requests come. Answer: the heap. */
#define REQUEST_ARENAS_KEPT 16u
#define REQUEST_ARENAS_MS 5000u
/* Where the JSON of an object to be published begins to grow, so that most are never moved. */
#define PUBLISH_FIRST_BYTES 6144u
/* Objects that admission and validation look up again and again (Namespaces, ServiceAccounts, PriorityClasses …) which are kept decoded, and
 * the JSON and the struct above which one is not: 4 MB at most, in a cluster of two namespaces about 40 KB. */
#define WORLD_KNOWN 64u
#define WORLD_KNOWN_JSON 4096u
#define WORLD_KNOWN_BYTES (64u << 10)
/* Loads of one write after conflicts (a client's resourceVersion is never retried). Answer: 409. */
#define REQUEST_MAX_CONFLICTS 10
/* Races for one ResourceQuota that a request may lose to others which were charged meanwhile: each round one of them wins, and no more
 * than REQUESTS_OF_USER of one user run. Answer: 409. */
#define QUOTA_MAX_CONFLICTS 250u
/* Pods of a namespace that are looked at when it is held to a stricter Pod Security Standard, one after the other on the loop (some
 * milliseconds). Answer: a warning that says so. */
#define POD_SECURITY_MAX_PODS 500u
/* Requests under way, watches not counted (--max-requests-inflight + --max-mutating-requests-inflight). Answer: 429. */
#define REQUESTS_IN_FLIGHT 600u
/* The same for one user (who sent it, not whom they impersonate), so that nobody takes all places; system:masters are not counted
 * out. Controllers have some dozens under way at most. Answer: 429. */
#define REQUESTS_OF_USER 200u
/* Counters for users; several may share one, chosen by a keyed hash. */
#define REQUESTS_USER_CELLS 1024u
/* Upstream's --request-timeout. Answer: 504. */
#define REQUEST_TIMEOUT_MS 60000u
/* How long a read waits for a resourceVersion that is not there yet: upstream's three seconds. Answer: 504. */
#define REQUEST_RV_WAIT_MS 3000u
/* A watch without timeoutSeconds ends after min-request-timeout (1800 s) to twice that. */
#define WATCH_MIN_TIMEOUT_S 1800u
/* Bookmarks for those who asked, at most so often: upstream's minute. */
#define WATCH_BOOKMARK_MS 60000u
/* Bytes of a list given to the connection before waiting for it to drain. */
#define LIST_BATCH_BYTES (256u << 10)
/* Bytes of lists made in one piece (protobuf, YAML, indented JSON) that wait for their readers, all together. Past it the next
 * such list is refused until one has gone out, so that slow readers cannot collect memory. Answer: 429. */
#define LISTS_WHOLE_BUDGET (64u << 20)
/* Budget of encodings that are kept (protobuf, metadata only). */
#define ENCODINGS_BUDGET (4u << 20)
/* How long a delete of a collection runs objects side by side. */
#define DELETE_COLLECTION_PARALLEL 16u
/* Warning headers: upstream's 4 KB in all; past it further warnings are left out. */
#define REQUEST_MAX_WARNINGS 32u
/* fieldManager: metav1 validation. */
#define FIELD_MANAGER_MAX 128u
/* API servers on one store. Further ones are left out of the kubernetes Service's endpoints. */
#define MASTERS_MAX 64u
/* An EgressSelectorConfiguration, and each PEM file that it names. Answer: the server does not start. */
#define EGRESS_MAX_FILE (1u << 20)
/* Networks of --proxy-denied-cidrs. */
#define EGRESS_MAX_DENIED 256u
/* Backends (kubelets, pods, endpoints) whose HTTP clients are kept. Past it, the one that was used least recently and has nothing
 * under way goes; when all are busy: 503. */
#define BACKENDS_MAX 4096u
/* How long a backend of the proxy verbs may take to answer with headers: long polls end before. Answer: 504. */
#define PROXY_RESPONSE_MS (10u * 60 * 1000)
/* How long a kubelet may take to begin a log that is not followed. Answer: 500, or 503 through a proxy. */
#define KUBELET_RESPONSE_MS 30000u
/* Bytes of a kubelet's refusal that become the message of a Status (upstream: 10 KiB). The rest is not read. */
#define KUBELET_MAX_REFUSAL (10u << 10)
/* Headers passed on in one direction of a proxied request. Answer: 502, or 431. */
#define PROXY_MAX_HEADERS 128u
/* Bytes of a request's body that wait for a backend; past it the client is not read. */
#define PROXY_BODY_HIGH (256u << 10)
/* Reports of paths, which come from nodes: one answer's bytes (a kubelet's is about 6 KB), the processes in it, its flags and
 * paths, the bytes of one text. Answer: the node's report is left out and the catalog says why, or the rest is cut. */
#define PATHS_MAX_REPORT (1u << 20)
#define PATHS_MAX_PARTS 8u
#define PATHS_MAX_FLAGS 64u
#define PATHS_MAX_FACTS 4096u
#define PATHS_MAX_TEXT 512u
/* Nodes that are asked for one catalog, and at once; how long one may take; how old an answer may be that is used again.
 * Answer: further nodes are listed with what the apiserver knows of them. */
#define PATHS_MAX_NODES 1024u
#define PATHS_ASK_AT_ONCE 32u
#define PATHS_ASK_MS 3000u
#define PATHS_FRESH_MS 1000u
/* Memory of one catalog: a thousand nodes need about 20 MB while it is made. */
#define PATHS_ARENA (64u << 20)
/* Streams of /paths?watch=true, and how often one is sent. Answer: 429. */
#define PATHS_MAX_WATCHES 16u
#define PATHS_WATCH_MS 2000u

#endif
