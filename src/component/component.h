/*
 * The life of a component's main. See README.md.
 *
 *     static const struct component_spec spec = { .name = "kube-scheduler", .leader_name = … };
 *     static const struct flag port_flags[] = { COMPONENT_PORT_FLAGS("", "10251", "10259") };
 *     const struct flag_section sections[] = { …, component_flag_section(&options), component_leader_section(&options),
 *         { "Ports", port_flags, ARRAY_SIZE(port_flags), &options }, component_serving_section(&options) };
 *     …
 *     struct component *c = component_new(&spec, &options, &flags, &err);
 *     return component_run(c, start, stop, state);
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
    struct flag_strings feature_gates;
    bool leader_elect;
    int64_t lease_ms, renew_deadline_ms, retry_ms;
    struct str lease_name, lease_namespace;
    struct str address; /* of the plain port */
    int32_t port;
    struct str bind_address;
    int32_t secure_port;
    struct str tls_cert_file, tls_private_key_file, client_ca_file;
    struct str authentication_kubeconfig, authorization_kubeconfig;
    struct flag_strings always_allow_paths;
};

/* The document's default of --kubeconfig; a file that need not be there. */
#define COMPONENT_KUBECONFIG "/var/lib/kubelet/kubeconfig"

/* What every component has (how to reach the apiserver, feature gates), as a section of --help. */
struct flag_section component_flag_section(struct component_options *options);
/* Of those that elect a leader. */
struct flag_section component_leader_section(struct component_options *options);
/* Of those with a secure port for health and metrics, whose ports are COMPONENT_PORT_FLAGS. */
struct flag_section component_serving_section(struct component_options *options);

/* The ports, whose defaults are each program's own: a table of their own beside component_serving_section(). */
#define COMPONENT_PORT_FLAGS(default_address, default_port, default_secure_port)                                                  \
    FLAG_STRING(struct component_options, address, "address", default_address,                                                    \
                "The address on which --port is served; 0.0.0.0 or empty: all interfaces", .secure = "127.0.0.1"),                \
    FLAG_INT32(struct component_options, port, "port", default_port,                                                              \
               "The port for health, metrics and configuration over HTTP, without authentication; 0 serves nothing",             \
               .secure = "0", .unsafe = "it shows metrics and configuration to everybody who reaches it, in the clear",           \
               .mend = "--port=0 (--secure-port serves the same over HTTPS)"),                                                    \
    FLAG_INT32(struct component_options, secure_port, "secure-port", default_secure_port,                                         \
               "The port for health, metrics and configuration over HTTPS; 0 serves nothing")

struct component_spec {
    const char *name;        /* "kube-scheduler": user agent, field manager, event source */
    const char *leader_name; /* default name of the Lease; NULL: never elects */
    double qps;              /* default of --kube-api-qps; 0: unlimited */
    int32_t burst;
};

/* Makes loop, client and recorder, and notes what is unsafe about the options. 'flags' tells which flags were given; it lives as
 * long as the component. NULL with a reason. */
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
