/*
 * The life of a component's main. See README.md.
 *
 *     static const struct component_spec spec = { .name = "kube-scheduler", .secure_port = 10259,
 * .leader_name = … }; const struct flag_section sections[] = { …, component_flag_section(&options),
 * … }; … struct component *c = component_new(&spec, &options, &flags, &err); return
 * component_run(c, start, state);
 */
#ifndef COMPONENT_COMPONENT_H
#define COMPONENT_COMPONENT_H

#include "base/flags.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/leader.h"

struct component;

struct component_options {
    struct str kubeconfig, master;
    double kube_api_qps;
    int32_t kube_api_burst;
    bool leader_elect;
    int64_t lease_ms, renew_deadline_ms, retry_ms;
    struct str lease_name, lease_namespace;
    struct str bind_address;
    int32_t secure_port;
    struct str tls_cert_file, tls_private_key_file, client_ca_file;
};

/* The shared flags as a section of --help. */
struct flag_section component_flag_section(struct component_options *options);

struct component_spec {
    const char *name;        /* "kube-scheduler": user agent, field manager, event source */
    int32_t secure_port;     /* default of --secure-port; 0: serves nothing unless asked */
    const char *leader_name; /* default name of the Lease; NULL: never elects */
    double qps;              /* default of --kube-api-qps; 0: unlimited */
    int32_t burst;
};

/* Makes loop, client and recorder. 'flags' tells which flags were given. NULL with a reason. */
struct component *component_new(const struct component_spec *spec,
                                const struct component_options *options,
                                const struct flag_result *flags, struct err *err);
/* Serves health, elects, calls 'start' once, and runs until SIGTERM or SIGINT (0), or until
 * leadership is lost (1). 'stop' (may be NULL) is called before the end in both cases. Frees the
 * component. Returns the exit status. */
int component_run(struct component *c,
                  bool (*start)(struct component *c, void *data, struct err *err),
                  void (*stop)(void *data), void *data);

/* Where the apiserver is, without credentials: a client whose requests carry tokens of their own
 * (client_share()). */
MUST_CHECK struct client *component_anonymous_client(struct component *c, struct err *err);
struct loop *component_loop(const struct component *c);
struct client *component_client(const struct component *c);
struct event_recorder *component_events(const struct component *c);
/* The one set of informers of the process; component_run() starts it after 'start' returned. */
struct informers *component_informers(const struct component *c);
/* Called once all informers are synced. */
void component_on_synced(struct component *c, void (*fn)(void *data), void *data);
/* A further check of /healthz and /readyz: 'check' returns false with the reason. At most 8. */
void component_add_check(struct component *c, const char *name,
                         bool (*check)(void *data, struct err *err), void *data);
/* Ends component_run() with this status, for a failure that cannot be mended. */
void component_exit(struct component *c, int status);
const char *component_hostname(const struct component *c);

#endif
