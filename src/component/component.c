#include "component/component.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/unsafe.h"
#include "component/delegated.h"
#include "component/gates.h"
#include "component/health-server.h"
#include "net/addr.h"
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
    const struct flag_result *flags;
    struct delegated *delegated;
    struct health_server *health, *plain;
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
    FLAG_STRING(struct component_options, kubeconfig, "kubeconfig", COMPONENT_KUBECONFIG,
                "Path to a kubeconfig file with the apiserver's address and our credentials; the default file need not be there: "
                "then --master alone, or the pod's service account, says where the apiserver is"),
    FLAG_STRING(struct component_options, master, "master", "",
                "The apiserver's address; overrides the one in the kubeconfig"),
    FLAG_FLOAT(struct component_options, kube_api_qps, "kube-api-qps", "0",
               "Requests a second to the apiserver; 0 takes the component's default"),
    FLAG_INT32(struct component_options, kube_api_burst, "kube-api-burst", "0",
               "Requests at once beyond --kube-api-qps; 0 takes the component's default"),
    FLAG_MAP(struct component_options, feature_gates, "feature-gates", "",
             "Feature gates, Name=true,…: accepted where they say what is the case here"),
};

static const struct flag leader_flags[] = {
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
};

static const struct flag serving_flags[] = {
    FLAG_STRING(struct component_options, bind_address, "bind-address", "0.0.0.0",
                "The address on which --secure-port is served"),
    FLAG_STRING(
        struct component_options, tls_cert_file, "tls-cert-file", "",
        "Certificate of the secure port (PEM, with intermediates); empty makes a self-signed one"),
    FLAG_STRING(struct component_options, tls_private_key_file, "tls-private-key-file", "",
                "Private key of --tls-cert-file"),
    FLAG_STRING(struct component_options, client_ca_file, "client-ca-file", "",
                "CA bundle that client certificates on the secure port are verified against"),
    FLAG_STRING(struct component_options, authentication_kubeconfig, "authentication-kubeconfig", "",
                "How to ask the apiserver who a bearer token is (TokenReview); empty: tokens are not known"),
    FLAG_STRING(struct component_options, authorization_kubeconfig, "authorization-kubeconfig", "",
                "How to ask the apiserver what somebody may do (SubjectAccessReview); empty: only system:masters may"),
    FLAG_STRINGS(struct component_options, always_allow_paths, "authorization-always-allow-paths", "/healthz,/readyz,/livez",
                 "Paths of the secure port that everybody may get; one may end in *"),
};

struct flag_section component_flag_section(struct component_options *options)
{
    return (struct flag_section){ "Component", component_flags, ARRAY_SIZE(component_flags),
                                  options };
}

struct flag_section component_leader_section(struct component_options *options)
{
    return (struct flag_section){ "Leader election", leader_flags, ARRAY_SIZE(leader_flags), options };
}

struct flag_section component_serving_section(struct component_options *options)
{
    return (struct flag_section){ "Secure serving", serving_flags, ARRAY_SIZE(serving_flags), options };
}

/* Is there a kubeconfig to read? The default one may be missing. */
static bool has_kubeconfig(const struct component *c)
{
    struct str path = c->options.kubeconfig;
    return path.len && (!str_eq_c(path, COMPONENT_KUBECONFIG) || flags_changed(c->flags, "kubeconfig") ||
                        access(COMPONENT_KUBECONFIG, F_OK) == 0);
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
    if (has_kubeconfig(c)) {
        ok = kubeconfig_read(&a, arena_cstr(&a, c->options.kubeconfig), STR_NULL, &config, err);
    } else if (c->options.master.len) {
        config = (struct client_config){ .server = c->options.master };
    } else {
        ok = kubeconfig_in_cluster(&a, &config, err) ||
             err_wrap(err, "neither --master nor " COMPONENT_KUBECONFIG " (--kubeconfig) says where the apiserver is");
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
    health_server_free(c->plain);
    delegated_free(c->delegated);
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

static bool check_options(const struct component *c, struct err *err)
{
    const struct component_options *o = &c->options;
    if (o->port < 0 || o->port > 65535) {
        return err_set(err, ERR_BAD_REQUEST, "--port %d is no port", o->port);
    }
    if (o->secure_port < 0 || o->secure_port > 65535) {
        return err_set(err, ERR_BAD_REQUEST, "--secure-port %d is no port", o->secure_port);
    }
    if (o->port && o->port == o->secure_port) {
        return err_set(err, ERR_BAD_REQUEST, "--port and --secure-port are both %d", o->port);
    }
    if (o->leader_elect && c->spec->leader_name && (o->renew_deadline_ms >= o->lease_ms || o->retry_ms >= o->renew_deadline_ms)) {
        return err_set(err, ERR_BAD_REQUEST, "--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline, and that "
                       "longer than --leader-elect-retry-period");
    }
    return flags_together(c->flags, "tls-cert-file", "tls-private-key-file", err) && gates_check(&o->feature_gates, err);
}

/* The address of --port: empty means all interfaces. */
static struct str plain_address(const struct component *c)
{
    return c->options.address.len ? c->options.address : STR("0.0.0.0");
}

static void note_unsafe(const struct component *c)
{
    struct net_addr addr;
    struct str master = c->options.master;
    if (c->options.port && net_addr_parse_ip(plain_address(c), 1, &addr) && !net_addr_is_local(&addr)) {
        flags_note_unsafe(c->flags, "port");
    }
    if (str_starts(master, STR("http://")) && !str_starts(master, STR("http://127.")) && !str_starts(master, STR("http://[::1]")) &&
        !str_starts(master, STR("http://localhost"))) {
        unsafe_note(c->spec->name, "master", master, true, "the apiserver is spoken to in the clear, without credentials",
                    "an https:// address and --kubeconfig");
    }
}

struct component *component_new(const struct component_spec *spec,
                                const struct component_options *options,
                                const struct flag_result *flags, struct err *err)
{
    struct component *c = calloc(1, sizeof(*c));
    char uuid[RAND_UUID_SIZE];
    if (!c) {
        abort();
    }
    c->spec = spec;
    c->options = *options;
    c->flags = flags;
    if (gethostname(c->hostname, sizeof(c->hostname) - 1) < 0) {
        snprintf(c->hostname, sizeof(c->hostname), "localhost");
    }
    rand_uuid(uuid);
    snprintf(c->identity, sizeof(c->identity), "%s_%s", c->hostname, uuid);
    if (!check_options(c, err)) {
        component_free(c);
        return NULL;
    }
    note_unsafe(c);
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

static bool open_port(struct component *c, const struct health_server_config *config, const char *flag, struct health_server **ret,
                      struct err *err)
{
    *ret = health_server_new(c->loop, config, err);
    if (!*ret) {
        return err_wrap(err, "--%s %u", flag, config->port);
    }
    for (size_t i = 0; i < c->n_checks; i++) {
        health_server_add(*ret, &c->checks[i]);
    }
    return true;
}

static bool serve_health(struct component *c, struct err *err)
{
    const struct component_options *o = &c->options;
    const struct health_server_config plain = {
        .bind_address = plain_address(c),
        .port = (uint16_t)o->port,
        .plain = true,
        .open = true,
        .hostname = c->hostname,
        .process = c->spec->name,
        .flags = c->flags,
    };
    const struct delegated_config who = {
        .name = c->spec->name,
        .authentication_kubeconfig = o->authentication_kubeconfig,
        .authorization_kubeconfig = o->authorization_kubeconfig,
        .client_ca_file = o->client_ca_file,
    };
    if (o->port && !open_port(c, &plain, "port", &c->plain, err)) {
        return false;
    }
    if (!o->secure_port) {
        return true;
    }
    c->delegated = delegated_new(c->loop, &who, err);
    const struct health_server_config secure = {
        .bind_address = o->bind_address,
        .port = (uint16_t)o->secure_port,
        .tls_cert_file = o->tls_cert_file,
        .tls_private_key_file = o->tls_private_key_file,
        .client_ca_file = o->client_ca_file,
        .hostname = c->hostname,
        .process = c->spec->name,
        .auth = c->delegated,
        .always_allow = &c->options.always_allow_paths,
        .flags = c->flags,
    };
    return c->delegated && open_port(c, &secure, "secure-port", &c->health, err);
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
    if (c->plain) {
        health_server_add(c->plain, &check_of);
    }
}
