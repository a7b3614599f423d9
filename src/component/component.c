#include "component/component.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "component/health-server.h"
#include "net/loop.h"

#define HOSTNAME_SIZE 256

struct component {
    const struct component_spec *spec;
    struct component_options options;
    struct loop *loop;
    struct client *client;
    struct event_recorder *events;
    struct informers *informers;
    struct leader *leader;
    struct health_server *health;
    struct health_check checks[HEALTH_CHECKS_MAX];
    size_t n_checks;
    struct loop_signal on_term, on_int;
    char hostname[HOSTNAME_SIZE];
    char identity[HOSTNAME_SIZE + RAND_UUID_SIZE + 2];

    bool (*start)(struct component *c, void *data, struct err *err);
    void *data;
    void (*on_synced)(void *data);
    void *on_synced_data;
    bool started;
    int status;
};

static const struct flag component_flags[] = {
    FLAG_STRING(struct component_options, kubeconfig, "kubeconfig", "",
                "Path to a kubeconfig file with the apiserver's address and our credentials"),
    FLAG_STRING(struct component_options, master, "master", "",
                "The apiserver's address; overrides the one in the kubeconfig"),
    FLAG_FLOAT(struct component_options, kube_api_qps, "kube-api-qps", "0",
               "Requests a second to the apiserver; 0 takes the component's default"),
    FLAG_INT32(struct component_options, kube_api_burst, "kube-api-burst", "0",
               "Requests at once beyond --kube-api-qps; 0 takes the component's default"),
    FLAG_BOOL(struct component_options, leader_elect, "leader-elect", "true",
              "Work only while holding the component's Lease"),
    FLAG_DURATION(struct component_options, lease_ms, "leader-elect-lease-duration", "15s",
                  "How long others wait after the last renewal before they take over"),
    FLAG_DURATION(struct component_options, renew_deadline_ms, "leader-elect-renew-deadline", "10s",
                  "How long the holder tries to renew before it gives up"),
    FLAG_DURATION(struct component_options, retry_ms, "leader-elect-retry-period", "2s",
                  "How long to wait between tries"),
    FLAG_STRING(struct component_options, lease_name, "leader-elect-resource-name", "",
                "Name of the Lease; empty takes the component's own"),
    FLAG_STRING(struct component_options, lease_namespace, "leader-elect-resource-namespace",
                "kube-system", "Namespace of the Lease"),
    FLAG_STRING(struct component_options, bind_address, "bind-address", "0.0.0.0",
                "The address on which --secure-port is served"),
    FLAG_INT32(struct component_options, secure_port, "secure-port", "-1",
               "The port for health and metrics over HTTPS; 0 serves nothing, -1 takes the "
               "component's default"),
    FLAG_STRING(
        struct component_options, tls_cert_file, "tls-cert-file", "",
        "Certificate of the secure port (PEM, with intermediates); empty makes a self-signed one"),
    FLAG_STRING(struct component_options, tls_private_key_file, "tls-private-key-file", "",
                "Private key of --tls-cert-file"),
    FLAG_STRING(struct component_options, client_ca_file, "client-ca-file", "",
                "CA bundle that client certificates on the secure port are verified against"),
};

struct flag_section component_flag_section(struct component_options *options)
{
    return (struct flag_section){ "Component", component_flags, ARRAY_SIZE(component_flags),
                                  options };
}

/* A client with the configured credentials, or with none. */
static struct client *make_client(struct component *c, bool anonymous, struct err *err)
{
    struct arena a;
    struct client_config config;
    struct client *client = NULL;
    char user_agent[128];
    arena_init(&a, 8u << 20);
    bool ok = true;
    if (c->options.kubeconfig.len) {
        ok = kubeconfig_read(&a, arena_cstr(&a, c->options.kubeconfig), STR_NULL, &config, err);
    } else if (c->options.master.len) {
        config = (struct client_config){ .server = c->options.master };
    } else {
        ok = kubeconfig_in_cluster(&a, &config, err);
    }
    if (ok) {
        if (c->options.master.len) {
            config.server = c->options.master;
        }
        if (anonymous) {
            config.no_credentials = true;
            config.client_cert_pem = config.client_key_pem = STR_NULL;
            config.client_cert_file = config.client_key_file = STR_NULL;
            config.token = config.token_file = config.username = config.password = STR_NULL;
        }
        snprintf(user_agent, sizeof(user_agent), "%s/v1.36.0 (linux) coracle/%s", c->spec->name,
                 CORACLE_VERSION);
        struct client_options o = {
            .user_agent = user_agent,
            .qps = c->options.kube_api_qps > 0 ? c->options.kube_api_qps : c->spec->qps,
            .burst = (unsigned)(c->options.kube_api_burst > 0 ? c->options.kube_api_burst
                                                              : c->spec->burst),
        };
        client = client_new(c->loop, &config, &o, err);
    }
    arena_deinit(&a);
    return client;
}

struct client *component_anonymous_client(struct component *c, struct err *err)
{
    return make_client(c, true, err);
}

static void component_free(struct component *c)
{
    if (!c) {
        return;
    }
    loop_signal_stop(&c->on_term);
    loop_signal_stop(&c->on_int);
    health_server_free(c->health);
    leader_free(c->leader);
    event_recorder_free(c->events);
    informers_free(c->informers);
    client_free(c->client);
    loop_free(c->loop);
    free(c);
}

static void on_signal(void *arg)
{
    struct component *c = arg;
    log_info("told to stop");
    component_exit(c, 0);
}

struct component *component_new(const struct component_spec *spec,
                                const struct component_options *options,
                                const struct flag_result *flags UNUSED, struct err *err)
{
    struct component *c = calloc(1, sizeof(*c));
    char uuid[RAND_UUID_SIZE];
    if (!c) {
        abort();
    }
    c->spec = spec;
    c->options = *options;
    if (gethostname(c->hostname, sizeof(c->hostname) - 1) < 0) {
        snprintf(c->hostname, sizeof(c->hostname), "localhost");
    }
    rand_uuid(uuid);
    snprintf(c->identity, sizeof(c->identity), "%s_%s", c->hostname, uuid);
    c->loop = loop_new(err);
    if (!c->loop || !(c->client = make_client(c, false, err))) {
        component_free(c);
        return NULL;
    }
    c->events = event_recorder_new(c->client, spec->name, c->hostname);
    c->informers = informers_new(c->client);
    return c;
}

static void on_informers_synced(void *arg)
{
    struct component *c = arg;
    log_info("informers are synced");
    if (c->on_synced) {
        c->on_synced(c->on_synced_data);
    }
}

static void start_work(void *arg)
{
    struct component *c = arg;
    struct err err;
    c->started = true;
    if (!c->start(c, c->data, &err)) {
        log_error("cannot start: %s", err.msg);
        component_exit(c, 1);
        return;
    }
    informers_start(c->informers, on_informers_synced, c);
}

static void on_leader_lost(void *arg)
{
    /* What is under way may still write: only the end of the process makes sure that nothing does.
     */
    component_exit(arg, 1);
}

static bool serve_health(struct component *c, struct err *err)
{
    int32_t port = c->options.secure_port < 0 ? c->spec->secure_port : c->options.secure_port;
    if (port == 0) {
        return true;
    }
    if (port > 65535) {
        return err_set(err, ERR_BAD_REQUEST, "--secure-port %d is no port", port);
    }
    struct health_server_config config = {
        .bind_address = c->options.bind_address,
        .port = (uint16_t)port,
        .tls_cert_file = c->options.tls_cert_file,
        .tls_private_key_file = c->options.tls_private_key_file,
        .client_ca_file = c->options.client_ca_file,
        .hostname = c->hostname,
        .process = c->spec->name,
    };
    c->health = health_server_new(c->loop, &config, err);
    if (!c->health) {
        return err_wrap(err, "--secure-port %d", port);
    }
    for (size_t i = 0; i < c->n_checks; i++) {
        health_server_add(c->health, &c->checks[i]);
    }
    return true;
}

int component_run(struct component *c,
                  bool (*start)(struct component *c, void *data, struct err *err),
                  void (*stop)(void *data), void *data)
{
    struct err err;
    c->start = start;
    c->data = data;
    c->status = 1;
    if (loop_signal_start(&c->on_term, c->loop, SIGTERM, on_signal, c) < 0 ||
        loop_signal_start(&c->on_int, c->loop, SIGINT, on_signal, c) < 0) {
        log_error("cannot wait for signals");
    } else if (!serve_health(c, &err)) {
        log_error("%s", err.msg);
    } else {
        if (c->spec->leader_name && c->options.leader_elect) {
            struct leader_options o = {
                .ns = c->options.lease_namespace,
                .name =
                    c->options.lease_name.len ? c->options.lease_name : str_c(c->spec->leader_name),
                .identity = str_c(c->identity),
                .lease_ms = (uint32_t)c->options.lease_ms,
                .renew_deadline_ms = (uint32_t)c->options.renew_deadline_ms,
                .retry_ms = (uint32_t)c->options.retry_ms,
            };
            c->leader = leader_new(c->client, &o, start_work, on_leader_lost, c);
        } else {
            start_work(c);
        }
        loop_run(c->loop);
    }
    int status = c->status;
    if (stop && c->started) {
        stop(data);
    }
    component_free(c);
    return status;
}

void component_exit(struct component *c, int status)
{
    c->status = status;
    loop_stop(c->loop);
}

struct loop *component_loop(const struct component *c)
{
    return c->loop;
}

struct client *component_client(const struct component *c)
{
    return c->client;
}

struct event_recorder *component_events(const struct component *c)
{
    return c->events;
}

struct informers *component_informers(const struct component *c)
{
    return c->informers;
}

const char *component_hostname(const struct component *c)
{
    return c->hostname;
}

void component_on_synced(struct component *c, void (*fn)(void *data), void *data)
{
    c->on_synced = fn;
    c->on_synced_data = data;
}

void component_add_check(struct component *c, const char *name,
                         bool (*check)(void *data, struct err *err), void *data)
{
    struct health_check check_of = { .name = name, .check = check, .data = data };
    assert(c->n_checks < HEALTH_CHECKS_MAX);
    c->checks[c->n_checks++] = check_of;
    if (c->health) {
        health_server_add(c->health, &check_of);
    }
}
